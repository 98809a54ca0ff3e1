//! A way from this machine to a service of the cluster.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use lab::LabHandle;

/// A port of this machine's loopback that leads to a service; it closes when this is dropped.
pub(super) struct Way {
    /// Host and port.
    pub(super) address: String,
    process: Child,
}

impl Way {
    pub(super) fn open(lab: &LabHandle, namespace: &str, service: &str, port: u16) -> Self {
        let mut process = Command::new(lab.tools_bin().join("kubectl"))
            .arg("--kubeconfig")
            .arg(lab.kubeconfig())
            .args(["port-forward", "--namespace", namespace, service, &format!(":{port}")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = lines.next().unwrap_or_else(|| panic!("no way to {service}")).unwrap();
        let address = line.strip_prefix("Forwarding from ").and_then(|rest| rest.split(' ').next()).unwrap_or_else(|| panic!("{line}"));
        let address = address.to_owned();
        // It says a line for each connection, and would block when nobody reads them.
        std::thread::spawn(move || lines.for_each(drop));
        Self { address, process }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        // It may have ended with its pod.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
