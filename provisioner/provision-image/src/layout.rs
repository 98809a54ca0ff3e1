//! Images as folders on disk: the OCI image layout.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use crate::image::MANIFEST_TYPE;
use crate::{Blob, Digest, Image, ImageError};

const NAME_ANNOTATION: &str = "org.opencontainers.image.ref.name";

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: Digest,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    architecture: String,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

impl Image {
    /// Writes the image as an OCI image layout into `directory`, which is made if it is not there.
    ///
    /// The index comes last, by renaming: a layout that was cut off is never taken for a whole one.
    ///
    /// # Errors
    /// [`ImageError::Write`] names the file.
    pub fn write_layout(&self, directory: &Path) -> Result<(), ImageError> {
        let blobs = directory.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(|source| ImageError::Write { path: blobs.clone(), source })?;
        for blob in self.blobs().chain([&self.manifest]) {
            write_atomically(&blobs.join(blob.digest.hex()), &blob.content)?;
        }
        write_atomically(&directory.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{
                "mediaType": MANIFEST_TYPE,
                "digest": self.manifest.digest,
                "size": self.manifest.content.len(),
                "platform": {"architecture": self.architecture, "os": "linux"},
                "annotations": {NAME_ANNOTATION: self.name},
            }],
        });
        write_atomically(&directory.join("index.json"), index.to_string().as_bytes())
    }

    /// Reads the one image of the OCI image layout in `directory` and checks every digest.
    ///
    /// # Errors
    /// [`ImageError::Read`] and [`ImageError::Json`] name the file; [`ImageError::Layout`] says what does not fit.
    pub fn read_layout(directory: &Path) -> Result<Self, ImageError> {
        let damaged = |reason: String| ImageError::Layout { path: directory.to_owned(), reason };
        let path = directory.join("index.json");
        let text = fs::read(&path).map_err(|source| ImageError::Read { path: path.clone(), source })?;
        let index: Index = parse(&text, path.display().to_string())?;
        let [entry] = index.manifests.as_slice() else {
            return Err(damaged(format!("it holds {} images, expected one", index.manifests.len())));
        };
        let manifest = read_blob(directory, entry)?;
        let parts: Manifest = parse(&manifest.content, format!("manifest {}", manifest.digest))?;
        let layers = parts.layers.iter().map(|layer| read_blob(directory, layer)).collect::<Result<_, _>>()?;
        let name = entry.annotations.get(NAME_ANNOTATION).ok_or_else(|| damaged("its index names no image".to_owned()))?;
        let platform = entry.platform.as_ref().ok_or_else(|| damaged("its index names no platform".to_owned()))?;
        Ok(Self {
            name: name.clone(),
            architecture: platform.architecture.clone(),
            config: read_blob(directory, &parts.config)?,
            manifest,
            layers,
        })
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a [u8], what: String) -> Result<T, ImageError> {
    serde_json::from_slice(text).map_err(|source| ImageError::Json { what, source })
}

fn read_blob(directory: &Path, descriptor: &Descriptor) -> Result<Blob, ImageError> {
    let path = directory.join("blobs/sha256").join(descriptor.digest.hex());
    let content = fs::read(&path).map_err(|source| ImageError::Read { path: path.clone(), source })?;
    let blob = Blob::new(&descriptor.media_type, content);
    if blob.digest != descriptor.digest {
        let reason = format!("`{}` has the content of {}", path.display(), blob.digest);
        return Err(ImageError::Layout { path: directory.to_owned(), reason });
    }
    Ok(blob)
}

/// Writes a file so that a reader sees the old or the new content, also after a crash.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<(), ImageError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written = write_and_rename(path, &temporary, content);
    written.map_err(|source| {
        // The write's own failure is what the user must see; the leftover is harmless.
        drop(fs::remove_file(&temporary));
        ImageError::Write { path: path.to_owned(), source }
    })
}

fn write_and_rename(path: &Path, temporary: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
