//! Artifacts in an S3 object store.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use service_kit::{Secret, Upstream};

use super::{Object, UpstreamError};

/// Longest time for one object.
const LIMIT: Duration = Duration::from_secs(60);

/// Where the object store is and who writes to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreAddress {
    pub(crate) endpoint: Upstream,
    pub(crate) region: String,
    pub(crate) bucket: String,
    pub(crate) access_key: Secret<String>,
    pub(crate) secret_key: Secret<String>,
}

/// The bucket of the artifacts; clones share connections.
#[derive(Clone)]
pub(crate) struct Objects {
    client: Client,
    bucket: String,
}

impl Objects {
    pub(crate) fn new(address: &StoreAddress) -> Self {
        let credentials = Credentials::new(address.access_key.expose(), address.secret_key.expose(), None, None, "environment");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(address.endpoint.to_string())
            .region(Region::new(address.region.clone()))
            .credentials_provider(credentials)
            // Names of buckets in host names need a wildcard certificate and DNS; paths work everywhere.
            .force_path_style(true)
            .timeout_config(TimeoutConfig::builder().operation_timeout(LIMIT).connect_timeout(Duration::from_secs(5)).build())
            .build();
        Self { client: Client::from_conf(config), bucket: address.bucket.clone() }
    }

    pub(crate) async fn put(&self, object: Object) -> Result<(), UpstreamError> {
        let request = self.client.put_object().bucket(&self.bucket).key(&object.key).content_type(object.content_type);
        let request = request.metadata("expires_at", object.expires_at.to_string()).metadata("sha256", object.sha256);
        let sent = request.body(ByteStream::from(object.body)).send().await;
        sent.map(drop).map_err(|error| self.failed("write", &object.key, &error))
    }

    /// Removes an object; one that is not there is removed already.
    pub(crate) async fn remove(&self, key: &str) -> Result<(), UpstreamError> {
        let removed = self.client.delete_object().bucket(&self.bucket).key(key).send().await;
        removed.map(drop).map_err(|error| self.failed("remove", key, &error))
    }

    fn failed<E: ProvideErrorMetadata>(&self, action: &str, key: &str, error: &SdkError<E, HttpResponse>) -> UpstreamError {
        // The store's words may repeat what was sent, credentials included: its code is enough.
        let code = error.code().unwrap_or_else(|| what(error)).to_owned();
        let message = format!("failed to {action} object {key} of bucket {}: {code}", self.bucket);
        UpstreamError { message, transient: is_transient(error), retry_after: None }
    }
}

fn what<E, R>(error: &SdkError<E, R>) -> &'static str {
    match error {
        SdkError::ConstructionFailure(_) => "the request can't be made",
        SdkError::TimeoutError(_) => "no answer in time",
        SdkError::DispatchFailure(_) => "the object store can't be reached",
        _ => "an answer that is not understood",
    }
}

fn is_transient<E>(error: &SdkError<E, HttpResponse>) -> bool {
    match error {
        SdkError::ConstructionFailure(_) => false,
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            status >= 500 || status == 429 || status == 408
        }
        _ => true,
    }
}
