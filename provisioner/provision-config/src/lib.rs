//! Environments and templates in, wanted objects out: layers, provenance, schema, rendering and checks.
//!
//! Pure apart from [`Sources::read`], which reads the files of a project; equal sources give equal bytes.

mod check;
mod diff;
mod explain;
mod merge;
mod openapi;
mod path;
mod pointer;
mod problem;
mod render;
mod resolve;
pub mod settings;
mod shape;
mod sources;
mod suggest;
mod tree;
mod yaml;

pub use diff::{EnvDiff, ObjectChange, ValueChange, ValueDifference, env_diff};
pub use explain::{FieldExplanation, ValueExplanation, explain_field, explain_value};
pub use openapi::{SchemaFinding, SchemaSubject, Schemas, check_schemas};
pub use problem::{ConfigErrors, Excerpt, Problem};
pub use render::{Provenance, RenderInputs, Rendered, Renderer, render};
pub use resolve::{Composed, Environment, Layered, Selection, ValueEntry, resolve};
pub use settings::Settings;
pub use shape::json_schema;
pub use sources::{LoadError, Sources};
pub use suggest::nearest;
pub use yaml::{to_yaml, value_to_yaml};
