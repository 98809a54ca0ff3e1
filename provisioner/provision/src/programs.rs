//! Programs of this machine that stand for images, when an environment runs here and not in a cluster.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use provision_config::{Environment, Sources};
use provision_image::Digest;
use provision_model::LOCAL_REGISTRY;
use serde::{Deserialize, Serialize};

use crate::error::CliError;

/// Installed programs of a name that are kept beside the newest one.
const KEPT: usize = 4;

/// What a program's file looked like when its digest was computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Known {
    size: u64,
    modified: i128,
    inode: u64,
    digits: String,
}

/// Programs by the name of the image that they stand for.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Programs(BTreeMap<String, Program>);

#[derive(Debug, PartialEq)]
struct Program {
    path: PathBuf,
    /// Hexadecimal digits of the SHA-256 of its content.
    digits: String,
}

impl Programs {
    /// Finds the programs of an environment's images in `folder`; all that are missing are told at once.
    ///
    /// Digests are kept in `cache` as long as size, time and inode of a file are the same.
    pub(crate) fn find(environment: &Environment, folder: &Path, cache: &Path) -> Result<Self, CliError> {
        let images = environment.settings.images.iter().filter_map(|(_, image)| image.image.strip_prefix(LOCAL_REGISTRY));
        let programs: BTreeMap<String, PathBuf> = images.map(|name| (name.to_owned(), folder.join(name))).collect();
        let missing: Vec<&str> = programs.iter().filter(|(_, path)| !path.is_file()).map(|(name, _)| name.as_str()).collect();
        if missing.is_empty() {
            return Self::digested(programs, cache);
        }
        Err(CliError::Usage {
            message: format!("{} has no program {}; nothing was changed", folder.display(), missing.join(", ")),
            help: "build them with `make build`, or install them beside `provision`".to_owned(),
        })
    }

    fn digested(programs: BTreeMap<String, PathBuf>, cache: &Path) -> Result<Self, CliError> {
        let mut known: BTreeMap<PathBuf, Known> =
            std::fs::read(cache).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let before = known.clone();
        let mut found = BTreeMap::new();
        for (name, path) in programs {
            let digits = digest(&path, &mut known)?;
            found.insert(name, Program { path, digits });
        }
        if known != before {
            save(cache, &known)?;
        }
        Ok(Self(found))
    }

    /// Copies the programs to `folder`/<digits>/<name>, where any user can start them and a later build does not change them.
    ///
    /// What is there stays. Of each name the newest few are kept, for rollbacks.
    pub(crate) fn install(&self, folder: &Path) -> Result<(), CliError> {
        // Another run may install the same programs now.
        let path = folder.with_extension("lock");
        let lock = File::create(&path).and_then(|lock| lock.lock().map(|()| lock));
        let _lock = lock.map_err(|source| CliError::File { action: "lock", path, source })?;
        for (name, program) in &self.0 {
            let target = folder.join(&program.digits).join(name);
            if !target.exists() {
                copy(&program.path, &target).map_err(|source| CliError::File { action: "write", path: target, source })?;
            }
        }
        self.forget_old(folder).map_err(|source| CliError::File { action: "clean", path: folder.to_path_buf(), source })
    }

    fn forget_old(&self, folder: &Path) -> std::io::Result<()> {
        let mut others: BTreeMap<String, Vec<(SystemTime, PathBuf)>> = BTreeMap::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?.path();
            for file in std::fs::read_dir(&entry)? {
                let file = file?;
                let name = file.file_name().to_string_lossy().into_owned();
                let current = self.0.get(&name).is_some_and(|program| entry.ends_with(&program.digits));
                if !current {
                    others.entry(name).or_default().push((file.metadata()?.modified()?, entry.clone()));
                }
            }
        }
        for mut folders in others.into_values() {
            folders.sort();
            let old = folders.len().saturating_sub(KEPT);
            folders.drain(..old).try_for_each(|(_, old)| std::fs::remove_dir_all(old))?;
        }
        Ok(())
    }

    /// Returns the sources with a lock that pins each image to its program's content: a program that was built anew makes new pods.
    pub(crate) fn pin(&self, sources: &Sources, environment: &Environment) -> Sources {
        let mut lock = String::from("# made of the programs of this machine\nimages:\n");
        for (name, image) in environment.settings.images.iter() {
            if let Some(program) = image.image.strip_prefix(LOCAL_REGISTRY).and_then(|name| self.0.get(name)) {
                lock.push_str(&format!("  {name}: {{digest: \"sha256:{}\"}}\n", program.digits));
            }
        }
        sources.with_file(&format!("environments/{}.lock.yaml", environment.name), &lock)
    }
}

fn digest(path: &Path, known: &mut BTreeMap<PathBuf, Known>) -> Result<String, CliError> {
    let failed = |action| move |source| CliError::File { action, path: path.to_path_buf(), source };
    let file = std::fs::metadata(path).map_err(failed("look at"))?;
    let modified = i128::from(file.mtime()) * 1_000_000_000 + i128::from(file.mtime_nsec());
    let is_same = |known: &&Known| (known.size, known.modified, known.inode) == (file.size(), modified, file.ino());
    if let Some(known) = known.get(path).filter(is_same) {
        return Ok(known.digits.clone());
    }
    let unread = |source| CliError::Image {
        action: "read",
        name: path.display().to_string(),
        source: Box::new(source),
        help: "check the permissions of the program".to_owned(),
    };
    let digest = Digest::of_file(path).map_err(unread)?.hex().to_owned();
    known.insert(path.to_path_buf(), Known { size: file.size(), modified, inode: file.ino(), digits: digest.clone() });
    Ok(digest)
}

/// Copies a program whole or not at all.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let part = to.with_extension("part");
    if let Some(folder) = to.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    }
    let copied = std::fs::copy(from, &part)
        .and_then(|_| std::fs::set_permissions(&part, Permissions::from_mode(0o755)))
        .and_then(|()| File::open(&part)?.sync_all())
        .and_then(|()| std::fs::rename(&part, to));
    if copied.is_err() {
        // On a full disk a part of a program would keep what else needs the space from its place.
        std::fs::remove_file(&part).ok();
    }
    copied
}

fn save(cache: &Path, known: &BTreeMap<PathBuf, Known>) -> Result<(), CliError> {
    let failed = |source| CliError::File { action: "write", path: cache.to_path_buf(), source };
    if let Some(folder) = cache.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    // Several runs may write it at the same time; each writes the whole.
    let part = cache.with_extension(format!("part-{}", std::process::id()));
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
        let missing = Programs::find(&before, folder.path(), &cache).unwrap_err().to_string();
        assert!(missing.contains("has no program first, second;"), "{missing}");

        std::fs::write(folder.path().join("first"), "1").unwrap();
        std::fs::write(folder.path().join("second"), "2").unwrap();
        let find = || Programs::find(&before, folder.path(), &cache).unwrap();
        let pinned = || {
            let after = environment(&find().pin(&sources, &before));
            after.settings.images.iter().map(|(_, image)| image.digest.clone()).collect::<Vec<_>>()
        };
        let first = pinned();
        assert_eq!(first[0], Some(Digest::of(b"1").to_string()));
        assert_eq!(first[1], Some(Digest::of(b"2").to_string()));
        assert_eq!(first[2], None, "an image of a registry is none of ours");
        assert_eq!(pinned(), first, "from the cache");
        std::fs::write(folder.path().join("first"), "changed").unwrap();
        assert_eq!(pinned()[0], Some(Digest::of(b"changed").to_string()));
        std::fs::write(&cache, "damaged").unwrap();
        assert_eq!(pinned()[1], first[1]);
    }

    #[test]
    fn installed_programs_stay_as_they_were_and_old_ones_go_in_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, installed) = (folder.path().join("programs.json"), folder.path().join("installed"));
        let base = BASE.replace("two: {image: provision.local/second}, ", "");
        let sources = Sources::from_files([("environments/base.yaml", base.as_str()), ("environments/local.yaml", "isolation: x\n")]);
        let environment = environment(&sources);
        let place = |content: &str| installed.join(Digest::of(content.as_bytes()).hex()).join("first");
        let contents: Vec<String> = (0..=KEPT + 1).map(|number| format!("build {number}")).collect();
        for content in &contents {
            std::fs::write(folder.path().join("first"), content).unwrap();
            Programs::find(&environment, folder.path(), &cache).unwrap().install(&installed).unwrap();
            assert_eq!(std::fs::read_to_string(place(content)).unwrap(), *content);
            assert_eq!(std::fs::metadata(place(content)).unwrap().permissions().mode() & 0o777, 0o755);
        }
        let there: Vec<bool> = contents.iter().map(|content| place(content).exists()).collect();
        assert_eq!(there.iter().filter(|there| **there).count(), KEPT + 1);
        assert!(!there[0], "the oldest one is gone");
    }
}
