//! The seam between the supervisor, which decides, and the runtime, which runs programs: wanted pods in, reports out.
//!
//! Everything is a level, not an edge: [`Wanted`] is always the whole, and a [`PodReport`] the whole state of its pod. Either side may be
//! killed and started again, and is told everything anew.

mod memory;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;

pub use self::memory::{MemoryKubelet, Play};

/// Everything that is to run on this machine; each one replaces the last.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wanted {
    /// Pods; what runs and is not among them is stopped and removed.
    pub pods: Vec<WantedPod>,
    /// Services with an address; of others nothing is left.
    pub services: Vec<WantedService>,
    /// Claims that are deleted and that no pod uses: the supervisor has the folders that do not stay removed by [`Kubelet::discard`].
    pub discarded: Vec<Claim>,
}

/// A claim, by whose name its folder is found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The namespace ends, not the claim by itself: the folder stays, and a claim of the same name finds it again.
    pub stays: bool,
}

/// One pod, with everything resolved: the runtime reads no object.
///
/// What the first [`Wanted`] with a UID says of it is what runs; later ones change only `stopping` and the contents of files.
#[derive(Debug, Clone, PartialEq)]
pub struct WantedPod {
    /// UID: names its folder and its processes.
    pub uid: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Its address, of nobody else as long as it is wanted.
    pub address: Ipv4Addr,
    /// When containers are started again.
    pub restart: Restart,
    /// Time between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// Whether it is to end; [`Report::Gone`] follows when nothing of it runs.
    pub stopping: bool,
    /// Whether all its containers have ended for good: nothing is started any more, what they wrote stays.
    pub ended: bool,
    /// Group that owns files of volumes.
    pub fs_group: Option<u32>,
    /// Volumes, by name.
    pub volumes: Vec<Volume>,
    /// Containers that run to their end, one after the other, before the others.
    pub init_containers: Vec<WantedContainer>,
    /// Containers that run at the same time.
    pub containers: Vec<WantedContainer>,
}

/// When the containers of a pod are started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Whenever they end.
    Always,
    /// When they end with another exit code than 0.
    OnFailure,
    /// Never.
    Never,
}

/// One container. `Debug` prints no value of a variable: it may be a secret.
#[derive(Clone, PartialEq)]
pub struct WantedContainer {
    /// Name.
    pub name: String,
    /// What to run, as the manifest names it.
    pub image: String,
    /// `command`; empty: what the image says.
    pub command: Vec<String>,
    /// `args`, variables filled in.
    pub args: Vec<String>,
    /// Folder in which it starts.
    pub working_dir: Option<PathBuf>,
    /// Variables, final: references followed, names of Services replaced by addresses, later ones win.
    pub env: Vec<(String, String)>,
    /// Where volumes are to be seen.
    pub mounts: Vec<Mount>,
    /// User that the manifest asks for.
    pub run_as_user: Option<u32>,
    /// Group that the manifest asks for.
    pub run_as_group: Option<u32>,
    /// Most memory, in bytes.
    pub memory: Option<u64>,
    /// Most CPU, in thousandths of one.
    pub cpu: Option<u64>,
    /// Until it succeeds once, the others wait and the container is not started.
    pub startup: Option<Probe>,
    /// While it fails, the container is not ready.
    pub readiness: Option<Probe>,
    /// When it fails, the container is started again.
    pub liveness: Option<Probe>,
    /// What is done before SIGTERM, within the grace period.
    pub pre_stop: Option<Hook>,
}

impl fmt::Debug for WantedContainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("WantedContainer").field("name", &self.name).field("image", &self.image).field("env", &names).finish_non_exhaustive()
    }
}

/// Where a volume is to be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Name of the volume.
    pub volume: String,
    /// Path that the manifest names.
    pub path: PathBuf,
    /// Part of the volume, without `..`.
    pub sub_path: Option<PathBuf>,
    /// Whether nothing may be written.
    pub read_only: bool,
}

/// One volume.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    /// Name within the pod.
    pub name: String,
    /// What is in it.
    pub source: VolumeSource,
}

/// What is in a volume.
#[derive(Debug, Clone, PartialEq)]
pub enum VolumeSource {
    /// A folder that lives as long as the pod.
    Empty {
        /// Most bytes.
        limit: Option<u64>,
    },
    /// Files of a ConfigMap, a Secret or both; they follow the objects while the pod runs.
    Files(Vec<File>),
    /// A folder that outlives the pod, by namespace and name of its claim.
    Claim {
        /// Name of the claim.
        name: String,
    },
    /// A path of the machine.
    Host {
        /// Which.
        path: PathBuf,
    },
}

/// One file of a volume. `Debug` prints no content: it may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Path within the volume, relative and without `..`.
    pub path: PathBuf,
    /// Content; names of Services replaced by addresses.
    pub content: Vec<u8>,
    /// Mode.
    pub mode: u32,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "File({}, {} bytes)", self.path.display(), self.content.len())
    }
}

/// How a container is asked how it is; names of ports are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What is asked.
    pub check: Check,
    /// Time from the start of the container to the first question.
    pub initial_delay: Duration,
    /// Time between two questions.
    pub period: Duration,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// Good answers in a row that count as good.
    pub success_threshold: u32,
    /// Bad answers in a row that count as bad.
    pub failure_threshold: u32,
}

/// One question to a container, at the address of its pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// A GET that is answered with 200 to 399.
    Http {
        /// Port.
        port: u16,
        /// Path with its query.
        path: String,
        /// Headers.
        headers: Vec<(String, String)>,
        /// Whether over TLS, of which nothing is verified.
        tls: bool,
    },
    /// A connection.
    Tcp {
        /// Port.
        port: u16,
    },
    /// The health protocol of gRPC.
    Grpc {
        /// Port.
        port: u16,
        /// Name of the service.
        service: String,
    },
    /// A command that ends with 0.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
    },
}

/// What is done before SIGTERM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hook {
    /// One question, whose answer does not matter.
    Ask(Check),
    /// Nothing, for so long.
    Sleep(Duration),
}

/// One Service with an address: connections go to one of the targets, each in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedService {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Whether each port is also to be had at a free port of 127.0.0.1; [`Report::Published`] tells which.
    pub published: bool,
    /// Ports (TCP).
    pub ports: Vec<WantedPort>,
}

/// One port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedPort {
    /// Name; empty if it has none.
    pub name: String,
    /// Number at the address of the Service.
    pub port: u16,
    /// Ready pods; without one connections are refused.
    pub targets: Vec<SocketAddrV4>,
}

/// What the runtime tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// How a pod is now.
    Pod(PodReport),
    /// Nothing of a pod runs any more and its folder is gone; also when there was none.
    Gone {
        /// Its UID.
        uid: String,
    },
    /// Where a port of a published Service is to be had.
    Published {
        /// Namespace of the Service.
        namespace: String,
        /// Name of the Service.
        service: String,
        /// Port of the Service.
        port: u16,
        /// Address for clients on this machine.
        address: SocketAddrV4,
    },
    /// Something worth an Event about a pod.
    Event {
        /// UID of the pod.
        uid: String,
        /// Whether something is wrong.
        warning: bool,
        /// One word: `Unhealthy`, `BackOff`, `Killing`.
        reason: String,
        /// What happened, without values of secrets.
        message: String,
    },
}

/// How a pod is, as a whole. Phase and conditions follow from it.
#[derive(Debug, Clone, PartialEq)]
pub struct PodReport {
    /// UID.
    pub uid: String,
    /// Init containers that were looked at, in order.
    pub init_containers: Vec<ContainerReport>,
    /// Containers, in order.
    pub containers: Vec<ContainerReport>,
}

/// How a container is.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerReport {
    /// Name.
    pub name: String,
    /// What it does now.
    pub state: ContainerState,
    /// How its last run ended.
    pub last: Option<Ended>,
    /// How often it was started again.
    pub restarts: u32,
    /// Whether it is ready: runs, and its probes of start and readiness agree. An init container: whether it ended well.
    pub ready: bool,
}

/// What a container does.
#[derive(Debug, Clone, PartialEq)]
pub enum ContainerState {
    /// It does not run yet, or not now.
    Waiting {
        /// `ContainerCreating`, `PodInitializing`, `CrashLoopBackOff`, `ErrImagePull` (no such program), `CreateContainerError`.
        reason: String,
        /// Why; may be empty.
        message: String,
    },
    /// It runs.
    Running {
        /// Since.
        since: Timestamp,
    },
    /// It has ended and is not started again.
    Ended(Ended),
}

/// How a run of a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Exit code; 128 + signal if a signal ended it.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`.
    pub reason: String,
    /// Its last words; may be empty.
    pub message: String,
    /// Start of that run.
    pub started: Timestamp,
    /// End of that run.
    pub finished: Timestamp,
}

/// Why the runtime can't do what it is asked for.
#[derive(Debug, Error)]
pub enum KubeletError {
    /// It knows no such pod, container or earlier run.
    #[error("there is no log of {subject}")]
    NoLog {
        /// Of what.
        subject: String,
    },
    /// The folder of a claim can't be removed.
    #[error("failed to remove the folder of claim {name} in {namespace}")]
    Discard {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A log can't be read.
    #[error("failed to read the log of {subject}")]
    Read {
        /// Of what.
        subject: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What runs the programs of pods. Owned by one supervisor; dropping it stops nothing.
pub trait Kubelet: Send + Sync + 'static {
    /// Sets what is to run, and returns as soon as that is noted. Until the first call nothing is stopped or started.
    ///
    /// The caller has made the pods durable before, so that nothing runs of which nobody knows.
    fn want(&self, wanted: Wanted) -> impl Future<Output = ()> + Send;

    /// Waits for the next report; dropping the wait loses none. After a start each pod that was found is reported.
    fn next_report(&self) -> impl Future<Output = Report> + Send;

    /// Removes the folder of a claim that no pod uses, for good; none is fine too.
    ///
    /// # Errors
    /// [`KubeletError::Discard`].
    fn discard(&self, claim: &Claim) -> impl Future<Output = Result<(), KubeletError>> + Send;

    /// Lists what is not as the manifests want it now: users and limits that are not enforced, ports that are taken.
    fn notices(&self) -> Vec<String>;

    /// Reads the last lines of a container's log, of its previous run if asked.
    ///
    /// # Errors
    /// [`KubeletError`].
    fn logs(
        &self,
        pod: &str,
        container: &str,
        previous: bool,
        lines: u32,
    ) -> impl Future<Output = Result<Vec<String>, KubeletError>> + Send;
}
