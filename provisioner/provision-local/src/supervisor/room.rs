//! Everything that the supervisor knows and decides, without threads and sockets: one order at a time, then the controllers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use provision_apply::{ClusterError, Deletion, WriteMode};
use provision_model::{ApiResource, ClusterIdentity, FIELD_MANAGER, GroupKind, Manifest, ResourceId};
use provision_objects::{Change, Objects, Stored, Surroundings};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::controllers::{self, Book};
use crate::kubelet::{Claim, PodReport, Report, Wanted};
use crate::protocol::{Ask, FULL, Told, WireListing};
use crate::store::{Disk, Store, WriteError};

/// Steps after which the controllers give up on coming to rest.
const MOST_STEPS: usize = 50_000;
/// Events that a watcher may lag behind; one that lags further is cut off and starts anew.
const WATCH_BACKLOG: usize = 16_384;
/// Wait before the first failed pod of a Job is followed by another.
const JOB_RETRY: Duration = Duration::from_secs(10);
/// Wait before the controllers try again what could not be made durable.
const WRITE_RETRY: SignedDuration = SignedDuration::from_secs(5);

/// One open watch.
struct Watcher {
    resource: ApiResource,
    namespace: Option<String>,
    sender: mpsc::Sender<Told>,
}

/// Where ports of published Services are to be had: namespace, Service, port.
pub(crate) type Published = BTreeMap<(String, String, u16), SocketAddrV4>;

/// The objects, what is known of the pods, and who wants to hear of changes.
pub(crate) struct Room<D> {
    store: Store<D>,
    /// First of the addresses of this platform.
    block: Ipv4Addr,
    watchers: Vec<Watcher>,
    /// The last report of each pod, by UID.
    reports: BTreeMap<String, PodReport>,
    /// Pods of which nothing runs any more, by UID.
    gone: BTreeSet<String>,
    published: Published,
    wanted: watch::Sender<Wanted>,
    /// When the controllers try again.
    retry: Option<Timestamp>,
    last_sweep: Timestamp,
}

impl<D: Disk> Room<D> {
    /// Begins with what is stored; the controllers look at everything once.
    pub(crate) fn new(store: Store<D>, block: Ipv4Addr, wanted: watch::Sender<Wanted>, now: Timestamp) -> Self {
        Self {
            store,
            block,
            watchers: Vec::new(),
            reports: BTreeMap::new(),
            gone: BTreeSet::new(),
            published: Published::new(),
            wanted,
            retry: None,
            last_sweep: now,
        }
    }

    /// Returns the objects.
    pub(crate) fn objects(&self) -> &Objects {
        self.store.objects()
    }

    /// Answers a request; what it changed is durable then.
    pub(crate) fn answer(&mut self, now: Timestamp, ask: &Ask) -> Result<Value, ClusterError> {
        match ask {
            Ask::Identity => to_value(&self.identity()),
            Ask::Api => to_value(&self.objects().surface()),
            Ask::List { resource, namespace } => {
                self.served(resource)?;
                let items = self.objects().listing(resource, namespace.as_deref());
                to_value(&WireListing { items, resource_version: self.objects().revision() })
            }
            Ask::Get { id } => {
                let version = self.objects().kind(&id.kind, None).map(|kind| kind.resource.version.clone());
                to_value(&self.objects().get(id).and_then(|stored| self.objects().render(stored, version.as_deref())))
            }
            Ask::Apply { manifest, dry_run } => {
                let mode = if *dry_run { WriteMode::DryRun } else { WriteMode::Persist };
                let block = self.block;
                let written = self.write(now, &manifest.id(), |objects| {
                    let id = objects.checked_id(manifest)?;
                    reserve(objects, block, &id, mode);
                    let written = objects.apply_as(&id, manifest.value(), FIELD_MANAGER, mode)?;
                    if mode == WriteMode::Persist {
                        objects.finish_deletion(&id);
                    }
                    Ok(written)
                })?;
                to_value(&written)
            }
            Ask::Create { manifest } => {
                let block = self.block;
                to_value(&self.write(now, &manifest.id(), |objects| {
                    let id = objects.checked_id(manifest)?;
                    reserve(objects, block, &id, WriteMode::Persist);
                    objects.create_as(&id, manifest.value(), FIELD_MANAGER)
                })?)
            }
            Ask::Update { manifest } => to_value(&self.write(now, &manifest.id(), |objects| {
                let id = objects.checked_id(manifest)?;
                objects.update_as(&id, manifest.value(), FIELD_MANAGER, None)
            })?),
            Ask::Delete { id, uid } => {
                let deletion = self.write(now, id, |objects| objects.delete(id, uid.as_deref()))?;
                Ok(Value::from(deletion == Deletion::Accepted))
            }
            Ask::Hello | Ask::HandOver | Ask::Watch { .. } | Ask::Logs { .. } | Ask::Notices | Ask::Through { .. } => {
                Err(ClusterError::Other { message: "this is not asked of the objects".to_owned(), source: None })
            }
        }
    }

    fn identity(&self) -> ClusterIdentity {
        let system = self.objects().get(&ResourceId::cluster("", "Namespace", "kube-system"));
        ClusterIdentity { uid: system.map(|system| system.uid().to_owned()).unwrap_or_default(), version: "v1.36.0+local".to_owned() }
    }

    fn served(&self, resource: &ApiResource) -> Result<(), ClusterError> {
        match self.objects().kind(&resource.kind, Some(&resource.version)) {
            Some(_) => Ok(()),
            None => Err(ClusterError::NotFound { subject: format!("kind {} in version {}", resource.kind, resource.version) }),
        }
    }

    fn write<T>(
        &mut self,
        now: Timestamp,
        subject: &ResourceId,
        effect: impl FnOnce(&mut Objects) -> Result<T, provision_objects::ObjectError>,
    ) -> Result<T, ClusterError> {
        match self.store.write(now, effect) {
            Ok((answer, changes)) => {
                self.tell(&changes);
                Ok(answer)
            }
            Err(WriteError::Rules(error)) => Err(error.into()),
            Err(WriteError::Store(error)) => {
                let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                Err(ClusterError::Server { subject: subject.to_string(), status: FULL, message: format!("{error}: {why}") })
            }
        }
    }

    /// Opens a watch, which begins with everything that is there.
    pub(crate) fn open_watch(&mut self, resource: &ApiResource, namespace: Option<&str>) -> Result<mpsc::Receiver<Told>, ClusterError> {
        self.served(resource)?;
        let listing = self.objects().listing(resource, namespace);
        let (sender, receiver) = mpsc::channel(WATCH_BACKLOG + listing.len());
        for told in listing.into_iter().map(Told::Changed).chain([Told::Synced]) {
            // There is room for all of them.
            let _ = sender.try_send(told);
        }
        self.watchers.push(Watcher { resource: resource.clone(), namespace: namespace.map(str::to_owned), sender });
        Ok(receiver)
    }

    fn tell(&mut self, changes: &[Change]) {
        let objects = self.store.objects();
        self.watchers.retain(|watcher| !watcher.sender.is_closed() && changes.iter().all(|change| watcher.tell(objects, change)));
    }

    /// Takes note of what the runtime says; it counts at the next [`Room::settle`].
    pub(crate) fn note(&mut self, now: Timestamp, report: Report) {
        match report {
            Report::Pod(report) => {
                if let Some(id) = self.pod_of(&report.uid) {
                    self.store.queue(id);
                    self.gone.remove(&report.uid);
                    self.reports.insert(report.uid.clone(), report);
                }
            }
            Report::Gone { uid } => {
                self.reports.remove(&uid);
                if let Some(id) = self.pod_of(&uid) {
                    self.store.queue(id);
                    self.gone.insert(uid);
                }
            }
            Report::Published { namespace, service, port, address } => {
                self.store.queue(ResourceId::namespaced("", "Service", &namespace, &service));
                self.published.insert((namespace, service, port), address);
            }
            Report::Event { uid, warning, reason, message } => {
                let Some(id) = self.pod_of(&uid) else { return };
                let level = if warning { "Warning" } else { "Normal" };
                // Events are best effort.
                let _ = self.write(now, &id, |objects| {
                    objects.event(&id, (level, &reason, &message));
                    Ok(())
                });
            }
        }
    }

    /// Takes note that nothing holds a deleted claim any more.
    pub(crate) fn note_discarded(&mut self, now: Timestamp, claim: &Claim) {
        let id = ResourceId::namespaced("", "PersistentVolumeClaim", &claim.namespace, &claim.name);
        // What can't be written now is noted when the folder, which is not there, is removed again.
        let _ = self.write(now, &id, |objects| {
            objects.note_gone(&id);
            Ok(())
        });
    }

    fn pod_of(&self, uid: &str) -> Option<ResourceId> {
        let kind = GroupKind::new("", "Pod");
        self.objects().range(&kind, None).find(|(_, pod)| pod.uid() == uid).map(|(id, _)| id.clone())
    }

    /// Lets the controllers work until nothing is left to do, makes that durable, and then says what is to run.
    pub(crate) fn settle(&mut self, now: Timestamp) {
        let sweeps = now.duration_since(self.last_sweep) > controllers::SWEEP_EVERY;
        let known = Known { reports: &self.reports, gone: &self.gone, published: &self.published };
        let block = self.block;
        let settled = self.store.write(now, |objects| {
            let mut book = Book::read(objects, block);
            book.forget_pods(objects);
            if sweeps {
                controllers::forget_old_events(objects);
            }
            objects.ring();
            for _ in 0..MOST_STEPS {
                let Some(id) = objects.next_queued() else { break };
                known.step(objects, &mut book, &id);
            }
            loop {
                let wanted = controllers::wanted(objects, &book);
                if !book.give(objects) {
                    break Ok(wanted);
                }
            }
        });
        match settled {
            Ok((wanted, changes)) => {
                self.retry = None;
                self.last_sweep = if sweeps { now } else { self.last_sweep };
                self.tell(&changes);
                self.forget_gone(&changes);
                self.wanted.send_if_modified(|last| {
                    let differs = *last != wanted;
                    *last = wanted;
                    differs
                });
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the controllers wait for the disk");
                self.retry = now.checked_add(WRITE_RETRY).ok();
            }
        }
    }

    fn forget_gone(&mut self, changes: &[Change]) {
        for change in changes.iter().filter(|change| change.is_gone && change.id.kind.kind == "Pod") {
            self.gone.remove(change.after.uid());
            self.reports.remove(change.after.uid());
        }
    }

    /// Returns when [`Room::settle`] is to be called though nothing happens.
    pub(crate) fn next_alarm(&self) -> Option<Timestamp> {
        let sweep = self.last_sweep.checked_add(controllers::SWEEP_EVERY).ok();
        [self.retry, self.objects().next_alarm(), sweep].into_iter().flatten().min()
    }

    /// Tells whether nothing is to run, now or later, and no folder is to be removed.
    pub(crate) fn is_at_rest(&self) -> bool {
        *self.wanted.borrow() == Wanted::default() && self.retry.is_none() && self.objects().next_alarm().is_none()
    }

    /// Returns the UID of a pod.
    pub(crate) fn uid_of(&self, pod: &ResourceId) -> Option<String> {
        self.objects().get(pod).map(|pod| pod.uid().to_owned())
    }

    /// Says where a port of a Service is served by a ready pod.
    pub(crate) fn target(&self, service: &ResourceId, port: &str) -> Result<SocketAddrV4, ClusterError> {
        let Some(stored) = self.objects().get(service) else { return Err(ClusterError::NotFound { subject: service.to_string() }) };
        let unavailable = |message: String| ClusterError::Server { subject: service.to_string(), status: 503, message };
        let ports = stored.value()["spec"]["ports"].as_array().map_or(&[] as &[Value], Vec::as_slice);
        let named = |one: &&Value| one["name"] == port || one["port"].as_u64().is_some_and(|number| number.to_string() == port);
        let Some(found) = ports.iter().find(named) else {
            return Err(unavailable(format!("no service port \"{port}\" found for service \"{}\"", service.name)));
        };
        let number = found["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or_default();
        let targets = controllers::targets(self.objects(), service, number);
        targets.first().copied().ok_or_else(|| unavailable(format!("no endpoints available for service \"{}\"", service.name)))
    }
}

impl Watcher {
    /// Tells of a change; tells whether the watch goes on.
    fn tell(&self, objects: &Objects, change: &Change) -> bool {
        let in_scope = self.namespace.is_none() || self.namespace == change.id.namespace;
        if self.resource.kind != change.id.kind || !in_scope {
            return true;
        }
        let told: fn(Manifest) -> Told = if change.is_gone { Told::Deleted } else { Told::Changed };
        let rendered = objects.render(&change.after, Some(&self.resource.version));
        rendered.is_none_or(|manifest| self.sender.try_send(told(manifest)).is_ok())
    }
}

/// What the controllers of this machine know besides the objects.
struct Known<'r> {
    reports: &'r BTreeMap<String, PodReport>,
    gone: &'r BTreeSet<String>,
    published: &'r Published,
}

impl Known<'_> {
    fn step(&self, objects: &mut Objects, book: &mut Book, id: &ResourceId) {
        let is_pod = *id == ResourceId::namespaced("", "Pod", id.namespace.as_deref().unwrap_or_default(), &id.name);
        if let Some(pod) = objects.get(id).filter(|pod| is_pod && pod.is_terminating()).cloned() {
            if self.gone.contains(pod.uid()) {
                objects.note_gone(id);
                return;
            }
            self.report(objects, id, &pod);
        }
        let Some(stored) = objects.tidy(id) else { return };
        match (id.kind.group.as_str(), id.kind.kind.as_str()) {
            ("", "Pod") if stored.text("/spec/nodeName").is_none() => {
                controllers::place_pod(objects, id, &stored, book);
            }
            ("", "Pod") => self.report(objects, id, &stored),
            ("", "Service") => controllers::run_service(objects, id, &stored, self.published),
            ("batch", "CronJob") => controllers::run_cron_job(objects, id, &stored),
            _ if controllers::not_enforced(&id.kind).is_some() => controllers::say_not_enforced(objects, id),
            _ => {}
        }
        let around = Surroundings { overdue: &BTreeSet::new(), refusal: &|_| None, retry: JOB_RETRY, measures_load: false };
        objects.step(id, &stored, &around);
    }

    fn report(&self, objects: &mut Objects, id: &ResourceId, pod: &Stored) {
        if let Some(report) = self.reports.get(pod.uid()) {
            controllers::report_pod(objects, id, pod, report);
        }
    }
}

/// Reserves the address of a Service that may be made.
fn reserve(objects: &mut Objects, block: Ipv4Addr, id: &ResourceId, mode: WriteMode) {
    if id.kind != GroupKind::new("", "Service") {
        return;
    }
    let mut book = Book::read(objects, block);
    if mode == WriteMode::Persist {
        book.ask_for(id);
        book.give(objects);
    }
    if let Some(address) = book.foresee(id) {
        objects.reserve(id, address);
    }
}

fn to_value(value: &impl serde::Serialize) -> Result<Value, ClusterError> {
    serde_json::to_value(value)
        .map_err(|source| ClusterError::Other { message: "the answer can't be written".to_owned(), source: Some(source.into()) })
}

/// The answer to who is there.
pub(super) fn hello(build: u64) -> Value {
    json!({"build": build, "pid": std::process::id()})
}
