//! Resumable work: steps with dependencies, a journal of what began and what ended, resume after a crash, undo.
//!
//! | a saga | this crate |
//! |---|---|
//! | says what must happen before what, and how each step is undone | [`Saga`], [`Step`] |
//! | records intent before an effect and the result after it | [`Journal`], [`JournalStore`], [`Event`] |
//! | runs what is not done yet, several steps at a time, and stops only between steps | [`execute`] |
//! | goes on after `kill -9`: what the journal says is done is not done again | [`execute`] on the same journal |
//! | takes back what was done, newest first, when told to; goes on with that after `kill -9`, too | [`OnFailure::Unwind`] |
//!
//! A step runs *at least* once: it must be repeatable. Steps share data only through the journal, by the outputs of the steps before
//! them. The engine knows nothing of clusters or databases and depends on nothing of ours.
//!
//! The model is that of distributed sagas (Garcia-Molina and Salem, "Sagas", SIGMOD 1987) with a write-ahead intent log.

mod cancel;
mod event;
mod execute;
pub mod inject;
mod journal;
mod saga;
mod undo;

pub use cancel::CancelToken;
pub use event::{Event, IllegalEvent, StepState};
pub use execute::{ExecuteError, Execution, Observer, OnFailure, Options, Outcome, Signal, execute};
pub use journal::{Journal, JournalError, JournalStore, MemoryJournal, Record};
pub use saga::{BuildError, Evidence, Lane, Outputs, Saga, Step, StepContext, StepError, StepName};
