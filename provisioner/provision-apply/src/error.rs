use provision_saga::BuildError;
use thiserror::Error;

use crate::{ClusterError, RecordError, SecretError};

/// Why something could not be read, or a run could not begin. Nothing of an object was written when a run ends with one.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// The cluster did not do what it was asked.
    #[error("failed to {action}")]
    Cluster {
        /// What was asked for.
        action: String,
        /// Why.
        #[source]
        source: ClusterError,
    },
    /// A secret value can't be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The record of the release can't be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// There is no such generation.
    #[error("release `{release}` has no {wanted}; there is {there}")]
    NotRecorded {
        /// Release.
        release: String,
        /// What was asked for.
        wanted: String,
        /// What there is: `nothing`, or the numbers.
        there: String,
    },
    /// The steps of a plan can't be ordered.
    #[error("the plan can't be carried out")]
    Order(#[from] BuildError),
}

impl ApplyError {
    pub(crate) fn cluster_failed(action: impl Into<String>) -> impl FnOnce(ClusterError) -> Self {
        let action = action.into();
        move |source| Self::Cluster { action, source }
    }

    /// Returns what the cluster said, if it was the cluster.
    pub fn cluster(&self) -> Option<&ClusterError> {
        match self {
            Self::Cluster { source, .. } => Some(source),
            Self::Record(error) => error.cluster(),
            Self::Secret(_) | Self::NotRecorded { .. } | Self::Order(_) => None,
        }
    }
}
