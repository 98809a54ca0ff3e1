//! A runtime on a folder of its own, what it told, and the processes that it started.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use provision_local::{
    Backoff, Block, ContainerReport, ContainerState, Ended, KeeperCommand, Kubelet as _, LocalKubelet, LogSize, PodReport, Report, Restart,
    RuntimeSettings, Wanted, WantedContainer, WantedPod, WantedService,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout_at};

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// The program that plays keepers and containers; a copy where an ordinary user can't read ours.
pub(crate) fn parts() -> PathBuf {
    std::env::var_os("LOCAL_PARTS").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_local-parts")), PathBuf::from)
}

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) settings: RuntimeSettings,
    pub(crate) kubelet: Option<LocalKubelet>,
    pub(crate) wanted: Wanted,
    pub(crate) pods: BTreeMap<String, PodReport>,
    pub(crate) events: Vec<(String, String)>,
    pub(crate) published: Vec<(u16, std::net::SocketAddrV4)>,
    pub(crate) gone: Vec<String>,
    uids: Vec<String>,
    block: Block,
    next: u32,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let state = folder.path().join("state");
        let catalogue = [("sh", PathBuf::from("/bin/sh")), ("parts", parts()), ("gone", PathBuf::from("/nowhere/gone"))];
        let settings = RuntimeSettings {
            state: state.clone(),
            keeper: KeeperCommand { program: parts(), arguments: vec!["keeper".to_owned()] },
            catalogue: catalogue.map(|(name, path)| (name.to_owned(), path)).into_iter().collect(),
            backoff: Backoff { first: Duration::from_millis(100), most: Duration::from_millis(400), reset: Duration::from_secs(600) },
            log: LogSize { bytes: 64 << 10, files: 3 },
        };
        let block = Block::take_free(folder.path()).unwrap();
        Self {
            kubelet: Some(LocalKubelet::open(settings.clone()).unwrap()),
            folder,
            settings,
            wanted: Wanted::default(),
            pods: BTreeMap::new(),
            events: Vec::new(),
            published: Vec::new(),
            gone: Vec::new(),
            uids: Vec::new(),
            block,
            next: 2,
        }
    }

    pub(crate) fn address(&mut self) -> Ipv4Addr {
        self.next += 1;
        Ipv4Addr::from(u32::from(self.block.first()) + self.next)
    }

    /// Builds a pod with a UID and an address of its own.
    pub(crate) fn pod(&mut self, containers: Vec<WantedContainer>) -> WantedPod {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let uid = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        self.uids.push(uid.clone());
        WantedPod {
            name: format!("pod-{uid}"),
            uid,
            namespace: "test".to_owned(),
            address: self.address(),
            restart: Restart::Always,
            grace: Duration::from_secs(5),
            stopping: false,
            ended: false,
            fs_group: None,
            volumes: Vec::new(),
            init_containers: Vec::new(),
            containers,
        }
    }

    pub(crate) async fn want(&mut self, pod: WantedPod) {
        self.wanted.pods.retain(|known| known.uid != pod.uid);
        self.wanted.pods.push(pod);
        self.tell().await;
    }

    pub(crate) async fn serve(&mut self, services: Vec<WantedService>) {
        self.wanted.services = services;
        self.tell().await;
    }

    pub(crate) async fn tell(&self) {
        self.kubelet().want(self.wanted.clone()).await;
    }

    pub(crate) fn kubelet(&self) -> &LocalKubelet {
        self.kubelet.as_ref().unwrap()
    }

    /// Ends the pod and waits until nothing of it is left.
    pub(crate) async fn stop(&mut self, uid: &str) {
        for pod in self.wanted.pods.iter_mut().filter(|pod| pod.uid == uid) {
            pod.stopping = true;
        }
        self.tell().await;
        let uid = uid.to_owned();
        self.until("the pod is gone", |world| world.gone.contains(&uid).then_some(())).await;
    }

    /// Drops the runtime as if its process were killed, and starts another on the same folder; what was told is forgotten.
    pub(crate) async fn restart_supervisor(&mut self) {
        self.drop_supervisor();
        self.kubelet = Some(LocalKubelet::open(self.settings.clone()).unwrap());
        self.tell().await;
    }

    pub(crate) fn drop_supervisor(&mut self) {
        self.kubelet = None;
        self.pods.clear();
        self.events.clear();
        self.published.clear();
    }

    /// Listens until `found` finds something.
    pub(crate) async fn until<T>(&mut self, what: &str, mut found: impl FnMut(&Self) -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            let Ok(report) = timeout_at(end, self.kubelet.as_ref().unwrap().next_report()).await else {
                panic!("{what}: not within {DEADLINE:?}\n{:#?}\n{:#?}", self.pods, self.events);
            };
            self.hear(report);
        }
    }

    fn hear(&mut self, report: Report) {
        match report {
            Report::Pod(pod) => drop(self.pods.insert(pod.uid.clone(), pod)),
            Report::Gone { uid } => self.gone.push(uid),
            Report::Published { port, address, .. } => self.published.push((port, address)),
            Report::Event { reason, message, .. } => self.events.push((reason, message)),
        }
    }

    /// Listens to everything that was told so far.
    pub(crate) async fn listen(&mut self) {
        while let Ok(report) = tokio::time::timeout(Duration::from_millis(1), self.kubelet.as_ref().unwrap().next_report()).await {
            self.hear(report);
        }
    }

    pub(crate) fn container(&self, uid: &str, name: &str) -> Option<&ContainerReport> {
        let pod = self.pods.get(uid)?;
        pod.containers.iter().chain(&pod.init_containers).find(|one| one.name == name)
    }

    pub(crate) async fn running(&mut self, uid: &str) -> ContainerReport {
        self.until("it runs", |world| {
            world.container(uid, "app").filter(|one| matches!(one.state, ContainerState::Running { .. })).cloned()
        })
        .await
    }

    pub(crate) async fn ready(&mut self, uid: &str) {
        self.until("it is ready", |world| world.container(uid, "app").filter(|one| one.ready).map(drop)).await;
    }

    pub(crate) async fn ended(&mut self, uid: &str) -> Ended {
        self.until("it has ended for good", |world| match &world.container(uid, "app")?.state {
            ContainerState::Ended(ended) => Some(ended.clone()),
            _ => None,
        })
        .await
    }

    /// Waits for the container to wait for that reason, and returns the message with it.
    pub(crate) async fn waiting(&mut self, uid: &str, wanted: &str) -> String {
        self.until(wanted, |world| match &world.container(uid, "app")?.state {
            ContainerState::Waiting { reason, message } if reason == wanted => Some(message.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) fn has_event(&self, reason: &str, part: &str) -> bool {
        self.events.iter().any(|(found, message)| found == reason && message.contains(part))
    }

    pub(crate) async fn event(&mut self, reason: &str, part: &str) {
        self.until(&format!("an Event {reason}: {part}"), |world| world.has_event(reason, part).then_some(())).await;
    }

    pub(crate) async fn log(&self, uid: &str, previous: bool) -> Vec<String> {
        self.kubelet().logs(uid, "app", previous, 1000).await.unwrap_or_default()
    }

    /// Waits until the container has written that line.
    pub(crate) async fn says(&self, uid: &str, line: &str) {
        let end = Instant::now() + DEADLINE;
        loop {
            let log = self.log(uid, false).await;
            if log.iter().any(|found| found == line) {
                return;
            }
            assert!(Instant::now() < end, "it does not say {line:?}: {log:#?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn run_folder(&self, uid: &str) -> PathBuf {
        let container = self.settings.state.join("pods").join(uid).join("containers/app");
        let mut runs: Vec<PathBuf> = fs::read_dir(container).unwrap().map(|entry| entry.unwrap().path()).collect();
        runs.sort();
        runs.pop().unwrap()
    }

    /// Reads a number out of a record of the latest run.
    pub(crate) fn record(&self, uid: &str, file: &str, pointer: &str) -> i32 {
        let text = fs::read_to_string(self.run_folder(uid).join(file)).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        i32::try_from(value.pointer(pointer).unwrap().as_i64().unwrap()).unwrap()
    }

    pub(crate) fn keeper(&self, uid: &str) -> i32 {
        self.record(uid, "keeper.json", "/keeper/pid")
    }

    pub(crate) fn program(&self, uid: &str) -> i32 {
        self.record(uid, "program.json", "/program/pid")
    }

    /// Ends everything and makes sure that nothing is left: no process, no folder of a pod, no control group.
    pub(crate) async fn end(mut self) {
        if self.kubelet.is_none() {
            self.restart_supervisor().await;
        }
        let groups = self.groups();
        let left: Vec<String> = self.wanted.pods.iter().map(|pod| pod.uid.clone()).filter(|uid| !self.gone.contains(uid)).collect();
        for pod in &mut self.wanted.pods {
            (pod.stopping, pod.grace) = (true, Duration::ZERO);
        }
        self.tell().await;
        self.until("everything is gone", |world| left.iter().all(|uid| world.gone.contains(uid)).then_some(())).await;
        eventually("no process is left", || self.processes().is_empty()).await;
        let pods = fs::read_dir(self.settings.state.join("pods")).unwrap().count();
        assert_eq!(pods, 0, "folders of pods are left");
        self.drop_supervisor();
        let left: Vec<_> = groups.into_iter().filter(|group| group.exists()).collect();
        assert!(left.is_empty(), "control groups are left: {left:?}");
    }

    /// Lists the control groups of the latest runs, and the one above them all.
    fn groups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for uid in &self.uids {
            let containers = self.settings.state.join("pods").join(uid).join("containers");
            if !containers.join("app").exists() {
                continue;
            }
            let text = fs::read_to_string(self.run_folder(uid).join("run.json")).unwrap_or_default();
            let spec: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            let groups = spec.pointer("/launch/groups").and_then(serde_json::Value::as_array).into_iter().flatten();
            for group in groups.filter_map(|group| group.as_str()) {
                found.push(PathBuf::from(group));
                found.extend(
                    Path::new(group)
                        .ancestors()
                        .find(|above| {
                            above.to_string_lossy().contains("/provision-")
                                && above.file_name().is_some_and(|name| name.to_string_lossy().starts_with("provision-"))
                        })
                        .map(Path::to_owned),
                );
            }
        }
        found
    }

    /// Lists the processes that pods of this world started, and their keepers.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let state = self.settings.state.to_string_lossy().into_owned();
        let markers: Vec<String> = self.uids.iter().map(|uid| format!("PROVISION_RUN={uid}/")).collect();
        pids()
            .into_iter()
            .filter(|pid| is_alive(*pid) && *pid != pid_of_us())
            .filter(|pid| {
                let read = |file: &str| String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default()).into_owned();
                read("cmdline").contains(&state) || markers.iter().any(|marker| read("environ").contains(marker))
            })
            .collect()
    }
}

/// What a failed test leaves.
impl Drop for World {
    fn drop(&mut self) {
        self.kubelet = None;
        for _ in 0..100 {
            let left = self.processes();
            for pid in &left {
                // It may have ended with its keeper.
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), nix::sys::signal::Signal::SIGKILL);
            }
            if left.is_empty() {
                return;
            }
        }
    }
}

fn pid_of_us() -> i32 {
    i32::try_from(std::process::id()).unwrap()
}

fn pids() -> Vec<i32> {
    fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Tells whether a process runs; one that has ended and waits to be collected does not.
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !matches!(rest.trim_start().chars().next(), Some('Z' | 'X') | None))
}

pub(crate) fn kill(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}

pub(crate) async fn eventually(what: &str, mut met: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !met() {
        assert!(Instant::now() < end, "{what}: not within {DEADLINE:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Builds a container of an image with a command.
pub(crate) fn container(image: &str, args: &[&str]) -> WantedContainer {
    WantedContainer {
        name: "app".to_owned(),
        image: image.to_owned(),
        command: Vec::new(),
        args: args.iter().map(|word| (*word).to_owned()).collect(),
        working_dir: None,
        env: Vec::new(),
        mounts: Vec::new(),
        run_as_user: None,
        run_as_group: None,
        memory: None,
        cpu: None,
        startup: None,
        readiness: None,
        liveness: None,
        pre_stop: None,
    }
}

/// Builds a container that runs a script.
pub(crate) fn script(text: &str) -> WantedContainer {
    container("sh", &["-c", text])
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}
