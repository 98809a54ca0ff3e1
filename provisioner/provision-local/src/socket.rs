//! The socket of a state folder: for its owner only, wherever the folder lies.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use tokio::net::{UnixListener, UnixStream};

const SOCKET: &str = "socket";
/// Longest path of a socket that the kernel takes.
const LONGEST_PATH: usize = 100;

/// Returns the folder of the socket and of the locks, for the owner of the state folder only; makes both.
pub(crate) fn control(state: &Path) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(state)?;
    let metadata = fs::metadata(state)?;
    let denied = |why: &str| io::Error::new(io::ErrorKind::PermissionDenied, format!("{} {why}", state.display()));
    if metadata.uid() != nix::unistd::geteuid().as_raw() {
        return Err(denied("belongs to another user"));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(denied("may be written by others"));
    }
    let control = state.join("control");
    DirBuilder::new().recursive(true).mode(0o700).create(&control)?;
    fs::set_permissions(&control, fs::Permissions::from_mode(0o700))?;
    Ok(control)
}

/// Connects to the supervisor by its folder.
pub(crate) async fn connect(control: &Path) -> io::Result<UnixStream> {
    let (path, _folder) = reachable(control)?;
    UnixStream::connect(path).await
}

/// Listens at the socket of a folder, whose lock the caller holds: what lies there is left over.
pub(crate) fn listen(control: &Path) -> io::Result<UnixListener> {
    let socket = control.join(SOCKET);
    match fs::remove_file(&socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let (path, _folder) = reachable(control)?;
    let listener = UnixListener::bind(path)?;
    // The folder keeps everybody else out already.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Tells whether the other side is our user, or root.
pub(crate) fn is_ours(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| is_trusted(peer.uid(), nix::unistd::geteuid().as_raw()))
}

fn is_trusted(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

/// Takes a lock file of a folder; `None` when somebody else has it. Ends with the returned value, or the process.
pub(crate) fn lock(control: &Path, name: &str) -> io::Result<Option<Flock<File>>> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(control.join(name))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error.into()),
    }
}

/// Returns a path of the socket that is short enough, and what must stay open for it.
fn reachable(control: &Path) -> io::Result<(PathBuf, Option<File>)> {
    let path = control.join(SOCKET);
    if path.as_os_str().len() <= LONGEST_PATH {
        return Ok((path, None));
    }
    let folder = File::open(control)?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd())), Some(folder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_user_and_root_are_trusted() {
        let cases = [(1000, 1000, true), (0, 1000, true), (1001, 1000, false), (1000, 0, false), (0, 0, true)];
        for (peer, own, trusted) in cases {
            assert_eq!(is_trusted(peer, own), trusted, "{peer} at {own}");
        }
    }

    #[tokio::test]
    async fn a_socket_is_for_its_owner_however_deep_its_folder_lies() {
        for depth in [0, 30] {
            let home = tempfile::tempdir().unwrap();
            let state = (0..depth).fold(home.path().join("state"), |path, _| path.join("deeper"));
            let state = control(&state).unwrap();
            let listener = listen(&state).unwrap();
            let client = connect(&state).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            assert!(is_ours(&server) && is_ours(&client));
            assert_eq!(fs::metadata(state.join(SOCKET)).unwrap().mode() & 0o777, 0o600);
            assert_eq!(fs::metadata(&state).unwrap().mode() & 0o777, 0o700);
            drop(listener);
            assert_eq!(connect(&state).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
            listen(&state).unwrap();
        }
    }

    #[test]
    fn a_folder_that_others_may_write_is_refused() {
        let state = tempfile::tempdir().unwrap();
        fs::set_permissions(state.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(control(state.path()).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        fs::set_permissions(state.path(), fs::Permissions::from_mode(0o711)).unwrap();
        assert!(control(state.path()).is_ok());
    }

    #[test]
    fn a_lock_is_had_by_one() {
        let state = tempfile::tempdir().unwrap();
        let first = lock(state.path(), "lock").unwrap();
        assert!(first.is_some());
        assert!(lock(state.path(), "lock").unwrap().is_none());
        drop(first);
        assert!(lock(state.path(), "lock").unwrap().is_some());
    }
}
