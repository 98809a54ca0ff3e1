//! The store, as the client that the services use sees it.

#![cfg(test)]
#![expect(clippy::result_large_err, reason = "the client's errors are as large as they are")]

mod durability;
mod objects;
mod refusals;

use std::path::Path;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use service_testing::Service;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_local-store");
const BUCKET: &str = "artifacts";
const KEY: &str = "test-key";
const SECRET: &str = "canary-91be/secret";

/// A running store and what it takes to ask it.
struct Lab {
    folder: TempDir,
    service: Service,
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Lab {
    fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), &[])
    }

    fn start_in(folder: TempDir, more: &[(&str, &str)]) -> Self {
        let service = start(folder.path(), more);
        let client = client(service.port("http").unwrap(), SECRET);
        Self { folder, service, runtime: tokio::runtime::Runtime::new().unwrap(), client }
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Kills the store without notice and starts another one on its folder.
    fn crash(self) -> Self {
        // With SIGKILL, as a dropped service ends.
        drop(self.service);
        Self::start_in(self.folder, &[])
    }

    fn put(&self, key: &str, body: impl Into<Vec<u8>>) -> PutObjectFluentBuilder {
        self.client.put_object().bucket(BUCKET).key(key).body(ByteStream::from(body.into()))
    }

    /// Puts an object and returns its entity tag.
    fn must_put(&self, key: &str, body: impl Into<Vec<u8>>) -> String {
        self.run(self.put(key, body).send()).unwrap().e_tag.unwrap()
    }

    fn body(&self, key: &str) -> Option<Vec<u8>> {
        self.run(async {
            let object = self.client.get_object().bucket(BUCKET).key(key).send().await;
            match object {
                Ok(object) => Some(object.body.collect().await.unwrap().to_vec()),
                Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => None,
                Err(error) => panic!("{error:?}"),
            }
        })
    }

    fn keys(&self) -> Vec<String> {
        let listed = self.run(self.client.list_objects_v2().bucket(BUCKET).send()).unwrap();
        listed.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
    }

    fn uploads(&self) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(self.folder.path().join("store/uploads")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

fn start(folder: &Path, more: &[(&str, &str)]) -> Service {
    let path = folder.join("store");
    let mut variables = vec![("STORE_PATH", path.to_str().unwrap()), ("STORE_BUCKETS", BUCKET)];
    variables.extend([("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET)]);
    variables.extend(more);
    Service::start(PROGRAM, &[], &variables).unwrap()
}

/// Makes a client as the services do: digests only where the protocol demands them, which the signature of the body makes up for.
fn client(port: u16, secret: &str) -> Client {
    Client::from_conf(config(port, secret).build())
}

fn config(port: u16, secret: &str) -> aws_sdk_s3::config::Builder {
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("local"))
        .endpoint_url(format!("http://127.0.0.1:{port}"))
        .credentials_provider(Credentials::new(KEY, secret, None, None, "test"))
        .force_path_style(true)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_config(RetryConfig::disabled())
}

/// Returns the status and the code of a refusal.
fn refusal<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(outcome: Result<T, SdkError<E>>) -> (u16, String) {
    let error = outcome.unwrap_err();
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    (status, error.code().unwrap_or_default().to_owned())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}
