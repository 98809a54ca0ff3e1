//! The description of a container, as the OCI runtime specification has it.

use std::path::Path;

use serde_json::{Value, json};

use super::program;
use super::seccomp;
use crate::plan::{OPEN_FILES, WORKSPACE};
use crate::spec::Limits;

/// Length of the time in which CPU is counted, in microseconds.
const PERIOD: u32 = 100_000;
/// Most files in a file system that is held in memory.
const MEMORY_FILES: u64 = 50_000;
/// What holds every container; runc makes none without these.
pub(super) const ISOLATION: [&str; 12] =
    ["network", "pid", "mount", "ipc", "uts", "proc", "uid", "cgroup", "memory", "pids", "cpu", "seccomp"];

/// What of a container differs from others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Container<'a> {
    /// Its id.
    pub(super) id: &'a str,
    /// Words that start its first process.
    pub(super) start: &'a [String],
    /// Folder of the sandbox.
    pub(super) folder: &'a Path,
    /// Folder of [`program`].
    pub(super) program: &'a Path,
    /// User and group.
    pub(super) user: u32,
    /// Group that its control group is below.
    pub(super) parent: &'a Parent,
    /// Limits.
    pub(super) limits: &'a Limits,
    /// Whether the machine has memory on disk.
    pub(super) has_swap: bool,
}

/// Where control groups are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parent {
    /// A path below the root of each hierarchy, made by runc.
    Path(String),
    /// A slice of systemd, which makes the groups.
    Slice(String),
}

impl Default for Parent {
    fn default() -> Self {
        Self::Path("/feature-sandbox".to_owned())
    }
}

impl Parent {
    /// Reads `/path` or `name.slice`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let plain = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        match text.strip_prefix('/') {
            Some(path) => path.split('/').all(|name| plain(name) && name != "..").then(|| Self::Path(text.to_owned())),
            None => (plain(text) && text.ends_with(".slice") && text != ".slice").then(|| Self::Slice(text.to_owned())),
        }
    }

    /// Returns the group of a container, in the words of runc.
    fn group(&self, id: &str) -> String {
        match self {
            Self::Path(path) => format!("{path}/{id}"),
            Self::Slice(slice) => format!("{slice}:sandbox:{id}"),
        }
    }
}

/// Describes a container.
///
/// The score by which the kernel chooses whom to kill is left alone: not every containerd may lower it.
pub(super) fn describe(container: &Container<'_>) -> Value {
    let none: [&str; 0] = [];
    let capabilities = json!({"bounding": none, "effective": none, "inheritable": none, "permitted": none, "ambient": none});
    let namespaces = ["pid", "ipc", "uts", "mount", "network"].map(|kind| json!({"type": kind}));
    json!({
        "ociVersion": "1.0.2",
        "hostname": "sandbox",
        "root": {"path": "rootfs", "readonly": true},
        "process": {
            "terminal": false,
            "user": {"uid": container.user, "gid": container.user},
            "args": container.start,
            "env": none,
            "cwd": format!("/{WORKSPACE}"),
            "capabilities": capabilities,
            "rlimits": rlimits(container.limits),
            "noNewPrivileges": true,
        },
        "mounts": mounts(container),
        "linux": {
            "namespaces": namespaces,
            "cgroupsPath": container.parent.group(container.id),
            "resources": resources(container.limits, container.has_swap),
            "seccomp": seccomp::filter(),
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
                "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

fn rlimits(limits: &Limits) -> Vec<Value> {
    let all =
        [("RLIMIT_CORE", 0), ("RLIMIT_NOFILE", OPEN_FILES), ("RLIMIT_FSIZE", limits.workspace()), ("RLIMIT_CPU", limits.cpu_seconds())];
    all.map(|(kind, most)| json!({"type": kind, "hard": most, "soft": most})).into()
}

fn resources(limits: &Limits, has_swap: bool) -> Value {
    let mut memory = json!({"limit": limits.memory()});
    if has_swap {
        // None of it: it would make the limit a matter of time. Without any, a kernel may not know the setting.
        memory["swap"] = json!(limits.memory());
    }
    let quota = (limits.cpus * f64::from(PERIOD)).round().max(1000.0) as u64;
    json!({
        // runc adds those that do no harm.
        "devices": [{"allow": false, "access": "rwm"}],
        "memory": memory,
        "cpu": {"quota": quota, "period": PERIOD},
        "pids": {"limit": limits.processes},
    })
}

fn mounts(container: &Container<'_>) -> Vec<Value> {
    let in_memory = |target: &str, size: String| {
        let files = format!("nr_inodes={MEMORY_FILES}");
        json!({"destination": target, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777", size, files]})
    };
    let half = format!("size={}", container.limits.memory() / 2);
    let bound = |target: &str, source: &Path, access: &str| json!({"destination": target, "type": "bind", "source": source, "options": ["rbind", access, "nosuid", "nodev"]});
    vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=64k"]}),
        json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]}),
        in_memory("/dev/shm", half.clone()),
        in_memory("/tmp", half),
        bound(&format!("/{WORKSPACE}"), &container.folder.join(WORKSPACE), "rw"),
        bound(program::INSIDE, container.program, "ro"),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_control_group_is_below_a_path_or_a_slice() {
        for (text, group) in [
            ("/feature-sandbox", Some("/feature-sandbox/id")),
            ("/a/b", Some("/a/b/id")),
            ("feature-sandbox.slice", Some("feature-sandbox.slice:sandbox:id")),
            ("feature", None),
            ("/", None),
            ("/a/../b", None),
            (".slice", None),
            ("a:b.slice", None),
        ] {
            assert_eq!(Parent::parse(text).map(|parent| parent.group("id")).as_deref(), group, "{text}");
        }
    }

    #[test]
    fn a_container_has_no_way_out() {
        let limits = Limits { cpus: 0.5, memory_mib: 64, timeout: Duration::from_secs(10), output_kib: 1, processes: 20, workspace_mib: 8 };
        let container = Container {
            id: "id",
            start: &["/.sandbox/program".to_owned()],
            folder: Path::new("/data/id"),
            program: Path::new("/data/program"),
            user: 61_000,
            parent: &Parent::Path("/sandboxes".to_owned()),
            limits: &limits,
            has_swap: true,
        };
        let described = describe(&container);
        for (pointer, value) in [
            ("/root/readonly", json!(true)),
            ("/process/noNewPrivileges", json!(true)),
            ("/process/capabilities/bounding", json!([])),
            ("/process/user/uid", json!(61_000)),
            ("/process/user/gid", json!(61_000)),
            ("/linux/namespaces", json!([{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "network"}])),
            ("/linux/resources/devices", json!([{"allow": false, "access": "rwm"}])),
            ("/linux/resources/memory", json!({"limit": 64 << 20, "swap": 64 << 20})),
            ("/linux/resources/cpu", json!({"quota": 50_000, "period": 100_000})),
            ("/linux/resources/pids/limit", json!(20)),
            ("/linux/seccomp/defaultAction", json!("SCMP_ACT_ERRNO")),
            ("/process/rlimits/3", json!({"type": "RLIMIT_CPU", "hard": 6, "soft": 6})),
        ] {
            assert_eq!(described.pointer(pointer), Some(&value), "{pointer}");
        }
        assert_eq!(described.pointer("/process/oomScoreAdj"), None);
        let writable: Vec<&Value> = described["mounts"].as_array().unwrap().iter().filter(|mount| mount["type"] == "bind").collect();
        assert_eq!(writable[0]["source"], "/data/id/workspace");
        assert!(writable[1]["options"].as_array().unwrap().contains(&json!("ro")));
    }
}
