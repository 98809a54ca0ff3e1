//! Environments and templates in, wanted objects out: layers, provenance, schema, rendering and checks.
//!
//! Pure apart from [`Sources::read`], which reads the files of a project; equal sources give equal bytes.

pub mod settings;

pub use settings::Settings;
