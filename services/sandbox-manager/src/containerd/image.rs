//! The image that sandboxes see as their root: found, or pulled by containerd, and unpacked.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;
use prost_types::Any;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::SNAPSHOTTER;
use super::api::containerd::services::content::v1::ReadContentRequest;
use super::api::containerd::services::images::v1::GetImageRequest;
use super::api::containerd::services::snapshots::v1::StatSnapshotRequest;
use super::api::containerd::services::transfer::v1::TransferRequest;
use super::api::containerd::types::Platform;
use super::api::containerd::types::transfer::{ImageStore, OciRegistry, RegistryResolver, UnpackConfiguration};
use super::client::{CallError, Client, within, within_time};
use crate::runtime::RuntimeError;

/// Longest time that a pull may take.
const PULL: Duration = Duration::from_secs(600);
/// Where nodes have their mirrors, certificates and headers for registries.
const REGISTRIES: &str = "/etc/containerd/certs.d";
/// Most bytes of an index, a manifest or a configuration.
const LARGEST: usize = 4 << 20;

/// An unpacked image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    /// Snapshot with all its layers.
    pub(super) snapshot: String,
    /// Variables that it sets.
    pub(super) environment: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Descriptor {
    digest: String,
    platform: Option<Target>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Target {
    os: String,
    architecture: String,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    config: Descriptor,
}

#[derive(Debug, Deserialize)]
struct Configuration {
    #[serde(default)]
    config: Option<Defaults>,
    rootfs: Layers,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Defaults {
    env: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Layers {
    diff_ids: Vec<String>,
}

/// Finds an image that is unpacked; pulls it if it is not there.
///
/// # Errors
/// If it is neither there nor to be had.
pub(super) async fn ensure(client: &Client, name: &str) -> Result<Image, RuntimeError> {
    if let Some(image) = find(client, name).await? {
        return Ok(image);
    }
    tracing::info!(image = name, "pulls the image of sandboxes");
    let unusable =
        |error: RuntimeError| RuntimeError(format!("the image {name} is not there and can't be pulled (SANDBOX_IMAGE): {error}"));
    pull(client, name).await.map_err(|error| unusable(error.into()))?;
    find(client, name).await?.ok_or_else(|| RuntimeError(format!("the image {name} has nothing for this machine (SANDBOX_IMAGE)")))
}

async fn find(client: &Client, name: &str) -> Result<Option<Image>, RuntimeError> {
    let request = GetImageRequest { name: name.to_owned() };
    let Some(image) = there(within("look for an image", client.images().get(request)).await)? else { return Ok(None) };
    let Some(target) = image.image.and_then(|image| image.target) else { return Ok(None) };
    // An index holds no layers; a manifest holds no manifests.
    let Some(index) = read::<Index>(client, &target.digest).await? else { return Ok(None) };
    let own = index.manifests.into_iter().find(|manifest| manifest.platform.as_ref().is_none_or(is_own));
    let Some(manifest) = read::<Manifest>(client, &own.map_or(target.digest, |own| own.digest)).await? else { return Ok(None) };
    let Some(configuration) = read::<Configuration>(client, &manifest.config.digest).await? else { return Ok(None) };
    let Some(snapshot) = chain(&configuration.rootfs.diff_ids) else { return Ok(None) };
    let request = StatSnapshotRequest { snapshotter: SNAPSHOTTER.to_owned(), key: snapshot.clone() };
    let unpacked = there(within("look for an unpacked image", client.snapshots().stat(request)).await)?;
    let variables = configuration.config.unwrap_or_default().env.unwrap_or_default();
    let environment = variables.iter().filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(unpacked.map(|_| Image { snapshot, environment: environment.collect() }))
}

async fn pull(client: &Client, name: &str) -> Result<(), CallError> {
    let platform = Platform { os: "linux".to_owned(), architecture: architecture().to_owned(), variant: String::new() };
    let resolver = RegistryResolver { host_dir: REGISTRIES.to_owned() };
    let source = OciRegistry { reference: name.to_owned(), resolver: Some(resolver) };
    let unpack = UnpackConfiguration { platform: Some(platform.clone()), snapshotter: SNAPSHOTTER.to_owned() };
    let destination = ImageStore { name: name.to_owned(), platforms: vec![platform], unpacks: vec![unpack] };
    let request = TransferRequest {
        source: Some(Any { type_url: "containerd.types.transfer.OCIRegistry".to_owned(), value: source.encode_to_vec() }),
        destination: Some(Any { type_url: "containerd.types.transfer.ImageStore".to_owned(), value: destination.encode_to_vec() }),
    };
    within_time("pull an image", PULL, client.transfer().transfer(request)).await
}

/// Reads a piece of an image, if it is there.
async fn read<T: DeserializeOwned>(client: &Client, digest: &str) -> Result<Option<T>, RuntimeError> {
    let request = ReadContentRequest { digest: digest.to_owned(), offset: 0, size: 0 };
    let Some(mut pieces) = there(within("read an image", client.content().read(request)).await)? else { return Ok(None) };
    let mut bytes = Vec::new();
    loop {
        match pieces.message().await {
            Ok(Some(piece)) => bytes.extend(piece.data),
            Ok(None) => break,
            // A stream tells only now that there is nothing.
            Err(status) if status.code() == tonic::Code::NotFound => return Ok(None),
            Err(status) => return Err(RuntimeError(format!("containerd failed to read an image: {}", status.message()))),
        }
        if bytes.len() > LARGEST {
            return Err(RuntimeError(format!("{digest} of an image is larger than {LARGEST} bytes")));
        }
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| RuntimeError(format!("{digest} of an image can't be read: {error}")))
}

fn there<T>(answer: Result<T, CallError>) -> Result<Option<T>, RuntimeError> {
    match answer {
        Err(error) if error.is_missing() => Ok(None),
        answer => Ok(Some(answer?)),
    }
}

/// Returns the name of the snapshot with all layers, as the image specification defines it (ChainID).
fn chain(layers: &[String]) -> Option<String> {
    layers.iter().cloned().reduce(|below, layer| format!("sha256:{}", hex::encode(Sha256::digest(format!("{below} {layer}")))))
}

fn is_own(target: &Target) -> bool {
    target.os == "linux" && target.architecture == architecture()
}

/// Returns this machine's architecture as images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_snapshot_of_an_image_is_named_after_all_its_layers() {
        // The example of the image specification: one layer is its own chain, more are hashed from below.
        let (one, two) = (format!("sha256:{}", "a".repeat(64)), format!("sha256:{}", "b".repeat(64)));
        assert_eq!(chain(&[]), None);
        assert_eq!(chain(std::slice::from_ref(&one)), Some(one.clone()));
        let both = format!("sha256:{}", hex::encode(Sha256::digest(format!("{one} {two}"))));
        assert_eq!(chain(&[one, two]), Some(both));
    }
}
