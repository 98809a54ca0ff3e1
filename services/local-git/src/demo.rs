//! The repository that a newcomer sends a first feature to.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Output;

use thiserror::Error;
use tokio::process::Command;

const NAME: &str = "demo.git";
const FILES: [(&str, &str); 3] = [
    ("README.md", include_str!("../demo/README.md")),
    ("Makefile", include_str!("../demo/Makefile")),
    ("features/welcome.md", include_str!("../demo/welcome.md")),
];

#[derive(Debug, Error)]
pub(crate) enum DemoError {
    #[error("failed to {action} {}", .path.display())]
    Folder {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("failed to run git; install it with `apt install git`")]
    Git(#[source] io::Error),
    #[error("`git {command}` failed: {words}")]
    Refused { command: String, words: String },
}

/// Makes the repository in `folder` unless it is there; one that was begun and not finished is made anew.
pub(crate) async fn make(folder: &Path) -> Result<(), DemoError> {
    let target = folder.join(NAME);
    if target.exists() {
        return Ok(());
    }
    let (work, bare) = (folder.join(".demo-files"), folder.join(".demo.git"));
    for leftover in [&work, &bare] {
        match std::fs::remove_dir_all(leftover) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(failed("remove", leftover)(source)),
            _ => {}
        }
    }
    for (path, content) in FILES {
        let path = work.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed("make the folder", parent))?;
        }
        std::fs::write(&path, content).map_err(failed("write", &path))?;
    }
    git(&work, &["init", "--quiet", "--initial-branch=main"]).await?;
    git(&work, &["add", "--all"]).await?;
    git(&work, &["commit", "--quiet", "--message=A repository to try features with"]).await?;
    git(folder, &["clone", "--quiet", "--bare", ".demo-files", ".demo.git"]).await?;
    std::fs::remove_dir_all(&work).map_err(failed("remove", &work))?;
    // Whole or not there.
    std::fs::rename(&bare, &target).map_err(failed("rename to", &target))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DemoError {
    let path = path.to_path_buf();
    move |source| DemoError::Folder { action, path, source }
}

/// Runs git with fixed author and time, and without anybody's configuration: the first commit is the same everywhere.
async fn git(folder: &Path, arguments: &[&str]) -> Result<Output, DemoError> {
    let when = "2026-01-01T00:00:00Z";
    let output = Command::new("git")
        .current_dir(folder)
        .args(arguments)
        .envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_CONFIG_GLOBAL", "/dev/null"), ("LC_ALL", "C")])
        .envs([("GIT_AUTHOR_NAME", "demo"), ("GIT_AUTHOR_EMAIL", "demo@localhost"), ("GIT_AUTHOR_DATE", when)])
        .envs([("GIT_COMMITTER_NAME", "demo"), ("GIT_COMMITTER_EMAIL", "demo@localhost"), ("GIT_COMMITTER_DATE", when)])
        .output()
        .await
        .map_err(DemoError::Git)?;
    if output.status.success() {
        return Ok(output);
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(DemoError::Refused { command: arguments.join(" "), words })
}
