//!
//! Records of a key stay in their order, in the log and in the work on them. The bus may give a record twice, and may come back without
//! its log: what must be done once is decided elsewhere.

mod context;
mod error;
mod publisher;
mod settings;
mod watermarks;

pub use error::BusError;
pub use publisher::{Placed, Publisher, Record};
pub use settings::{BusSettings, dead_letter_topic, event_topic};
