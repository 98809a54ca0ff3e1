//! The servers of a region: which program, with which flags, after what.

use std::path::PathBuf;

use crate::error::LabError;
use crate::region::Region;
use crate::tools::{Tools, installed};
use crate::{kafka, object_store};

/// Address of the region's node on its own bridge; pods and the API server reach host services by it.
pub(crate) const NODE_ADDRESS: &str = "10.77.1.1";
/// Addresses of pods.
pub(crate) const POD_NETWORK: &str = "10.88.1.0/24";
/// Where pods ask for names.
pub(crate) const DNS_ADDRESS: &str = "10.96.0.10";
/// Inside the region: volatile files of the servers, gone with it.
pub(crate) const RUN: &str = "/run/lab";

/// What must answer before a server is started, so that it doesn't burn its first tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing.
    Nothing,
    /// A TCP port on the region's loopback.
    Port(u16),
    /// A unix socket and a TCP port.
    SocketAndPort(PathBuf, u16),
}

/// One server to run.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) after: After,
}

/// A server whose port is also reachable on this machine's loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Relayed {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
}

/// Every port that clients outside of the region use.
pub(crate) const RELAYED: [Relayed; 5] = [
    Relayed { name: "apiserver", port: 6443 },
    Relayed { name: "registry", port: 5000 },
    Relayed { name: "postgres", port: 5432 },
    Relayed { name: "kafka", port: kafka::OUTSIDE_PORT },
    Relayed { name: "object-store", port: object_store::PORT },
];

/// Lists the servers of `region`, in the order in which they are started.
pub(crate) fn servers(region: &Region, tools: &Tools) -> Result<Vec<Server>, LabError> {
    let flags = Flags { region };
    let go = |name: &'static str, args: Vec<String>, after: After| -> Result<Server, LabError> {
        Ok(Server { name, program: tools.program(name)?, args, after })
    };
    // Parts that the lab's own program plays.
    let own = |name: &'static str, after: After| -> Server {
        let lab = region.dir.with_file_name("").display().to_string();
        let args = vec![name.to_owned(), "--region".into(), region.name.clone(), "--dir".into(), lab];
        Server { name, program: region.path("lab"), args, after }
    };
    Ok(vec![
        go("etcd", flags.etcd(), After::Nothing)?,
        go("containerd", vec!["--config".into(), flags.file("conf/containerd.toml")], After::Nothing)?,
        own("postgres", After::Nothing),
        own("kafka", After::Nothing),
        own("object-store", After::Nothing),
        Server {
            name: "registry",
            program: installed("/usr/bin/docker-registry".into())?,
            args: vec!["serve".into(), flags.file("conf/registry.yml")],
            after: After::Nothing,
        },
        go("kube-apiserver", flags.apiserver(), After::Port(2379))?,
        go("kube-controller-manager", flags.controller_manager(), After::Port(6443))?,
        go("kube-scheduler", flags.scheduler(), After::Port(6443))?,
        go("kubelet", flags.kubelet(), After::SocketAndPort(containerd_socket(), 6443))?,
        go("kube-proxy", flags.proxy(), After::Port(6443))?,
        go("coredns", vec!["-conf".into(), flags.file("conf/Corefile")], After::Port(6443))?,
        go("metrics-server", flags.metrics_server(), After::Port(10250))?,
        own("reclaim", After::Port(6443)),
    ])
}

/// The socket of containerd, as the region sees it: where every node has it, for pods that mount it.
pub(crate) fn containerd_socket() -> PathBuf {
    PathBuf::from("/run/containerd/containerd.sock")
}

/// Builds the command lines of one region.
struct Flags<'a> {
    region: &'a Region,
}

impl Flags<'_> {
    fn file(&self, relative: &str) -> String {
        self.region.path(relative).display().to_string()
    }

    fn kubeconfig(&self, name: &str) -> String {
        format!("--kubeconfig={}", self.file(&format!("conf/{name}.kubeconfig")))
    }

    fn pki(&self, flag: &str, file: &str) -> String {
        format!("--{flag}={}", self.file(&format!("pki/{file}")))
    }

    fn etcd(&self) -> Vec<String> {
        let data = format!("--data-dir={}", self.file("etcd"));
        // A power cut of a region keeps the page cache, so nothing is lost without fsync.
        strings(&["--name=lab", "--unsafe-no-fsync", "--log-level=warn"], [data])
    }

    fn apiserver(&self) -> Vec<String> {
        strings(
            &[
                "--etcd-servers=http://127.0.0.1:2379",
                "--bind-address=0.0.0.0",
                "--secure-port=6443",
                "--advertise-address=10.77.1.1",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                "--allow-privileged=true",
                "--kubelet-preferred-address-types=InternalIP",
                "--requestheader-allowed-names=front-proxy",
                "--requestheader-extra-headers-prefix=X-Remote-Extra-",
                "--requestheader-group-headers=X-Remote-Group",
                "--requestheader-username-headers=X-Remote-User",
                "--enable-aggregator-routing=true",
                "--profiling=false",
            ],
            [
                self.pki("tls-cert-file", "apiserver.crt"),
                self.pki("tls-private-key-file", "apiserver.key"),
                self.pki("client-ca-file", "ca.crt"),
                self.pki("kubelet-certificate-authority", "ca.crt"),
                self.pki("kubelet-client-certificate", "apiserver-kubelet.crt"),
                self.pki("kubelet-client-key", "apiserver-kubelet.key"),
                self.pki("service-account-key-file", "sa.pub"),
                self.pki("service-account-signing-key-file", "sa.key"),
                self.pki("requestheader-client-ca-file", "ca.crt"),
                self.pki("proxy-client-cert-file", "front-proxy.crt"),
                self.pki("proxy-client-key-file", "front-proxy.key"),
                format!("--cert-dir={}", self.file("conf")),
            ],
        )
    }

    fn controller_manager(&self) -> Vec<String> {
        strings(
            &[
                "--bind-address=127.0.0.1",
                "--use-service-account-credentials=true",
                "--leader-elect=false",
                "--horizontal-pod-autoscaler-sync-period=5s",
                "--pvclaimbinder-sync-period=5s",
                "--kube-api-qps=200",
                "--kube-api-burst=400",
                "--profiling=false",
            ],
            [
                self.kubeconfig("controller-manager"),
                self.pki("root-ca-file", "ca.crt"),
                self.pki("service-account-private-key-file", "sa.key"),
                self.pki("cluster-signing-cert-file", "ca.crt"),
                self.pki("cluster-signing-key-file", "ca.key"),
            ],
        )
    }

    fn scheduler(&self) -> Vec<String> {
        strings(
            &["--bind-address=127.0.0.1", "--leader-elect=false", "--kube-api-qps=200", "--kube-api-burst=400", "--profiling=false"],
            [self.kubeconfig("scheduler")],
        )
    }

    fn kubelet(&self) -> Vec<String> {
        strings(
            &["--hostname-override=node1", "--node-ip=10.77.1.1", "--v=1"],
            [
                self.kubeconfig("node"),
                format!("--config={}", self.file("conf/kubelet.yaml")),
                format!("--root-dir={}", self.file("kubelet")),
            ],
        )
    }

    fn proxy(&self) -> Vec<String> {
        strings(
            &[
                "--proxy-mode=iptables",
                "--cluster-cidr=10.88.1.0/24",
                "--hostname-override=node1",
                // The sysctls of connection tracking belong to the whole machine.
                "--conntrack-max-per-core=0",
                "--conntrack-tcp-timeout-established=0s",
                "--conntrack-tcp-timeout-close-wait=0s",
                "--healthz-bind-address=127.0.0.1:10256",
                "--metrics-bind-address=127.0.0.1:10249",
            ],
            [self.kubeconfig("proxy")],
        )
    }

    fn metrics_server(&self) -> Vec<String> {
        strings(
            &[
                "--bind-address=10.77.1.1",
                "--secure-port=4443",
                "--kubelet-preferred-address-types=InternalIP",
                "--metric-resolution=10s",
                "--kubelet-request-timeout=5s",
            ],
            [
                self.kubeconfig("metrics-client"),
                self.kubeconfig("metrics-client").replace("--kubeconfig", "--authentication-kubeconfig"),
                self.kubeconfig("metrics-client").replace("--kubeconfig", "--authorization-kubeconfig"),
                self.pki("kubelet-certificate-authority", "ca.crt"),
                self.pki("tls-cert-file", "metrics-server.crt"),
                self.pki("tls-private-key-file", "metrics-server.key"),
            ],
        )
    }
}

fn strings<const N: usize>(fixed: &[&str], computed: [String; N]) -> Vec<String> {
    fixed.iter().map(ToString::to_string).chain(computed).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::certificates::{ADDON_SUBJECTS, SUBJECTS};
    use crate::configuration::CLIENTS;

    type Build = fn(&Flags<'_>) -> Vec<String>;

    fn flags_of(build: Build) -> Result<Vec<String>, LabError> {
        let region = Region::new(Path::new("/lab"), "r1")?;
        Ok(build(&Flags { region: &region }))
    }

    #[test]
    fn every_certificate_that_a_flag_names_is_made() -> Result<(), LabError> {
        let mut made: Vec<String> = SUBJECTS
            .iter()
            .chain(&ADDON_SUBJECTS)
            .flat_map(|subject| [format!("{}.crt", subject.file), format!("{}.key", subject.file)])
            .collect();
        made.extend(["ca.crt", "ca.key", "sa.key", "sa.pub"].map(str::to_owned));
        let all: [Build; 3] = [|flags| flags.apiserver(), |flags| flags.controller_manager(), |flags| flags.metrics_server()];
        let mut seen = 0;
        for flag in all.map(flags_of).into_iter().collect::<Result<Vec<_>, _>>()?.concat() {
            if let Some((_, file)) = flag.split_once("/lab/r1/pki/") {
                assert!(made.iter().any(|name| name == file), "{flag}");
                seen += 1;
            }
        }
        assert!(seen > 10, "{seen}");
        Ok(())
    }

    #[test]
    fn every_kubeconfig_that_a_flag_names_is_written() -> Result<(), LabError> {
        let all: [Build; 5] = [
            |flags| flags.controller_manager(),
            |flags| flags.scheduler(),
            |flags| flags.kubelet(),
            |flags| flags.proxy(),
            |flags| flags.metrics_server(),
        ];
        for flags in all.map(flags_of) {
            let flags = flags?;
            let name = flags.iter().find_map(|flag| flag.strip_prefix("--kubeconfig=/lab/r1/conf/"));
            let name = name.and_then(|file| file.strip_suffix(".kubeconfig")).unwrap_or("none");
            assert!(CLIENTS.contains(&name), "{name}");
        }
        Ok(())
    }

    #[test]
    fn only_loopback_and_the_regions_own_networks_are_named() -> Result<(), LabError> {
        let all: [Build; 4] =
            [|flags| flags.apiserver(), |flags| flags.controller_manager(), |flags| flags.scheduler(), |flags| flags.proxy()];
        for flags in all.map(flags_of) {
            for flag in flags? {
                let inside = ["127.0.0.1", "0.0.0.0", "10.77.1.", "10.88.1.", "10.96.0."];
                let address = flag.contains("address=") || flag.contains("cidr=");
                assert!(!address || inside.iter().any(|network| flag.contains(network)), "{flag}");
            }
        }
        Ok(())
    }
}
