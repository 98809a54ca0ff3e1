//! Up and down, each safe to call at any time.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::unistd::Uid;

use crate::cluster::{Cluster, FURNISHED_FIRST};
use crate::error::{FileContext, LabError};
use crate::first::read_ports;
use crate::os_process::{ProcessRef, poll};
use crate::region::{Region, write_new};
use crate::tools::{Tools, installed, java, kafka_jars};
use crate::{certificates, cgroups, configuration, database, kafka, object_store};

/// What a region is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing is left of it.
    Absent,
    /// Its folder is there, but its first process is not: it was killed, or never got up.
    Dead,
    /// Its first process runs, but the cluster is not usable (yet).
    Starting(ProcessRef),
    /// The cluster is usable.
    Up(ProcessRef),
}

/// Brings the region up, or finds that it is.
///
/// One that was usable and doesn't answer gets 30 s. What a killed run left is ended first; the data of etcd, registry and database stays. `say` hears what is done.
///
/// # Errors
/// [`LabError::NotRoot`] at once without root; [`LabError::NotInstalled`] if a program is missing; [`LabError::Deadline`] if a
/// server doesn't come up.
pub fn up(region: &Region, tools: &Tools, say: &dyn Fn(&str)) -> Result<(), LabError> {
    check_requirements(tools)?;
    let _lock = lock(region)?;
    let patience = Duration::from_secs(30);
    match state(region, tools) {
        State::Up(_) if made_with(region, tools) => return Ok(()),
        // Somebody may be using it: a server that crashed is started again, a busy machine answers late.
        State::Starting(_) if made_with(region, tools) && (Cluster { region, tools }).wait_ready(patience).is_ok() => {
            return Ok(());
        }
        State::Absent => {}
        State::Dead | State::Starting(_) | State::Up(_) => {
            say("ends what an earlier run left");
            end(region)?;
        }
    }
    prepare(region, tools)?;
    say("starts the region");
    let first = start(region, tools)?;
    let cluster = Cluster { region, tools };
    cluster.import_images(first)?;
    cluster.wait_ready(Duration::from_secs(60))?;
    say("API server ready");
    cluster.furnish()?;
    say("CRDs, storage classes and add-ons applied");
    cluster.wait_usable(first, Duration::from_secs(60))?;
    wait_backing(region, Duration::from_secs(60))?;
    write_new(&region.path("usable"), tools.bin().display().to_string().as_bytes())?;
    say("cluster usable");
    Ok(())
}

/// Waits until programs outside of the region are answered by Kafka, and by the object store. Topics are made by whoever needs them.
fn wait_backing(region: &Region, limit: Duration) -> Result<(), LabError> {
    let ports = read_ports(region).unwrap_or_default();
    let port = |index: usize| ports.get(index).copied().unwrap_or_default();
    let late = |what: &str| LabError::Deadline { what: what.to_owned(), seconds: limit.as_secs(), logs: region.logs() };
    poll(limit, || object_store::answers(port(object_store::RELAY))).ok_or_else(|| late("the object store did not answer"))?;
    poll(limit, || kafka::create_topics(port(kafka::RELAY), &[]).is_ok()).ok_or_else(|| late("Kafka did not answer"))
}

/// Ends the region and removes all that it had; nothing is there to do if nothing is left.
///
/// # Errors
/// [`LabError`] if a process, cgroup or file stays.
pub fn down(region: &Region) -> Result<(), LabError> {
    if !Uid::effective().is_root() {
        return Err(LabError::NotRoot);
    }
    if !region.dir.exists() {
        return Ok(());
    }
    let _lock = lock(region)?;
    // Without its id the folder was never more than begun.
    if region.path("id").exists() {
        end(region)?;
        fs::remove_dir_all(&region.dir).on("remove", &region.dir)?;
    }
    Ok(())
}

/// What the region is doing now.
#[must_use]
pub fn state(region: &Region, tools: &Tools) -> State {
    match ProcessRef::load(&region.path("region.pid")) {
        None if region.dir.exists() => State::Dead,
        None => State::Absent,
        Some(first) if region.path("usable").exists() && (Cluster { region, tools }).is_ready() => State::Up(first),
        Some(first) => State::Starting(first),
    }
}

fn made_with(region: &Region, tools: &Tools) -> bool {
    fs::read_to_string(region.path("usable")).is_ok_and(|bin| Path::new(&bin) == tools.bin())
}

fn check_requirements(tools: &Tools) -> Result<(), LabError> {
    if !Uid::effective().is_root() {
        return Err(LabError::NotRoot);
    }
    for program in ["kubectl", "kube-apiserver", "kubelet", "etcd", "containerd", "coredns", "metrics-server", "versitygw"] {
        tools.program(program)?;
    }
    for path in ["/usr/sbin/runc", "/usr/lib/cni/bridge", "/bin/busybox", "/usr/bin/docker-registry"] {
        installed(path.into())?;
    }
    java()?;
    kafka_jars().map(drop)
}

/// Takes the region's lock; it is let go of when the file is closed, also by a kill.
fn lock(region: &Region) -> Result<fs::File, LabError> {
    let path = region.lock_path();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).on("create", folder)?;
    }
    let file = fs::File::create(&path).on("create", &path)?;
    file.lock().on("lock", &path)?;
    Ok(file)
}

/// Ends the region's processes and removes its cgroups; its folder stays.
fn end(region: &Region) -> Result<(), LabError> {
    if let Some(first) = ProcessRef::load(&region.path("region.pid")) {
        first.kill("the region's first process", &region.logs())?;
    }
    for file in ["region.pid", "usable"] {
        let path = region.path(file);
        if path.exists() {
            fs::remove_file(&path).on("remove", &path)?;
        }
    }
    if region.path("id").exists() { cgroups::remove(region) } else { Ok(()) }
}

/// Writes all that the region's processes read.
fn prepare(region: &Region, tools: &Tools) -> Result<(), LabError> {
    fs::create_dir_all(&region.dir).on("create", &region.dir)?;
    region.create_id()?;
    certificates::ensure(&region.path("pki"))?;
    database::ensure_password(region)?;
    object_store::ensure_keys(region)?;
    for folder in ["logs", "pids", "hold"] {
        let path = region.path(folder);
        if path.exists() {
            fs::remove_dir_all(&path).on("remove", &path)?;
        }
        fs::create_dir_all(&path).on("create", &path)?;
    }
    for server in FURNISHED_FIRST {
        let hold = region.path("hold").join(server);
        fs::write(&hold, "").on("write", &hold)?;
    }
    configuration::write_all(region)?;
    write_new(&region.path("conf/tools"), tools.bin().display().to_string().as_bytes())?;
    cgroups::create(region)
}

/// Starts the region's first process and returns it once it is known by its file.
fn start(region: &Region, tools: &Tools) -> Result<ProcessRef, LabError> {
    // A copy, so that a build of a newer program doesn't pull it from under the region.
    let own = std::env::current_exe().on("find", "the lab's own program")?;
    let program = region.path("lab");
    if program.exists() {
        fs::remove_file(&program).on("remove", &program)?;
    }
    fs::copy(&own, &program).on("copy", &own)?;
    let log = region.logs().join("first.log");
    let out = fs::File::create(&log).on("create", &log)?;
    let errors = out.try_clone().on("open", &log)?;
    let lab = region.dir.parent().unwrap_or(&region.dir);
    let mut child = Command::new("setsid")
        .args(["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--propagation", "private"])
        .arg(&program)
        .args(["first", "--region", &region.name, "--dir"])
        .arg(lab)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(errors)
        .spawn()
        .map_err(|source| LabError::Spawn { program: "unshare".into(), source })?;
    let mut first = None;
    let limit = Duration::from_secs(10);
    poll(limit, || {
        first = ProcessRef::load(&region.path("region.pid")).filter(|_| read_ports(region).is_some());
        first.is_some() || matches!(child.try_wait(), Ok(Some(_)))
    });
    let first = first.ok_or_else(|| LabError::Deadline {
        what: "the region's first process was not up".into(),
        seconds: limit.as_secs(),
        logs: region.logs(),
    })?;
    let ports = read_ports(region).unwrap_or_default();
    let server = format!("https://127.0.0.1:{}", ports.first().copied().unwrap_or_default());
    certificates::write_secret(&region.kubeconfig(), &configuration::kubeconfig(region, "admin", &server))?;
    tools.program("kubectl")?;
    Ok(first)
}

/// What is left of a region, in words; empty after [`down`].
///
/// # Errors
/// [`LabError::File`] if the machine's mounts can't be read.
pub fn leftovers(region: &Region) -> Result<Vec<String>, LabError> {
    let mut found = Vec::new();
    if let Some(first) = ProcessRef::load(&region.path("region.pid")) {
        found.push(format!("process {}", first.pid));
    }
    if region.path("id").exists() {
        found.extend(cgroups::existing(region)?.iter().map(|path| format!("cgroup {}", path.display())));
    }
    let mounts = fs::read_to_string("/proc/self/mounts").on("read", "/proc/self/mounts")?;
    let inside = format!(" {}/", region.dir.display());
    found.extend(mounts.lines().filter(|line| line.contains(&inside)).map(|line| format!("mount {line}")));
    if region.dir.exists() {
        found.push(format!("folder {}", region.dir.display()));
    }
    Ok(found)
}
