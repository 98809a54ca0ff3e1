//! Static local volumes: made at the start, emptied and offered again when their claim is gone.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

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
    let kubectl = tools.program("kubectl")?;
    let kubeconfig = region.path("conf/admin.kubeconfig");
    let failed = |source| LabError::Spawn { program: "kubectl get".into(), source };
    let mut watch = Command::new(&kubectl)
        .arg("--kubeconfig")
        .arg(&kubeconfig)
        .args(["get", "persistentvolumes", "--watch", "-o"])
        .arg("jsonpath={.metadata.name} {.status.phase}{\"\\n\"}")
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(lines) = watch.stdout.take() {
        for line in BufReader::new(lines).lines() {
            let line = line.map_err(failed)?;
            let Some(name) = released(&line) else { continue };
            empty(&region.path("volumes").join(name))?;
            let patch = r#"[{"op": "remove", "path": "/spec/claimRef"}]"#;
            let config = kubeconfig.display().to_string();
            run_program(
                &kubectl,
                ["--kubeconfig", &config, "patch", "persistentvolume", name, "--type=json", "-p", patch],
            )?;
        }
    }
    let status = watch.wait().map_err(failed)?;
    Err(LabError::Program { program: "kubectl get".into(), status: status.to_string(), message: "watch ended".into() })
}

/// The volume that a line of the watch says is released, if it is one of ours.
fn released(line: &str) -> Option<&str> {
    let (name, phase) = line.split_once(' ')?;
    let number = CLASSES.iter().find_map(|class| name.strip_prefix(class)?.strip_prefix('-'))?;
    (phase == "Released" && number.len() == 2 && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
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
        assert_eq!(released("standard-03 Released"), Some("standard-03"));
        assert_eq!(released("fast-ssd-15 Released"), Some("fast-ssd-15"));
        assert_eq!(released("standard-03 Bound"), None);
        assert_eq!(released("standard-../.. Released"), None);
        assert_eq!(released("other-03 Released"), None);
        assert_eq!(released("standard-03"), None);
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
