//! What plans decide, as data: a small text form of objects (`plan/text.rs`) on a cluster in memory that does server-side apply
//! (`plan/world.rs`).
#![expect(clippy::unwrap_used, reason = "a test that can't go on may panic")]

#[path = "plan/apply.rs"]
mod apply;
#[path = "plan/decisions.rs"]
mod decisions;
#[path = "plan/drift.rs"]
mod drift;
#[path = "plan/order.rs"]
mod order;
#[path = "plan/properties.rs"]
mod properties;
#[path = "plan/prune.rs"]
mod prune;
#[path = "plan/text.rs"]
mod text;
#[path = "plan/view.rs"]
mod view;
#[path = "plan/world.rs"]
mod world;
