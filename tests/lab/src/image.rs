//! Container images out of files, without a container engine: one layer in an OCI layout, packed as a tar.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::error::{FileContext, LabError};
use crate::tools::installed;

/// One file of an image.
#[derive(Debug, Clone)]
pub struct RootFile {
    /// Path in the image, without a leading slash; a folder ends with one.
    pub path: String,
    /// What it is.
    pub content: RootContent,
}

/// What a file of an image is.
#[derive(Debug, Clone)]
pub enum RootContent {
    /// A regular file and its mode.
    File(Vec<u8>, u32),
    /// A symbolic link to this path.
    Link(String),
    /// A folder and its mode.
    Folder(u32),
}

/// The files of an image with busybox and a link for each of its commands.
///
/// # Errors
/// [`LabError::NotInstalled`] without `/bin/busybox`.
pub fn busybox_files() -> Result<Vec<RootFile>, LabError> {
    let program = installed("/bin/busybox".into())?;
    let binary = fs::read(&program).on("read", &program)?;
    let commands = crate::command::run_program(&program, ["--list"])?;
    let mut files = vec![
        folder("bin/", 0o755),
        folder("etc/", 0o755),
        folder("tmp/", 0o1777),
        file("etc/passwd", b"root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n".to_vec(), 0o644),
        file("etc/group", b"root:x:0:\nnogroup:x:65534:\n".to_vec(), 0o644),
        file("bin/busybox", binary, 0o755),
    ];
    files.extend(
        commands
            .lines()
            .filter(|name| *name != "busybox")
            .map(|name| RootFile { path: format!("bin/{name}"), content: RootContent::Link("busybox".into()) }),
    );
    Ok(files)
}

fn file(path: &str, content: Vec<u8>, mode: u32) -> RootFile {
    RootFile { path: path.into(), content: RootContent::File(content, mode) }
}

fn folder(path: &str, mode: u32) -> RootFile {
    RootFile { path: path.into(), content: RootContent::Folder(mode) }
}

/// Packs an image called `name` that runs `command`, as `ctr images import` reads it.
///
/// The same input gives the same bytes: no times, no owners but root.
///
/// # Errors
/// [`LabError::File`] if a path can't be packed.
pub fn pack(name: &str, files: &[RootFile], command: &[&str]) -> Result<Vec<u8>, LabError> {
    let layer = layer(files).on("pack the layer of", name)?;
    let config = json!({
        "architecture": architecture(), "os": "linux",
        "config": {"Cmd": command, "Env": ["PATH=/bin"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    })
    .to_string()
    .into_bytes();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    })
    .to_string()
    .into_bytes();
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["annotations"] = json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name});
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string().into_bytes();
    let mut all = vec![file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(), 0o644)];
    for blob in [layer, config, manifest] {
        let path = format!("blobs/{}", digest(&blob).replace(':', "/"));
        all.push(file(&path, blob, 0o644));
    }
    all.push(file("index.json", index, 0o644));
    self::layer(&all).on("pack", name)
}

fn layer(files: &[RootFile]) -> io::Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    for entry in files {
        let mut header = Header::new_gnu();
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        match &entry.content {
            RootContent::File(content, mode) => {
                header.set_mode(*mode);
                header.set_size(content.len() as u64);
                builder.append_data(&mut header, &entry.path, content.as_slice())?;
            }
            RootContent::Link(target) => {
                header.set_mode(0o777);
                header.set_size(0);
                header.set_entry_type(EntryType::Symlink);
                builder.append_link(&mut header, &entry.path, Path::new(target))?;
            }
            RootContent::Folder(mode) => {
                header.set_mode(*mode);
                header.set_size(0);
                header.set_entry_type(EntryType::Directory);
                builder.append_data(&mut header, &entry.path, io::empty())?;
            }
        }
    }
    builder.into_inner()
}

fn descriptor(media_type: &str, content: &[u8]) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": digest(content), "size": content.len()})
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

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
    fn the_same_files_make_the_same_image_and_every_digest_fits() -> Result<(), Box<dyn std::error::Error>> {
        let files = [folder("bin/", 0o755), file("bin/a", b"program".to_vec(), 0o755)];
        let first = pack("lab.local/a:1", &files, &["/bin/a"])?;
        assert_eq!(first, pack("lab.local/a:1", &files, &["/bin/a"])?);
        let mut names = Vec::new();
        for entry in tar::Archive::new(first.as_slice()).entries()? {
            let mut entry = entry?;
            let path = entry.path()?.display().to_string();
            let mut content = Vec::new();
            io::Read::read_to_end(&mut entry, &mut content)?;
            if let Some(hash) = path.strip_prefix("blobs/sha256/") {
                assert_eq!(digest(&content), format!("sha256:{hash}"));
            }
            names.push(path);
        }
        assert_eq!(names.len(), 5, "{names:?}");
        assert_eq!(names.last().map(String::as_str), Some("index.json"));
        Ok(())
    }
}
