use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use provision_model::{Cause, Evidence, Health, Manifest, ResourceId, Verdict};

use super::Limits;
use super::state::TrackerState;
use super::stream::{StreamKey, Trouble};
use crate::health::{Assessment, assess, must_settle};

/// What a wait is about: one object as our write left it, and how far the wait has come.
///
/// Pure: the state and the time are inputs.
#[derive(Debug)]
pub(super) struct Wait {
    id: ResourceId,
    uid: Option<String>,
    version: Option<u64>,
    settle: SignedDuration,
    /// Listing from which on absence means gone.
    listing: u64,
    began: Timestamp,
    timeout: SignedDuration,
    current_since: Option<Timestamp>,
    last: Verdict,
}

/// What comes next in a wait.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    Done(Verdict),
    /// Look again at the next event, or after this time.
    Look(Duration),
}

enum Sight {
    NotYet(String),
    Judged(Assessment),
    Gone(Option<Arc<Manifest>>),
    Replaced,
    Blind(Trouble),
}

impl Wait {
    pub(super) fn new(written: &Manifest, limits: Limits, state: &TrackerState, began: Timestamp) -> Self {
        let id = written.id();
        let settle = if must_settle(written) { signed(limits.settle) } else { SignedDuration::ZERO };
        // A watch that runs already may not have told our write yet; only a listing that begins from now on proves absence.
        let listing = state.streams.get(&StreamKey::of(&id)).map_or(1, |stream| stream.begun + 1);
        Self {
            uid: written.uid().map(str::to_owned),
            version: written.resource_version(),
            settle,
            listing,
            began,
            timeout: signed(limits.timeout),
            current_since: None,
            last: Verdict::new(Health::InProgress, "the cluster has not told about it yet"),
            id,
        }
    }

    /// Returns the verdict of a wait that was called off.
    pub(super) fn stopped(self) -> Verdict {
        self.last
    }

    /// Looks at what is known at `now`.
    pub(super) fn step(&mut self, state: &TrackerState, now: Timestamp) -> Next {
        let review = match self.look(state, now) {
            Sight::Judged(assessment) => match assessment.verdict.health {
                Health::Failed => return Next::Done(assessment.verdict),
                Health::Current => return self.settling(assessment, state, now),
                _ => {
                    self.last = assessment.verdict;
                    assessment.review_at.map(|moment| state.time.until(moment, now))
                }
            },
            Sight::NotYet(message) => {
                self.last = Verdict::new(Health::InProgress, message);
                None
            }
            Sight::Gone(last) => return Next::Done(self.gone(last, state)),
            Sight::Replaced => {
                let message = "someone deleted it and made another one of the same name";
                return Next::Done(Verdict::failed(Cause::Conflict, message).with_next("find out who, and run again"));
            }
            Sight::Blind(trouble) => return Next::Done(blind(&trouble)),
        };
        self.current_since = None;
        let left = self.left(now);
        if left <= SignedDuration::ZERO {
            return Next::Done(self.late(state));
        }
        Next::Look(unsigned(review.map_or(left, |review| review.min(left))))
    }

    fn look(&self, state: &TrackerState, now: Timestamp) -> Sight {
        let stream = state.streams.get(&StreamKey::of(&self.id));
        let seen = state.get(&self.id);
        if let Some(trouble) = stream.and_then(|stream| stream.trouble.clone()).filter(|trouble| trouble.lasting) {
            return Sight::Blind(trouble);
        }
        let Some(object) = seen else {
            let last = self.uid.as_deref().and_then(|uid| state.last_of(uid));
            let told = stream.is_some_and(|stream| stream.synced >= self.listing);
            return match last {
                Some(last) => Sight::Gone(Some(last.clone())),
                None if told => Sight::Gone(None),
                None => Sight::NotYet("the cluster has not told about it yet".to_owned()),
            };
        };
        let is_older = matches!((object.resource_version(), self.version), (Some(seen), Some(written)) if seen < written);
        if is_older {
            return Sight::NotYet("the cluster has not told about our write yet".to_owned());
        }
        if self.uid.as_deref().is_some_and(|uid| object.uid() != Some(uid)) {
            return Sight::Replaced;
        }
        let around = state.around(object);
        let around: Vec<&Manifest> = around.iter().map(AsRef::as_ref).collect();
        let assessment = assess(object, &around, state.time.cautious(now));
        if assessment.verdict.health == Health::Current && !state.is_settled(&self.id) {
            return Sight::NotYet("what surrounds it is still being read".to_owned());
        }
        Sight::Judged(assessment)
    }

    /// Ready must last: since it was first seen here, and since its youngest container started.
    ///
    /// Times in pods are whole seconds, cut off; what is older by more than that was ready long before we looked.
    fn settling(&mut self, assessment: Assessment, state: &TrackerState, now: Timestamp) -> Next {
        let seen = now.duration_since(*self.current_since.get_or_insert(now));
        let steady = assessment.ready_since.map(|ready| state.time.cautious(now).duration_since(ready));
        let left = match steady {
            Some(steady) if steady >= self.settle + SignedDuration::from_secs(1) => SignedDuration::ZERO,
            Some(steady) => self.settle - seen.min(steady),
            None => self.settle - seen,
        };
        if left <= SignedDuration::ZERO || self.settle.is_zero() {
            return Next::Done(assessment.verdict);
        }
        self.last = Verdict::new(Health::InProgress, "it is ready and must stay so for a moment");
        Next::Look(unsigned(left))
    }

    fn left(&self, now: Timestamp) -> SignedDuration {
        self.timeout - now.duration_since(self.began)
    }

    /// A Job that its time to live removed has completed, if that is what it said last.
    fn gone(&self, last: Option<Arc<Manifest>>, state: &TrackerState) -> Verdict {
        if let Some(last) = last.filter(|last| last.kind() == "Job") {
            let around = state.around(&last);
            let around: Vec<&Manifest> = around.iter().map(AsRef::as_ref).collect();
            let verdict = assess(&without_deletion(&last), &around, Timestamp::MAX).verdict;
            let completed_event = around.iter().any(|object| object.kind() == "Event" && object.text("/reason") == Some("Completed"));
            match verdict.health {
                Health::Failed => return verdict,
                Health::Current => return Verdict::new(Health::Current, "it completed and is removed already"),
                _ if completed_event => return Verdict::new(Health::Current, "it completed and is removed already"),
                _ => {}
            }
        }
        let mut verdict =
            Verdict::new(Health::NotFound, "someone deleted it while it was coming up").with_next("find out who, and run again");
        verdict.cause = Some(Cause::Conflict);
        verdict
    }

    /// Says why it is not ready in time, as exactly as is known.
    fn late(&self, state: &TrackerState) -> Verdict {
        let seconds = self.timeout.as_secs();
        let trouble = state.streams.get(&StreamKey::of(&self.id)).and_then(|stream| stream.trouble.as_ref());
        if let Some(trouble) = trouble {
            return Verdict::failed(Cause::Unreachable, format!("nothing was heard of it within {seconds} s: {}", trouble.message))
                .with_next("see whether the API server answers, and resume");
        }
        let cause = self.last.cause.unwrap_or(if self.last.health == Health::Terminating { Cause::Finalizer } else { Cause::Deadline });
        let message = format!("it was not ready within {seconds} s: {}", self.last.message);
        let next = self.last.next.clone().unwrap_or_else(|| "see its events, or give it more time".to_owned());
        let mut evidence = self.last.evidence.clone();
        evidence.subject.get_or_insert_with(|| self.id.to_string());
        Verdict::failed(cause, message).with_evidence(evidence).with_next(next)
    }
}

/// Says that a kind can't be watched: no verdict, and no harm to others.
pub(super) fn blind(trouble: &Trouble) -> Verdict {
    let mut verdict = Verdict::new(Health::Unknown, format!("its state can't be read: {}", trouble.message))
        .with_evidence(Evidence { message: Some(trouble.message.clone()), ..Evidence::default() })
        .with_next("see whether the API server answers, serves the kind and lets you list and watch it");
    verdict.cause = match (trouble.lasting, trouble.not_served) {
        (true, false) => Some(Cause::Forbidden),
        (true, true) => None,
        (false, _) => Some(Cause::Unreachable),
    };
    verdict
}

/// Says why an object does not go away.
pub(super) fn lingers(object: &Manifest, timeout: Duration) -> Verdict {
    let seconds = timeout.as_secs();
    let names = |pointer: &str| -> Vec<String> {
        let list = object.value().pointer(pointer).and_then(serde_json::Value::as_array);
        list.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
    };
    let finalizers = names("/metadata/finalizers");
    let conditions = object.value().pointer("/status/conditions").and_then(serde_json::Value::as_array);
    let said: Vec<_> = conditions
        .into_iter()
        .flatten()
        .filter(|entry| entry.get("status").and_then(serde_json::Value::as_str) == Some("True"))
        .filter(|entry| entry.get("type").and_then(serde_json::Value::as_str).is_some_and(|kind| kind.starts_with("Namespace")))
        .filter_map(|entry| entry.get("message")?.as_str())
        .collect();
    let evidence =
        Evidence { subject: Some(object.id().to_string()), message: (!said.is_empty()).then(|| said.join("; ")), ..Evidence::default() };
    let verdict = if !finalizers.is_empty() {
        let message = format!("it is not gone after {seconds} s: its finalizers are not removed: {}", finalizers.join(", "));
        Verdict::failed(Cause::Finalizer, message).with_next("see why the controllers behind these finalizers do not end their work")
    } else if !said.is_empty() {
        Verdict::failed(Cause::Finalizer, format!("it is not gone after {seconds} s: {}", said.join("; ")))
            .with_next("remove what remains in the namespace, or see why it does not go")
    } else {
        Verdict::failed(Cause::Deadline, format!("it is not gone after {seconds} s")).with_next("look at it again later, and resume")
    };
    verdict.with_evidence(evidence)
}

fn without_deletion(object: &Manifest) -> Manifest {
    let mut value = object.value().clone();
    if let Some(metadata) = value.get_mut("metadata").and_then(serde_json::Value::as_object_mut) {
        metadata.remove("deletionTimestamp");
    }
    Manifest::try_from(value).unwrap_or_else(|_| object.clone())
}

pub(super) fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

fn unsigned(duration: SignedDuration) -> Duration {
    Duration::try_from(duration).unwrap_or(Duration::ZERO)
}
