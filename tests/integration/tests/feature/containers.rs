//! Sandboxes as containers of the node's containerd: how an environment asks for them, and what containerd tells of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use lab::LabHandle;
use serde_json::Value;

/// Namespace in containerd of all that the sandbox manager makes.
const NAMESPACE: &str = "feature-sandbox";
/// What environment `dev` changes for want of a socket that every developer's node has; without it `base.yaml` stands.
const CHANGED: [&str; 6] = [
    "  SANDBOX_RUNTIME: process\n",
    "      CONTAINERD_SOCKET: !delete\n",
    "    env_images: {SANDBOX_IMAGE: !delete }\n",
    "    security: {run_as_user: 65532, run_as_non_root: true, add: []}\n    volumes:\n    - !delete {name: containerd-socket}\n",
    "    - !replace {name: sandbox-data, kind: empty_dir, mount_path: /var/feature/sandboxes, size: 64Mi}\n",
    "    # No socket of the node's containerd: a developer's node need not have it at the usual place.\n",
];
/// What becomes of a sandbox in containerd, whatever comes between. That a task is deleted is told by a process that ends then: not always.
const LIFE: [&str; 5] = ["/containers/create", "/tasks/create", "/tasks/start", "/tasks/exit", "/containers/delete"];

/// What sandboxes on the lab's node are made of.
pub(super) struct Contained<'a> {
    lab: &'a LabHandle,
    /// The image, with its digest; the registry has it, and the manager's namespace of containerd has not.
    image: String,
    /// The control group of the sandboxes, below that of the node, which goes with it.
    parent: String,
}

impl<'a> Contained<'a> {
    pub(super) fn prepare(lab: &'a LabHandle) -> Self {
        let image = lab.push_image("lab.local/busybox:1", "sandbox").unwrap();
        let contained = Self { lab, image, parent: format!("/{}/sandboxes", lab.cgroup().unwrap()) };
        // An earlier run may have pulled it.
        if contained.listed(&["images", "list", "--quiet"]).contains(&contained.image) {
            contained.ctr(&["images", "remove", "--sync", &contained.image]);
        }
        contained
    }

    /// Makes a copy of environment `dev` one that has sandboxes as `base.yaml` has them.
    pub(super) fn change(&self, environment: &Path) {
        let mut text = fs::read_to_string(environment).unwrap();
        for lines in CHANGED {
            assert_eq!(text.matches(lines).count(), 1, "{lines}");
            text = text.replace(lines, "");
        }
        fs::write(environment, text).unwrap();
    }

    pub(super) fn settings(&self) -> [String; 2] {
        let (image, digest) = self.image.split_once('@').unwrap();
        [
            format!("images.sandbox={{image: {image:?}, digest: {digest:?}}}"),
            format!("services.sandbox-manager.env={{SANDBOX_CGROUP_PARENT: {:?}}}", self.parent),
        ]
    }

    /// Lists what containerd and the kernel still have of sandboxes.
    pub(super) fn left(&self) -> Vec<String> {
        let mut left = [self.listed(&["containers", "list", "--quiet"]), self.listed(&["tasks", "list", "--quiet"])].concat();
        left.extend(self.listed(&["snapshots", "list"]).into_iter().filter(|line| line.contains("Active")));
        for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let group = hierarchy.path().join(self.parent.trim_start_matches('/'));
            let inside = fs::read_dir(group).into_iter().flatten().flatten().map(|entry| entry.path());
            left.extend(inside.filter(|path| path.is_dir()).map(|path| path.display().to_string()));
        }
        left
    }

    fn listed(&self, arguments: &[&str]) -> Vec<String> {
        self.ctr(arguments).lines().map(str::to_owned).collect()
    }

    fn ctr(&self, arguments: &[&str]) -> String {
        let output = self.lab.ctr(NAMESPACE, arguments).unwrap().output().unwrap();
        assert!(output.status.success(), "ctr {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Listens to containerd; ends when this is dropped.
pub(super) struct Watcher {
    process: Child,
    told: Arc<Mutex<Vec<String>>>,
}

impl Watcher {
    pub(super) fn start(lab: &LabHandle) -> Self {
        let mut process = lab.ctr(NAMESPACE, &["events"]).unwrap().stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&told);
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| log.lock().unwrap().push(line)));
        Self { process, told }
    }

    /// Checks that the image was pulled, and that one container besides the manager's trial lived its whole life, and well.
    pub(super) fn tells_of_one_sandbox(&self, contained: &Contained<'_>) {
        let told = self.told.lock().unwrap().clone();
        let events: Vec<(&str, Value)> = told.iter().filter_map(|line| event(line)).collect();
        let pulled = events.iter().any(|(topic, event)| *topic == "/images/create" && event["name"] == contained.image.as_str());
        assert!(pulled, "{} was not pulled: {told:#?}", contained.image);
        let mut lives: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (topic, event) in &events {
            let Some(id) = event["container_id"].as_str().or_else(|| event["id"].as_str()) else { continue };
            lives.entry(id).or_default().insert(topic);
            assert_eq!(event["exit_status"].as_u64().unwrap_or(0), 0, "{id}");
        }
        lives.retain(|id, _| !id.ends_with("-00000000-0000-0000-0000-000000000000"));
        assert_eq!(lives.len(), 1, "one sandbox for one feature: {told:#?}");
        for (id, life) in lives {
            assert!(LIFE.iter().all(|topic| life.contains(topic)), "{id}: {life:?}");
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Reads a line of `ctr events`: time, namespace, topic, and the event as JSON.
fn event(line: &str) -> Option<(&str, Value)> {
    let (_, rest) = line.split_once(&format!(" {NAMESPACE} "))?;
    let (topic, event) = rest.split_once(' ')?;
    Some((topic, serde_json::from_str(event).ok()?))
}
