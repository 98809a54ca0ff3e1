use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

/// First line of the plain text: the name and the version. Other versions are refused, never rewritten.
const FORMAT: &str = "provision-secrets/1";
const FORMAT_NAME: &str = "provision-secrets/";

/// Secret values by `path` and `property`; wiped from memory when dropped.
#[derive(Default)]
pub(crate) struct Values(pub(crate) BTreeMap<String, BTreeMap<String, String>>);

impl Drop for Values {
    fn drop(&mut self) {
        self.0.values_mut().flat_map(BTreeMap::values_mut).for_each(String::zeroize);
    }
}

/// Why the local store can't be used. No variant holds a value.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A file or folder can't be read or written.
    #[error("failed to {action} {}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others can read a file that holds secrets or their key.
    #[error("{} can be read by others (mode {mode:o}); run `chmod {wanted:o} {}`", .path.display(), .path.display())]
    TooOpen {
        /// Which file or folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode it needs.
        wanted: u32,
    },
    /// The values are there but not the key that opens them.
    #[error("{} is lost, so {} can't be opened; restore it, or remove both to make new values", .key.display(), .values.display())]
    KeyLost {
        /// The key's file.
        key: PathBuf,
        /// The values' file.
        values: PathBuf,
    },
    /// A file is not what was written.
    #[error("{} is damaged or belongs to another key; restore it from a backup, or remove it to make new values", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
    },
    /// A newer program wrote the file.
    #[error("{} was written by a newer program (`{found}`); use that one", .path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: String,
    },
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_path_buf();
    move |source| StoreError::Io { action, path, source }
}

/// The folder of the local store, held exclusively until it is dropped.
pub(crate) struct Locked {
    folder: PathBuf,
    environment: String,
    _lock: File,
}

impl Locked {
    /// Makes the folder if it is not there and waits for whoever holds it.
    pub(crate) fn open(folder: &Path, environment: &str) -> Result<Self, StoreError> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io("create the folder", folder))?;
        let metadata = std::fs::metadata(folder).map_err(io("look at", folder))?;
        owner_only(folder, &metadata, 0o700)?;
        let path = folder.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(io("open", &path))?;
        lock.lock().map_err(io("lock", &path))?;
        Ok(Self { folder: folder.to_path_buf(), environment: environment.to_owned(), _lock: lock })
    }

    fn values_path(&self) -> PathBuf {
        self.folder.join(format!("{}.age", self.environment))
    }

    fn key_path(&self) -> PathBuf {
        self.folder.join("key.txt")
    }

    /// Reads all values; none when nothing was stored yet.
    pub(crate) fn load(&self) -> Result<Values, StoreError> {
        let path = self.values_path();
        let Some(cipher) = read_if_there(&path)? else { return Ok(Values::default()) };
        let Some(key) = self.key()? else { return Err(StoreError::KeyLost { key: self.key_path(), values: path }) };
        let damaged = || StoreError::Damaged { path: path.clone() };
        let plain = Zeroizing::new(age::decrypt(&key, &cipher).map_err(|_| damaged())?);
        let text = std::str::from_utf8(&plain).map_err(|_| damaged())?;
        let (format, body) = text.split_once('\n').ok_or_else(damaged)?;
        if format != FORMAT {
            // Shown only if it is what it should be: the first line of anything else may be a value.
            let version = format.strip_prefix(FORMAT_NAME).and_then(|version| version.parse::<u32>().ok()).ok_or_else(damaged)?;
            return Err(StoreError::Newer { path, found: format!("{FORMAT_NAME}{version}") });
        }
        serde_json::from_str(body).map(Values).map_err(|_| damaged())
    }

    /// Writes all values; the file holds the old or the new ones, never half of them.
    pub(crate) fn save(&self, values: &Values) -> Result<(), StoreError> {
        let key = match self.key()? {
            Some(key) => key,
            None => {
                // A new key beside values of a lost one would hide that the old one is missing.
                if let Some(values) = self.any_values()? {
                    return Err(StoreError::KeyLost { key: self.key_path(), values });
                }
                self.make_key()?
            }
        };
        let path = self.values_path();
        let body = Zeroizing::new(serde_json::to_string(&values.0).map_err(|_| StoreError::Damaged { path: path.clone() })?);
        let plain = Zeroizing::new(format!("{FORMAT}\n{}", body.as_str()));
        let cipher = age::encrypt(&key.to_public(), plain.as_bytes()).map_err(|_| StoreError::Damaged { path: path.clone() })?;
        write_whole(&path, &cipher)
    }

    fn key(&self) -> Result<Option<Identity>, StoreError> {
        let path = self.key_path();
        let Some(bytes) = read_if_there(&path)? else { return Ok(None) };
        let bytes = Zeroizing::new(bytes);
        let identity = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse::<Identity>().ok());
        identity.map(Some).ok_or(StoreError::Damaged { path })
    }

    /// Finds values of any environment; all share one key.
    fn any_values(&self) -> Result<Option<PathBuf>, StoreError> {
        for entry in std::fs::read_dir(&self.folder).map_err(io("read the folder", &self.folder))? {
            let path = entry.map_err(io("read the folder", &self.folder))?.path();
            if path.extension().is_some_and(|extension| extension == "age") {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    fn make_key(&self) -> Result<Identity, StoreError> {
        let identity = Identity::generate();
        let text = Zeroizing::new(format!("{}\n", identity.to_string().expose_secret()));
        write_whole(&self.key_path(), text.as_bytes())?;
        Ok(identity)
    }
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io("open", path)(source)),
    };
    let metadata = file.metadata().map_err(io("look at", path))?;
    owner_only(path, &metadata, 0o600)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(io("read", path))?;
    Ok(Some(bytes))
}

fn owner_only(path: &Path, metadata: &Metadata, wanted: u32) -> Result<(), StoreError> {
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(StoreError::TooOpen { path: path.to_path_buf(), mode, wanted }) }
}

/// Writes beside the file, syncs, renames and syncs the folder.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let part = path.with_extension("part");
    let written = (|| {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&part)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&part, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    })();
    if written.is_err() {
        // What is left of a failed attempt would only confuse; the error below is the one that matters.
        std::fs::remove_file(&part).ok();
    }
    written.map_err(io("write", path))
}
