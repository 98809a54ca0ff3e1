//! Decides what one apply will do: compares what is wanted with what was recorded and what is live, orders the changes, and shows them.
//!
//! Pure: no I/O, no clock, no randomness; equal inputs give equal plans. The executor only carries plans out.

mod autoscaling;
mod change;
mod compare;
mod context;
mod down;
mod drift;
mod edges;
mod error;
pub mod graph;
mod leaving;
mod plan;
mod references;
mod selectors;
mod served;
mod view;

pub use down::plan_down;
pub use drift::{Drift, DriftKind, DriftedField, drift};
pub use error::PlanError;
pub use leaving::{Contents, leaving_namespaces};
pub use plan::{PlanOptions, needs_prediction, plan, plan_with};
pub use view::{Segment, Style, plain, view, view_drift};
