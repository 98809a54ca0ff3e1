//! Plain data that every other room shares: what is wanted, what is there, what will change and what was found wrong.
//!
//! Nothing here does I/O, reads a clock or draws randomness. Planner and executor never depend on each other; they meet in these types.

mod desired;
mod digest;
mod environment;
mod field;
mod finding;
mod health;
mod id;
mod manifest;
mod observed;
pub mod ownership;
mod period;
mod plan;
mod secret;

pub use desired::{Dependency, Desired, DesiredObject, ObjectOptions, OnRemove, Policy, ReplacePolicy, Scope};
pub use digest::{Digest, InvalidDigest, canonical_json};
pub use environment::{EnvironmentName, InvalidName, RegionName, ReleaseName};
pub use field::{FieldChange, FieldOwner, FieldPath, FieldSegment};
pub use finding::{Finding, FindingCode, Severity};
pub use health::{Cause, Evidence, Health, Verdict};
pub use id::{GroupKind, ResourceId};
pub use manifest::{FIELD_MANAGER, LOCAL_REGISTRY, Manifest, ManifestError, Origin, annotations, labels};
pub use observed::{ApiResource, ApiSurface, ClusterIdentity, Observed, Prediction, RecordedObject};
pub use period::parse_period;
pub use plan::{Action, Change, Edge, EdgeReason, Plan, Precondition};
pub use secret::{SecretRef, secret_references};
