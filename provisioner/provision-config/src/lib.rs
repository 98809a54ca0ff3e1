//! Environments and templates in, wanted objects out: layers, provenance, schema, rendering and checks.
//!
//! Pure apart from [`Sources::read`], which reads the files of a project; equal sources give equal bytes.

mod problem;
pub mod settings;
mod sources;
mod suggest;
mod tree;

pub use problem::{ConfigErrors, Excerpt, Problem};
pub use settings::Settings;
pub use sources::{LoadError, Sources};
