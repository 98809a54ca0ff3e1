//! The tables of the feature platform: states and their order, steps, events, outbox, replay and locks; instructions are encrypted.
//!
//! The database is the truth about features. Every change of a feature is one transaction of its row, its step and its event, and the
//! event is in the outbox by being there: it stays unpublished until the event bus has acknowledged it. The database itself refuses a
//! transition that is not one forward or to FAILED or CANCELLED, a gap in a feature's events, and an event after its end.
//!
//! The migrations are feature-service's.

mod archive;
mod artifacts;
mod create;
mod error;
mod events;
mod failure;
mod features;
mod keys;
mod lock;
mod outbox;
mod replay;
mod steps;
mod store;
mod transition;

pub use artifacts::Expired;
pub use create::{Creation, New};
pub use error::StoreError;
pub use events::{CHANNEL, StoredEvent, Trace};
pub use failure::{Cause, Failure};
pub use features::{Feature, List, Page, StoredArtifact};
pub use keys::{Instruction, KeyError, Keys};
pub use lock::{Chore, ChoreLock, FeatureLock};
pub use outbox::{Acknowledged, Outbox};
pub use replay::{Difference, ReplayError, Replayed, StepOutcome, replay};
pub use steps::{Step, StepRun, StepType, step_id};
pub use store::Store;
pub use transition::{Move, Transition, is_final};
