//! The lock file of an environment: which digest of each image it runs.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;

use crate::layout::write_atomically;
use crate::{Digest, ImageError};

const HEADER: &str = "# written by `provision image push`; do not edit\n";

/// The images that an environment pins, by service: the content of `environments/<environment>.lock.yaml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageLock {
    /// Image of each service, sorted by the service's name.
    pub images: BTreeMap<String, LockedImage>,
}

/// One pinned image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedImage {
    /// `registry/repository`, without tag or digest.
    pub image: String,
    /// Digest of the manifest.
    pub digest: Digest,
}

impl ImageLock {
    /// Reads a lock file; none if there is no such file.
    ///
    /// # Errors
    /// [`ImageError::Read`] if it can't be read, [`ImageError::Lock`] with line and column if it is malformed.
    pub fn read(path: &Path) -> Result<Option<Self>, ImageError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ImageError::Read { path: path.to_owned(), source }),
        };
        let parsed = serde_yaml::from_str(&text);
        parsed.map(Some).map_err(|error| ImageError::Lock { path: path.to_owned(), reason: error.to_string() })
    }

    /// Writes a lock file; a reader sees the old or the new content, never a part.
    ///
    /// # Errors
    /// [`ImageError::Write`] names the file.
    pub fn write(&self, path: &Path) -> Result<(), ImageError> {
        write_atomically(path, self.to_yaml().as_bytes())
    }

    /// Returns the file's text: one line an image, sorted, so that a change is a one-line difference.
    pub fn to_yaml(&self) -> String {
        if self.images.is_empty() {
            return format!("{HEADER}images: {{}}\n");
        }
        let line = |(name, locked): (&String, &LockedImage)| {
            format!("  {}: {{image: {}, digest: {}}}\n", quoted(name), quoted(&locked.image), quoted(locked.digest.as_str()))
        };
        format!("{HEADER}images:\n{}", self.images.iter().map(line).collect::<String>())
    }
}

/// Quotes as JSON does, which YAML reads alike; plain lower-case words stay bare, except those that YAML reads as something else.
fn quoted(text: &str) -> String {
    let word = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') && text.contains('-') && !text.starts_with('-');
    if word { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(names: &[&str]) -> ImageLock {
        let locked = |name: &&str| {
            let image = format!("127.0.0.1:5000/{name}");
            ((*name).to_owned(), LockedImage { image, digest: Digest::of(name.as_bytes()) })
        };
        ImageLock { images: names.iter().map(locked).collect() }
    }

    #[test]
    fn the_text_is_sorted_and_says_not_to_edit_it() {
        let expected = format!(
            "# written by `provision image push`; do not edit\n\
             images:\n  \
               api-gateway: {{image: \"127.0.0.1:5000/api-gateway\", digest: \"{}\"}}\n  \
               feature-worker: {{image: \"127.0.0.1:5000/feature-worker\", digest: \"{}\"}}\n",
            Digest::of(b"api-gateway"),
            Digest::of(b"feature-worker"),
        );
        assert_eq!(lock(&["feature-worker", "api-gateway"]).to_yaml(), expected);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dev.lock.yaml");
        assert_eq!(ImageLock::read(&path).unwrap(), None);
        for names in [&[][..], &["api-gateway"], &["feature-worker", "no", "1e7", "a: b", "git-service"]] {
            lock(names).write(&path).unwrap();
            assert_eq!(ImageLock::read(&path).unwrap(), Some(lock(names)));
        }
        let files: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(files.len(), 1, "no temporary file stays behind: {files:?}");
    }

    #[test]
    fn a_malformed_file_is_refused_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dev.lock.yaml");
        for (text, expected) in [
            ("images: [", "line 1"),
            ("images:\n  x: {image: a, digest: sha256:1}\n", "is not a digest"),
            ("images: {}\nimage: {}\n", "image"),
            ("images:\n  x: {image: a}\n", "digest"),
        ] {
            fs::write(&path, text).unwrap();
            let message = ImageLock::read(&path).unwrap_err().to_string();
            assert!(message.contains("dev.lock.yaml") && message.contains(expected), "{text:?} gave {message}");
        }
    }

    #[test]
    fn a_read_only_folder_is_an_error_that_names_the_file() {
        let missing = tempfile::tempdir().unwrap().path().join("gone/dev.lock.yaml");
        let message = lock(&[]).write(&missing).unwrap_err().to_string();
        assert!(message.contains("gone/dev.lock.yaml"), "{message}");
    }
}
