//! Configuration.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use service_kit::variables::{AMOUNT, BIND_ADDRESS, COUNT, PATH, PORT, SECONDS, TEXT};
use service_kit::{Kind, Settings, Variable};

use crate::containerd::Parent;
use crate::spec::Limits;

/// What sandboxes are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RuntimeKind {
    /// Containers.
    #[default]
    Containerd,
    /// This machine's processes.
    Process,
}

const RUNTIME_KIND: Kind<RuntimeKind> = Kind {
    expected: "containerd or process",
    parse: |text| match text {
        "containerd" => Some(RuntimeKind::Containerd),
        "process" => Some(RuntimeKind::Process),
        _ => None,
    },
};
const PATHS: Kind<Vec<PathBuf>> = Kind {
    expected: "absolute paths, several separated by colons",
    parse: |text| {
        let plain = |path: &&str| path.starts_with('/') && path.len() > 1 && !path.split('/').any(|name| name == "..");
        text.split(':').map(|path| Some(path).filter(plain).map(PathBuf::from)).collect()
    },
};
const NAMES: Kind<Vec<String>> = Kind {
    expected: "names like network,pid,memory",
    parse: |text| {
        let name = |name: &str| (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase())).then(|| name.to_owned());
        text.split(',').map(|text| name(text.trim())).collect()
    },
};

const PARENT_KIND: Kind<Parent> =
    Kind { expected: "a path like /feature-sandbox or a slice like feature-sandbox.slice", parse: Parent::parse };

/// Port of the gRPC interface.
pub(crate) const GRPC_PORT: Variable<u16> = Variable::new("GRPC_PORT", &PORT, "port of the gRPC interface").or("50051");
const RUNTIME: Variable<RuntimeKind> = Variable::new("SANDBOX_RUNTIME", &RUNTIME_KIND, "what sandboxes are made of").or("containerd");
const CPU_LIMIT: Variable<f64> = Variable::new("SANDBOX_CPU_LIMIT", &AMOUNT, "CPUs of one sandbox").or("4");
const MEMORY_LIMIT: Variable<u32> = Variable::new("SANDBOX_MEMORY_LIMIT_MB", &COUNT, "memory of one sandbox, in MiB").or("8192");
const TIMEOUT: Variable<Duration> = Variable::new("SANDBOX_TIMEOUT_SECONDS", &SECONDS, "longest run of one sandbox").or("600");
const OUTPUT_LIMIT: Variable<u32> =
    Variable::new("SANDBOX_OUTPUT_LIMIT_KB", &COUNT, "output of one sandbox that is kept, in KiB for each stream").or("1024");
const PROCESS_LIMIT: Variable<u32> = Variable::new("SANDBOX_PROCESS_LIMIT", &COUNT, "processes and threads of one sandbox").or("512");
const WORKSPACE_LIMIT: Variable<u32> =
    Variable::new("SANDBOX_WORKSPACE_LIMIT_MB", &COUNT, "size of one sandbox's workspace, in MiB").or("1024");
const CONCURRENCY: Variable<u32> = Variable::new("SANDBOX_MAX_PER_NODE", &COUNT, "sandboxes that run at a time").or("1");
const DATA_PATH: Variable<String> = Variable::new("SANDBOX_DATA_PATH", &PATH, "folder of the workspaces").or("/var/feature/sandboxes");
const READABLE: Variable<Vec<PathBuf>> = Variable::new("SANDBOX_READABLE_PATHS", &PATHS, "what a sandbox sees of this machine, read-only")
    .or("/usr:/bin:/sbin:/lib:/lib64:/etc:/opt");
const REQUIRED: Variable<Vec<String>> = Variable::new("SANDBOX_REQUIRED_ISOLATION", &NAMES, "isolation without which no sandbox is run");
const FIRST_USER: Variable<u32> =
    Variable::new("SANDBOX_FIRST_UID", &COUNT, "first of the user ids that sandboxes get if this program runs as root").or("61000");
const SOCKET: Variable<String> = Variable::new("CONTAINERD_SOCKET", &PATH, "socket of containerd").or("/run/containerd/containerd.sock");
const IMAGE: Variable<String> =
    Variable::new("SANDBOX_IMAGE", &TEXT, "image that sandboxes of containerd see as their root; needed by that runtime");
const PARENT: Variable<Parent> = Variable::new(
    "SANDBOX_CGROUP_PARENT",
    &PARENT_KIND,
    "control group that those of containerd's sandboxes are below; a slice if systemd is to make them",
)
.or("/feature-sandbox");
const NODE_NAME: Variable<String> = Variable::new("NODE_NAME", &TEXT, "name of the node");

/// What the service is configured with.
#[derive(Debug)]
pub(crate) struct Config {
    /// Address of the gRPC interface.
    pub(crate) address: SocketAddr,
    /// What sandboxes are made of.
    pub(crate) runtime: RuntimeKind,
    /// Most that a sandbox may use.
    pub(crate) limits: Limits,
    /// Sandboxes at a time.
    pub(crate) concurrency: usize,
    /// Folder of the workspaces.
    pub(crate) data: PathBuf,
    /// What a sandbox sees of the machine.
    pub(crate) readable: Vec<PathBuf>,
    /// Isolation that must be there.
    pub(crate) required: Vec<String>,
    /// First user id for sandboxes.
    pub(crate) first_user: u32,
    /// Socket of containerd.
    pub(crate) socket: String,
    /// Image of containerd's sandboxes.
    pub(crate) image: Option<String>,
    /// Where the control groups of containerd's sandboxes are.
    pub(crate) parent: Parent,
}

/// Reads the variables.
pub(crate) fn read(settings: &mut Settings) -> Config {
    let address = settings.required(&BIND_ADDRESS).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let config = Config {
        address: SocketAddr::new(address, settings.required(&GRPC_PORT)),
        runtime: settings.required(&RUNTIME),
        limits: Limits {
            cpus: settings.required(&CPU_LIMIT),
            memory_mib: settings.required(&MEMORY_LIMIT),
            timeout: settings.required(&TIMEOUT),
            output_kib: settings.required(&OUTPUT_LIMIT),
            processes: settings.required(&PROCESS_LIMIT),
            workspace_mib: settings.required(&WORKSPACE_LIMIT),
        },
        concurrency: usize::try_from(settings.required(&CONCURRENCY)).unwrap_or(usize::MAX),
        data: settings.required(&DATA_PATH).into(),
        readable: settings.required(&READABLE),
        required: settings.optional(&REQUIRED).unwrap_or_default(),
        first_user: settings.required(&FIRST_USER),
        socket: settings.required(&SOCKET),
        image: settings.optional(&IMAGE),
        parent: settings.required(&PARENT),
    };
    settings.optional(&NODE_NAME);
    config
}
