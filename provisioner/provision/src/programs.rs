//! Programs of this machine that stand for images, when an environment runs here and not in a cluster.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use provision_config::{Environment, Sources};
use provision_image::Digest;
use serde::{Deserialize, Serialize};

use crate::error::CliError;

/// Registry of images that are programs beside this one.
const REGISTRY: &str = "provision.local/";

/// What a program's file looked like when its digest was computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Known {
    size: u64,
    modified: i128,
    inode: u64,
    digest: String,
}

/// Programs by the name of the image that they stand for.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Programs(pub(crate) BTreeMap<String, PathBuf>);

impl Programs {
    /// Finds the programs of an environment's images in `folder`; all that are missing are told at once.
    pub(crate) fn find(environment: &Environment, folder: &Path) -> Result<Self, CliError> {
        let images = environment.settings.images.iter().filter_map(|(_, image)| image.image.strip_prefix(REGISTRY));
        let programs: BTreeMap<String, PathBuf> = images.map(|name| (name.to_owned(), folder.join(name))).collect();
        let missing: Vec<&str> = programs.iter().filter(|(_, path)| !path.is_file()).map(|(name, _)| name.as_str()).collect();
        if missing.is_empty() {
            return Ok(Self(programs));
        }
        Err(CliError::Usage {
            message: format!("{} has no program {}; nothing was changed", folder.display(), missing.join(", ")),
            help: "build them with `make build`, or install them beside `provision`".to_owned(),
        })
    }

    /// Returns the sources with a lock that pins each image to its program's content: a program that was built anew makes new pods.
    ///
    /// Digests are kept in `cache` as long as size, time and inode of a file are the same.
    pub(crate) fn pin(&self, sources: &Sources, environment: &Environment, cache: &Path) -> Result<Sources, CliError> {
        let mut known: BTreeMap<PathBuf, Known> =
            std::fs::read(cache).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let before = known.clone();
        let mut digests = BTreeMap::new();
        for (name, path) in &self.0 {
            digests.insert(name.as_str(), digest(path, &mut known)?);
        }
        if known != before {
            save(cache, &known)?;
        }
        let mut lock = String::from("# made of the programs of this machine\nimages:\n");
        for (name, image) in environment.settings.images.iter() {
            if let Some(digest) = image.image.strip_prefix(REGISTRY).and_then(|program| digests.get(program)) {
                lock.push_str(&format!("  {name}: {{digest: \"{digest}\"}}\n"));
            }
        }
        Ok(sources.with_file(&format!("environments/{}.lock.yaml", environment.name), &lock))
    }
}

fn digest(path: &Path, known: &mut BTreeMap<PathBuf, Known>) -> Result<String, CliError> {
    let failed = |action| move |source| CliError::File { action, path: path.to_path_buf(), source };
    let file = std::fs::metadata(path).map_err(failed("look at"))?;
    let modified = i128::from(file.mtime()) * 1_000_000_000 + i128::from(file.mtime_nsec());
    let is_same = |known: &&Known| (known.size, known.modified, known.inode) == (file.size(), modified, file.ino());
    if let Some(known) = known.get(path).filter(is_same) {
        return Ok(known.digest.clone());
    }
    let unread = |source| CliError::Image {
        action: "read",
        name: path.display().to_string(),
        source: Box::new(source),
        help: "check the permissions of the program".to_owned(),
    };
    let digest = Digest::of_file(path).map_err(unread)?.to_string();
    known.insert(path.to_path_buf(), Known { size: file.size(), modified, inode: file.ino(), digest: digest.clone() });
    Ok(digest)
}

fn save(cache: &Path, known: &BTreeMap<PathBuf, Known>) -> Result<(), CliError> {
    let failed = |source| CliError::File { action: "write", path: cache.to_path_buf(), source };
    if let Some(folder) = cache.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let part = cache.with_extension("part");
    let text = serde_json::to_vec(known).map_err(|error| failed(error.into()))?;
    std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, cache)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use provision_config::{Selection, resolve};

    use super::*;

    const BASE: &str = "\
purpose: test
platform: {name: p, namespace: n}
target: {kubernetes: '1.36', engine: local}
images: {one: {image: provision.local/first}, two: {image: provision.local/second}, other: {image: example.com/third}}
";

    fn environment(sources: &Sources) -> Environment {
        resolve(sources, &Selection { environment: "local".to_owned(), ..Selection::default() }).unwrap()
    }

    #[test]
    fn images_are_pinned_to_the_content_of_their_programs() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("state/programs.json");
        let sources = Sources::from_files([("environments/base.yaml", BASE), ("environments/local.yaml", "isolation: x\n")]);
        let before = environment(&sources);
        let missing = Programs::find(&before, folder.path()).unwrap_err().to_string();
        assert!(missing.contains("has no program first, second;"), "{missing}");

        std::fs::write(folder.path().join("first"), "1").unwrap();
        std::fs::write(folder.path().join("second"), "2").unwrap();
        let programs = Programs::find(&before, folder.path()).unwrap();
        let pinned = |programs: &Programs| {
            let after = environment(&programs.pin(&sources, &before, &cache).unwrap());
            after.settings.images.iter().map(|(_, image)| image.digest.clone()).collect::<Vec<_>>()
        };
        let first = pinned(&programs);
        assert_eq!(first[0], Some(Digest::of(b"1").to_string()));
        assert_eq!(first[1], Some(Digest::of(b"2").to_string()));
        assert_eq!(first[2], None, "an image of a registry is none of ours");
        assert_eq!(pinned(&programs), first, "from the cache");
        std::fs::write(folder.path().join("first"), "changed").unwrap();
        assert_eq!(pinned(&programs)[0], Some(Digest::of(b"changed").to_string()));
        std::fs::write(&cache, "damaged").unwrap();
        assert_eq!(pinned(&programs)[1], first[1]);
    }
}
