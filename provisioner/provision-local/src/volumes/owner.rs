//! Who owns the folders and files of a pod's volumes.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown, lchown};
use std::path::Path;

use nix::unistd::Uid;

use super::VolumeError;
use crate::kubelet::WantedPod;

/// Owner of what is made for a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Whether ownership can be given away at all.
    root: bool,
    /// User, if all containers of the pod have the same.
    user: Option<u32>,
    /// Group.
    group: Option<u32>,
    /// Whether containers have several users and no group in common.
    shared: bool,
}

impl Owner {
    /// Finds the owner from what a pod's containers run as.
    pub(crate) fn of(pod: &WantedPod) -> Self {
        let mut users: Vec<Option<u32>> = pod.containers.iter().chain(&pod.init_containers).map(|one| one.run_as_user).collect();
        users.dedup();
        let several = users.len() > 1;
        let user = if several { None } else { users.first().copied().flatten() };
        let group = pod.fs_group.or_else(|| pod.containers.first().and_then(|one| one.run_as_group));
        Self { root: Uid::effective().is_root(), user, group, shared: several && pod.fs_group.is_none() }
    }

    fn is_given(&self) -> bool {
        self.root && (self.user.is_some() || self.group.is_some() || self.shared)
    }

    /// Makes a folder that containers may read and not change.
    pub(super) fn make_closed(&self, folder: &Path) -> Result<(), VolumeError> {
        let mode = if self.root { 0o711 } else { 0o700 };
        let made = DirBuilder::new().recursive(true).mode(mode).create(folder);
        let open = made.and_then(|()| fs::set_permissions(folder, Permissions::from_mode(if self.root { 0o755 } else { 0o700 })));
        open.map_err(|source| VolumeError::Folder { action: "make", path: folder.to_owned(), source })
    }

    /// Makes a folder of a volume, and gives it and what is in it to its owner if it belongs to someone else.
    pub(super) fn make(&self, folder: &Path) -> Result<(), VolumeError> {
        let failed = |action| move |source| VolumeError::Folder { action, path: folder.to_owned(), source };
        if let Some(above) = folder.parent() {
            let mode = if self.root { 0o711 } else { 0o700 };
            DirBuilder::new().recursive(true).mode(mode).create(above).map_err(failed("make the folder above"))?;
        }
        let is_new = match DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => true,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
            Err(source) => return Err(failed("make")(source)),
        };
        if !self.is_given() {
            return Ok(());
        }
        let data = fs::metadata(folder).map_err(failed("look at"))?;
        let belongs = self.group.map_or_else(|| self.user.is_none_or(|user| user == data.uid()), |group| group == data.gid());
        if is_new || !belongs {
            self.give_all(folder).map_err(failed("give away"))?;
            let mode = if self.shared { 0o777 } else { 0o2770 };
            fs::set_permissions(folder, Permissions::from_mode(mode)).map_err(failed("open"))?;
        }
        Ok(())
    }

    /// Gives a tree away, links themselves and not what they point to.
    fn give_all(&self, path: &Path) -> std::io::Result<()> {
        lchown(path, self.user, self.group)?;
        let data = fs::symlink_metadata(path)?;
        if data.is_dir() {
            for entry in fs::read_dir(path)? {
                self.give_all(&entry?.path())?;
            }
        }
        Ok(())
    }

    /// Gives one file away and sets its mode; a group that owns it may read what the owner may.
    pub(super) fn give_file(&self, path: &Path, mode: u32) -> std::io::Result<()> {
        let mode = if self.group.is_some() { mode | ((mode & 0o400) >> 3) } else { mode };
        if self.is_given() {
            chown(path, self.user, self.group)?;
        }
        fs::set_permissions(path, Permissions::from_mode(mode & 0o777))
    }

    /// Refuses a folder that the containers' user can't come to.
    pub(super) fn check_reach(&self, folder: &Path) -> Result<(), VolumeError> {
        let Some(user) = self.user.filter(|user| self.root && *user != 0) else { return Ok(()) };
        let closed = folder.ancestors().skip(1).find(|above| {
            let data = fs::metadata(above);
            data.is_ok_and(|data| {
                let needed = if data.uid() == user {
                    0o100
                } else if self.group == Some(data.gid()) {
                    0o010
                } else {
                    0o001
                };
                data.permissions().mode() & needed == 0
            })
        });
        match closed {
            Some(closed) => Err(VolumeError::Unreachable { user, folder: folder.to_owned(), closed: closed.to_owned() }),
            None => Ok(()),
        }
    }
}
