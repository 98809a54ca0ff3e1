//! The region's cluster, as an administrator outside of the region sees it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::command::run_command;
use crate::error::{FileContext, LabError};
use crate::image::{busybox_files, pack};
use crate::os_process::{ProcessRef, poll};
use crate::region::Region;
use crate::servers::{DNS_ADDRESS, containerd_socket};
use crate::tools::Tools;
use crate::volumes;

const ADDONS: &str = include_str!("../manifests/addons.yaml");

/// Servers that wait for their rights in the cluster: refused at first, they would ask again only after a long pause.
pub(crate) const FURNISHED_FIRST: [&str; 2] = ["coredns", "metrics-server"];

/// Runs kubectl as the user of `kubeconfig` and returns what it printed.
pub(crate) fn kubectl<S: AsRef<OsStr>>(tools: &Tools, kubeconfig: &Path, args: &[S]) -> Result<String, LabError> {
    let mut command = Command::new(tools.program("kubectl")?);
    // A proxy of the caller's environment must not see requests to this machine's loopback.
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
        command.env_remove(name);
    }
    command.arg("--kubeconfig").arg(kubeconfig).args(args);
    run_command(command)
}

/// A region's cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cluster<'a> {
    pub(crate) region: &'a Region,
    pub(crate) tools: &'a Tools,
}

impl Cluster<'_> {
    fn kubectl<S: AsRef<OsStr>>(self, args: &[S]) -> Result<String, LabError> {
        kubectl(self.tools, &self.region.kubeconfig(), args)
    }

    /// Whether the API server says that it is ready.
    pub(crate) fn is_ready(self) -> bool {
        self.kubectl(&["get", "--raw", "/readyz", "--request-timeout=3s"]).is_ok_and(|answer| answer == "ok")
    }

    /// Waits until the API server is ready.
    pub(crate) fn wait_ready(self, limit: Duration) -> Result<(), LabError> {
        poll(limit, || self.is_ready()).ok_or_else(|| self.late("the API server was not ready", limit))
    }

    /// Applies the lab's own objects, the volumes and the add-ons' CRDs; a repeat changes nothing.
    pub(crate) fn furnish(self) -> Result<(), LabError> {
        let apply = ["apply", "--server-side", "--force-conflicts", "--field-manager=lab"].map(OsStr::new);
        let objects = self.region.path("conf/objects.yaml");
        let text = format!("{ADDONS}---\n{}{}", self.metrics_api()?, volumes::manifests(self.region)?);
        fs::write(&objects, text).on("write", &objects)?;
        self.kubectl(&[&apply[..], &[OsStr::new("-f"), objects.as_os_str()]].concat())?;
        for server in FURNISHED_FIRST {
            let hold = self.region.path("hold").join(server);
            if hold.exists() {
                fs::remove_file(&hold).on("remove", &hold)?;
            }
        }
        let crds = self.tools.crds();
        let complete = [OsStr::new("--recursive"), OsStr::new("-f"), crds.as_os_str()];
        self.kubectl(&[&apply[..], &complete].concat()).map(drop)
    }

    /// The entry of the metrics API, with the authority that vouches for its server.
    fn metrics_api(self) -> Result<String, LabError> {
        let path = self.region.path("pki/ca.crt");
        let authority = fs::read_to_string(&path).on("read", &path)?;
        let encoded = STANDARD.encode(authority);
        Ok(format!(
            "apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {{name: v1beta1.metrics.k8s.io}}
spec:
  group: metrics.k8s.io
  version: v1beta1
  service: {{name: metrics-server, namespace: kube-system}}
  groupPriorityMinimum: 100
  versionPriority: 100
  caBundle: {encoded}
"
        ))
    }

    /// Waits until pods can be created and find each other: the node is ready, the default service account exists, all APIs
    /// and the name server answer.
    pub(crate) fn wait_usable(self, first: ProcessRef, limit: Duration) -> Result<(), LabError> {
        let conditions: [(&str, &[&str]); 4] = [
            ("the CRDs were not established", &["--for=condition=Established", "crd", "--all"]),
            ("the node was not ready", &["--for=condition=Ready", "node/node1"]),
            ("the default service account was not there", &["--for=create", "serviceaccount/default"]),
            ("the metrics API was not available", &["--for=condition=Available", "apiservice/v1beta1.metrics.k8s.io"]),
        ];
        for (what, args) in conditions {
            let met = || self.kubectl(&[&["wait", "--timeout=10s"], args].concat()).is_ok();
            poll(limit, met).ok_or_else(|| self.late(what, limit))?;
        }
        let name = "kubernetes.default.svc.cluster.local";
        let answers = || enter(first, &["/bin/busybox", "nslookup", "-type=a", name, DNS_ADDRESS]).is_ok();
        poll(limit, answers).ok_or_else(|| self.late("the name server did not answer", limit))
    }

    /// Gives containerd the images that the lab itself needs.
    pub(crate) fn import_images(self, first: ProcessRef) -> Result<(), LabError> {
        let limit = Duration::from_secs(30);
        poll(limit, || self.ctr(first, &["version"]).is_ok()).ok_or_else(|| self.late("containerd was not up", limit))?;
        let files = busybox_files()?;
        // Nothing but to be there, and to be killed at the end.
        self.import(first, "lab.local/pause:1", &pack("lab.local/pause:1", &files, &["/bin/sleep", "2147483647"])?)?;
        self.import(first, "lab.local/busybox:1", &pack("lab.local/busybox:1", &files, &["/bin/sh"])?)
    }

    /// Gives containerd one packed image.
    pub(crate) fn import(self, first: ProcessRef, name: &str, packed: &[u8]) -> Result<(), LabError> {
        let path: PathBuf = self.region.path("images").join(format!("{}.tar", name.replace(['/', ':'], "_")));
        fs::create_dir_all(self.region.path("images")).on("create", self.region.path("images"))?;
        if fs::read(&path).is_ok_and(|before| before == packed) && self.has_image(first, name) {
            return Ok(());
        }
        fs::write(&path, packed).on("write", &path)?;
        self.ctr(first, &["images", "import", &path.display().to_string()]).map(drop)
    }

    fn has_image(self, first: ProcessRef, name: &str) -> bool {
        self.ctr(first, &["images", "list", "-q"]).is_ok_and(|names| names.lines().any(|line| line == name))
    }

    /// Runs containerd's client inside the region.
    pub(crate) fn ctr(self, first: ProcessRef, args: &[&str]) -> Result<String, LabError> {
        run_command(self.ctr_command(first, "k8s.io", args)?)
    }

    /// Puts together a call of containerd's client inside the region.
    pub(crate) fn ctr_command(self, first: ProcessRef, namespace: &str, args: &[&str]) -> Result<Command, LabError> {
        let mut command = enter_command(first);
        command.arg(self.tools.program("ctr")?).arg("--address").arg(containerd_socket()).args(["--namespace", namespace]).args(args);
        Ok(command)
    }

    fn late(self, what: &str, limit: Duration) -> LabError {
        LabError::Deadline { what: what.to_owned(), seconds: limit.as_secs(), logs: self.region.logs() }
    }
}

/// Runs a program inside the region.
fn enter(first: ProcessRef, words: &[&str]) -> Result<String, LabError> {
    let mut command = enter_command(first);
    command.args(words);
    run_command(command)
}

fn enter_command(first: ProcessRef) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--target", &first.pid.to_string(), "--mount", "--net", "--uts", "--ipc", "--pid"]);
    command
}
