//! Sandboxes made of containers, by containerd on its socket.
//!
//! ```text
//! containerd, namespace feature-sandbox    a container, a snapshot and a task for each sandbox; the image
//! DATA/program/                            this program for the inside of containers
//! DATA/<id>/workspace/, stdin, stdout, ... files and pipes of a sandbox
//! ```
//!
//! containerd makes the mounts and starts the containers, on the machine's own files: `DATA` has the same path there as here.

mod api;
mod client;
mod image;
mod oci;
mod program;
mod seccomp;
mod streams;
mod task;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::Flock;
use nix::unistd::geteuid;
use prost::Message;
use service_kit::BoxError;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc::unbounded_channel;
use uuid::Uuid;

use self::api::containerd::runc::v1::Options;
use self::api::containerd::services::containers::v1::container::Runtime as ContainerRuntime;
use self::api::containerd::services::containers::v1::{Container, ListContainersRequest};
use self::client::{Client, within};
use self::image::Image;
pub(crate) use self::oci::Parent;
use crate::folder;
use crate::plan::{Errand, WORKSPACE};
use crate::runtime::{Prepared, Running, Runtime, RuntimeError, Work, require};
use crate::settings::Config;
use crate::spec::{Limits, Spec};

const SNAPSHOTTER: &str = "overlayfs";
const RUNTIME: &str = "io.containerd.runc.v2";
/// How often containerd is asked whether it is there, and how often it may not answer. A socket that is mounted into a container by its own path is
/// not the one that containerd makes when it starts anew: only a new container of this program finds that.
const LOOK: Duration = Duration::from_secs(4);
const MISSED: u32 = 2;
/// Label with the folder that a container belongs to: another manager may use the same containerd.
const DATA: &str = "provision.dev/sandbox-data";

#[derive(Debug, Error)]
enum OpenError {
    #[error("SANDBOX_IMAGE is not set; SANDBOX_RUNTIME \"containerd\" needs it")]
    NoImage,
    #[error("SANDBOX_RUNTIME \"containerd\" needs root: containerd's pipes and the files of sandboxes belong to other users")]
    NotRoot,
    #[error("failed to copy this program into {}", .0.display())]
    Program(PathBuf, #[source] io::Error),
    #[error("a container for a trial ended with exit code {0}: {1}")]
    Trial(i32, String),
}

/// The runtime.
#[derive(Debug)]
pub(crate) struct Containerd {
    client: Client,
    data: PathBuf,
    _lock: Flock<File>,
    image: Image,
    start: Vec<String>,
    parent: Parent,
    first_user: u32,
    has_swap: bool,
}

impl Containerd {
    /// Connects, ends what a killed manager left, finds or pulls the image, and tries a container out.
    ///
    /// # Errors
    /// If one of these fails, or something is missing that is required.
    pub(crate) async fn open(config: &Config) -> Result<Self, BoxError> {
        if !geteuid().is_root() {
            return Err(OpenError::NotRoot.into());
        }
        let image = config.image.as_ref().ok_or(OpenError::NoImage)?;
        let lock = folder::take(&config.data)?;
        let (client, version) = Client::connect(&config.socket).await?;
        tracing::info!(version, socket = config.socket, "containerd makes the sandboxes");
        sweep(&client, &config.data).await?;
        let program = config.data.join(program::FOLDER);
        let start = program::lay_out(&program).map_err(|error| OpenError::Program(program, error))?;
        let image = image::ensure(&client, image).await?;
        let runtime = Self {
            client,
            data: config.data.clone(),
            _lock: lock,
            image,
            start,
            parent: config.parent.clone(),
            first_user: config.first_user,
            has_swap: fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1),
        };
        runtime.try_out(&config.limits).await?;
        require(&config.required, &isolation())?;
        Ok(runtime)
    }

    /// Makes, runs and removes a container without a command.
    async fn try_out(&self, limits: &Limits) -> Result<(), BoxError> {
        let spec = Spec { id: Uuid::nil(), command: Vec::new(), environment: BTreeMap::new(), limits: limits.clone() };
        let prepared = self.prepare(&spec, 0).await?;
        let told = async {
            let mut running = self.start(Work { spec: &spec, folder: &prepared.folder, slot: 0 }).await?;
            let mut text = String::new();
            drop(running.stderr.read_to_string(&mut text).await);
            Ok::<_, RuntimeError>((running.ended.await.exit_code, text))
        };
        let told = told.await;
        self.remove(&prepared.folder).await?;
        match told? {
            (0, _) => Ok(()),
            (code, text) => Err(OpenError::Trial(code, text.trim().to_owned()).into()),
        }
    }

    /// Returns the name of a sandbox's container: containerd may have other managers' as well, with steps of the same ids.
    fn name(&self, folder: &Path) -> String {
        let sandbox = folder.file_name().unwrap_or_default().to_string_lossy();
        format!("{}-{sandbox}", hex::encode(&Sha256::digest(self.data.as_os_str().as_encoded_bytes())[..6]))
    }

    fn user(&self, slot: usize) -> u32 {
        self.first_user.saturating_add(u32::try_from(slot).unwrap_or(0))
    }

    /// Describes a sandbox to containerd.
    fn container(&self, work: &Work<'_>, id: &str) -> Container {
        let described = oci::describe(&oci::Container {
            id,
            start: &self.start,
            folder: work.folder,
            program: &self.data.join(program::FOLDER),
            user: self.user(work.slot),
            parent: &self.parent,
            limits: &work.spec.limits,
            has_swap: self.has_swap,
        });
        let options = Options { systemd_cgroup: matches!(self.parent, Parent::Slice(_)) };
        Container {
            id: id.to_owned(),
            labels: HashMap::from([(DATA.to_owned(), self.data.display().to_string())]),
            image: String::new(),
            runtime: Some(ContainerRuntime {
                name: RUNTIME.to_owned(),
                options: Some(task::any("containerd.runc.v1.Options", options.encode_to_vec())),
            }),
            spec: Some(task::any("types.containerd.io/opencontainers/runtime-spec/1/Spec", described.to_string().into_bytes())),
            snapshotter: SNAPSHOTTER.to_owned(),
            snapshot_key: id.to_owned(),
        }
    }
}

/// Ends and removes what an ended manager of the same folder left.
async fn sweep(client: &Client, data: &Path) -> Result<(), RuntimeError> {
    let left = within("list containers", client.containers().list(ListContainersRequest { filters: Vec::new() })).await?.containers;
    let own = data.display().to_string();
    for container in left.iter().filter(|container| container.labels.get(DATA) == Some(&own)) {
        task::remove(client, &container.id).await?;
        tracing::info!(sandbox = container.id, "removed what a sandbox left");
    }
    for left in folder::list(data) {
        folder::remove(&left).map_err(|error| RuntimeError(format!("failed to remove {}: {error}", left.display())))?;
    }
    Ok(())
}

fn isolation() -> Vec<String> {
    oci::ISOLATION.iter().chain(&["rlimits"]).map(ToString::to_string).collect()
}

impl Runtime for Containerd {
    async fn prepare(&self, spec: &Spec, slot: usize) -> Result<Prepared, RuntimeError> {
        let folder = self.data.join(spec.id.to_string());
        // Left by a run that could not be removed.
        self.remove(&folder).await?;
        let owner = Some(self.user(slot));
        let made = folder.clone();
        folder::blocking(move || folder::make(&made, owner))
            .await
            .map_err(|error| RuntimeError(format!("failed to make a workspace: {error}")))?;
        Ok(Prepared { folder, owner })
    }

    async fn start(&self, work: Work<'_>) -> Result<Running, RuntimeError> {
        let id = self.name(work.folder);
        let home = format!("/{WORKSPACE}");
        let errand =
            Errand { command: work.spec.command.clone(), environment: work.spec.variables(&self.image.environment, &home, "/tmp") };
        let container = self.container(&work, &id);
        let streams = task::start(&self.client, container, &self.image.snapshot, (work.folder, &errand)).await?;
        let (orders, received) = unbounded_channel();
        // From here on only the container's own ends keep its output open.
        drop(streams.keepers);
        let ended = Box::pin(task::end(self.client.clone(), id, streams.stdin, received));
        Ok(Running { stdout: Box::pin(streams.stdout), stderr: Box::pin(streams.stderr), orders, isolation: isolation(), ended })
    }

    fn watched_memory(&self, _: &Path) -> Option<u64> {
        None
    }

    async fn lost(&self) -> RuntimeError {
        let mut missed = 0;
        loop {
            tokio::time::sleep(LOOK).await;
            match self.client.version().await {
                Ok(_) => missed = 0,
                Err(_) if missed < MISSED => missed += 1,
                Err(error) => return RuntimeError(format!("containerd is lost: {}", RuntimeError::from(error))),
            }
        }
    }

    async fn remove(&self, folder: &Path) -> Result<(), RuntimeError> {
        task::remove(&self.client, &self.name(folder)).await?;
        let folder = folder.to_owned();
        folder::blocking(move || folder::remove(&folder))
            .await
            .map_err(|error| RuntimeError(format!("failed to remove a sandbox: {error}")))
    }
}
