//! The event bus: a publisher that says where each record went, and a consumer group that loses none.
//!
//! Records of a key stay in their order, in the log and in the work on them. The bus may give a record twice, and may come back without
//! its log: what must be done once is decided elsewhere.

mod consumer;
mod context;
mod error;
mod publisher;
mod settings;
mod topics;
mod watermarks;

pub use consumer::{ConsumerOptions, Received, Verdict, consume};
pub use error::BusError;
pub use publisher::{Placed, Publisher, Record};
pub use settings::{BusSettings, dead_letter_topic, event_topic};
pub use topics::{Ensured, Topic, ensure_topic};
