//! What client and supervisor say to each other: one JSON line each way; a watch is answered with a line for each event.

use provision_apply::{ClusterError, Listing, ServiceAnswer, WatchEvent};
use provision_model::{ApiResource, Manifest, ResourceId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Version of the protocol; another one is refused.
pub(crate) const VERSION: u32 = 1;
/// Longest request, in bytes: the largest object and something around it.
pub(crate) const LONGEST_REQUEST: u64 = 2 << 20;
/// Longest answer, in bytes.
pub(crate) const LONGEST_ANSWER: u64 = 256 << 20;

/// Status of a refusal because nothing can be kept: the disk is full, or fails.
pub(crate) const FULL: u16 = 507;

/// One request with the version that it is written in.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Envelope {
    /// Version of the protocol.
    pub(crate) protocol: u32,
    /// What is asked.
    pub(crate) ask: Ask,
}

/// What is asked of the supervisor.
#[derive(Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Ask {
    /// Who is there? Answered with [`Hello`].
    Hello,
    /// Ends the supervisor; keepers and their programs go on.
    HandOver,
    /// Which cluster.
    Identity,
    /// What is served.
    Api,
    /// The objects of a kind.
    List { resource: ApiResource, namespace: Option<String> },
    /// One object.
    Get { id: ResourceId },
    /// Server-side apply.
    Apply { manifest: Manifest, dry_run: bool },
    /// Create.
    Create { manifest: Manifest },
    /// Replace.
    Update { manifest: Manifest },
    /// Delete.
    Delete { id: ResourceId, uid: Option<String> },
    /// Watch; lines of [`Told`] follow until the connection ends.
    Watch { resource: ApiResource, namespace: Option<String> },
    /// Lines of a log.
    Logs { pod: ResourceId, container: String, previous: bool, lines: u32 },
    /// What is not as the manifests want it.
    Notices,
    /// A GET through a Service.
    Through { service: ResourceId, port: String, path: String },
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// Build of the program; a supervisor of a smaller one is asked to hand over.
    pub(crate) build: u64,
    /// Its process.
    pub(crate) pid: u32,
}

/// An answer, or one line of a watch.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// What was asked for.
    Ok(Value),
    /// Why not.
    Error(WireError),
}

/// One event of a watch.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Told {
    Changed(Manifest),
    Deleted(Manifest),
    Synced,
}

impl From<Told> for WatchEvent {
    fn from(told: Told) -> Self {
        match told {
            Told::Changed(object) => Self::Changed(object),
            Told::Deleted(object) => Self::Deleted(object),
            Told::Synced => Self::Synced,
        }
    }
}

/// A listing.
#[derive(Serialize, Deserialize)]
pub(crate) struct WireListing {
    pub(crate) items: Vec<Manifest>,
    pub(crate) resource_version: u64,
}

impl From<WireListing> for Listing {
    fn from(listing: WireListing) -> Self {
        Self { items: listing.items, resource_version: listing.resource_version }
    }
}

/// An answer through a Service.
#[derive(Serialize, Deserialize)]
pub(crate) struct WireAnswer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl From<WireAnswer> for ServiceAnswer {
    fn from(answer: WireAnswer) -> Self {
        Self { status: answer.status, body: answer.body }
    }
}

/// Why a request was not served.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum WireError {
    NotFound { subject: String },
    AlreadyExists { subject: String },
    Conflict { subject: String, message: String },
    Invalid { subject: String, message: String, causes: Vec<(String, String, String)> },
    Forbidden { verb: String, subject: String, message: String },
    Server { subject: String, status: u16, message: String },
    Other { message: String },
}

impl From<ClusterError> for WireError {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::NotFound { subject } => Self::NotFound { subject },
            ClusterError::AlreadyExists { subject } => Self::AlreadyExists { subject },
            ClusterError::Conflict { subject, message } => Self::Conflict { subject, message },
            ClusterError::Invalid { subject, message, causes } => Self::Invalid { subject, message, causes },
            ClusterError::Forbidden { verb, subject, message } => Self::Forbidden { verb, subject, message },
            ClusterError::Server { subject, status, message } => Self::Server { subject, status, message },
            other => Self::Other { message: other.to_string() },
        }
    }
}

impl From<WireError> for ClusterError {
    fn from(error: WireError) -> Self {
        match error {
            WireError::NotFound { subject } => Self::NotFound { subject },
            WireError::AlreadyExists { subject } => Self::AlreadyExists { subject },
            WireError::Conflict { subject, message } => Self::Conflict { subject, message },
            WireError::Invalid { subject, message, causes } => Self::Invalid { subject, message, causes },
            WireError::Forbidden { verb, subject, message } => Self::Forbidden { verb, subject, message },
            WireError::Server { subject, status, message } => Self::Server { subject, status, message },
            WireError::Other { message } => Self::Other { message, source: None },
        }
    }
}

/// Reads one line, at most `longest` bytes; `None` at the end.
pub(crate) async fn read_line<T: DeserializeOwned>(from: &mut (impl AsyncBufRead + Unpin), longest: u64) -> std::io::Result<Option<T>> {
    let wrong = |message: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, message.to_owned());
    let mut line = Vec::new();
    from.take(longest).read_until(b'\n', &mut line).await?;
    match line.last() {
        None => Ok(None),
        // What it holds may be secret: the error of the reader is not passed on.
        Some(b'\n') => serde_json::from_slice(&line).map(Some).map_err(|_| wrong("the line is no message of this protocol")),
        Some(_) if line.len() as u64 == longest => Err(wrong("the line is too long")),
        Some(_) => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Writes one line.
pub(crate) async fn write_line(to: &mut (impl AsyncWrite + Unpin), message: &impl Serialize) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line).await?;
    to.flush().await
}
