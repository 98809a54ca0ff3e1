//! What the platform's pods may do: as they say it, and as the kernel has it.

use std::fs;
use std::path::PathBuf;

use lab::LabHandle;
use serde_json::{Value, json};

/// Lists the platform's pods that run.
pub(super) fn running(lab: &LabHandle) -> Vec<Value> {
    let select = ["--all-namespaces", "--selector", "app.kubernetes.io/part-of=feature-platform"];
    let listed = lab.kubectl(&[&["get", "pods", "--output", "json", "--field-selector", "status.phase=Running"], &select[..]].concat());
    let listed: Value = serde_json::from_str(&listed.unwrap()).unwrap();
    listed["items"].as_array().unwrap().clone()
}

/// Checks what a pod says: no user root, a read-only root file system, no way to more rights, nothing of the host.
pub(super) fn says_what_it_may(pod: &Value) {
    let (name, spec) = (pod["metadata"]["name"].as_str().unwrap(), &pod["spec"]);
    for host in ["hostPID", "hostIPC", "hostNetwork"] {
        assert_ne!(spec[host], true, "{name}: {host}");
    }
    assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{name}");
    let containers = ["containers", "initContainers"].iter().filter_map(|kind| spec[*kind].as_array()).flatten();
    for container in containers {
        let security = &container["securityContext"];
        for (field, expected) in [("runAsNonRoot", true), ("readOnlyRootFilesystem", true), ("allowPrivilegeEscalation", false)] {
            assert_eq!(security[field], expected, "{name}: {field}");
        }
        assert_ne!(security["runAsUser"], 0, "{name}");
        assert_ne!(security["privileged"], true, "{name}");
        assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}), "{name}");
    }
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        assert!(volume["hostPath"].is_null(), "{name}: {volume}");
    }
}

/// Checks what the kernel says of every process of a pod's containers: no user or group root, no capability, a root file system that is
/// read-only.
pub(super) fn is_held_to_it(pod: &Value) {
    let name = pod["metadata"]["name"].as_str().unwrap();
    let processes = processes_of(pod);
    let mut programs = 0;
    for process in &processes {
        // A process that has ended meanwhile has nothing to tell.
        let (Ok(status), Ok(mounts)) = (fs::read_to_string(process.join("status")), fs::read_to_string(process.join("mountinfo"))) else {
            continue;
        };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim();
        for ids in ["Uid", "Gid"] {
            assert!(field(ids).split_whitespace().all(|id| id != "0"), "{name}: {} has {ids} {}", field("Name"), field(ids));
        }
        assert_eq!(field("CapEff").trim_start_matches('0'), "", "{name}: {}", field("Name"));
        let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap_or_default();
        let options = root.split(' ').nth(5).unwrap_or_default();
        assert!(options.split(',').any(|option| option == "ro"), "{name}: {} has the root {root}", field("Name"));
        programs += 1;
    }
    assert!(programs > 0, "{name} has no process on this machine: {processes:?}");
}

/// Lists the processes in the control groups of a pod's containers, as folders of `/proc`; the one that holds the namespaces of the pod is
/// the runtime's.
fn processes_of(pod: &Value) -> Vec<PathBuf> {
    let containers = pod["status"]["containerStatuses"].as_array().unwrap();
    let ids: Vec<&str> = containers.iter().filter_map(|status| status["containerID"].as_str()?.split("://").nth(1)).collect();
    let belongs = |folder: &PathBuf| {
        let groups = fs::read_to_string(folder.join("cgroup")).unwrap_or_default();
        ids.iter().any(|id| groups.contains(id))
    };
    fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()).filter(belongs).collect()
}
