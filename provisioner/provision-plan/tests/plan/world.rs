//! A cluster in memory that carries plans out and checks that they may be.

use std::collections::{BTreeMap, BTreeSet};

use provision_model::ownership::{owned_fields, project};
use provision_model::{
    Action, ApiResource, ApiSurface, Change, ClusterIdentity, Desired, FIELD_MANAGER, GroupKind, Manifest, Observed, OnRemove, Plan,
    Precondition, Prediction, RecordedObject, ResourceId,
};
use provision_plan::{PlanError, PlanOptions, needs_prediction, plan_with};
use serde_json::{Value, json};

use crate::apply::apply;
use crate::text::{KINDS, desired, id};

/// The cluster, and what releases left.
pub(crate) struct World {
    pub(crate) observed: Observed,
    pub(crate) options: PlanOptions,
    uids: u32,
}

impl World {
    pub(crate) fn new() -> Self {
        let served = KINDS.iter().filter(|kind| kind.0 != "cr").map(|(word, version, kind, namespaced)| ApiResource {
            kind: GroupKind::new(version.rsplit_once('/').map_or("", |(group, _)| group), *kind),
            version: version.rsplit('/').next().unwrap().to_owned(),
            plural: (*word).to_owned(),
            namespaced: *namespaced,
            preferred: true,
            listable: true,
        });
        let observed = Observed {
            cluster: ClusterIdentity { uid: "0123456789".into(), version: "v1.36.3".into() },
            api: ApiSurface { resources: served.collect() },
            live: BTreeMap::new(),
            recorded: BTreeMap::new(),
            generation: None,
            predicted: BTreeMap::new(),
            fingerprint_salt: String::new(),
            secrets: BTreeMap::new(),
        };
        Self { observed, options: PlanOptions::default(), uids: 0 }
    }

    /// A world in which the text was applied.
    pub(crate) fn with(text: &str) -> Self {
        let mut world = Self::new();
        world.up(text);
        world
    }

    /// Asks the API server and plans.
    pub(crate) fn try_plan(&mut self, desired: &Desired) -> Result<Plan, PlanError> {
        self.observed.predicted.clear();
        for sent in needs_prediction(desired, &self.observed) {
            let answer = self.predict(&sent);
            self.observed.predicted.insert(sent.id(), answer);
        }
        plan_with(desired, &self.observed, &self.options)
    }

    pub(crate) fn plan(&mut self, text: &str) -> Plan {
        self.try_plan(&desired(text)).unwrap()
    }

    /// Plans and applies.
    pub(crate) fn up(&mut self, text: &str) -> Plan {
        let plan = self.plan(text);
        self.apply(&plan);
        plan
    }

    /// Number of dry-runs that a plan would cost now.
    pub(crate) fn questions(&self, text: &str) -> usize {
        needs_prediction(&desired(text), &self.observed).len()
    }

    /// Refuses what a real server refuses: a changed selector or Job template, an impossible port.
    fn predict(&self, sent: &Manifest) -> Prediction {
        let live = self.observed.live.get(&sent.id()).unwrap();
        let differs = |pointer: &str| sent.value().pointer(pointer) != live.value().pointer(pointer);
        if sent.value().pointer("/spec/port") == Some(&json!(70_000)) {
            return Prediction::Refused("spec.port: must be at most 65535".into());
        }
        match sent.kind() {
            "Deployment" if differs("/spec/selector") => Prediction::Immutable("spec.selector: field is immutable".into()),
            "Job" if differs("/spec/template") => Prediction::Immutable("spec.template: field is immutable".into()),
            _ => Prediction::Accepted(apply(Some(live), &self.resolved(sent), FIELD_MANAGER, "Apply")),
        }
    }

    /// Carries a plan out in its order and checks every precondition.
    pub(crate) fn apply(&mut self, plan: &Plan) {
        check_order(plan);
        for change in &plan.changes {
            self.carry_out(plan, change);
        }
        self.observed.generation = Some(self.observed.generation.unwrap_or(0) + 1);
        for definition in self.observed.live.values().filter(|manifest| manifest.kind() == "CustomResourceDefinition") {
            let kind = GroupKind::new(definition.text("/spec/group").unwrap(), definition.text("/spec/names/kind").unwrap());
            if self.observed.api.find(&kind, None).is_none() {
                let resource =
                    ApiResource { kind, version: "v1".into(), plural: "widgets".into(), namespaced: true, preferred: true, listable: true };
                self.observed.api.resources.push(resource);
            }
        }
    }

    fn carry_out(&mut self, plan: &Plan, change: &Change) {
        let id = &change.id;
        let live = self.observed.live.get(id);
        match change.precondition() {
            Precondition::Absent if change.action.writes() => assert!(live.is_none(), "{id}"),
            Precondition::Uid(uid) if change.action.writes() => assert_eq!(live.and_then(Manifest::uid), Some(uid), "{id}"),
            Precondition::Absent | Precondition::Uid(_) | Precondition::None => {}
        }
        let Some(sent) = &change.manifest else {
            if change.action == Action::Delete {
                self.observed.live.remove(id);
            }
            self.observed.recorded.remove(id);
            return;
        };
        if let Some(namespace) = id.namespace.as_deref().filter(|_| change.action.writes()) {
            assert!(self.observed.live.contains_key(&ResourceId::cluster("", "Namespace", namespace)), "{id} has no namespace yet");
        }
        let result = match change.action {
            Action::Unchanged => live.cloned(),
            Action::Update => Some(apply(live, &self.resolved(sent), FIELD_MANAGER, "Apply")),
            Action::Create | Action::Replace => Some(apply(None, &self.born(self.resolved(sent)), FIELD_MANAGER, "Apply")),
            Action::Delete | Action::Release => panic!("{id} is wanted"),
        };
        if let Some(result) = result {
            self.uids += 1;
            self.record(plan, change, &result);
            self.observed.live.insert(id.clone(), result);
        }
    }

    fn record(&mut self, plan: &Plan, change: &Change, result: &Manifest) {
        let object = plan.desired.objects.iter().find(|object| object.id() == change.id).unwrap();
        let before = self.observed.recorded.get(&change.id).filter(|_| !change.action.writes());
        let fields = before.map_or_else(|| owned_fields(result, FIELD_MANAGER), |before| before.fields.clone());
        let recorded = RecordedObject {
            rendered: object.manifest.clone(),
            digest: object.manifest.digest(),
            origin: object.origin.clone(),
            uid: result.uid().map(str::to_owned),
            applied: before.map_or_else(|| project(result, &fields), |before| before.applied.clone()),
            fields,
            completed: result.kind() == "Job",
            keep: object.options.on_remove == OnRemove::Keep,
        };
        self.observed.recorded.insert(change.id.clone(), recorded);
    }

    fn born(&self, sent: Manifest) -> Manifest {
        let mut value = Value::from(sent);
        value["metadata"]["uid"] = json!(format!("uid-{}", self.uids));
        Manifest::try_from(value).unwrap()
    }

    /// Puts fingerprints where references stand, as a reader of Secrets does.
    fn resolved(&self, sent: &Manifest) -> Manifest {
        let mut value = Value::from(sent.clone());
        for (pointer, reference) in provision_model::secret_references(sent.value()) {
            *value.pointer_mut(&pointer).unwrap() = json!(self.observed.secrets[&format!("{}#{}", reference.path, reference.property)]);
        }
        Manifest::try_from(value).unwrap()
    }

    /// Makes an object that is not ours; `text` as for wanted ones.
    pub(crate) fn foreign(&mut self, text: &str, manager: &str) {
        for object in desired(text).objects {
            self.uids += 1;
            let live = apply(None, &self.born(object.manifest.clone()), manager, "Update");
            self.observed.live.insert(object.id(), live);
        }
    }

    /// Changes one field of a live object as another writer does; `subresource` may be empty.
    pub(crate) fn edit(&mut self, object: &str, writer: (&str, &str), pointer: &str, new: Value) {
        let live = self.observed.live.get(&id(object)).unwrap();
        let fields = pointer.trim_start_matches('/').rsplit('/').fold(json!({}), |below, key| json!({format!("f:{key}"): below}));
        let mut entries = live.managed_fields().to_vec();
        for entry in &mut entries {
            take_away(&mut entry["fieldsV1"], &fields);
        }
        entries.push(json!({"manager": writer.0, "operation": "Update", "subresource": writer.1, "time": "2026-02-03T04:05:06Z", "fieldsV1": fields}));
        let mut value = Value::from(live.clone());
        value["metadata"]["managedFields"] = json!(entries);
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        value.pointer_mut(parent).unwrap()[key] = new;
        self.observed.live.insert(id(object), Manifest::try_from(value).unwrap());
    }

    /// Changes a live object at will.
    pub(crate) fn set(&mut self, object: &str, pointer: &str, key: &str, new: Value) {
        let live = self.observed.live.get_mut(&id(object)).unwrap();
        let mut value = Value::from(live.clone());
        value.pointer_mut(pointer).unwrap()[key] = new;
        *live = Manifest::try_from(value).unwrap();
    }

    pub(crate) fn lose(&mut self, object: &str) {
        self.observed.live.remove(&id(object)).unwrap();
    }

    pub(crate) fn live(&self, object: &str) -> &Value {
        self.observed.live[&id(object)].value()
    }
}

fn take_away(fields: &mut Value, taken: &Value) {
    let Some(map) = fields.as_object_mut() else { return };
    for (key, below) in taken.as_object().unwrap() {
        if below.as_object().unwrap().is_empty() {
            map.shift_remove(key);
        } else if let Some(fields) = map.get_mut(key) {
            take_away(fields, below);
        }
    }
}

/// Checks what a plan promises: every edge satisfied, every end known, nothing twice, who leaves comes last.
pub(crate) fn check_order(plan: &Plan) {
    let place: BTreeMap<&ResourceId, usize> = plan.changes.iter().enumerate().map(|(place, change)| (&change.id, place)).collect();
    assert_eq!(place.len(), plan.changes.len());
    for edge in &plan.edges {
        assert!(place[&edge.before] < place[&edge.after], "{} before {}", edge.before, edge.after);
    }
    let wanted: BTreeSet<ResourceId> = plan.desired.objects.iter().map(|object| object.id()).collect();
    let leaves: Vec<bool> = plan.changes.iter().map(|change| !wanted.contains(&change.id)).collect();
    assert!(leaves.is_sorted());
    assert_eq!(leaves.iter().filter(|leaves| !**leaves).count(), wanted.len());
}

/// One line for each write: `update Deployment/n/api: spec.replicas 1 -> 2 (rendered differently)`.
pub(crate) fn lines(plan: &Plan) -> Vec<String> {
    let text = |value: &Option<Value>| value.as_ref().map_or("nothing".to_owned(), Value::to_string);
    let line = |change: &Change| {
        let action = format!("{:?}", change.action).to_lowercase();
        let fields = change.diff.iter().map(|field| format!("{} {} -> {}", field.path, text(&field.before), text(&field.after)));
        let fields = fields.collect::<Vec<_>>().join(", ");
        let colon = if fields.is_empty() { "" } else { ": " };
        format!("{action} {}{colon}{fields} ({})", change.id, change.reason)
    };
    plan.changes.iter().filter(|change| change.action.writes()).map(line).collect()
}

/// Code and object of each finding: `fatal immutable-field Deployment/n/api`.
pub(crate) fn codes(plan: &Plan) -> Vec<String> {
    let line = |finding: &provision_model::Finding| {
        let on = finding.resource.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
        format!("{:?} {}{on}", finding.severity, finding.code).to_string()
    };
    plan.findings.iter().map(line).collect()
}
