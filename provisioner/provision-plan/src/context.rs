//! What planning knows about one wanted object, put into one of a few states.

use provision_model::{
    Desired, DesiredObject, Digest, GroupKind, Manifest, Observed, RecordedObject, ResourceId, annotations, secret_references,
};
use serde_json::Value;

use crate::autoscaling::Autoscaling;
use provision_model::ownership::without;

/// Both sides of one plan.
pub(crate) struct Context<'a> {
    pub(crate) desired: &'a Desired,
    pub(crate) observed: &'a Observed,
    pub(crate) autoscaling: Autoscaling,
}

/// Why the API server has to be asked what a write would change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The rendering is not the recorded one.
    Rendered,
    /// A secret has another value than the live object.
    SecretValue,
    /// It is live and nobody's.
    Adopted,
    /// It is live and ours, but what our write left is not recorded.
    NotRecorded,
    /// Somebody deleted it and made it again.
    Remade,
}

/// What is known about one wanted object.
pub(crate) enum State<'a> {
    /// It has to be made, and why it is not there.
    Absent(&'static str),
    /// A Job that ran once and was removed, or is just being removed.
    CompletedEarlier,
    /// The Job that is wanted is there.
    SameJob(&'a Manifest),
    /// The Job that is wanted is there and failed.
    FailedJob(&'a Manifest),
    /// It is going away.
    Terminating(&'a Manifest),
    /// It belongs to the named release.
    OtherRelease(&'a Manifest, &'a str),
    /// Rendered as recorded.
    Same(&'a Manifest, &'a RecordedObject),
    /// Only the API server can tell.
    Ask(Question<'a>),
}

/// What the API server is asked: what would a write change?
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) live: &'a Manifest,
    pub(crate) recorded: Option<&'a RecordedObject>,
    pub(crate) why: Why,
}

impl<'a> Context<'a> {
    pub(crate) fn new(desired: &'a Desired, observed: &'a Observed) -> Self {
        let wanted = desired.objects.iter().map(|object| &object.manifest);
        Self { desired, observed, autoscaling: Autoscaling::new(wanted, observed) }
    }

    /// Puts one wanted object into its state.
    pub(crate) fn state(&self, object: &DesiredObject, digest: &Digest) -> State<'a> {
        let id = object.id();
        let recorded = self.observed.recorded.get(&id);
        let same = recorded.is_some_and(|recorded| recorded.digest == *digest);
        let job = is_job(&id.kind);
        let completed = job && same && recorded.is_some_and(|recorded| recorded.completed);
        if self.is_namespace_terminating(&id) {
            return State::Absent("its namespace is being deleted");
        }
        let Some(live) = self.observed.live.get(&id) else {
            return match recorded {
                Some(_) if completed => State::CompletedEarlier,
                Some(recorded) if recorded.uid.is_some() => State::Absent("was deleted"),
                _ => State::Absent("not there"),
            };
        };
        if live.is_terminating() && completed {
            return State::CompletedEarlier;
        }
        if live.is_terminating() {
            return State::Terminating(live);
        }
        let release = live.annotation(annotations::RELEASE);
        if let Some(other) = release.filter(|release| *release != self.desired.release.as_str()) {
            return State::OtherRelease(live, other);
        }
        let written = release.is_some() && live.annotation(annotations::DIGEST) == Some(digest.as_str());
        if job && written {
            return if has_failed(live) { State::FailedJob(live) } else { State::SameJob(live) };
        }
        let recorded = recorded.filter(|recorded| recorded.uid.is_some());
        let ask = |why| State::Ask(Question { live, recorded, why });
        match recorded {
            None if release.is_some() => ask(Why::NotRecorded),
            None => ask(Why::Adopted),
            Some(recorded) if recorded.uid.as_deref() != live.uid() => ask(Why::Remade),
            Some(_) if !same => ask(Why::Rendered),
            Some(_) if self.has_new_secret(object, live) => ask(Why::SecretValue),
            Some(recorded) => State::Same(live, recorded),
        }
    }

    /// Returns exactly what is sent for an object.
    pub(crate) fn sent(&self, object: &DesiredObject, digest: &Digest, live: Option<&Manifest>) -> Manifest {
        let marks = [(annotations::DIGEST, digest.as_str()), (annotations::RELEASE, self.desired.release.as_str())];
        self.autoscaling.adapted(&object.id(), object.manifest.with_annotations(&marks), live)
    }

    /// Tells whether the API server can be asked about an object now: it serves the version in which the object is rendered.
    pub(crate) fn can_ask(&self, object: &DesiredObject) -> bool {
        self.observed.api.find(&object.manifest.group_kind(), Some(object.manifest.version())).is_some()
    }

    fn is_namespace_terminating(&self, id: &ResourceId) -> bool {
        let namespace = id.namespace.as_deref().map(|name| ResourceId::cluster("", "Namespace", name));
        namespace.and_then(|namespace| self.observed.live.get(&namespace)).is_some_and(Manifest::is_terminating)
    }

    fn has_new_secret(&self, object: &DesiredObject, live: &Manifest) -> bool {
        secret_references(object.manifest.value()).iter().any(|(pointer, reference)| {
            let wanted = self.observed.secrets.get(&format!("{}#{}", reference.path, reference.property));
            wanted.is_some_and(|wanted| live.text(pointer) != Some(wanted))
        })
    }
}

pub(crate) fn is_job(kind: &GroupKind) -> bool {
    kind.group == "batch" && kind.kind == "Job"
}

fn has_failed(job: &Manifest) -> bool {
    let conditions = job.value().pointer("/status/conditions").and_then(Value::as_array);
    let is = |condition: &Value, field: &str, text: &str| condition.get(field).and_then(Value::as_str) == Some(text);
    conditions.into_iter().flatten().any(|condition| is(condition, "type", "Failed") && is(condition, "status", "True"))
}

/// Returns `fields` without the annotations that every write sets; a difference in them alone is no change.
pub(crate) fn without_marks(fields: &Value) -> Value {
    let without_one = |fields: &Value, mark: &str| without(fields, &["metadata", "annotations", mark]);
    without_one(&without_one(fields, annotations::DIGEST), annotations::RELEASE)
}
