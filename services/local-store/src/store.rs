//! Objects as files: a name that no key can choose, the body first, its record after it, made visible by one rename.
//!
//! ```text
//! STORE_PATH/lock                      held while a store serves the folder
//! STORE_PATH/uploads/<number>          bodies on their way; what a crash left is removed at the start
//! STORE_PATH/buckets/<bucket>/<hash>   objects, under the SHA-256 of their key
//! ```

mod record;
mod upload;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use metrics::gauge;
use sha2::{Digest, Sha256};
use thiserror::Error;

pub(crate) use record::{Attributes, Object};
pub(crate) use upload::Upload;

/// Why the store did not do what it was asked.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    #[error("failed to {action} `{}`", path.display())]
    Disk {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("another store serves the folder `{}`", .0.display())]
    InUse(PathBuf),
    #[error("no bucket `{0}`")]
    NoBucket(String),
    #[error("no object of this key")]
    NoObject,
    #[error("the object is not as the condition says")]
    Condition,
    #[error("the object is larger than {0} bytes")]
    TooLarge(u64),
    #[error("the object's file `{}` is not readable: {why}", path.display())]
    Broken { path: PathBuf, why: &'static str },
}

impl StoreError {
    /// Tells whether the disk has no room left, or its user no share of it.
    pub(crate) fn is_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
        matches!(self, Self::Disk { source, .. } if full.contains(&source.kind()))
    }
}

/// Names what was done to which path in an error of the operating system.
fn disk(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::Disk { action, path: path.to_owned(), source }
}

/// What a client may not exceed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Largest body, in bytes.
    pub(crate) object_bytes: u64,
}

/// What must hold of the object that a write replaces or removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// There is none.
    Absent,
    /// There is one.
    Present,
    /// There is one with this entity tag.
    Tag(String),
}

impl Condition {
    fn holds(&self, object: Option<&Arc<Object>>) -> bool {
        match self {
            Self::Absent => object.is_none(),
            Self::Present => object.is_some(),
            Self::Tag(tag) => object.is_some_and(|object| object.tag == *tag),
        }
    }
}

/// The objects of one bucket, by key.
pub(crate) type Objects = BTreeMap<String, Arc<Object>>;

/// A folder of objects; the only one that writes into it.
pub(crate) struct Store {
    root: PathBuf,
    limits: Limits,
    /// Agrees with the folder while it is not held for writing.
    index: RwLock<BTreeMap<String, Objects>>,
    uploads: AtomicU64,
    /// Its lock ends with the process, however that ends.
    _lock: File,
}

impl Store {
    /// Takes a folder into use: makes it if it is missing, removes what a crash left, reads the records.
    ///
    /// An object whose record can't be read is reported and left where it is.
    ///
    /// # Errors
    /// If the folder can't be read or written, or another store serves it.
    pub(crate) fn open(root: &Path, limits: Limits) -> Result<Self, StoreError> {
        for folder in [root.to_owned(), root.join("buckets"), root.join("uploads")] {
            make_folder(&folder)?;
        }
        let path = root.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(disk("open", &path))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StoreError::InUse(root.to_owned()),
            TryLockError::Error(source) => disk("lock", &path)(source),
        })?;
        for upload in read_folder(&root.join("uploads"))? {
            fs::remove_file(&upload).map_err(disk("remove", &upload))?;
        }
        let mut index = BTreeMap::new();
        for folder in read_folder(&root.join("buckets"))? {
            if let Some(bucket) = folder.file_name().and_then(|name| name.to_str()) {
                index.insert(bucket.to_owned(), read_objects(&folder)?);
            }
        }
        let store = Self { root: root.to_owned(), limits, index: RwLock::new(index), uploads: AtomicU64::new(0), _lock: lock };
        store.read_index(|index| index.iter().for_each(|(bucket, objects)| measure(bucket, objects)));
        Ok(store)
    }

    /// Makes a bucket; tells whether it is new.
    ///
    /// # Errors
    /// If the disk refuses it.
    pub(crate) fn make_bucket(&self, bucket: &str) -> Result<bool, StoreError> {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if index.contains_key(bucket) {
            return Ok(false);
        }
        make_folder(&self.bucket_path(bucket))?;
        sync_folder(&self.root.join("buckets"))?;
        index.insert(bucket.to_owned(), Objects::new());
        Ok(true)
    }

    /// Returns the buckets' names, in order.
    pub(crate) fn buckets(&self) -> Vec<String> {
        self.read_index(|index| index.keys().cloned().collect())
    }

    /// Looks at the objects of a bucket.
    ///
    /// # Errors
    /// If there is no such bucket.
    pub(crate) fn objects<T>(&self, bucket: &str, look: impl FnOnce(&Objects) -> T) -> Result<T, StoreError> {
        self.read_index(|index| index.get(bucket).map(look)).ok_or_else(|| StoreError::NoBucket(bucket.to_owned()))
    }

    /// Returns what is known of an object.
    ///
    /// # Errors
    /// If there is no such bucket or object.
    pub(crate) fn find(&self, bucket: &str, key: &str) -> Result<Arc<Object>, StoreError> {
        self.objects(bucket, |objects| objects.get(key).cloned())?.ok_or(StoreError::NoObject)
    }

    /// Opens an object's body; the file and what is said of it belong together, whatever is written meanwhile.
    ///
    /// # Errors
    /// If there is no such bucket or object, or its file can't be read.
    pub(crate) fn open_object(&self, bucket: &str, key: &str) -> Result<(File, Object), StoreError> {
        self.objects(bucket, |_| ())?;
        let path = self.object_path(bucket, key);
        match File::open(&path) {
            Ok(mut file) => record::read(&mut file, &path).map(|object| (file, object)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::NoObject),
            Err(error) => Err(disk("open", &path)(error)),
        }
    }

    /// Tells early whether a write would be refused, before its body is taken.
    ///
    /// # Errors
    /// If there is no such bucket or the condition does not hold.
    pub(crate) fn check(&self, bucket: &str, key: &str, conditions: &[Condition]) -> Result<(), StoreError> {
        let holds = self.objects(bucket, |objects| conditions.iter().all(|condition| condition.holds(objects.get(key))))?;
        if holds { Ok(()) } else { Err(StoreError::Condition) }
    }

    /// Begins to take a body of `length` bytes, if the client says so.
    ///
    /// # Errors
    /// If that is more than an object may have, or the disk refuses it.
    pub(crate) fn begin_upload(&self, length: Option<u64>) -> Result<Upload, StoreError> {
        if length.is_some_and(|length| length > self.limits.object_bytes) {
            return Err(StoreError::TooLarge(self.limits.object_bytes));
        }
        let number = self.uploads.fetch_add(1, Ordering::Relaxed);
        Upload::begin(self.root.join("uploads").join(number.to_string()), self.limits.object_bytes)
    }

    /// Makes an uploaded body the object of its key, if the conditions hold; once it returns, the object survives a power cut.
    ///
    /// # Errors
    /// If there is no such bucket, a condition does not hold, or the disk refuses it: the old object is then as it was.
    pub(crate) fn commit(&self, bucket: &str, upload: Upload, object: Object, conditions: &[Condition]) -> Result<(), StoreError> {
        let path = self.object_path(bucket, &object.key);
        let finished = upload.finish(&object)?;
        self.change(bucket, &object.key.clone(), conditions, move |objects| {
            finished.move_to(&path)?;
            objects.insert(object.key.clone(), Arc::new(object));
            Ok(())
        })
    }

    /// Removes an object if the conditions hold; a missing one is no failure.
    ///
    /// # Errors
    /// If there is no such bucket, a condition does not hold, or the disk refuses it.
    pub(crate) fn remove(&self, bucket: &str, key: &str, conditions: &[Condition]) -> Result<(), StoreError> {
        self.change(bucket, key, conditions, |objects| {
            if objects.contains_key(key) {
                let path = self.object_path(bucket, key);
                fs::remove_file(&path).map_err(disk("remove", &path))?;
                objects.remove(key);
            }
            Ok(())
        })
    }

    /// Makes one change to a bucket, if the conditions hold of `key` in that moment, and waits until the disk has it.
    fn change(
        &self,
        bucket: &str,
        key: &str,
        conditions: &[Condition],
        change: impl FnOnce(&mut Objects) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let objects = index.get_mut(bucket).ok_or_else(|| StoreError::NoBucket(bucket.to_owned()))?;
        if !conditions.iter().all(|condition| condition.holds(objects.get(key))) {
            return Err(StoreError::Condition);
        }
        change(objects)?;
        measure(bucket, objects);
        // Readers need not wait for the disk, only who made the change must.
        drop(index);
        sync_folder(&self.bucket_path(bucket))
    }

    /// Checks that the folder is still there.
    ///
    /// # Errors
    /// If it is not, or may not be read.
    pub(crate) fn look(&self) -> Result<(), StoreError> {
        let path = self.root.join("buckets");
        fs::read_dir(&path).map(drop).map_err(disk("read", &path))
    }

    fn read_index<T>(&self, look: impl FnOnce(&BTreeMap<String, Objects>) -> T) -> T {
        look(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn bucket_path(&self, bucket: &str) -> PathBuf {
        self.root.join("buckets").join(bucket)
    }

    fn object_path(&self, bucket: &str, key: &str) -> PathBuf {
        self.bucket_path(bucket).join(file_name(key))
    }
}

/// Returns the name of a key's file: no key, however it is made, names anything else.
fn file_name(key: &str) -> String {
    hex::encode(Sha256::digest(key.as_bytes()))
}

fn make_folder(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(disk("make", path))
}

fn sync_folder(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(disk("sync", path))
}

fn read_folder(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = fs::read_dir(path).map_err(disk("read", path))?;
    entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>().map_err(disk("read", path))
}

fn read_objects(folder: &Path) -> Result<Objects, StoreError> {
    let mut objects = Objects::new();
    for path in read_folder(folder)? {
        let mut file = File::open(&path).map_err(disk("open", &path))?;
        match record::read(&mut file, &path) {
            Ok(object) if path.file_name().is_some_and(|name| name == file_name(&object.key).as_str()) => {
                objects.insert(object.key.clone(), Arc::new(object));
            }
            Ok(_) => tracing::error!(path = %path.display(), "a file has the record of another object; it is left out"),
            Err(error) => tracing::error!(%error, "an object is left out"),
        }
    }
    Ok(objects)
}

fn measure(bucket: &str, objects: &Objects) {
    gauge!("store_objects", "bucket" => bucket.to_owned()).set(objects.len() as f64);
    gauge!("store_bytes", "bucket" => bucket.to_owned()).set(objects.values().map(|object| object.size).sum::<u64>() as f64);
}
