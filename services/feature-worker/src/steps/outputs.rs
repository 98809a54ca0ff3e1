//! What steps come to, in the form in which it is recorded.

use feature_api::git::Remote;
use serde::{Deserialize, Serialize};

/// Output of `look`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Look {
    pub(crate) url: String,
    pub(crate) credential: Option<String>,
    pub(crate) branch: String,
    pub(crate) head: String,
    pub(crate) paths: Vec<String>,
    pub(crate) truncated: bool,
}

impl Look {
    /// Returns the repository, as requests name it.
    pub(crate) fn remote(&self) -> Remote {
        Remote { url: self.url.clone(), credential: self.credential.clone() }
    }
}

/// Output of `plan`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) summary: String,
    pub(crate) files: Vec<String>,
    /// The command that verifies the change; none if empty.
    pub(crate) verify: Vec<String>,
    pub(crate) model: String,
    pub(crate) input_tokens: u32,
    pub(crate) output_tokens: u32,
}

/// Output of `patch`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Patch {
    pub(crate) patch: String,
    pub(crate) model: String,
    pub(crate) input_tokens: u32,
    pub(crate) output_tokens: u32,
}

/// Output of `push`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Push {
    pub(crate) branch: String,
    pub(crate) commit: String,
    pub(crate) tree: String,
    pub(crate) paths: Vec<String>,
}

/// Output of `verify`, for a command that ended with exit code 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verify {
    pub(crate) command: Vec<String>,
    pub(crate) duration_ms: u32,
    pub(crate) truncated: bool,
    /// What held the sandbox.
    pub(crate) isolation: Vec<String>,
    pub(crate) log: String,
}

/// Output of `artifacts`; its first field is what clients are told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Artifacts {
    pub(crate) artifacts: Vec<Artifact>,
    /// Seconds since 1970, UTC.
    pub(crate) expires_at: i64,
}

/// A file in the object store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Artifact {
    pub(crate) key: String,
    pub(crate) sha256: String,
}
