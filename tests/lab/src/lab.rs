//! The lab as tests use it.

use std::env;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use crate::cluster::{Cluster, kubectl};
use crate::command::run_command;
use crate::error::{FileContext, LabError};
use crate::first::read_ports;
use crate::image::{RootFile, pack};
use crate::lifecycle::{State, state};
use crate::os_process::{ProcessRef, poll};
use crate::region::Region;
use crate::servers::NODE_ADDRESS;
use crate::tools::Tools;
use crate::{database, kafka, object_store, settings};

/// Finds the lab, or a cluster that plays its part.
#[derive(Debug)]
pub struct Lab;

impl Lab {
    /// A cluster to test on: that of `PROVISION_TEST_KUBECONFIG` if it is set, else the lab, brought up if it isn't.
    ///
    /// Blocks; tests that run at the same time share one lab. Never skips: what is missing is an error.
    ///
    /// # Errors
    /// [`LabError::NotRoot`] without root, [`LabError::NotInstalled`] without the programs, or what `lab up` said.
    pub fn require() -> Result<LabHandle, LabError> {
        let tools = settings::tools()?;
        if let Some(kubeconfig) = settings::foreign_kubeconfig() {
            return Ok(LabHandle { kubeconfig, tools, region: None });
        }
        let region = Region::new(&settings::lab_folder()?, "r1")?;
        if !matches!(state(&region, &tools), State::Up(_)) {
            run_command(up_command(&region))?;
        }
        Self::at(&region, &tools)
    }

    /// The lab's region as it is, whether it is up or not.
    ///
    /// # Errors
    /// [`LabError::NotUp`] if it never was.
    pub fn at(region: &Region, tools: &Tools) -> Result<LabHandle, LabError> {
        if !region.kubeconfig().exists() {
            return Err(LabError::NotUp(region.dir.clone()));
        }
        Ok(LabHandle { kubeconfig: region.kubeconfig(), tools: tools.clone(), region: Some(region.clone()) })
    }
}

/// `lab up`, by the program beside the running test if it was built, else through cargo.
fn up_command(region: &Region) -> Command {
    let built = env::current_exe().ok().and_then(|test| Some(test.parent()?.parent()?.join("lab"))).filter(|program| program.is_file());
    let mut command = match built {
        Some(program) => Command::new(program),
        None => {
            let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut command = Command::new(cargo);
            command.args(["run", "--quiet", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), "--"]);
            command
        }
    };
    command.args(["up", "--region", &region.name, "--dir"]);
    command.arg(region.dir.parent().unwrap_or(&region.dir));
    command
}

/// A cluster to test on.
#[derive(Debug, Clone)]
pub struct LabHandle {
    kubeconfig: PathBuf,
    tools: Tools,
    region: Option<Region>,
}

impl LabHandle {
    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The folder with kubectl (and helm, if it was installed).
    #[must_use]
    pub fn tools_bin(&self) -> PathBuf {
        self.tools.bin()
    }

    /// The registry as programs on this machine reach it, `127.0.0.1:<port>`.
    ///
    /// # Errors
    /// [`LabError::ForeignCluster`] on a cluster that the lab did not start.
    pub fn registry(&self) -> Result<String, LabError> {
        Ok(format!("127.0.0.1:{}", self.port(1, "registry")?))
    }

    /// The registry as image names in pods call it.
    #[must_use]
    pub fn registry_in_cluster(&self) -> &'static str {
        "127.0.0.1:5000"
    }

    /// The platform's database as pods reach it.
    ///
    /// # Errors
    /// [`LabError::ForeignCluster`] on a cluster that the lab did not start.
    pub fn database_url(&self) -> Result<String, LabError> {
        database::url(self.region("database")?, &database::inner_address())
    }

    /// The platform's database as programs on this machine reach it.
    ///
    /// # Errors
    /// [`LabError::ForeignCluster`] on a cluster that the lab did not start.
    pub fn database_url_outside(&self) -> Result<String, LabError> {
        let port = self.port(2, "database")?;
        database::url(self.region("database")?, &format!("127.0.0.1:{port}"))
    }

    /// The Kafka broker as pods reach it, `host:port`.
    ///
    /// # Errors
    /// [`LabError::ForeignCluster`] on a cluster that the lab did not start.
    pub fn kafka(&self) -> Result<String, LabError> {
        self.region("Kafka").map(|_| kafka::inner_address())
    }

    /// The Kafka broker as programs on this machine reach it, `host:port`.
    ///
    /// # Errors
    /// [`LabError::ForeignCluster`] on a cluster that the lab did not start.
    pub fn kafka_outside(&self) -> Result<String, LabError> {
        Ok(format!("127.0.0.1:{}", self.port(kafka::RELAY, "Kafka")?))
    }

    /// Makes a topic of the Kafka broker, if it isn't there.
    ///
    /// # Errors
    /// [`LabError::Topic`] if the broker does not make it; [`LabError::ForeignCluster`] on a cluster that the lab did not start.
    pub fn create_topic(&self, name: &str, partitions: u32) -> Result<(), LabError> {
        let port = self.port(kafka::RELAY, "Kafka")?;
        kafka::create_topics(port, &[(name, partitions)]).map_err(|source| LabError::Topic { topic: name.to_owned(), source })
    }

    /// The URL of the object store as pods reach it; its bucket is `feature-artifacts`.
    ///
    /// # Errors
    /// [`LabError::ForeignCluster`] on a cluster that the lab did not start.
    pub fn object_store_url(&self) -> Result<String, LabError> {
        self.region("object store").map(|_| object_store::inner_url())
    }

    /// The URL of the object store as programs on this machine reach it.
    ///
    /// # Errors
    /// [`LabError::ForeignCluster`] on a cluster that the lab did not start.
    pub fn object_store_url_outside(&self) -> Result<String, LabError> {
        Ok(format!("http://127.0.0.1:{}", self.port(object_store::RELAY, "object store")?))
    }

    /// Access key and secret key of the object store.
    ///
    /// # Errors
    /// [`LabError::ForeignCluster`] on a cluster that the lab did not start; [`LabError::File`] if they can't be read.
    pub fn object_store_keys(&self) -> Result<(String, String), LabError> {
        object_store::keys(self.region("object store")?)
    }

    /// Runs kubectl as the administrator and returns what it printed.
    ///
    /// # Errors
    /// [`LabError::Program`] with the last lines of what went wrong.
    pub fn kubectl(&self, args: &[&str]) -> Result<String, LabError> {
        kubectl(&self.tools, &self.kubeconfig, args)
    }

    /// The folder with the add-ons' CRDs, one folder for each add-on.
    #[must_use]
    pub fn crds(&self) -> PathBuf {
        self.tools.crds()
    }

    /// The API server's process id on this machine.
    ///
    /// # Errors
    /// [`LabError::NotUp`] if it doesn't run; [`LabError::ForeignCluster`] on a cluster that the lab did not start.
    pub fn apiserver_pid(&self) -> Result<i32, LabError> {
        Ok(self.server("kube-apiserver")?.pid)
    }

    /// Kills a server like a crash and keeps it down until [`LabHandle::start_server`]; names are those of the logs.
    ///
    /// # Errors
    /// [`LabError::NotUp`] if it doesn't run; [`LabError::ForeignCluster`] on a cluster that the lab did not start.
    pub fn stop_server(&self, name: &str) -> Result<(), LabError> {
        let region = self.region("server")?;
        let server = self.server(name)?;
        let hold = region.path("hold").join(name);
        fs::write(&hold, "").on("write", &hold)?;
        server.kill(name, &region.logs())
    }

    /// Kills a server like a crash; the lab starts it again within a second.
    ///
    /// # Errors
    /// [`LabError::NotUp`] if it doesn't run; [`LabError::ForeignCluster`] on a cluster that the lab did not start.
    pub fn crash_server(&self, name: &str) -> Result<(), LabError> {
        self.server(name)?.kill(name, &self.region("server")?.logs())
    }

    /// Lets a stopped server start again, and waits until the API server is ready.
    ///
    /// # Errors
    /// [`LabError::Deadline`] if it isn't within 30 s; [`LabError::ForeignCluster`] on a cluster that the lab did not start.
    pub fn start_server(&self, name: &str) -> Result<(), LabError> {
        let region = self.region("server")?;
        let hold = region.path("hold").join(name);
        if hold.exists() {
            fs::remove_file(&hold).on("remove", &hold)?;
        }
        let limit = Duration::from_secs(30);
        poll(limit, || self.server(name).is_ok()).ok_or_else(|| LabError::Deadline {
            what: format!("{name} was not started"),
            seconds: limit.as_secs(),
            logs: region.logs(),
        })?;
        Cluster { region, tools: &self.tools }.wait_ready(limit)
    }

    /// Gives the node an image made of `files`; pods use it by `name` with `imagePullPolicy: Never`.
    ///
    /// # Errors
    /// [`LabError::ForeignCluster`] on a cluster that the lab did not start; [`LabError::Program`] if containerd refuses it.
    pub fn import_image(&self, name: &str, files: &[RootFile], command: &[&str]) -> Result<(), LabError> {
        let region = self.region("container runtime")?;
        Cluster { region, tools: &self.tools }.import(self.first()?, name, &pack(name, files, command)?)
    }

    /// Pushes an image that the node has to the lab's registry and returns its name there, with the digest.
    ///
    /// # Errors
    /// [`LabError::ForeignCluster`] on a cluster that the lab did not start; [`LabError::Program`] if the push fails.
    pub fn push_image(&self, name: &str, repository: &str) -> Result<String, LabError> {
        let cluster = Cluster { region: self.region("registry")?, tools: &self.tools };
        let first = self.first()?;
        let target = format!("{}/{repository}:lab", self.registry_in_cluster());
        cluster.ctr(first, &["images", "tag", "--force", name, &target])?;
        cluster.ctr(first, &["images", "push", "--plain-http", &target])?;
        let listing = cluster.ctr(first, &["images", "list", &format!("name=={target}")])?;
        let digest = listing.split_whitespace().find(|word| word.starts_with("sha256:"));
        let digest = digest.ok_or_else(|| LabError::NotUp(target.clone().into()))?;
        Ok(format!("{}/{repository}@{digest}", self.registry_in_cluster()))
    }

    /// Puts together a call of containerd's client `ctr`, inside of the region, for one of containerd's namespaces.
    ///
    /// # Errors
    /// [`LabError::NotUp`] if the region does not run; [`LabError::ForeignCluster`] on a cluster that the lab did not start.
    pub fn ctr(&self, namespace: &str, args: &[&str]) -> Result<Command, LabError> {
        Cluster { region: self.region("container runtime")?, tools: &self.tools }.ctr_command(self.first()?, namespace, args)
    }

    /// Name of the control group, in every hierarchy, that all of the node is below.
    ///
    /// # Errors
    /// [`LabError::ForeignCluster`] on a cluster that the lab did not start; [`LabError::File`] if it can't be read.
    pub fn cgroup(&self) -> Result<String, LabError> {
        self.region("control group")?.cgroup()
    }

    /// Opens a port of the node for this process: pods reach it, nobody outside of the region does.
    ///
    /// # Errors
    /// [`LabError::NotUp`] if the region does not run; [`LabError::ForeignCluster`] on a cluster that the lab did not start;
    /// [`LabError::File`] or [`LabError::Kernel`] if the port can't be opened there.
    pub fn listen_inside(&self) -> Result<TcpListener, LabError> {
        let path = format!("/proc/{}/ns/net", self.first()?.pid);
        let network = fs::File::open(&path).on("open", &path)?;
        // A thread of its own goes there and ends: its socket stays, and this process where it was.
        let opened = thread::spawn(move || {
            setns(network, CloneFlags::CLONE_NEWNET).map_err(|source| LabError::Kernel { action: format!("enter {path}"), source })?;
            TcpListener::bind((NODE_ADDRESS, 0)).on("bind a port of", NODE_ADDRESS)
        });
        opened.join().unwrap_or_else(|_| Err(LabError::NotUp(self.kubeconfig.clone())))
    }

    fn region(&self, what: &'static str) -> Result<&Region, LabError> {
        self.region.as_ref().ok_or(LabError::ForeignCluster(what))
    }

    fn first(&self) -> Result<ProcessRef, LabError> {
        let region = self.region("region")?;
        ProcessRef::load(&region.path("region.pid")).ok_or_else(|| LabError::NotUp(region.dir.clone()))
    }

    /// The process of a server: the child of the first process that has the id it wrote down.
    fn server(&self, name: &str) -> Result<ProcessRef, LabError> {
        let region = self.region("server")?;
        let path = region.path("pids").join(name);
        let inner: Option<i32> = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        let children = self.first()?.children();
        children.into_iter().find(|child| inner.is_some() && child.inner_pid() == inner).ok_or(LabError::NotUp(path))
    }

    fn port(&self, index: usize, what: &'static str) -> Result<u16, LabError> {
        let region = self.region(what)?;
        read_ports(region).and_then(|ports| ports.get(index).copied()).ok_or_else(|| LabError::NotUp(region.dir.clone()))
    }
}
