//! Volumes as folders, and how a container sees them without mounts.
//!
//! A path that a manifest mounts does not exist on this machine. Variables and arguments that begin with it are rewritten to the folder.

mod files;
mod owner;
mod paths;

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

pub(crate) use self::owner::Owner;
pub(crate) use self::paths::Paths;
use crate::kubelet::{Volume, VolumeSource, WantedPod};

/// Why a volume can't be had. The message is what an Event says.
#[derive(Debug, Error)]
pub(crate) enum VolumeError {
    /// A folder or file can't be made.
    #[error("failed to {action} {}", path.display())]
    Folder {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A path leads out of its volume.
    #[error("{} leads out of volume {volume}", path.display())]
    Escape {
        /// Which path.
        path: PathBuf,
        /// Which volume.
        volume: String,
    },
    /// The user of the container can't reach the folder.
    #[error("user {user} can't reach {}: {} is closed to others; choose another state folder (--state)", folder.display(), closed.display())]
    Unreachable {
        /// User.
        user: u32,
        /// Folder of the volume.
        folder: PathBuf,
        /// What is closed on the way there.
        closed: PathBuf,
    },
    /// A path of the machine is not there.
    #[error("hostPath {} is not there", path.display())]
    NoHostPath {
        /// Which.
        path: PathBuf,
    },
}

/// Where the volumes of pods are.
#[derive(Debug, Clone)]
pub(crate) struct Volumes {
    /// Folder of one pod.
    pod: PathBuf,
    /// Folder of all claims.
    claims: PathBuf,
}

impl Volumes {
    pub(crate) fn new(pod: PathBuf, claims: PathBuf) -> Self {
        Self { pod, claims }
    }

    /// Returns where a volume is on this machine.
    pub(crate) fn folder(&self, namespace: &str, volume: &Volume) -> PathBuf {
        match &volume.source {
            VolumeSource::Empty { .. } | VolumeSource::Files(_) => self.pod.join("volumes").join(&volume.name),
            VolumeSource::Claim { name } => self.claims.join(namespace).join(name),
            VolumeSource::Host { path } => path.clone(),
        }
    }

    /// Makes the volumes of a pod and brings files up to date; may be repeated.
    ///
    /// # Errors
    /// [`VolumeError`] for the first one that can't be had.
    pub(crate) fn prepare(&self, pod: &WantedPod, owner: &Owner) -> Result<(), VolumeError> {
        for volume in &pod.volumes {
            let folder = self.folder(&pod.namespace, volume);
            match &volume.source {
                VolumeSource::Host { path } if !path.exists() => return Err(VolumeError::NoHostPath { path: path.clone() }),
                VolumeSource::Host { .. } => {}
                VolumeSource::Files(content) => {
                    // Closed to the containers, or they could turn what we write elsewhere.
                    owner.make_closed(&folder)?;
                    files::write(&volume.name, &folder, content, owner)?;
                }
                VolumeSource::Empty { .. } | VolumeSource::Claim { .. } => owner.make(&folder)?,
            }
            owner.check_reach(&folder)?;
        }
        Ok(())
    }

    /// Brings the files of ConfigMaps and Secrets up to date.
    ///
    /// # Errors
    /// [`VolumeError`] for the first one that can't be written.
    pub(crate) fn refresh(&self, pod: &WantedPod, owner: &Owner) -> Result<(), VolumeError> {
        for volume in &pod.volumes {
            if let VolumeSource::Files(content) = &volume.source {
                files::write(&volume.name, &self.folder(&pod.namespace, volume), content, owner)?;
            }
        }
        Ok(())
    }

    /// Returns how the container of the given mounts sees its paths; folders of sub-paths are made.
    ///
    /// # Errors
    /// [`VolumeError::Escape`] for a sub-path that leads out of its volume.
    pub(crate) fn paths(&self, pod: &WantedPod, mounts: &[crate::kubelet::Mount], owner: &Owner) -> Result<Paths, VolumeError> {
        let mut found = Vec::new();
        for mount in mounts {
            let Some(volume) = pod.volumes.iter().find(|volume| volume.name == mount.volume) else { continue };
            let mut real = self.folder(&pod.namespace, volume);
            if let Some(part) = &mount.sub_path {
                if !is_inside(part) || has_link(&real, part) {
                    return Err(VolumeError::Escape { path: part.clone(), volume: mount.volume.clone() });
                }
                real.push(part);
                if !real.exists() && !matches!(volume.source, VolumeSource::Files(_)) {
                    owner.make(&real)?;
                }
            }
            found.push((mount.path.clone(), real));
        }
        Ok(Paths::new(found))
    }
}

/// Tells whether a relative path stays where it starts.
fn is_inside(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// Tells whether a part of a path is a link, which a container may have put there; the links of our own files are none of those.
fn has_link(folder: &Path, part: &Path) -> bool {
    let mut path = folder.to_owned();
    part.components().any(|name| {
        path.push(name);
        fs::read_link(&path).is_ok_and(|target| !target.starts_with(files::DATA))
    })
}

/// Removes a folder with everything in it; one that is not there is fine.
///
/// # Errors
/// If something of it stays.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
