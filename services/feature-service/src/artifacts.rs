//! URLs under which artifacts can be fetched without a login, for an hour.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::presigning::PresigningConfig;
use feature_api::feature::Artifact;
use feature_store::StoredArtifact;
use service_kit::rpc::RpcError;

use crate::config::ObjectStore;

const VALID: Duration = Duration::from_secs(3600);

/// Signs URLs; talks to nobody.
pub(crate) struct Signer {
    target: Option<(Client, String)>,
}

impl Signer {
    /// Makes a signer; without an object store the artifacts' URLs are empty.
    pub(crate) fn new(store: Option<ObjectStore>) -> Self {
        let target = store.map(|store| {
            let keys = Credentials::new(store.access_key.expose(), store.secret_key.expose(), None, None, "configuration");
            let config = aws_sdk_s3::Config::builder().behavior_version(BehaviorVersion::latest());
            let config = config.region(Region::new(store.region)).credentials_provider(keys);
            let config = match store.endpoint {
                // Stores other than AWS's own have no host for each bucket.
                Some(endpoint) => config.endpoint_url(endpoint).force_path_style(true),
                None => config,
            };
            (Client::from_conf(config.build()), store.bucket)
        });
        Self { target }
    }

    /// Adds to artifacts where they can be fetched.
    pub(crate) async fn sign(&self, artifacts: Vec<StoredArtifact>) -> Result<Vec<Artifact>, RpcError> {
        let mut signed = Vec::with_capacity(artifacts.len());
        for StoredArtifact { key, sha256 } in artifacts {
            signed.push(Artifact { url: self.url(&key).await?, key, sha256 });
        }
        Ok(signed)
    }

    async fn url(&self, key: &str) -> Result<String, RpcError> {
        const WHAT: &str = "failed to sign the URL of an artifact";
        let Some((client, bucket)) = &self.target else { return Ok(String::new()) };
        let valid = PresigningConfig::expires_in(VALID).map_err(|error| RpcError::internal(WHAT, &error))?;
        let request = client.get_object().bucket(bucket).key(key).presigned(valid).await;
        request.map(|request| request.uri().to_owned()).map_err(|error| RpcError::internal(WHAT, &error))
    }
}

#[cfg(test)]
mod tests {
    use service_kit::Secret;

    use super::*;

    fn store(endpoint: Option<&str>) -> ObjectStore {
        ObjectStore {
            endpoint: endpoint.map(str::to_owned),
            bucket: "feature-artifacts".to_owned(),
            region: "eu-north-1".to_owned(),
            access_key: Secret::new("AKID".to_owned()),
            secret_key: Secret::new("canary-7fd1".to_owned()),
        }
    }

    async fn signed(store: Option<ObjectStore>) -> String {
        let artifact = StoredArtifact { key: "id/change.patch".to_owned(), sha256: "00".to_owned() };
        Signer::new(store).sign(vec![artifact]).await.unwrap().remove(0).url
    }

    #[tokio::test]
    async fn artifacts_have_urls_for_an_hour_where_there_is_a_store() {
        assert_eq!(signed(None).await, "");
        for (endpoint, start) in [
            (Some("http://127.0.0.1:9000"), "http://127.0.0.1:9000/feature-artifacts/id/change.patch?"),
            (None, "https://feature-artifacts.s3.eu-north-1.amazonaws.com/id/change.patch?"),
        ] {
            let url = signed(Some(store(endpoint))).await;
            assert!(url.starts_with(start) && url.contains("X-Amz-Expires=3600") && url.contains("X-Amz-Signature="), "{url}");
            assert!(!url.contains("canary"), "{url}");
        }
    }
}
