//! The first process of a region: it makes the region around itself and runs the servers.
//!
//! It starts in new mount, uts, ipc and pid namespaces but still in the machine's network, binds the relayed ports there, and only
//! then leaves for a network of its own: sockets stay where they were bound. When it ends, all in the region ends.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::sethostname;

use crate::command::run_program;
use crate::error::{FileContext, LabError};
use crate::os_process;
use crate::region::{Region, write_new};
use crate::servers::{NODE_ADDRESS, RELAYED, RUN, servers};
use crate::tools::Tools;
use crate::{relay, supervisor};

/// Runs the region until it is killed.
///
/// # Errors
/// [`LabError`] if the region can't be made; the servers' own failures are only in their logs.
pub fn run(region: &Region, tools: &Tools) -> Result<(), LabError> {
    // Before all else: from here on, whoever comes later can find and end this process.
    os_process::own()?.save(&region.path("region.pid"))?;
    let listeners = bind_relayed(region)?;
    unshare(CloneFlags::CLONE_NEWNET).map_err(kernel("make a network namespace"))?;
    mount_all(region)?;
    sethostname(&region.name).map_err(kernel("set the host name"))?;
    connect()?;
    for (listener, relayed) in listeners.into_iter().zip(RELAYED) {
        relay::serve(listener, relayed.port);
    }
    let path = format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", tools.bin().display());
    supervisor::run(region, servers(region, tools)?, &path)
}

/// Binds a port of this machine's loopback for each relayed server, the same as last time if possible.
fn bind_relayed(region: &Region) -> Result<Vec<TcpListener>, LabError> {
    let before = read_ports(region);
    let mut listeners = Vec::new();
    let mut ports = Vec::new();
    for (index, relayed) in RELAYED.iter().enumerate() {
        let preferred = before.as_ref().and_then(|ports| ports.get(index).copied());
        let listener = relay::listen(preferred).on("bind a port for", relayed.name)?;
        ports.push(listener.local_addr().on("bind a port for", relayed.name)?.port().to_string());
        listeners.push(listener);
    }
    write_new(&region.path("ports"), ports.join("\n").as_bytes())?;
    Ok(listeners)
}

/// The ports on this machine's loopback, in the order of [`RELAYED`].
pub(crate) fn read_ports(region: &Region) -> Option<Vec<u16>> {
    let text = fs::read_to_string(region.path("ports")).ok()?;
    let ports: Vec<u16> = text.lines().map_while(|line| line.parse().ok()).collect();
    (ports.len() == RELAYED.len()).then_some(ports)
}

fn mount_all(region: &Region) -> Result<(), LabError> {
    let none: Option<&str> = None;
    // Pods' mounts must reach the kubelet and back, but never the machine: its side was made private before.
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SHARED, none).map_err(kernel("share the mounts"))?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none).map_err(kernel("mount /proc"))?;
    for folder in ["/run", "/var/lib/kubelet", "/var/lib/cni"] {
        fs::create_dir_all(folder).on("create", folder)?;
        mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some("mode=755")).map_err(kernel(&format!("mount {folder}")))?;
    }
    for folder in ["netns", "lock", "containerd", "lab/containerd", "lab/postgres", "lab/ipam"] {
        let path = Path::new("/run").join(folder);
        fs::create_dir_all(&path).on("create", &path)?;
    }
    show(&region.path("postgres"), &Path::new(RUN).join("postgres"))?;
    // Pods may have folders of the node below it: they end with the region.
    show(&region.path("feature"), Path::new("/var/feature"))
}

/// Shows a folder of the region at another place, inside of the region only.
fn show(folder: &Path, place: &Path) -> Result<(), LabError> {
    for path in [folder, place] {
        fs::create_dir_all(path).on("create", path)?;
    }
    let none: Option<&str> = None;
    mount(Some(folder), place, none, MsFlags::MS_BIND, none).map_err(kernel(&format!("show {}", folder.display())))
}

/// Brings the region's network up: loopback, and a bridge that is the node's address.
fn connect() -> Result<(), LabError> {
    let address = format!("{NODE_ADDRESS}/24");
    for line in [
        "link set lo up".to_owned(),
        "link add lab0 type bridge".to_owned(),
        format!("address add {address} dev lab0"),
        "link set lab0 up".to_owned(),
        // Virtual service addresses need some route before they are rewritten; this one leads nowhere.
        "route add default via 10.77.1.254".to_owned(),
    ] {
        run_program("ip", line.split(' '))?;
    }
    for switch in ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/conf/all/route_localnet"] {
        fs::write(switch, "1").on("write", switch)?;
    }
    Ok(())
}

fn kernel(action: &str) -> impl Fn(nix::Error) -> LabError + '_ {
    move |source| LabError::Kernel { action: action.to_owned(), source }
}
