use jiff::{SignedDuration, Timestamp};
use provision_model::{Cause, Evidence, Health, Manifest, Verdict};

/// When a symptom stops being tolerated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// It will not pass by itself.
    Over,
    /// It may pass until then.
    Until(Timestamp),
    /// It is tolerated until the deadline of the wait.
    Open,
}

impl Patience {
    /// Tolerates for some seconds after `since`; an unknown beginning counts as long ago.
    pub(super) fn seconds_after(since: Option<Timestamp>, seconds: i64) -> Self {
        since.map_or(Self::Over, |since| Self::Until(since.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(since)))
    }

    fn is_over(self, now: Timestamp) -> bool {
        match self {
            Self::Over => true,
            Self::Until(end) => end <= now,
            Self::Open => false,
        }
    }
}

/// A sign that an object may not come up, with its cause.
#[derive(Debug, Clone)]
pub(super) struct Symptom {
    pub(super) cause: Option<Cause>,
    pub(super) message: String,
    pub(super) evidence: Evidence,
    pub(super) next: &'static str,
    pub(super) patience: Patience,
}

impl Symptom {
    pub(super) fn new(cause: Cause, object: &Manifest, message: impl Into<String>) -> Self {
        Self {
            cause: Some(cause),
            message: message.into(),
            evidence: Evidence { subject: Some(object.id().to_string()), ..Evidence::default() },
            next: "",
            patience: Patience::Open,
        }
    }

    pub(super) fn says(mut self, message: &str) -> Self {
        self.evidence.message = Some(message.trim().to_owned()).filter(|message| !message.is_empty());
        self
    }

    pub(super) fn next(mut self, next: &'static str) -> Self {
        self.next = next;
        self
    }

    pub(super) fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    fn verdict(self, health: Health) -> Verdict {
        let mut verdict = Verdict::new(health, self.message).with_evidence(self.evidence);
        verdict.cause = self.cause;
        if self.next.is_empty() { verdict } else { verdict.with_next(self.next) }
    }
}

/// A verdict, and what a watcher must know to keep it true without new events.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assessment {
    /// The verdict. In progress with a cause: suspected, and tolerated so far.
    pub(crate) verdict: Verdict,
    /// When the same objects give another verdict.
    pub(crate) review_at: Option<Timestamp>,
    /// Since when all pods are ready, for a workload that is current.
    pub(crate) ready_since: Option<Timestamp>,
}

impl From<Verdict> for Assessment {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, review_at: None, ready_since: None }
    }
}

impl Assessment {
    pub(super) fn current(message: impl Into<String>) -> Self {
        Verdict::new(Health::Current, message).into()
    }

    pub(super) fn in_progress(message: impl Into<String>) -> Self {
        Verdict::new(Health::InProgress, message).into()
    }

    /// Lowers the verdict by what was noticed: failed when a symptom is no longer tolerated, else in progress with the suspicion.
    pub(super) fn weigh(self, symptoms: Vec<Symptom>, now: Timestamp) -> Self {
        let review_at = symptoms
            .iter()
            .filter_map(|symptom| match symptom.patience {
                Patience::Until(end) if end > now => Some(end),
                _ => None,
            })
            .chain(self.review_at)
            .min();
        let failed = symptoms.iter().position(|symptom| symptom.patience.is_over(now));
        let mut symptoms = symptoms;
        match failed {
            Some(index) => symptoms.swap_remove(index).verdict(Health::Failed).into(),
            None if symptoms.is_empty() => Self { review_at, ..self },
            None => {
                let index = symptoms.iter().position(|symptom| symptom.patience != Patience::Open).unwrap_or(0);
                let symptom = symptoms.swap_remove(index);
                Self { verdict: symptom.verdict(Health::InProgress), review_at, ready_since: None }
            }
        }
    }
}
