//! What is done to one wanted object.

use provision_model::{
    Action, Change, DesiredObject, Digest, FIELD_MANAGER, FieldChange, FieldOwner, FieldPath, Finding, Manifest, Prediction,
    RecordedObject, ReplacePolicy, ResourceId,
};
use serde_json::Value;

use crate::compare;
use crate::context::{Context, Question, State, Why, is_job, without_marks};
use provision_model::ownership::{foreign_owners, owned_fields, owners_of, project, union};

/// What deciding over all objects brings to light.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) findings: Vec<Finding>,
    /// Objects about which the API server was not asked.
    pub(crate) not_predicted: Vec<ResourceId>,
}

/// Decides what is done to one wanted object.
pub(crate) fn decide(cx: &Context<'_>, object: &DesiredObject, notes: &mut Notes) -> Change {
    let digest = object.manifest.digest();
    let draft = Draft { cx, object, digest: &digest };
    match cx.state(object, &digest) {
        State::Absent(reason) => draft.change(Action::Create, None, reason),
        State::CompletedEarlier => draft.change(Action::Unchanged, None, "completed earlier"),
        State::SameJob(live) => draft.change(Action::Unchanged, Some(live), "same Job"),
        State::FailedJob(live) => draft.change(Action::Replace, Some(live), "failed earlier"),
        State::Terminating(live) => draft.change(Action::Replace, Some(live), "is being deleted"),
        State::OtherRelease(live, release) => {
            let message = format!("{} belongs to release `{release}`", object.id());
            notes.findings.push(
                Finding::fatal("owned-by-another-release", message)
                    .help("take it out of one of the releases")
                    .on(object.id())
                    .at(object.origin.clone()),
            );
            draft.change(Action::Unchanged, Some(live), &format!("belongs to release {release}"))
        }
        State::Same(live, recorded) => draft.drifted(live, recorded),
        State::Ask(question) => draft.predicted(question, notes),
    }
}

struct Draft<'a> {
    cx: &'a Context<'a>,
    object: &'a DesiredObject,
    digest: &'a Digest,
}

impl Draft<'_> {
    fn change(&self, action: Action, live: Option<&Manifest>, reason: &str) -> Change {
        Change {
            id: self.object.id(),
            action,
            manifest: Some(self.cx.sent(self.object, self.digest, live.filter(|_| action != Action::Replace))),
            live_uid: live.and_then(Manifest::uid).map(str::to_owned),
            diff: Vec::new(),
            reason: reason.to_owned(),
            others: Vec::new(),
            origin: Some(self.object.origin.clone()),
        }
    }

    /// Rendered as recorded: only what others did to our fields counts.
    fn drifted(&self, live: &Manifest, recorded: &RecordedObject) -> Change {
        let fields = self.cx.autoscaling.comparable(&self.object.id(), live, &recorded.fields);
        let diff = compare::projections(&project(live, &fields), &recorded.applied, &fields);
        if diff.is_empty() {
            return self.change(Action::Unchanged, Some(live), "as recorded");
        }
        let paths: Vec<FieldPath> = diff.iter().map(|change| change.path.clone()).collect();
        let others = owners_of(live, &paths, FIELD_MANAGER);
        let reason = match writers(&others) {
            None => "drifted".to_owned(),
            Some(writers) => format!("drifted: changed by {writers}"),
        };
        Change { diff: compare::masked(&self.object.manifest, diff), others, ..self.change(Action::Update, Some(live), &reason) }
    }

    fn predicted(&self, question: Question<'_>, notes: &mut Notes) -> Change {
        let (id, live) = (self.object.id(), question.live);
        let reason = match question.why {
            Why::Rendered => "rendered differently".to_owned(),
            Why::SecretValue => "a secret has a new value".to_owned(),
            Why::NotRecorded => "ours but not recorded".to_owned(),
            Why::Remade => "made again by someone else".to_owned(),
            Why::Adopted => adopted(live, self.object, &mut notes.findings),
        };
        if !self.cx.can_ask(self.object) {
            return Change { diff: self.rendered_diff(question), ..self.change(Action::Update, Some(live), &reason) };
        }
        match self.cx.observed.predicted.get(&id) {
            None => {
                notes.not_predicted.push(id);
                self.change(Action::Update, Some(live), &reason)
            }
            Some(Prediction::Accepted(result)) => self.accepted(question, result, &reason),
            Some(Prediction::Immutable(message)) if self.is_replaceable() => {
                let reason = format!("{reason}; cannot change in place: {message}");
                Change { diff: self.rendered_diff(question), ..self.change(Action::Replace, Some(live), &reason) }
            }
            Some(Prediction::Immutable(message)) => {
                let finding = Finding::fatal("immutable-field", format!("{id} cannot change in place: {message}"))
                    .help("set the annotation `provision.dev/replace: allowed` if it may be deleted and made again");
                self.refused(finding, question, &reason, notes)
            }
            Some(Prediction::Refused(message)) => {
                let finding = Finding::fatal("refused-by-server", format!("the API server would refuse {id}: {message}"));
                self.refused(finding, question, &reason, notes)
            }
        }
    }

    /// The API server says what would come out: fields that we would own, and fields that we own and would lose.
    fn accepted(&self, question: Question<'_>, result: &Manifest, reason: &str) -> Change {
        let live = question.live;
        let written = without_marks(&owned_fields(result, FIELD_MANAGER));
        let recorded = question.recorded.map_or_else(|| written.clone(), |recorded| union(&written, &recorded.fields));
        let all = without_marks(&union(&recorded, &owned_fields(live, FIELD_MANAGER)));
        let fields = self.cx.autoscaling.comparable(&self.object.id(), live, &all);
        let diff = compare::projections(&project(live, &fields), &project(result, &fields), &fields);
        if diff.is_empty() && matches!(question.why, Why::Rendered | Why::SecretValue) {
            return self.change(Action::Unchanged, Some(live), "rendered differently, same values");
        }
        let others = foreign_owners(live, &written, FIELD_MANAGER);
        Change { diff: compare::masked(&self.object.manifest, diff), others, ..self.change(Action::Update, Some(live), reason) }
    }

    /// Notes why the API server would not take the object, and shows what was to change.
    fn refused(&self, finding: Finding, question: Question<'_>, reason: &str, notes: &mut Notes) -> Change {
        notes.findings.push(finding.on(self.object.id()).at(self.object.origin.clone()));
        Change { diff: self.rendered_diff(question), ..self.change(Action::Update, Some(question.live), reason) }
    }

    fn is_replaceable(&self) -> bool {
        match self.object.options.replace {
            ReplacePolicy::Allowed => true,
            ReplacePolicy::KindDefault => is_job(&self.object.id().kind),
        }
    }

    /// The difference of the renderings, for where the API server gives no result.
    fn rendered_diff(&self, question: Question<'_>) -> Vec<FieldChange> {
        let mut diff = Vec::new();
        let after = self.object.manifest.value();
        match question.recorded {
            Some(recorded) => compare::values(recorded.rendered.value(), after, &FieldPath::default(), &mut diff),
            None => {
                compare::values(question.live.value(), after, &FieldPath::default(), &mut diff);
                diff.retain(|change| change.after.is_some());
            }
        }
        compare::masked(&self.object.manifest, diff)
    }
}

/// Names the writers, each once: `kubectl-edit (Update, 2026-01-02T03:04:05Z)`.
pub(crate) fn writers(owners: &[FieldOwner]) -> Option<String> {
    let mut names: Vec<String> = owners.iter().map(owner_text).collect();
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Names one writer with operation, subresource and time.
pub(crate) fn owner_text(owner: &FieldOwner) -> String {
    let subresource = owner.subresource.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
    let time = owner.time.as_ref().map(|time| format!(", {time}")).unwrap_or_default();
    format!("{} ({}{subresource}{time})", owner.manager, owner.operation)
}

/// Says whose an adopted object was, and warns when another tool will go on writing it.
fn adopted(live: &Manifest, object: &DesiredObject, findings: &mut Vec<Finding>) -> String {
    let tools = tools(live);
    if tools.is_empty() {
        return "adopted".to_owned();
    }
    let tools = tools.join(", ");
    let message = format!("{} was made with {tools}; it is taken over", object.id());
    findings.push(
        Finding::warning("adopted", message)
            .help("stop managing it there, or both will overwrite each other")
            .on(object.id())
            .at(object.origin.clone()),
    );
    format!("adopted from {tools}")
}

fn tools(live: &Manifest) -> Vec<String> {
    let mut tools = Vec::new();
    if let Some(release) = live.annotation("meta.helm.sh/release-name") {
        tools.push(format!("Helm (release {release})"));
    } else if live.label("app.kubernetes.io/managed-by") == Some("Helm") {
        tools.push("Helm".to_owned());
    }
    if live.annotation("argocd.argoproj.io/tracking-id").is_some() {
        tools.push("Argo CD".to_owned());
    }
    if live.label("kustomize.toolkit.fluxcd.io/name").is_some() || live.label("helm.toolkit.fluxcd.io/name").is_some() {
        tools.push("Flux".to_owned());
    }
    let by_kubectl = |entry: &Value| entry.get("manager").and_then(Value::as_str).is_some_and(|name| name.starts_with("kubectl"));
    if live.annotation("kubectl.kubernetes.io/last-applied-configuration").is_some() || live.managed_fields().iter().any(by_kubectl) {
        tools.push("kubectl".to_owned());
    }
    tools
}
