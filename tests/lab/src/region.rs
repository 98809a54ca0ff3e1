//! A region: its name, its folder, and the file names inside.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{FileContext, LabError};

/// One region: a set of namespaces with servers in it, and the folder that holds all it has.
///
/// The folder's random id is part of every name outside of the folder (cgroups), so two labs on one machine never meet.
#[derive(Debug, Clone)]
pub struct Region {
    /// Host name of the region and name of its folder.
    pub name: String,
    /// The folder; absolute.
    pub dir: PathBuf,
}

impl Region {
    /// Names the region `name` inside the lab's folder `lab`.
    ///
    /// # Errors
    /// [`LabError::RegionName`] if the name can't be a host name and a cgroup's name; [`LabError::File`] if the folder has no
    /// absolute path.
    pub fn new(lab: &Path, name: &str) -> Result<Self, LabError> {
        let usable = (1..=12).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !usable {
            return Err(LabError::RegionName(name.to_owned()));
        }
        let lab = std::path::absolute(lab).on("find", lab)?;
        Ok(Self { name: name.to_owned(), dir: lab.join(name) })
    }

    /// A file or folder inside the region's folder.
    #[must_use]
    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.join(relative)
    }

    /// Where the servers log, one file each.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.path("logs")
    }

    /// The administrator's kubeconfig, for clients outside of the region.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.path("admin.kubeconfig")
    }

    /// The lock that `up` and `down` hold while they work; beside the folder, because `down` removes the folder.
    #[must_use]
    pub fn lock_path(&self) -> PathBuf {
        self.dir.with_file_name(format!("{}.lock", self.name))
    }

    /// Name of the region's cgroup in every hierarchy, once [`Region::create_id`] has run.
    ///
    /// # Errors
    /// [`LabError::File`] if the folder has no id.
    pub fn cgroup(&self) -> Result<String, LabError> {
        let path = self.path("id");
        let id = fs::read_to_string(&path).on("read", &path)?;
        Ok(format!("lab-{}-{}", self.name, id.trim()))
    }

    /// Gives the folder its random id, once.
    ///
    /// # Errors
    /// [`LabError::File`] if it can't be written.
    pub fn create_id(&self) -> Result<(), LabError> {
        let path = self.path("id");
        if path.exists() {
            return Ok(());
        }
        let id = random_hex(4)?;
        write_new(&path, id.as_bytes())
    }
}

/// `bytes` random bytes, in hex.
pub(crate) fn random_hex(bytes: usize) -> Result<String, LabError> {
    let mut buffer = vec![0; bytes];
    fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut buffer)).on("read", "/dev/urandom")?;
    Ok(hex::encode(buffer))
}

/// Writes a whole file or nothing: a killed run never leaves half of one.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> Result<(), LabError> {
    let part = path.with_extension("part");
    fs::write(&part, content).on("write", &part)?;
    fs::rename(&part, path).on("write", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_name_is_a_short_lower_case_word() {
        let lab = Path::new("/lab");
        for good in ["r1", "useast", "a"] {
            assert!(Region::new(lab, good).is_ok(), "{good}");
        }
        for bad in ["", "R1", "../x", "us-east", "abcdefghijklm", "a b"] {
            assert!(matches!(Region::new(lab, bad), Err(LabError::RegionName(_))), "{bad}");
        }
    }

    #[test]
    fn the_id_is_made_once_and_names_the_cgroup() -> Result<(), LabError> {
        let lab = tempfile::tempdir().on("create", "a temporary folder")?;
        let region = Region::new(lab.path(), "r1")?;
        fs::create_dir_all(&region.dir).on("create", &region.dir)?;
        region.create_id()?;
        let first = region.cgroup()?;
        region.create_id()?;
        assert_eq!(first, region.cgroup()?);
        assert!(first.starts_with("lab-r1-") && first.len() == "lab-r1-".len() + 8, "{first}");
        Ok(())
    }
}
