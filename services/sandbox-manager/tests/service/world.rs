//! A sandbox manager, as root or as an ordinary user, and calls to it.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use feature_api::sandbox::run_event::Event;
use feature_api::sandbox::run_request::Part;
use feature_api::sandbox::sandbox_service_client::SandboxServiceClient;
use feature_api::sandbox::{Limits, Result as RunResult, RunEvent, RunRequest, Spec};
use service_testing::{Service, eventually};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::PROGRAM;
use crate::containerd::{Containerd, IMAGE};

/// An ordinary user, for tests that run as root.
const USER: &str = "64123";

/// Who the manager is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Who runs the tests.
    Own,
    /// An ordinary user; who runs the tests, if that is one.
    User,
    /// An ordinary user whom the machine gives no namespaces.
    Bare,
    /// Who runs the tests, with containerd's containers.
    Containerd,
}

/// All ways in which sandboxes are made; containerd, which needs root, last.
pub(crate) const ALL: [Who; 4] = [Who::Own, Who::User, Who::Bare, Who::Containerd];
/// Those in which a sandbox is apart from the machine.
pub(crate) const APART: [Who; 3] = [Who::Own, Who::User, Who::Containerd];

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

pub(crate) struct World {
    pub(crate) service: Service,
    pub(crate) containerd: Option<Containerd>,
    pub(crate) folder: TempDir,
    pub(crate) who: Who,
    pub(crate) runtime: Runtime,
    client: SandboxServiceClient<Channel>,
}

/// What a run told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) result: RunResult,
}

impl Told {
    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

impl World {
    pub(crate) fn start(who: Who, more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        if [Who::User, Who::Bare].contains(&who) && is_root() {
            std::os::unix::fs::chown(&data, Some(USER.parse().unwrap()), Some(USER.parse().unwrap())).unwrap();
        }
        let runtime = Runtime::new().unwrap();
        let containerd = (who == Who::Containerd).then(|| Containerd::start(folder.path()));
        let service = serve(folder.path(), (who, containerd.as_ref()), more);
        let client = connect(&runtime, &service);
        Self { service, containerd, folder, who, runtime, client }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Ends the manager as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        // Its guard kills it.
        self.service = Service::start("/bin/true", &[], &[]).unwrap();
    }

    pub(crate) fn start_again(&mut self) {
        self.service = serve(self.folder.path(), (self.who, self.containerd.as_ref()), &[]);
        self.client = connect(&self.runtime, &self.service);
    }

    /// Runs a shell script.
    pub(crate) fn sh(&self, id: u128, script: &str) -> Told {
        self.run(spec(id, &["sh", "-c", script]), Vec::new()).unwrap()
    }

    pub(crate) fn run(&self, spec: Spec, archive: Vec<u8>) -> Result<Told, Status> {
        self.runtime.block_on(async {
            let mut events = begin(self.client.clone(), spec, archive).await?;
            let mut told = Told::default();
            while let Some(event) = events.message().await? {
                match event.event.unwrap() {
                    Event::Output(output) if output.stderr => told.stderr.extend(output.data),
                    Event::Output(output) => told.stdout.extend(output.data),
                    Event::Result(result) => told.result = result,
                }
            }
            Ok(told)
        })
    }

    /// Begins a run and returns once its output holds `words`.
    pub(crate) fn begun(&self, spec: Spec, words: &str) -> Streaming<RunEvent> {
        self.runtime.block_on(async {
            let mut events = begin(self.client.clone(), spec, Vec::new()).await.unwrap();
            let mut seen = String::new();
            while !seen.contains(words) {
                match events.message().await.unwrap().unwrap().event.unwrap() {
                    Event::Output(output) => seen.push_str(&String::from_utf8_lossy(&output.data)),
                    Event::Result(result) => panic!("it ended: {seen} {result:?}"),
                }
            }
            events
        })
    }

    pub(crate) fn refused(&self, spec: Spec, archive: Vec<u8>) -> (Code, String) {
        let status = self.run(spec, archive).unwrap_err();
        (status.code(), status.message().to_owned())
    }

    pub(crate) fn has(&self, isolation: &str, told: &Told) -> bool {
        told.result.isolation.iter().any(|one| one == isolation)
    }

    pub(crate) fn metrics(&self) -> String {
        service_testing::get(self.service.port("metrics").unwrap(), "/metrics").unwrap().body
    }

    /// Waits until nothing of any sandbox is left: no process with `mark` in its arguments, no folder, nothing in containerd.
    pub(crate) fn wait_for_nothing(&self, mark: &str) {
        let contained = || self.containerd.as_ref().map(Containerd::left).unwrap_or_default();
        let gone = || (processes_with(mark).is_empty() && self.folders().is_empty() && contained().is_empty()).then_some(());
        let waited = eventually("nothing of the sandbox is left", gone);
        assert!(waited.is_ok(), "{:?} {:?} {:?} {}", processes_with(mark), self.folders(), contained(), self.service.log());
    }

    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.data()).unwrap().flatten().map(|entry| entry.path());
        entries.filter(|path| path.is_dir() && !path.ends_with("program")).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // In order: what it made among the control groups goes as well.
        drop(self.service.end_in_order());
    }
}

/// Returns the command lines of processes with a text in their arguments that have not ended.
pub(crate) fn processes_with(mark: &str) -> Vec<String> {
    let lines = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let line = String::from_utf8_lossy(&fs::read(entry.path().join("cmdline")).ok()?).replace('\0', " ");
        line.contains(mark).then_some(line)
    });
    lines.collect()
}

fn serve(folder: &Path, (who, containerd): (Who, Option<&Containerd>), more: &[(&str, &str)]) -> Service {
    let data = folder.join("data").display().to_string();
    let (socket, parent) = containerd.map(|containerd| (containerd.socket(), containerd.parent.clone())).unwrap_or_default();
    let mut variables = vec![
        ("GRPC_PORT", "0"),
        ("SANDBOX_RUNTIME", "process"),
        ("SANDBOX_DATA_PATH", data.as_str()),
        ("SANDBOX_MEMORY_LIMIT_MB", "256"),
        ("SANDBOX_CPU_LIMIT", "1"),
        ("SANDBOX_TIMEOUT_SECONDS", "60"),
        ("SANDBOX_PROCESS_LIMIT", "64"),
        ("SANDBOX_WORKSPACE_LIMIT_MB", "64"),
        ("SANDBOX_MAX_PER_NODE", "2"),
        ("SHUTDOWN_GRACE_SECONDS", "20"),
    ];
    if containerd.is_some() {
        variables.extend([("SANDBOX_RUNTIME", "containerd"), ("SANDBOX_IMAGE", IMAGE)]);
        variables.extend([("CONTAINERD_SOCKET", socket.as_str()), ("SANDBOX_CGROUP_PARENT", parent.as_str())]);
    }
    variables.extend(more.iter().copied());
    // The build's folder may be closed to other users.
    let program = folder.join("sandbox-manager");
    if !program.exists() {
        let linked = fs::hard_link(PROGRAM, &program);
        // Not by this process: a file that one of its threads has open for writing can't be started.
        assert!(linked.is_ok() || Command::new("cp").arg(PROGRAM).arg(&program).status().unwrap().success());
    }
    let program = program.display().to_string();
    let drop_to_user = ["--reuid", USER, "--regid", USER, "--clear-groups", "--bounding-set=-all", "--"];
    let script = without_namespaces(&drop_to_user.join(" "), &program);
    let service = match (who, is_root()) {
        // With something open that was not meant for it.
        // With no more rights than the environments give it.
        (Who::Containerd, _) => {
            let rights = ["--bounding-set=-all,+chown,+dac_override,+fowner", "--inh-caps=-all", "--", program.as_str()];
            Service::start("/usr/bin/setpriv", &rights, &variables)
        }
        (Who::Own, _) | (Who::User, false) => {
            Service::start("/bin/sh", &["-c", &format!("exec 9</etc/passwd; exec {program}")], &variables)
        }
        (Who::User, true) => {
            let arguments: Vec<&str> = drop_to_user.into_iter().chain([program.as_str()]).collect();
            Service::start("/usr/bin/setpriv", &arguments, &variables)
        }
        (Who::Bare, _) => Service::start("/bin/sh", &["-c", &script], &variables),
    };
    let service = service.unwrap();
    service.wait_for_readiness(200).unwrap();
    service
}

/// Makes a script that becomes the program in a user namespace that may have no further ones.
fn without_namespaces(drop_to_user: &str, program: &str) -> String {
    let forbid = "echo 0 > /proc/sys/user/max_user_namespaces || exit 9";
    if !is_root() {
        return format!("exec unshare --user --map-current-user --keep-caps sh -c '{forbid}; exec setpriv --ambient-caps=-all {program}'");
    }
    // All users are mapped, by a process outside, so that the program can become an ordinary one.
    let map = "until [ $(readlink /proc/$$/ns/user) != $(readlink /proc/self/ns/user) ]; do sleep 0.02; done; \
               for ids in uid gid; do echo 0 0 100000 > /proc/$$/${ids}_map; done";
    let wait = "until [ $(id -u)$(id -g) = 00 ]; do sleep 0.02; done";
    format!("({map}) & exec unshare --user --keep-caps sh -c '{wait}; {forbid}; exec setpriv {drop_to_user} {program}'")
}

fn connect(runtime: &Runtime, service: &Service) -> SandboxServiceClient<Channel> {
    let url = format!("http://127.0.0.1:{}", service.port("grpc").unwrap());
    runtime.block_on(SandboxServiceClient::connect(url)).unwrap()
}

async fn begin(mut client: SandboxServiceClient<Channel>, spec: Spec, archive: Vec<u8>) -> Result<Streaming<RunEvent>, Status> {
    let mut parts = vec![Part::Spec(spec)];
    parts.extend(archive.chunks(1 << 20).map(|piece| Part::Archive(piece.to_vec())));
    let requests = parts.into_iter().map(|part| RunRequest { part: Some(part) });
    Ok(client.run(tokio_stream::iter(requests.collect::<Vec<_>>())).await?.into_inner())
}

pub(crate) fn id(number: u128) -> String {
    uuid::Uuid::from_u128(number).to_string()
}

pub(crate) fn spec(number: u128, command: &[&str]) -> Spec {
    Spec { id: id(number), command: command.iter().map(ToString::to_string).collect(), environment: HashMap::new(), limits: None }
}

pub(crate) fn limited(spec: Spec, limits: Limits) -> Spec {
    Spec { limits: Some(limits), ..spec }
}

/// Makes an archive of files.
pub(crate) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, *content).unwrap();
    }
    builder.into_inner().unwrap()
}
