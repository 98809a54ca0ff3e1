//! Static local volumes: made at the start, emptied and offered again when their claim is gone.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::command::run_program;
use crate::error::{FileContext, LabError};
use crate::region::Region;
use crate::tools::Tools;

/// Storage classes with volumes.
const CLASSES: [&str; 2] = ["standard", "fast-ssd"];
/// Volumes of each class.
const EACH: usize = 16;

/// Makes the volumes' folders and returns the objects that offer them.
pub(crate) fn manifests(region: &Region) -> Result<String, LabError> {
    let mut text = String::new();
    for class in CLASSES {
        for number in 0..EACH {
            let name = format!("{class}-{number:02}");
            let path = region.path("volumes").join(&name);
            fs::create_dir_all(&path).on("create", &path)?;
            // Containers with any user may write here; fsGroup narrows it where it is set.
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).on("open", &path)?;
            // Writing to a String can't fail.
            write!(text, "{}", volume(&name, class, &path)).unwrap_or_default();
        }
    }
    Ok(text)
}

fn volume(name: &str, class: &str, path: &Path) -> String {
    format!(
        "---
apiVersion: v1
kind: PersistentVolume
metadata: {{name: {name}}}
spec:
  storageClassName: {class}
  capacity: {{storage: 500Gi}}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  local: {{path: \"{}\"}}
  nodeAffinity:
    required:
      nodeSelectorTerms:
      - matchExpressions: [{{key: kubernetes.io/hostname, operator: In, values: [node1]}}]
",
        path.display()
    )
}

/// Watches the volumes and offers each again when its claim was deleted, empty; runs inside the region.
///
/// # Errors
/// [`LabError`] when the watch ends, which it does with the API server; the first process then starts it again.
pub fn reclaim(region: &Region, tools: &Tools) -> Result<(), LabError> {
    let failed = |source| LabError::Spawn { program: "kubectl get".into(), source };
    let mut watch = Command::new(tools.program("kubectl")?)
        .arg("--kubeconfig")
        .arg(region.path("conf/admin.kubeconfig"))
        .args(["get", "persistentvolumes", "--watch", "-o"])
        .arg("jsonpath={.metadata.name} {.status.phase} {.metadata.resourceVersion}{\"\\n\"}")
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(lines) = watch.stdout.take() {
        for line in BufReader::new(lines).lines() {
            offer_again(region, tools, &line.map_err(failed)?)?;
        }
    }
    let status = watch.wait().map_err(failed)?;
    Err(LabError::Program { program: "kubectl get".into(), status: status.to_string(), message: "watch ended".into() })
}

/// Empties the volume that a line of the watch says is released, and takes the claim that is gone out of it.
fn offer_again(region: &Region, tools: &Tools, line: &str) -> Result<(), LabError> {
    let Some((name, _)) = released(line) else { return Ok(()) };
    let kubectl = tools.program("kubectl")?;
    let config = region.path("conf/admin.kubeconfig").display().to_string();
    let run = |args: &[&str]| run_program(&kubectl, [&["--kubeconfig", &config], args].concat());
    // The line may be older than the volume's next claim.
    let format = "jsonpath={.metadata.name} {.status.phase} {.metadata.resourceVersion}";
    let now = run(&["get", "persistentvolume", name, "-o", format])?;
    let Some((name, version)) = released(&now) else { return Ok(()) };
    empty(&region.path("volumes").join(name))?;
    let patch = json!({"metadata": {"resourceVersion": version}, "spec": {"claimRef": null}}).to_string();
    match run(&["patch", "persistentvolume", name, "--type=merge", "-p", &patch]) {
        // Somebody changed it in between: the watch will tell of that too.
        Err(LabError::Program { message, .. }) if message.contains("Conflict") => Ok(()),
        result => result.map(drop),
    }
}

/// The volume that a line of the watch says is released, if it is one of ours, and the version of that news.
fn released(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_whitespace();
    let (name, phase, version) = (words.next()?, words.next()?, words.next()?);
    let number = CLASSES.iter().find_map(|class| name.strip_prefix(class)?.strip_prefix('-'))?;
    let ours = number.len() == 2 && number.bytes().all(|byte| byte.is_ascii_digit());
    (ours && phase == "Released").then_some((name, version))
}

fn empty(folder: &Path) -> Result<(), LabError> {
    for entry in fs::read_dir(folder).on("read", folder)? {
        let path = entry.on("read", folder)?.path();
        let is_folder = fs::symlink_metadata(&path).on("read", &path)?.is_dir();
        if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.on("remove", &path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_released_volumes_are_offered_again() {
        assert_eq!(released("standard-03 Released 7"), Some(("standard-03", "7")));
        assert_eq!(released("fast-ssd-15 Released 8"), Some(("fast-ssd-15", "8")));
        for other in ["standard-03 Bound 7", "standard-../.. Released 7", "other-03 Released 7", "standard-03 Released"] {
            assert_eq!(released(other), None, "{other}");
        }
    }

    #[test]
    fn a_volume_is_emptied_but_stays() -> Result<(), LabError> {
        let folder = tempfile::tempdir().on("create", "a temporary folder")?;
        fs::create_dir_all(folder.path().join("a/b")).on("create", "a/b")?;
        fs::write(folder.path().join("a/b/file"), "x").on("write", "a/b/file")?;
        std::os::unix::fs::symlink("/etc", folder.path().join("link")).on("link", "/etc")?;
        empty(folder.path())?;
        assert_eq!(fs::read_dir(folder.path()).on("read", folder.path())?.count(), 0);
        assert!(Path::new("/etc/passwd").exists());
        Ok(())
    }
}
