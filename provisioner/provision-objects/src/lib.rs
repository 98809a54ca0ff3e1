//! The rules by which an API server keeps objects, and what controllers do to them, without a server: no I/O, no clock, no chance.
//!
//! [`Objects`] is the whole state. A host sets the time, asks for a write, lets the controllers look at what changed, and takes what came of
//! it as [`Change`]s, to keep them, to tell watchers, or to take them back. What runs pods is the host's: a script, or real processes.

mod changes;
mod controllers;
mod defaults;
mod error;
mod fields;
mod immutable;
mod merge;
mod objects;
mod record;
mod settings;
mod surface;
mod topology;
mod validate;
mod values;
mod write;

pub use changes::Change;
pub use controllers::{PodState, Surroundings, conditions, is_true, selects};
pub use error::ObjectError;
pub use objects::{Objects, Stored};
pub use record::{Loaded, record};
pub use settings::{Addresses, Settings, Uids};
pub use surface::Kind;
pub use write::{Deletion, WriteMode};
