//! A containerd of the tests' own, with an image of busybox.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use service_testing::eventually;

use crate::world::is_root;

/// Namespace in containerd of all that the manager makes.
const NAMESPACE: &str = "feature-sandbox";
/// The image that the tests' sandboxes see.
pub(crate) const IMAGE: &str = "lab.local/sandbox:1";

/// A containerd in mount and process namespaces of its own: when its first process is killed, nothing of it is left.
pub(crate) struct Containerd {
    folder: PathBuf,
    first: Child,
    /// Control group that its sandboxes are below.
    pub(crate) parent: String,
}

impl Containerd {
    /// Starts it below a folder and imports the image.
    pub(crate) fn start(folder: &Path) -> Self {
        let containerd = Self::start_empty(folder);
        let image = folder.join("image.tar");
        let files = lab::busybox_files().unwrap();
        fs::write(&image, lab::pack(IMAGE, &files, &["/bin/sh"]).unwrap()).unwrap();
        containerd.ctr(&["images", "import", image.to_str().unwrap()]);
        containerd
    }

    /// Starts it without an image.
    pub(crate) fn start_empty(folder: &Path) -> Self {
        assert!(is_root(), "containerd and runc need root to make containers: run these tests as root");
        let folder = folder.join("containerd");
        fs::create_dir(&folder).unwrap();
        let place = |name: &str| folder.join(name).display().to_string();
        let configuration = format!(
            "version = 3\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.cri.v1.images\", \"io.containerd.cri.v1.runtime\", \"io.containerd.nri.v1.nri\"]\n\
             [grpc]\n  address = {:?}\n[ttrpc]\n  address = {:?}\n[plugins.\"io.containerd.internal.v1.opt\"]\n  path = {:?}\n",
            place("root"),
            place("state"),
            place("socket"),
            place("socket.ttrpc"),
            place("opt"),
        );
        fs::write(folder.join("config.toml"), configuration).unwrap();
        let log = fs::File::create(folder.join("log")).unwrap();
        let bin = lab::tools().unwrap().bin();
        let program = lab::tools().unwrap().program("containerd").unwrap();
        let first = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"])
            // The shims' and runc's own files are in /run: none of this machine's.
            .args(["sh", "-c", "mount -t tmpfs tmpfs /run && exec \"$0\" --config \"$1\""])
            .args([program.display().to_string(), place("config.toml")])
            .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display()))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let parent = format!("/sandbox-tests-{}", first.id());
        let containerd = Self { folder, first, parent };
        let ready = || containerd.try_ctr(&["version"]).ok();
        let told = eventually("containerd answers", ready);
        assert!(told.is_ok(), "{}", fs::read_to_string(containerd.folder.join("log")).unwrap());
        containerd
    }

    pub(crate) fn socket(&self) -> String {
        self.folder.join("socket").display().to_string()
    }

    /// Asks it in the manager's namespace.
    pub(crate) fn ctr(&self, arguments: &[&str]) -> String {
        self.try_ctr(arguments).unwrap()
    }

    fn try_ctr(&self, arguments: &[&str]) -> Result<String, String> {
        let program = lab::tools().unwrap().program("ctr").unwrap();
        let output = Command::new(program).args(["--address", &self.socket(), "--namespace", NAMESPACE]).args(arguments).output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Returns what is there besides the image: containers, tasks, snapshots on top of the image's, control groups.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left: Vec<String> = ["containers", "tasks"].iter().flat_map(|kind| lines(&self.ctr(&[kind, "list", "--quiet"]))).collect();
        left.extend(lines(&self.ctr(&["snapshots", "list"])).into_iter().filter(|line| line.contains("Active")));
        for group in groups(&self.parent) {
            let entries = fs::read_dir(group).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
            left.extend(entries.map(|entry| entry.path().display().to_string()));
        }
        left
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.first.kill().unwrap();
        self.first.wait().unwrap();
        // What runc made above the sandboxes' groups; those of a test that failed go with it when their processes have ended.
        let removed = || {
            for group in groups(&self.parent) {
                for entry in fs::read_dir(&group).into_iter().flatten().flatten() {
                    fs::remove_dir(entry.path()).ok();
                }
                fs::remove_dir(group).ok();
            }
            groups(&self.parent).is_empty().then_some(())
        };
        drop(eventually("the control groups are removed", removed));
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// Returns the folders of a control group, one for each hierarchy that has it.
fn groups(parent: &str) -> Vec<PathBuf> {
    let name = parent.trim_start_matches('/');
    let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
    hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]).map(|hierarchy| hierarchy.join(name)).filter(|group| group.exists()).collect()
}
