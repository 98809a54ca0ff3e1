//! Turns a plan into a saga over a cluster: lease, inventory, writes, waits, verification, history.
//!
//! Everything here talks to the outside only through [`Cluster`], [`SecretStore`] and [`Clock`]; each has an in-memory implementation
//! beside it that is as strict as the real thing.

mod clock;
mod cluster;
mod context;
mod error;
mod health;
mod history;
mod lease;
mod observe;
mod outcome;
mod pods;
mod preflight;
mod progress;
mod record;
mod redact;
mod restart;
mod retry;
mod run;
mod secret_store;
mod secrets;
mod status;
mod tracker;

pub use clock::{Clock, ManualClock, SystemClock};
pub use cluster::{
    Access, Cluster, ClusterError, Deletion, Failure, Fault, Listing, LogLines, MemoryCluster, PodScript, Request, RequestCounts,
    ServiceAnswer, Verb, WatchEvent, Watching, WriteMode,
};
pub use context::{ProgressSink, RunContext};
pub use error::ApplyError;
pub use health::{LogSource, StatusLine, explain_logs, judge};
pub use history::{history, load_generation, load_pending};
pub use observe::{contents, observe, predict};
pub use outcome::{ApplyOptions, LockMode, ObjectFailure, Refusal, RunOutcome, Skipped, StopReason, Summary};
pub use pods::{Pod, pods};
pub use preflight::preflight;
pub use progress::{ObjectOutcome, Phase, Progress, StepInfo, StepOutcome};
pub use record::{Generation, GenerationKind, GenerationState, RecordError, Recorded};
pub use redact::Redactor;
pub use restart::{restart, workloads};
pub use run::apply;
pub use secret_store::{MemorySecrets, SecretError, SecretStore, SecretValue};
pub use secrets::Fingerprints;
pub use status::{ObjectStatus, ReleaseStatus, notices, status};
pub use tracker::{Limits, Tracker};
