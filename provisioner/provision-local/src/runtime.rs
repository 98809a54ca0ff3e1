//! Runs the pods that are wanted, as processes under keepers that outlive it.

mod assemble;
mod attend;
mod backoff;
mod board;
mod container;
mod pod;
mod reports;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, Permissions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Uid;
use thiserror::Error;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::task::{AbortHandle, spawn_blocking};

pub use self::backoff::Backoff;
pub(crate) use self::reports::Reports;
pub use crate::image::Catalogue;
use crate::keeper::tail;
use crate::kubelet::{Claim, Kubelet, KubeletError, Report, VolumeSource, Wanted, WantedPod};
use crate::limits::{Enforcement, Limiter};
use crate::network::Services;
use crate::notices::Notices;

/// How long another supervisor of the same folder may take to hand over.
const HANDOVER: Duration = Duration::from_secs(5);

/// How a keeper is started: the program and the words behind its name that make it one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeeperCommand {
    /// Program, an absolute path; its `main` leads to [`crate::keeper::main`].
    pub program: PathBuf,
    /// Words before those of [`crate::keeper::main`].
    pub arguments: Vec<String>,
}

/// How much of the log of each run is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSize {
    /// Most bytes of one file.
    pub bytes: u64,
    /// Most files.
    pub files: u32,
}

impl Default for LogSize {
    fn default() -> Self {
        Self { bytes: 10 << 20, files: 3 }
    }
}

/// What a runtime works with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeSettings {
    /// State folder; ours are `pods`, `volumes`, `runtime.lock` and `published.json` in it.
    pub state: PathBuf,
    /// How a keeper is started.
    pub keeper: KeeperCommand,
    /// Programs by image.
    pub catalogue: Catalogue,
    /// When containers that end again and again are started anew.
    pub backoff: Backoff,
    /// How much of each log is kept.
    pub log: LogSize,
}

/// Why a runtime can't start.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// A folder or file of the state can't be used.
    #[error("failed to {action} {}", path.display())]
    State {
        /// What was tried.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another supervisor runs the pods of this folder.
    #[error("another supervisor runs the pods of {}", path.display())]
    Busy {
        /// Which folder.
        path: PathBuf,
    },
}

/// Runs programs of this machine as the containers of pods. Dropping it stops nothing that runs.
pub struct LocalKubelet {
    shared: Arc<Shared>,
    services: Services,
    incoming: tokio::sync::Mutex<UnboundedReceiver<Report>>,
    pods: Mutex<Pods>,
    _lock: File,
}

#[derive(Default)]
struct Pods {
    known: BTreeMap<String, (watch::Sender<WantedPod>, AbortHandle)>,
    retiring: Vec<AbortHandle>,
    is_told: bool,
}

struct Shared {
    settings: RuntimeSettings,
    limiter: Limiter,
    reports: Reports,
    notices: Notices,
}

impl Shared {
    fn pod_folder(&self, uid: &str) -> PathBuf {
        self.settings.state.join("pods").join(uid)
    }
}

impl LocalKubelet {
    /// Takes over the state folder; must be called within a tokio runtime. Nothing is started or stopped before [`Kubelet::want`].
    ///
    /// # Errors
    /// [`RuntimeError`] if the folder can't be used or another supervisor does.
    pub fn open(settings: RuntimeSettings) -> Result<Self, RuntimeError> {
        let lock = prepare(&settings.state)?;
        let (reports, incoming) = Reports::new();
        let mut hasher = DefaultHasher::new();
        fs::canonicalize(&settings.state).unwrap_or_else(|_| settings.state.clone()).hash(&mut hasher);
        let limiter = Limiter::find(&format!("provision-{:016x}", hasher.finish()));
        let notices = Notices::default();
        let services = Services::new(settings.state.join("published.json"), reports.clone(), notices.clone());
        let enforcement = limiter.enforcement();
        if let Some(lack) = enforcement.lack() {
            notices.say("limits", &lack);
        }
        if !Uid::effective().is_root() {
            let own = Uid::effective();
            notices
                .say("users", &format!("runAsUser, runAsGroup and fsGroup are not enforced: all runs as user {own}, as we are not root"));
        }
        let shared = Arc::new(Shared { settings, limiter, reports, notices });
        Ok(Self { shared, services, incoming: tokio::sync::Mutex::new(incoming), pods: Mutex::default(), _lock: lock })
    }

    /// Tells how limits of containers are enforced on this machine.
    pub fn enforcement(&self) -> Enforcement {
        self.shared.limiter.enforcement()
    }

    /// Removes the folder of a claim, for good.
    ///
    /// # Errors
    /// [`RuntimeError::State`] if something of it stays.
    pub async fn remove_claim(&self, namespace: &str, name: &str) -> Result<(), RuntimeError> {
        let path = self.shared.settings.state.join("volumes").join(namespace).join(name);
        if !is_plain(namespace) || !is_plain(name) {
            let source = io::Error::other("it is no name of a folder");
            return Err(RuntimeError::State { action: "remove", path, source });
        }
        let folder = path.clone();
        let removed = spawn_blocking(move || crate::volumes::remove(&folder)).await.map_err(io::Error::other).and_then(|result| result);
        removed.map_err(|source| RuntimeError::State { action: "remove", path, source })
    }

    fn set_pods(&self, wanted: Vec<WantedPod>) {
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let uids: BTreeSet<String> = wanted.iter().map(|pod| pod.uid.clone()).collect();
        if !pods.is_told {
            pods.is_told = true;
            for uid in self.found().into_iter().filter(|uid| !uids.contains(uid)) {
                let task = tokio::spawn(pod::retire(Arc::clone(&self.shared), uid));
                pods.retiring.push(task.abort_handle());
            }
        }
        for (uid, (sender, _)) in &pods.known {
            if !uids.contains(uid) {
                sender.send_if_modified(|pod| !std::mem::replace(&mut pod.stopping, true));
            }
        }
        pods.known.retain(|uid, (_, task)| uids.contains(uid) || !task.is_finished());
        for pod in wanted {
            if let Some(name) = unusable(&pod) {
                let message = format!("{name:?} is no name of a folder, so the pod is not run");
                self.shared.reports.send(Report::Event { uid: pod.uid, warning: true, reason: "Failed".to_owned(), message });
                continue;
            }
            match pods.known.get(&pod.uid) {
                Some((sender, _)) => {
                    sender.send_if_modified(|known| {
                        *known != pod && {
                            *known = pod;
                            true
                        }
                    });
                }
                None => {
                    let uid = pod.uid.clone();
                    let (sender, receiver) = watch::channel(pod);
                    let task = tokio::spawn(pod::run(Arc::clone(&self.shared), receiver)).abort_handle();
                    pods.known.insert(uid, (sender, task));
                }
            }
        }
    }

    /// Lists the pods that have a folder.
    fn found(&self) -> Vec<String> {
        let entries = fs::read_dir(self.shared.settings.state.join("pods")).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }
}

impl Kubelet for LocalKubelet {
    async fn want(&self, wanted: Wanted) {
        self.set_pods(wanted.pods);
        self.services.set(&wanted.services);
    }

    async fn next_report(&self) -> Report {
        match self.incoming.lock().await.recv().await {
            Some(report) => report,
            // A sender is ours, so this is never reached while someone may ask.
            None => std::future::pending().await,
        }
    }

    async fn discard(&self, claim: &Claim) -> Result<(), KubeletError> {
        let Claim { namespace, name, .. } = claim.clone();
        self.remove_claim(&namespace, &name).await.map_err(|source| KubeletError::Discard { namespace, name, source: source.into() })
    }

    fn notices(&self) -> Vec<String> {
        self.shared.notices.list()
    }

    async fn logs(&self, pod: &str, container: &str, previous: bool, lines: u32) -> Result<Vec<String>, KubeletError> {
        let subject = format!("container {container} of pod {pod}");
        if !is_plain(pod) || !is_plain(container) {
            return Err(KubeletError::NoLog { subject });
        }
        let folder = self.shared.pod_folder(pod).join("containers").join(container);
        let read = spawn_blocking(move || {
            let runs = run::numbered(&folder);
            let found = runs.into_iter().rev().nth(usize::from(previous));
            found.map(|(_, path)| tail(&path.join("log"), lines))
        });
        match read.await.map_err(io::Error::other) {
            Ok(Some(Ok(lines))) => Ok(lines),
            Ok(Some(Err(source))) | Err(source) => Err(KubeletError::Read { subject, source }),
            Ok(None) => Err(KubeletError::NoLog { subject }),
        }
    }
}

impl Drop for LocalKubelet {
    fn drop(&mut self) {
        let pods = self.pods.get_mut().unwrap_or_else(PoisonError::into_inner);
        for task in pods.known.values().map(|(_, task)| task).chain(&pods.retiring) {
            task.abort();
        }
        self.shared.limiter.leave();
    }
}

/// Tells whether a text is one part of a path.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('.')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

/// Makes a folder for us; as root others may pass it, as programs run under other users and must come to their volumes.
///
/// What is secret is closed by itself. A folder that is there already may be shared with others, so nothing is taken from it.
fn make_passable(folder: &Path) -> io::Result<()> {
    let passing = if Uid::effective().is_root() { 0o011 } else { 0 };
    DirBuilder::new().recursive(true).mode(0o700 | passing).create(folder)?;
    let mode = fs::metadata(folder)?.permissions().mode();
    if mode & passing == passing { Ok(()) } else { fs::set_permissions(folder, Permissions::from_mode(mode | passing)) }
}

/// Finds a name in a pod that would lead its folders elsewhere.
fn unusable(pod: &WantedPod) -> Option<&str> {
    let claims = pod.volumes.iter().filter_map(|volume| match &volume.source {
        VolumeSource::Claim { name } => Some(name),
        _ => None,
    });
    let containers = pod.containers.iter().chain(&pod.init_containers).map(|container| &container.name);
    let volumes = pod.volumes.iter().map(|volume| &volume.name);
    [&pod.uid, &pod.namespace].into_iter().chain(containers).chain(volumes).chain(claims).map(String::as_str).find(|name| !is_plain(name))
}

/// Makes the folders of the state and takes the lock.
fn prepare(state: &Path) -> Result<File, RuntimeError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| RuntimeError::State { action, path, source }
    };
    for folder in [state.to_owned(), state.join("pods"), state.join("volumes")] {
        make_passable(&folder).map_err(failed("make", &folder))?;
    }
    // Every connection through a Service takes two descriptors.
    if let Err(error) = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most)) {
        tracing::warn!(%error, "the limit of open files can't be raised");
    }
    let path = state.join("runtime.lock");
    let lock = File::create(&path).map_err(failed("open", &path))?;
    let end = Instant::now() + HANDOVER;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(fs::TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(Duration::from_millis(10)),
            Err(fs::TryLockError::WouldBlock) => return Err(RuntimeError::Busy { path: state.to_owned() }),
            Err(fs::TryLockError::Error(source)) => return Err(failed("lock", &path)(source)),
        }
    }
}
