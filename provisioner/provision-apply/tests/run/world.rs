//! A cluster in memory with everything around it, in a time that passes only when everybody waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use provision_apply::{
    ApplyError, ApplyOptions, Clock, Fault, GenerationKind, LockMode, MemoryCluster, MemorySecrets, Progress, RunContext, RunOutcome, Verb,
    apply, contents, load_generation, load_pending, observe, predict,
};
use provision_model::{
    Dependency, Desired, DesiredObject, Manifest, ObjectOptions, Observed, Origin, Plan, Policy, ResourceId, Scope, annotations,
};
use provision_plan::{PlanOptions, leaving_namespaces, needs_prediction, plan_down, plan_with};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Where the record is.
pub(crate) const STATE: &str = "provision-system";
/// Where the objects are.
pub(crate) const NS: &str = "feature-system";

pub(crate) type Cx = RunContext<MemoryCluster, MemorySecrets, TestClock>;

/// Follows tokio's clock, which the tests let pass by itself.
#[derive(Clone)]
pub(crate) struct TestClock {
    start: Instant,
}

impl TestClock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let base: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        base + SignedDuration::try_from(self.start.elapsed()).unwrap()
    }
}

pub(crate) struct World {
    pub(crate) cluster: MemoryCluster,
    pub(crate) secrets: MemorySecrets,
    pub(crate) clock: TestClock,
    pub(crate) events: Arc<Mutex<Vec<Progress>>>,
    runs: Mutex<u32>,
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = TestClock::new();
        Self {
            cluster: MemoryCluster::with_clock(clock.clone()),
            secrets: MemorySecrets::default(),
            clock,
            events: Arc::default(),
            runs: Mutex::new(0),
        }
    }

    /// A copy of this world that goes its own way.
    pub(crate) fn fork(&self) -> Self {
        Self {
            cluster: self.cluster.fork(),
            secrets: self.secrets.clone(),
            clock: self.clock.clone(),
            events: Arc::default(),
            runs: Mutex::new(*self.runs.lock().unwrap()),
        }
    }

    /// The context of a new run, unlike that of any other.
    pub(crate) fn cx(&self) -> Cx {
        let mut runs = self.runs.lock().unwrap();
        *runs += 1;
        let (cluster, secrets, clock) = (Arc::new(self.cluster.clone()), Arc::new(self.secrets.clone()), Arc::new(self.clock.clone()));
        let mut cx = RunContext::new(cluster, secrets, clock, format!("run-{runs}"), "ana@laptop pid 1");
        let events = self.events.clone();
        cx.progress = Arc::new(move |progress| events.lock().unwrap().push(progress));
        cx
    }

    pub(crate) async fn plan(&self, cx: &Cx, desired: &Desired) -> Result<(Plan, Observed), ApplyError> {
        let mut observed = observe(cx, &desired.scope(), &desired.objects).await?;
        let asked = needs_prediction(desired, &observed);
        predict(cx, &mut observed, asked).await?;
        let contents = contents(cx, &leaving_namespaces(Some(desired), &observed)).await?;
        let options = PlanOptions { allow_deletes: Some(1_000), allow_empty: true, contents };
        Ok((plan_with(desired, &observed, &options).unwrap(), observed))
    }

    pub(crate) async fn run(&self, work: &Work) -> Result<RunOutcome, ApplyError> {
        let cx = self.cx();
        self.run_as(&cx, work).await
    }

    pub(crate) async fn run_as(&self, cx: &Cx, work: &Work) -> Result<RunOutcome, ApplyError> {
        let (plan, kind) = match work {
            Work::Up(desired) => (self.plan(cx, desired).await?.0, GenerationKind::Up),
            Work::Rollback(scope, to) => {
                let recorded = load_generation(cx, scope, Some(*to)).await?;
                (self.plan(cx, &recorded.desired).await?.0, GenerationKind::Rollback { to: *to })
            }
            Work::Down(scope) => (self.down_plan(cx, scope).await?, GenerationKind::Down),
        };
        apply(cx, &plan, options(kind)).await
    }

    pub(crate) async fn down_plan(&self, cx: &Cx, scope: &Scope) -> Result<Plan, ApplyError> {
        let observed = observe(cx, scope, &[]).await?;
        let contents = contents(cx, &leaving_namespaces(None, &observed)).await?;
        Ok(plan_down(scope, &observed, &contents))
    }

    /// Goes on with what a killed run left, from nothing but the cluster; `None` when nothing is unfinished.
    pub(crate) async fn resume(&self, scope: &Scope) -> Result<Option<RunOutcome>, ApplyError> {
        let cx = self.cx();
        let Some(pending) = load_pending(&cx, scope).await? else { return Ok(None) };
        let kind = pending.generation.kind.clone();
        let plan = match kind {
            GenerationKind::Down => self.down_plan(&cx, scope).await?,
            GenerationKind::Up | GenerationKind::Rollback { .. } => self.plan(&cx, &pending.desired).await?.0,
        };
        apply(&cx, &plan, options(kind)).await.map(Some)
    }

    /// Runs until the end or until the fault kills it: then nothing of it is left but what reached the cluster.
    pub(crate) async fn run_with_fault(&self, work: &Work, fault: Fault) -> Option<Result<RunOutcome, ApplyError>> {
        self.cluster.fault(fault);
        let ended = tokio::select! {
            biased;
            () = self.cluster.wait_killed() => None,
            outcome = self.run(work) => Some(outcome),
        };
        self.cluster.clear_fault();
        ended
    }

    /// Waits until something is so, at most ten minutes of the clock that the tests let pass.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let mut turns = tokio::time::interval(Duration::from_millis(20));
        let looked = async {
            while !holds(self) {
                turns.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(600), looked).await.unwrap_or_else(|_| panic!("it never comes to this: {what}"));
    }

    /// Waits until an object is written.
    pub(crate) async fn until_written(&self, id: &ResourceId) {
        self.until(&format!("{id} is written"), |world| world.cluster.peek(id).is_some()).await;
    }

    /// Waits until a run told something.
    pub(crate) async fn until_told(&self, what: &str, told: impl Fn(&Progress) -> bool) {
        self.until(what, |world| world.events.lock().unwrap().iter().any(&told)).await;
    }

    /// Counts the requests of one form so far: `Update Lease/...`.
    pub(crate) fn requests_like(&self, text: &str) -> usize {
        self.cluster.request_log().iter().filter(|request| request.to_string().starts_with(text)).count()
    }

    pub(crate) fn writes(&self) -> Vec<String> {
        let log = self.cluster.request_log();
        let writes = log.iter().filter(|request| matches!(request.verb, Verb::Apply | Verb::Create | Verb::Update | Verb::Delete));
        let objects = writes.filter(|request| request.target.as_ref().is_some_and(|id| !is_state(id)));
        objects.map(ToString::to_string).collect()
    }

    /// Every object that somebody put there, without what the server and the controllers add. The record is left out.
    pub(crate) fn content(&self) -> BTreeMap<ResourceId, Value> {
        let made = ["Pod", "ReplicaSet", "Event", "EndpointSlice", "Endpoints", "ControllerRevision", "Node", "Lease"];
        let ids = self.cluster.ids().into_iter().filter(|id| !is_state(id) && !made.contains(&id.kind.kind.as_str()));
        ids.filter_map(|id| Some((id.clone(), essence(&self.cluster.peek(&id)?)))).collect()
    }

    /// The record, as text: every ConfigMap and Lease of the state namespace, the compressed parts unpacked.
    pub(crate) fn record_text(&self) -> String {
        use base64::Engine as _;
        let mut text = String::new();
        for id in self.cluster.ids().iter().filter(|id| is_state(id)) {
            let Some(object) = self.cluster.peek(id) else { continue };
            text.push_str(&object.value().to_string());
            let Some(packed) = object.value().pointer("/binaryData/shard").and_then(Value::as_str) else { continue };
            let packed = base64::engine::general_purpose::STANDARD.decode(packed).unwrap();
            text.push_str(&String::from_utf8(zstd::stream::decode_all(packed.as_slice()).unwrap()).unwrap());
        }
        text
    }
}

/// What a run is to do.
#[derive(Clone)]
pub(crate) enum Work {
    Up(Desired),
    Rollback(Scope, u64),
    Down(Scope),
}

pub(crate) fn options(kind: GenerationKind) -> ApplyOptions {
    ApplyOptions { kind, lock: LockMode::Wait, ..ApplyOptions::default() }
}

pub(crate) fn is_state(id: &ResourceId) -> bool {
    id.namespace.as_deref() == Some(STATE) || id.name == STATE
}

fn essence(object: &Manifest) -> Value {
    let mut value = object.value().clone();
    if let Some(map) = value.as_object_mut() {
        map.remove("status");
    }
    if let Some(metadata) = value.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
            metadata.remove(field);
        }
    }
    for pointer in ["/spec/clusterIP", "/spec/clusterIPs", "/spec/selector/matchLabels", "/spec/template/metadata/labels"] {
        let job = object.kind() == "Job";
        if (job || pointer.contains("clusterIP"))
            && let Some(part) = value.pointer_mut(pointer)
        {
            *part = Value::Null;
        }
    }
    value
}

/// One wanted object.
pub(crate) fn object(value: Value, after: &[ResourceId]) -> DesiredObject {
    let origin = Origin::new("templates/test.yaml", 1, 1);
    let mut options = ObjectOptions::default();
    if let Some(limit) = value.pointer("/metadata/annotations/provision.dev~1timeout").and_then(Value::as_str) {
        options.timeout = Some(Duration::from_secs(limit.trim_end_matches('s').parse().unwrap()));
    }
    let object = DesiredObject { manifest: Manifest::try_from(value).unwrap(), origin, depends_on: Vec::new(), options };
    depending(object, after)
}

/// The same object with declared dependencies.
pub(crate) fn depending(object: DesiredObject, after: &[ResourceId]) -> DesiredObject {
    if after.is_empty() {
        return object;
    }
    let text: Vec<String> = after.iter().map(ToString::to_string).collect();
    let manifest = object.manifest.with_annotations(&[(annotations::DEPENDS_ON, &text.join(","))]);
    let depends_on = after.iter().map(|target| Dependency { target: target.clone(), origin: object.origin.clone() }).collect();
    DesiredObject { manifest, depends_on, ..object }
}

pub(crate) fn desired(objects: Vec<DesiredObject>) -> Desired {
    Desired {
        environment: "dev".parse().unwrap(),
        region: None,
        release: "dev".parse().unwrap(),
        objects,
        policy: Policy { max_deletes: 1_000, ..Policy::default() },
        findings: Vec::new(),
    }
}

pub(crate) fn namespace() -> DesiredObject {
    object(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}}), &[])
}

pub(crate) fn config(name: &str, value: &str) -> DesiredObject {
    object(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NS}, "data": {"value": value}}), &[])
}

pub(crate) fn config_id(name: &str) -> ResourceId {
    ResourceId::namespaced("", "ConfigMap", NS, name)
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"labels": {"app": name}}, "spec": {"containers": [{
        "name": "main", "image": format!("registry.local/{name}:1"), "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}}}]}})
}

pub(crate) fn deployment(name: &str, replicas: u32, after: &[ResourceId]) -> DesiredObject {
    object(
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": NS},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": pod(name)}}),
        after,
    )
}

pub(crate) fn deployment_id(name: &str) -> ResourceId {
    ResourceId::namespaced("apps", "Deployment", NS, name)
}

pub(crate) fn service(name: &str) -> DesiredObject {
    object(
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": NS},
            "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}),
        &[],
    )
}

pub(crate) fn job(name: &str, version: &str, after: &[ResourceId]) -> DesiredObject {
    object(
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": NS},
            "spec": {"template": {"metadata": {}, "spec": {"restartPolicy": "Never", "containers": [{
                "name": "main", "image": "registry.local/migrate:1", "args": [version]}]}}}}),
        after,
    )
}

pub(crate) fn job_id(name: &str) -> ResourceId {
    ResourceId::namespaced("batch", "Job", NS, name)
}
