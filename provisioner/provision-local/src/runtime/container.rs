use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use nix::unistd::Uid;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Shared;
use super::assemble::{Obstacle, Parts};
use super::backoff::restarts;
use super::board::{Board, ended};
use super::run::{Found, Latest, Run, folder_name, latest, numbered};
use crate::keeper::{ExitRecord, Identity, LogLimits, RunSpec};
use crate::kubelet::{ContainerState, Restart, WantedContainer, WantedPod};
use crate::limits::Limits;
use crate::volumes::{Owner, Volumes};

/// Runs of a container that are kept: this one and the one before.
const KEPT: usize = 2;

/// What all containers of a pod share.
pub(super) struct PodContext {
    pub(super) shared: std::sync::Arc<Shared>,
    pub(super) pod: WantedPod,
    pub(super) folder: PathBuf,
    pub(super) volumes: Volumes,
    pub(super) owner: Owner,
    pub(super) board: Board,
    pub(super) stopping: watch::Receiver<bool>,
    /// The pod as it is wanted now: a container starts with the variables of now.
    pub(super) latest: watch::Receiver<WantedPod>,
}

/// Whether others wait for the end of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It runs to its end before the others start.
    Init,
    /// It runs as long as the pod.
    Main,
}

/// One container of a pod.
pub(super) struct Container<'c> {
    pub(super) context: &'c PodContext,
    pub(super) spec: &'c WantedContainer,
    pub(super) kind: Kind,
}

/// Where a container is between two runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    pub(super) number: u32,
    pub(super) ends: u32,
    pub(super) last: Option<ExitRecord>,
}

impl PodContext {
    /// Tells whether nothing is to be started any more.
    pub(super) fn is_over(&self) -> bool {
        *self.stopping.borrow() || self.pod.ended
    }

    pub(super) async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // The sender lives as long as the pod is wanted; without it, it is not.
        drop(stopping.wait_for(|stopping| *stopping).await);
    }

    /// Rests; tells whether the pod is still to go on afterwards.
    pub(super) async fn rest(&self, duration: Duration) -> bool {
        tokio::select! {
            () = self.stopped() => false,
            () = sleep(duration) => true,
        }
    }
}

impl Container<'_> {
    /// Finds what is left of an earlier supervisor's time, and puts it on the board.
    pub(super) async fn find(&self) -> Option<Latest> {
        let folder = self.folder();
        let found = spawn_blocking(move || latest(&folder)).await.ok().flatten()?;
        match &found.state {
            Found::Running(run) => {
                let progress = Progress { number: found.number, ends: found.ends, last: found.previous.clone() };
                self.runs(run, &progress);
            }
            Found::Ended(exit) => self.context.board.change(self.name(), |report| {
                report.state = ContainerState::Ended(ended(exit));
                report.restarts = found.number;
                report.ready = self.kind == Kind::Init && exit.exit_code == 0;
            }),
        }
        Some(found)
    }

    /// Runs the container again and again as the pod's policy says; returns how it ended for good, none if it never ran.
    pub(super) async fn keep(&self, found: Option<Latest>) -> Option<ExitRecord> {
        let (mut progress, mut run) = match found {
            None => (Progress::default(), None),
            Some(Latest { number, ends, previous, state: Found::Running(run) }) => (Progress { number, ends, last: previous }, Some(*run)),
            Some(Latest { number, ends, state: Found::Ended(exit), .. }) => {
                let mut progress = Progress { number, ends, last: None };
                if !self.goes_on_after(&mut progress, exit).await {
                    return progress.last;
                }
                (progress, None)
            }
        };
        loop {
            let current = match run.take() {
                Some(run) => run,
                None => match self.start(&progress).await {
                    Some(run) => run,
                    None => return progress.last,
                },
            };
            let exit = self.attend(&current, &progress).await;
            if !self.goes_on_after(&mut progress, exit).await {
                return progress.last;
            }
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.spec.name
    }

    fn folder(&self) -> PathBuf {
        self.context.folder.join("containers").join(self.name())
    }

    /// Takes note of an end; rests if the container is to be started again, and tells whether it is.
    async fn goes_on_after(&self, progress: &mut Progress, exit: ExitRecord) -> bool {
        let ran = Duration::try_from(exit.finished.duration_since(exit.started)).unwrap_or_default();
        let backoff = &self.context.shared.settings.backoff;
        progress.ends = backoff.count(progress.ends, ran);
        progress.last = Some(exit.clone());
        let again = match self.kind {
            // An init container that ended well is done.
            Kind::Init => exit.exit_code != 0 && self.context.pod.restart != Restart::Never,
            Kind::Main => restarts(self.context.pod.restart, exit.exit_code),
        };
        let for_good = |report: &mut crate::kubelet::ContainerReport| {
            report.state = ContainerState::Ended(ended(&exit));
            report.restarts = progress.number;
            report.ready = self.kind == Kind::Init && exit.exit_code == 0;
        };
        if !again || self.context.is_over() {
            self.context.board.change(self.name(), for_good);
            return false;
        }
        let rest = backoff.rest(progress.ends);
        if !rest.is_zero() {
            self.loops(progress, &exit, rest);
            if !self.context.rest(rest).await {
                self.context.board.change(self.name(), for_good);
                return false;
            }
        }
        progress.number += 1;
        true
    }

    fn loops(&self, progress: &Progress, exit: &ExitRecord, rest: Duration) {
        let WantedPod { name, namespace, uid, .. } = &self.context.pod;
        let container = self.name();
        let message = format!("back-off {rest:?} restarting failed container={container} pod={name}_{namespace}({uid})");
        self.context.board.change(container, |report| {
            report.state = ContainerState::Waiting { reason: "CrashLoopBackOff".to_owned(), message };
            report.last = Some(ended(exit));
            report.restarts = progress.number;
            report.ready = false;
        });
        let message = format!("Back-off restarting failed container {container} in pod {name}_{namespace}({uid})");
        self.context.board.event(container, true, "BackOff", message);
    }

    /// Starts a run, however often that fails; none when the pod is to end.
    async fn start(&self, progress: &Progress) -> Option<Run> {
        let mut attempts = 0;
        loop {
            if self.context.is_over() {
                return None;
            }
            attempts += 1;
            match self.attempt(progress).await {
                Ok(run) => return Some(run),
                Err(obstacle) => self.say(&obstacle, attempts),
            }
            if !self.context.rest(self.context.shared.settings.backoff.retry(attempts)).await {
                return None;
            }
        }
    }

    async fn attempt(&self, progress: &Progress) -> Result<Run, Obstacle> {
        let told = |error: &dyn std::error::Error| {
            let mut message = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                message = format!("{message}: {cause}");
                source = cause.source();
            }
            Obstacle::Create { message }
        };
        let spec = self.spec(progress).map_err(|error| match error {
            Obstacle::Image { .. } => error,
            Obstacle::Create { .. } => told(&error),
        })?;
        let folder = self.folder();
        let kept = folder.clone();
        // What can't be removed now goes with the pod.
        drop(spawn_blocking(move || prune(&kept)).await);
        let run = Run::start(folder.join(folder_name(progress.number)), spec, &self.context.shared.settings.keeper).await;
        let run = run.map_err(|error| told(&error))?;
        self.context.board.event(self.name(), false, "Started", format!("Started container {}", self.name()));
        Ok(run)
    }

    fn spec(&self, progress: &Progress) -> Result<RunSpec, Obstacle> {
        let PodContext { shared, pod, volumes, owner, .. } = self.context;
        let latest = self.latest();
        let wanted = latest.as_ref().unwrap_or(self.spec);
        let failed = |message: String| Obstacle::Create { message };
        let name = format!("{}/{}/{}", pod.uid, self.name(), progress.number);
        let run = format!("{name}/{:x}", Timestamp::now().as_nanosecond());
        let limits = Limits { memory: wanted.memory, cpu: wanted.cpu };
        let paths = volumes.paths(pod, &wanted.mounts, owner).map_err(|error| failed(error.to_string()))?;
        let parts = Parts { pod, paths: &paths, catalogue: &shared.settings.catalogue, identity: self.identity() };
        // Refused before anything is made.
        let plain = parts.launch(wanted, &run, crate::limits::Enforced::default())?;
        let enforced = shared.limiter.enforce(name.as_ref(), limits);
        let enforced = enforced.map_err(|error| failed(format!("its limits can't be set: {error}")))?;
        let launch = crate::keeper::LaunchSpec { groups: enforced.groups, data_limit: enforced.data, ..plain };
        Ok(RunSpec {
            run,
            role: shared.settings.keeper.arguments.clone(),
            launch,
            grace_ms: u64::try_from(pod.grace.as_millis()).unwrap_or(u64::MAX),
            stop_signal: "SIGTERM".to_owned(),
            log: LogLimits { bytes: shared.settings.log.bytes, files: shared.settings.log.files },
            ends: progress.ends,
        })
    }

    /// Returns the container as it is wanted now.
    fn latest(&self) -> Option<WantedContainer> {
        let pod = self.context.latest.borrow();
        pod.containers.iter().chain(&pod.init_containers).find(|one| one.name == self.spec.name).cloned()
    }

    fn identity(&self) -> Option<Identity> {
        let pod = &self.context.pod;
        if !Uid::effective().is_root() {
            return None;
        }
        let uid = self.spec.run_as_user;
        let groups = pod.fs_group.into_iter().collect();
        // Without a group of its own a user has the group of its number: root's group means something on this machine.
        let (uid, gid) = (uid.unwrap_or(0), self.spec.run_as_group.or(uid).unwrap_or(0));
        Some(Identity { uid, gid, groups })
    }

    fn say(&self, obstacle: &Obstacle, attempts: u32) {
        let (name, image, board) = (self.name(), &self.spec.image, &self.context.board);
        match obstacle {
            Obstacle::Image { source } => {
                let (reason, message) = match attempts {
                    1 => ("ErrImagePull", source.to_string()),
                    _ => ("ImagePullBackOff", format!("Back-off pulling image \"{image}\": {source}")),
                };
                board.event(name, true, "Failed", format!("Failed to pull image \"{image}\": {source}"));
                board.waits(name, reason, message);
            }
            Obstacle::Create { message } => {
                board.event(name, true, "Failed", format!("Error: {message}"));
                board.waits(name, "CreateContainerError", message.clone());
            }
        }
    }
}

/// Removes all runs but the latest, to which one more is added.
fn prune(folder: &std::path::Path) {
    let mut runs = numbered(folder);
    let keep = runs.len().saturating_sub(KEPT - 1);
    for (_, path) in runs.drain(..keep) {
        if let Err(error) = crate::volumes::remove(&path) {
            tracing::warn!(folder = %path.display(), %error, "an old run can't be removed");
        }
    }
}
