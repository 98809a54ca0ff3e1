mod memory;

use std::fmt;

use futures::stream::BoxStream;
use provision_model::{ApiResource, ApiSurface, ClusterIdentity, Manifest, ResourceId};
use provision_objects::ObjectError;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use provision_objects::{Deletion, WriteMode};

pub use self::memory::{Failure, Fault, MemoryCluster, PodScript, Request, Verb};

/// Objects of one kind and the moment at which the list was true.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// The objects.
    pub items: Vec<Manifest>,
    /// Resource version of the list.
    pub resource_version: u64,
}

/// What a watch says. After [`WatchEvent::Synced`] everything that was there has been told.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchEvent {
    /// An object is there, new or changed.
    Changed(Manifest),
    /// An object is gone; its last state.
    Deleted(Manifest),
    /// The first listing is told in full; also after a watch had to start anew: what was not told again since then is gone.
    Synced,
    /// The watch starts anew; a full listing follows.
    Restarted,
}

/// A stream of watch events that goes on until it is dropped; errors are told and then it tries again by itself.
pub type Watching = BoxStream<'static, Result<WatchEvent, ClusterError>>;

/// The lines of a log, as they are written; it ends with the container, or with an error.
pub type LogLines = BoxStream<'static, Result<String, ClusterError>>;

/// An HTTP answer that came through a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAnswer {
    /// HTTP status.
    pub status: u16,
    /// First 512 bytes of the body.
    pub body: String,
}

/// A right that a run needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Access {
    /// Verb: `get`, `list`, `watch`, `create`, `patch`, `delete`.
    pub verb: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Name in URLs: `deployments`.
    pub resource: String,
    /// Namespace; `None` for cluster-scoped kinds.
    pub namespace: Option<String>,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        write!(f, "{} {}{group}", self.verb, self.resource)?;
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => write!(f, " in the whole cluster"),
        }
    }
}

/// Requests sent so far, by what they were for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestCounts {
    /// Pages of LISTs.
    pub lists: u64,
    /// Single reads.
    pub gets: u64,
    /// Dry-runs.
    pub dry_runs: u64,
    /// Writes: apply, create, update, delete.
    pub writes: u64,
    /// Watches opened.
    pub watches: u64,
    /// Everything else: discovery, access reviews, logs, requests through Services.
    pub others: u64,
}

/// Why the cluster did not do what it was asked. No variant holds a secret value.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// The object or kind is not there.
    #[error("{subject} is not there")]
    NotFound {
        /// What was asked for.
        subject: String,
    },
    /// An object of that name is there already.
    #[error("{subject} is there already")]
    AlreadyExists {
        /// What was to be made.
        subject: String,
    },
    /// The object changed meanwhile, or the precondition on its UID does not hold.
    #[error("{subject} was changed by someone else meanwhile: {message}")]
    Conflict {
        /// Which object.
        subject: String,
        /// What the server says.
        message: String,
    },
    /// A field can't be changed in place, or the object is invalid (HTTP 422).
    #[error("the API server refuses {subject}: {message}")]
    Invalid {
        /// Which object.
        subject: String,
        /// What the server says.
        message: String,
        /// Each cause: field, reason (`FieldValueInvalid`), message.
        causes: Vec<(String, String, String)>,
    },
    /// A webhook or policy refuses the object.
    #[error("admission refuses {subject}: {message}")]
    Admission {
        /// Which object.
        subject: String,
        /// What it says.
        message: String,
    },
    /// A quota or limit range is used up.
    #[error("a quota refuses {subject}: {message}")]
    Quota {
        /// Which object.
        subject: String,
        /// What the server says.
        message: String,
    },
    /// The user may not do that.
    #[error("not allowed to {verb} {subject}: {message}")]
    Forbidden {
        /// Verb.
        verb: String,
        /// On what.
        subject: String,
        /// What the server says.
        message: String,
    },
    /// The credentials are not accepted: wrong or expired.
    #[error("the API server does not accept the credentials: {message}")]
    Unauthorized {
        /// What the server says.
        message: String,
    },
    /// The API server asks to come back later.
    #[error("the API server is overloaded: {message}")]
    Throttled {
        /// What the server says.
        message: String,
    },
    /// The API server can't be reached or broke off.
    #[error("failed to reach the API server at {server}")]
    Unreachable {
        /// Its address.
        server: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The API server failed by itself (HTTP 5xx).
    #[error("the API server failed on {subject} with status {status}: {message}")]
    Server {
        /// On what.
        subject: String,
        /// HTTP status.
        status: u16,
        /// What it says.
        message: String,
    },
    /// An answer could not be understood, or the configuration to reach the cluster can't be used.
    #[error("{message}")]
    Other {
        /// What failed.
        message: String,
        /// Why.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl ClusterError {
    /// Tells whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            // Nobody makes space on a disk in the time that a repeat takes.
            Self::Server { status: 507, .. } => false,
            Self::Throttled { .. } | Self::Unreachable { .. } | Self::Server { .. } => true,
            Self::NotFound { .. }
            | Self::AlreadyExists { .. }
            | Self::Conflict { .. }
            | Self::Invalid { .. }
            | Self::Admission { .. }
            | Self::Quota { .. }
            | Self::Forbidden { .. }
            | Self::Unauthorized { .. }
            | Self::Other { .. } => false,
        }
    }
}

impl From<ObjectError> for ClusterError {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::NotFound { subject } => Self::NotFound { subject },
            ObjectError::AlreadyExists { subject } => Self::AlreadyExists { subject },
            ObjectError::Conflict { subject, message } => Self::Conflict { subject, message },
            ObjectError::Invalid { subject, message, causes } => Self::Invalid { subject, message, causes },
            ObjectError::Forbidden { verb, subject, message } => Self::Forbidden { verb, subject, message },
            broken @ ObjectError::Broken { .. } => Self::Other { message: broken.to_string(), source: None },
        }
    }
}

/// Where objects live: a Kubernetes API server, processes on this machine, or a map in memory.
///
/// Every call is one request (a listing: one for each page of 500) and may be repeated. Secret values appear only inside the manifests of
/// Secrets that go in or come out; callers mask them before they keep anything.
pub trait Cluster: Send + Sync + 'static {
    /// Tells which cluster this is.
    ///
    /// # Errors
    /// [`ClusterError`].
    fn identity(&self) -> impl Future<Output = Result<ClusterIdentity, ClusterError>> + Send;

    /// Tells what the cluster serves, asked anew at each call.
    ///
    /// # Errors
    /// [`ClusterError`].
    fn api(&self) -> impl Future<Output = Result<ApiSurface, ClusterError>> + Send;

    /// Lists the objects of a kind: in one namespace, or everywhere.
    ///
    /// # Errors
    /// [`ClusterError`].
    fn list(&self, resource: &ApiResource, namespace: Option<&str>) -> impl Future<Output = Result<Listing, ClusterError>> + Send;

    /// Reads one object; `None` when it, its namespace or its kind is not there.
    ///
    /// # Errors
    /// [`ClusterError`].
    fn get(&self, id: &ResourceId) -> impl Future<Output = Result<Option<Manifest>, ClusterError>> + Send;

    /// Applies an object (server-side apply, manager [`provision_model::FIELD_MANAGER`], forced, strict validation) and returns it as it is then.
    ///
    /// With `metadata.uid` or `metadata.resourceVersion` in `manifest`, the write is refused when the live object has another. Where nothing
    /// is, a UID is refused and a version is not: the version `1`, which no object ever has, makes an object only if it is not there.
    ///
    /// # Errors
    /// [`ClusterError::Conflict`] for another UID or version, and the others.
    fn apply(&self, manifest: &Manifest, mode: WriteMode) -> impl Future<Output = Result<Manifest, ClusterError>> + Send;

    /// Makes an object that must not be there yet.
    ///
    /// # Errors
    /// [`ClusterError::AlreadyExists`] and the others.
    fn create(&self, manifest: &Manifest) -> impl Future<Output = Result<Manifest, ClusterError>> + Send;

    /// Replaces an object; with `metadata.resourceVersion` only if it is still that version.
    ///
    /// # Errors
    /// [`ClusterError::Conflict`] and the others.
    fn update(&self, manifest: &Manifest) -> impl Future<Output = Result<Manifest, ClusterError>> + Send;

    /// Deletes an object with its dependents (background propagation); with `uid` only if it still is that one.
    ///
    /// # Errors
    /// [`ClusterError::Conflict`] for another UID, and the others; an absent object is no error.
    fn delete(&self, id: &ResourceId, uid: Option<&str>) -> impl Future<Output = Result<Deletion, ClusterError>> + Send;

    /// Watches the objects of a kind: in one namespace, or everywhere. Starts with everything that is there.
    fn watch(&self, resource: &ApiResource, namespace: Option<&str>) -> Watching;

    /// Reads the last lines of a container's log, of its previous run if asked.
    ///
    /// # Errors
    /// [`ClusterError`].
    fn logs(
        &self,
        pod: &ResourceId,
        container: &str,
        previous: bool,
        lines: u32,
    ) -> impl Future<Output = Result<Vec<String>, ClusterError>> + Send;

    /// Follows a container's log: its last lines, then each as it is written.
    fn follow(&self, pod: &ResourceId, container: &str, lines: u32) -> LogLines;

    /// Sends a GET through a Service; `port` is a name or number of its ports.
    ///
    /// # Errors
    /// [`ClusterError`] when the request can't be sent; an answer of any status is no error.
    fn get_through_service(
        &self,
        service: &ResourceId,
        port: &str,
        path: &str,
    ) -> impl Future<Output = Result<ServiceAnswer, ClusterError>> + Send;

    /// Returns those of the wanted rights that the user lacks.
    ///
    /// # Errors
    /// [`ClusterError`].
    fn missing_rights(&self, wanted: &[Access]) -> impl Future<Output = Result<Vec<Access>, ClusterError>> + Send;

    /// Counts the requests sent so far.
    fn requests(&self) -> RequestCounts;
}
