//! What is containerd's alone: images, what a container may not, and what its end leaves.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use service_testing::{Service, eventually};

use crate::PROGRAM;
use crate::containerd::{Containerd, IMAGE};
use crate::world::{Who, World, limited, spec};

/// Starts a manager that is expected not to come up; returns its log.
fn refused(folder: &std::path::Path, containerd: Option<&Containerd>, image: &str) -> String {
    let data = folder.join("data").display().to_string();
    let socket = containerd.map_or("/nowhere/containerd.sock".to_owned(), Containerd::socket);
    let parent = containerd.map_or("/nowhere", |containerd| containerd.parent.as_str());
    let variables = [
        ("GRPC_PORT", "0"),
        ("SANDBOX_DATA_PATH", data.as_str()),
        ("SANDBOX_IMAGE", image),
        ("CONTAINERD_SOCKET", socket.as_str()),
        ("SANDBOX_CGROUP_PARENT", parent),
    ];
    let mut service = Service::start(PROGRAM, &[], &variables).unwrap();
    assert_eq!(service.wait().unwrap().code(), Some(1), "{}", service.log());
    service.log()
}

#[test]
fn a_start_without_containerd_or_the_image_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let log = refused(folder.path(), None, IMAGE);
    assert!(log.contains("nothing answers at /nowhere/containerd.sock (CONTAINERD_SOCKET): No such file"), "{log}");
    let containerd = Containerd::start_empty(folder.path());
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let image = format!("127.0.0.1:{closed}/sandbox:1");
    let log = refused(folder.path(), Some(&containerd), &image);
    assert!(log.contains(&format!("the image {image} is not there and can't be pulled (SANDBOX_IMAGE)")), "{log}");
    assert!(log.contains("connection refused"), "{log}");
}

/// A registry, ended with the value.
struct Registry {
    child: Child,
    port: u16,
}

impl Registry {
    fn start(folder: &std::path::Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = folder.join("registry.yml");
        let store = folder.join("registry");
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\nlog: {{level: error}}\n",
            store.display()
        );
        std::fs::write(&path, text).unwrap();
        let program = Command::new("docker-registry").arg("serve").arg(path).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let registry = Self { child: program.unwrap(), port };
        eventually("the registry answers", || std::net::TcpStream::connect(("127.0.0.1", port)).ok()).unwrap();
        registry
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn an_image_that_is_not_there_is_pulled() {
    let world = World::start(Who::Containerd, &[]);
    let containerd = world.containerd.as_ref().unwrap();
    let registry = Registry::start(world.folder.path());
    let name = format!("127.0.0.1:{}/sandbox:1", registry.port);
    containerd.ctr(&["images", "tag", IMAGE, &name]);
    containerd.ctr(&["images", "push", "--plain-http", &name]);
    let second = tempfile::tempdir().unwrap();
    let other = Containerd::start_empty(second.path());
    let more = [("CONTAINERD_SOCKET", other.socket()), ("SANDBOX_IMAGE", name), ("SANDBOX_CGROUP_PARENT", other.parent.clone())];
    let more: Vec<(&str, &str)> = more.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let pulling = World::start(Who::Containerd, &more);
    let told = pulling.run(spec(1, &["sh", "-c", "echo pulled; echo $PATH"]), Vec::new());
    // The image says where its programs are.
    assert_eq!(told.map(|told| told.out()).ok().as_deref(), Some("pulled\n/bin\n"), "{}", pulling.service.log());
}

#[test]
fn a_container_has_no_rights() {
    let world = World::start(Who::Containerd, &[]);
    let script = "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; ls /dev; \
                  unshare -r true; mknod x b 8 0; dmesg; touch /bin/x; cat /.sandbox/x; touch /.sandbox/x; env";
    let told = world.sh(1, script);
    let out = told.out();
    let zero = "0000000000000000";
    assert!(out.starts_with(&format!("CapEff:\t{zero}\nCapBnd:\t{zero}\nNoNewPrivs:\t1\nSeccomp:\t2\n")), "{out}");
    assert!(!out.contains("sda") && !out.contains("vda") && !out.contains("kvm"), "{out}");
    for words in ["unshare: unshare(0x10000000): Operation not permitted", "mknod: x: Operation not permitted", "Read-only file system"] {
        assert!(told.err().contains(words), "{words}: {}", told.err());
    }
    assert!(out.contains("HOME=/workspace\n") && !out.contains("SANDBOX"), "nothing of the manager's is passed on: {out}");
    assert!(["network", "pid", "mount", "ipc", "uts", "memory", "pids", "cpu", "seccomp"].iter().all(|name| world.has(name, &told)));
}

#[test]
fn what_a_killed_manager_left_in_containerd_is_removed_by_the_next_one() {
    let mut world = World::start(Who::Containerd, &[]);
    let events = world.begun(spec(1, &["sh", "-c", "echo ready; sleep 600.375"]), "ready");
    let limits = feature_api::sandbox::Limits { timeout_seconds: Some(30), ..Default::default() };
    let others = world.begun(limited(spec(2, &["sh", "-c", "trap '' TERM; echo ready; sleep 600.375"]), limits), "ready");
    assert!(world.containerd.as_ref().unwrap().left().len() >= 6, "two containers, two tasks, two snapshots, their control groups");
    world.kill();
    drop((events, others));
    // Their first processes see that the manager is gone: nothing runs on, even if none is started again.
    eventually("nothing runs", || crate::world::processes_with("600.375").is_empty().then_some(())).unwrap();
    assert!(!world.containerd.as_ref().unwrap().left().is_empty(), "their records are still there");
    world.start_again();
    world.wait_for_nothing("600.375");
}

#[test]
fn a_manager_whose_containerd_is_gone_ends_so_that_it_is_started_again() {
    let mut world = World::start(Who::Containerd, &[]);
    drop(world.containerd.take());
    assert_eq!(world.service.wait().unwrap().code(), Some(1));
    assert!(world.service.log().contains("containerd is lost"), "{}", world.service.log());
}
