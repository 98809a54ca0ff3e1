//! Calls to containerd.

use std::future::Future;
use std::time::Duration;

use thiserror::Error;
use tokio::time::timeout;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use super::api::containerd::services::containers::v1::containers_client::ContainersClient;
use super::api::containerd::services::content::v1::content_client::ContentClient;
use super::api::containerd::services::images::v1::images_client::ImagesClient;
use super::api::containerd::services::namespaces::v1::namespaces_client::NamespacesClient;
use super::api::containerd::services::namespaces::v1::{CreateNamespaceRequest, Namespace};
use super::api::containerd::services::snapshots::v1::snapshots_client::SnapshotsClient;
use super::api::containerd::services::tasks::v1::tasks_client::TasksClient;
use super::api::containerd::services::transfer::v1::transfer_client::TransferClient;
use super::api::containerd::services::version::v1::version_client::VersionClient;
use crate::runtime::RuntimeError;

/// Everything of ours is in this namespace of containerd; Kubernetes' own things are in another one.
pub(super) const NAMESPACE: &str = "feature-sandbox";
/// Longest time that a call may take, but for those that wait for an end or a registry.
const CALL: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(5);

/// A call that failed.
#[derive(Debug, Error)]
#[error("containerd failed to {what}")]
pub(super) struct CallError {
    what: &'static str,
    #[source]
    status: Status,
}

impl CallError {
    /// Tells whether containerd does not know what was asked for.
    pub(super) fn is_missing(&self) -> bool {
        self.status.code() == Code::NotFound
    }

    /// Tells whether it is there already.
    pub(super) fn is_there(&self) -> bool {
        self.status.code() == Code::AlreadyExists
    }
}

impl From<CallError> for RuntimeError {
    fn from(error: CallError) -> Self {
        Self(format!("{error}: {}", error.status.message()))
    }
}

/// Puts each call into [`NAMESPACE`].
#[derive(Clone, Copy, Debug)]
pub(super) struct InNamespace;

impl Interceptor for InNamespace {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("containerd-namespace", MetadataValue::from_static(NAMESPACE));
        Ok(request)
    }
}

type Named = InterceptedService<Channel, InNamespace>;

/// A connection; made again when it breaks.
#[derive(Clone, Debug)]
pub(super) struct Client {
    channel: Channel,
}

impl Client {
    /// Connects, and makes the namespace if it is not there; tells containerd's version.
    ///
    /// # Errors
    /// If nothing answers at the socket.
    pub(super) async fn connect(socket: &str) -> Result<(Self, String), RuntimeError> {
        let unreachable = |error: &dyn std::fmt::Display| RuntimeError(format!("nothing answers at {socket} (CONTAINERD_SOCKET): {error}"));
        let endpoint = Endpoint::from_shared(format!("unix://{socket}")).map_err(|error| unreachable(&error))?.connect_timeout(CONNECT);
        let channel = endpoint.connect().await.map_err(|error| unreachable(&cause(&error)))?;
        let client = Self { channel };
        let version = client.version().await?;
        let namespace = Namespace { name: NAMESPACE.to_owned(), labels: [].into() };
        let request = CreateNamespaceRequest { namespace: Some(namespace) };
        match within("make a namespace", NamespacesClient::new(client.channel.clone()).create(request)).await {
            Err(error) if !error.is_there() => Err(error.into()),
            _ => Ok((client, version)),
        }
    }

    /// Asks for containerd's version.
    ///
    /// # Errors
    /// If it does not answer.
    pub(super) async fn version(&self) -> Result<String, CallError> {
        let mut client = VersionClient::new(self.channel.clone());
        Ok(within_time("tell its version", CONNECT, client.version(())).await?.version)
    }

    pub(super) fn containers(&self) -> ContainersClient<Named> {
        ContainersClient::with_interceptor(self.channel.clone(), InNamespace)
    }

    pub(super) fn snapshots(&self) -> SnapshotsClient<Named> {
        SnapshotsClient::with_interceptor(self.channel.clone(), InNamespace)
    }

    pub(super) fn tasks(&self) -> TasksClient<Named> {
        TasksClient::with_interceptor(self.channel.clone(), InNamespace)
    }

    pub(super) fn images(&self) -> ImagesClient<Named> {
        ImagesClient::with_interceptor(self.channel.clone(), InNamespace)
    }

    pub(super) fn content(&self) -> ContentClient<Named> {
        ContentClient::with_interceptor(self.channel.clone(), InNamespace)
    }

    pub(super) fn transfer(&self) -> TransferClient<Named> {
        TransferClient::with_interceptor(self.channel.clone(), InNamespace)
    }
}

/// Returns the innermost reason: the outer ones only say that there is one.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Waits for the answer to a call, not too long.
///
/// # Errors
/// [`CallError`] with what was to be done.
pub(super) async fn within<T>(what: &'static str, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, CallError> {
    within_time(what, CALL, call).await
}

/// Waits for the answer to a call for a time of its own.
///
/// # Errors
/// [`CallError`] with what was to be done.
pub(super) async fn within_time<T>(
    what: &'static str,
    time: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, CallError> {
    let late = || Status::deadline_exceeded(format!("no answer within {} s", time.as_secs()));
    let answer = timeout(time, call).await.unwrap_or_else(|_| Err(late()));
    answer.map(Response::into_inner).map_err(|status| CallError { what, status })
}
