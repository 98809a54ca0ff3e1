//! The configuration files of a region's servers.

use std::fs;

use crate::certificates::write_secret;
use crate::error::{FileContext, LabError};
use crate::region::Region;
use crate::servers::{DNS_ADDRESS, NODE_ADDRESS, POD_NETWORK, RUN, containerd_socket};

/// The clients that get a kubeconfig of their own inside the region.
pub(crate) const CLIENTS: [&str; 7] = ["admin", "controller-manager", "scheduler", "proxy", "node", "coredns", "metrics-client"];

/// Writes every file that the servers of `region` read, but the administrator's kubeconfig.
pub(crate) fn write_all(region: &Region) -> Result<(), LabError> {
    for folder in ["conf/cni", "conf/certs.d/127.0.0.1:5000", "logs", "kubelet", "registry", "containerd", "hold"] {
        let path = region.path(folder);
        fs::create_dir_all(&path).on("create", &path)?;
    }
    let etcd = region.path("etcd");
    fs::create_dir_all(&etcd).on("create", &etcd)?;
    // etcd refuses a data folder that others can read.
    fs::set_permissions(&etcd, std::os::unix::fs::PermissionsExt::from_mode(0o700)).on("protect", &etcd)?;
    for client in CLIENTS {
        let text = kubeconfig(region, client, &format!("https://{NODE_ADDRESS}:6443"));
        write_secret(&region.path(&format!("conf/{client}.kubeconfig")), &text)?;
    }
    let cgroup = region.cgroup()?;
    for (file, text) in [
        ("conf/containerd.toml", containerd(region)),
        ("conf/cni/10-lab.conflist", network()),
        ("conf/certs.d/127.0.0.1:5000/hosts.toml", registry_hosts()),
        ("conf/kubelet.yaml", kubelet(region, &cgroup)),
        ("conf/resolv.conf", String::new()),
        ("conf/registry.yml", registry(region)),
        ("conf/Corefile", corefile(region)),
    ] {
        let path = region.path(file);
        fs::write(&path, text).on("write", &path)?;
    }
    Ok(())
}

/// A kubeconfig for the client whose certificate is called `client`.
pub(crate) fn kubeconfig(region: &Region, client: &str, server: &str) -> String {
    let pki = region.path("pki");
    let pki = pki.display();
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: lab
  cluster: {{server: \"{server}\", certificate-authority: \"{pki}/ca.crt\"}}
users:
- name: {client}
  user: {{client-certificate: \"{pki}/{client}.crt\", client-key: \"{pki}/{client}.key\"}}
contexts:
- name: lab
  context: {{cluster: lab, user: {client}}}
current-context: lab
"
    )
}

fn containerd(region: &Region) -> String {
    let root = region.path("containerd");
    let conf = region.path("conf");
    format!(
        r#"version = 3
root = "{root}"
state = "{RUN}/containerd/state"
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/opt"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "lab.local/pause:1"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{conf}/certs.d"
[plugins."io.containerd.cri.v1.runtime"]
  # Without CAP_SYS_RESOURCE runc can't lower oom_score_adj, and every pod would die.
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        SystemdCgroup = false
        BinaryName = "/usr/sbin/runc"
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "{conf}/cni"
[plugins."io.containerd.grpc.v1.cri"]
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
"#,
        root = root.display(),
        conf = conf.display(),
        socket = containerd_socket().display(),
    )
}

fn network() -> String {
    format!(
        r#"{{"cniVersion": "0.4.0", "name": "lab", "plugins": [
  {{"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {{"type": "host-local", "ranges": [[{{"subnet": "{POD_NETWORK}"}}]], "routes": [{{"dst": "0.0.0.0/0"}}],
            "dataDir": "{RUN}/ipam"}}}},
  {{"type": "portmap", "capabilities": {{"portMappings": true}}}}]}}
"#
    )
}

fn registry_hosts() -> String {
    "server = \"http://127.0.0.1:5000\"\n[host.\"http://127.0.0.1:5000\"]\n  capabilities = [\"pull\", \"resolve\", \"push\"]\n".to_owned()
}

fn kubelet(region: &Region, cgroup: &str) -> String {
    let pki = region.path("pki");
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 0.0.0.0
readOnlyPort: 0
authentication:
  anonymous: {{enabled: false}}
  webhook: {{enabled: true}}
  x509: {{clientCAFile: \"{pki}/ca.crt\"}}
authorization: {{mode: Webhook}}
tlsCertFile: \"{pki}/kubelet.crt\"
tlsPrivateKeyFile: \"{pki}/kubelet.key\"
containerRuntimeEndpoint: unix://{socket}
cgroupDriver: cgroupfs
cgroupRoot: /{cgroup}
failSwapOn: false
failCgroupV1: false
podLogsDir: \"{logs}\"
resolvConf: \"{resolv}\"
clusterDomain: cluster.local
clusterDNS: [{DNS_ADDRESS}]
maxPods: 200
serializeImagePulls: false
imagePullCredentialsVerificationPolicy: NeverVerify
registryPullQPS: 0
eventRecordQPS: 0
evictionHard: {{memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
",
        pki = pki.display(),
        socket = containerd_socket().display(),
        logs = region.path("logs/pods").display(),
        resolv = region.path("conf/resolv.conf").display(),
    )
}

fn registry(region: &Region) -> String {
    format!(
        "version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: \"{}\"}}
  delete: {{enabled: true}}
http: {{addr: \"127.0.0.1:5000\", secret: lab}}
",
        region.path("registry").display()
    )
}

fn corefile(region: &Region) -> String {
    format!(
        "cluster.local in-addr.arpa ip6.arpa {{
  bind {NODE_ADDRESS}
  kubernetes {{
    kubeconfig {} lab
    ttl 5
  }}
}}
. {{
  bind {NODE_ADDRESS}
  template ANY ANY {{
    rcode NXDOMAIN
  }}
}}
",
        region.path("conf/coredns.kubeconfig").display()
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn each_kubelet_has_its_own_cgroup_root() -> Result<(), LabError> {
        let region = Region::new(Path::new("/lab"), "r1")?;
        let text = kubelet(&region, "lab-r1-0badcafe");
        assert!(text.contains("cgroupRoot: /lab-r1-0badcafe\n"), "{text}");
        assert!(text.contains("containerRuntimeEndpoint: unix:///run/containerd/containerd.sock\n"), "{text}");
        Ok(())
    }

    #[test]
    fn a_kubeconfig_is_yaml_that_names_its_own_certificate() -> Result<(), LabError> {
        let region = Region::new(Path::new("/lab"), "r1")?;
        let text = kubeconfig(&region, "admin", "https://127.0.0.1:1");
        assert!(text.contains("client-certificate: \"/lab/r1/pki/admin.crt\""), "{text}");
        assert!(text.contains("server: \"https://127.0.0.1:1\""), "{text}");
        Ok(())
    }

    #[test]
    fn the_network_of_pods_is_json() {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(&network());
        assert!(parsed.is_ok_and(|value| value["plugins"][0]["ipam"]["ranges"][0][0]["subnet"] == POD_NETWORK));
    }
}
