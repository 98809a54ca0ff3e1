//! A runtime in memory: nothing is run, and everything goes as the play says.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::mpsc;
use futures::{StreamExt as _, lock};
use jiff::Timestamp;

use super::{
    Claim, ContainerReport, ContainerState, Ended, Kubelet, KubeletError, PodReport, Report, Restart, Wanted, WantedContainer, WantedPod,
};

/// What becomes of the containers of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Play {
    /// They run and are ready; those of a Job exit with 0.
    #[default]
    Good,
    /// They run and are never ready.
    Unready,
    /// They exit with this code; with restarts again and again.
    Exit(i32),
}

/// A runtime in memory; clones share it.
#[derive(Clone)]
pub struct MemoryKubelet(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    sender: mpsc::UnboundedSender<Report>,
    reports: lock::Mutex<mpsc::UnboundedReceiver<Report>>,
}

#[derive(Default)]
struct State {
    wanted: Wanted,
    plays: BTreeMap<String, Play>,
    told: BTreeMap<String, PodReport>,
    /// Whether pods that are to end go on for now.
    lingers: bool,
    discarded: Vec<Claim>,
}

impl Default for MemoryKubelet {
    fn default() -> Self {
        let (sender, reports) = mpsc::unbounded();
        Self(Arc::new(Shared { state: Mutex::default(), sender, reports: lock::Mutex::new(reports) }))
    }
}

impl MemoryKubelet {
    /// Says what becomes of pods whose name begins with `workload`; of several the longest counts.
    pub fn play(&self, workload: &str, play: Play) {
        self.lock().plays.insert(workload.to_owned(), play);
        self.tell();
    }

    /// Lets pods that are to end go on, or end.
    pub fn linger(&self, lingers: bool) {
        self.lock().lingers = lingers;
        self.tell();
    }

    /// Returns the claims whose folders were removed.
    pub fn discarded(&self) -> Vec<Claim> {
        self.lock().discarded.clone()
    }

    /// Returns what is to run.
    pub fn wanted(&self) -> Wanted {
        self.lock().wanted.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        let mut state = self.lock();
        let mut reports = Vec::new();
        let (wanted, lingers) = (state.wanted.clone(), state.lingers);
        for pod in wanted.pods.iter().filter(|pod| !pod.stopping || lingers) {
            let report = report_of(pod, state.play_of(pod));
            if state.told.get(&pod.uid) != Some(&report) {
                state.told.insert(pod.uid.clone(), report.clone());
                reports.push(Report::Pod(report));
            }
        }
        let stays = |uid: &str| wanted.pods.iter().any(|pod| pod.uid == uid && (!pod.stopping || lingers));
        state.told.retain(|uid, _| stays(uid));
        let ending = wanted.pods.iter().filter(|pod| pod.stopping && !lingers);
        reports.extend(ending.map(|pod| Report::Gone { uid: pod.uid.clone() }));
        for service in wanted.services.iter().filter(|service| service.published) {
            let at = |port: u16| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
            let (namespace, name) = (&service.namespace, &service.name);
            reports.extend(service.ports.iter().map(|port| Report::Published {
                namespace: namespace.clone(),
                service: name.clone(),
                port: port.port,
                address: at(port.port),
            }));
        }
        for report in reports {
            // The receiver lives as long as the sender.
            let _ = self.0.sender.unbounded_send(report);
        }
    }
}

impl State {
    fn play_of(&self, pod: &WantedPod) -> Play {
        let fits = self.plays.iter().filter(|(workload, _)| pod.name.starts_with(workload.as_str()));
        fits.max_by_key(|(workload, _)| workload.len()).map(|(_, play)| *play).unwrap_or_default()
    }
}

fn report_of(pod: &WantedPod, play: Play) -> PodReport {
    let ended = |exit_code: i32| Ended {
        exit_code,
        reason: if exit_code == 0 { "Completed" } else { "Error" }.to_owned(),
        message: String::new(),
        started: Timestamp::UNIX_EPOCH,
        finished: Timestamp::UNIX_EPOCH,
    };
    let container = |wanted: &WantedContainer| {
        let report =
            |state: ContainerState, ready: bool| ContainerReport { name: wanted.name.clone(), state, last: None, restarts: 0, ready };
        match (play, pod.restart) {
            (Play::Good, Restart::Always) => report(ContainerState::Running { since: Timestamp::UNIX_EPOCH }, true),
            (Play::Good, _) => report(ContainerState::Ended(ended(0)), false),
            (Play::Unready, _) => report(ContainerState::Running { since: Timestamp::UNIX_EPOCH }, false),
            (Play::Exit(code), Restart::Never) => report(ContainerState::Ended(ended(code)), false),
            (Play::Exit(code), _) => {
                let state = ContainerState::Waiting { reason: "CrashLoopBackOff".to_owned(), message: "back-off 10s".to_owned() };
                ContainerReport { last: Some(ended(code)), restarts: 3, ..report(state, false) }
            }
        }
    };
    let init = |wanted: &WantedContainer| ContainerReport {
        name: wanted.name.clone(),
        state: ContainerState::Ended(ended(0)),
        last: None,
        restarts: 0,
        ready: true,
    };
    PodReport {
        uid: pod.uid.clone(),
        init_containers: pod.init_containers.iter().map(init).collect(),
        containers: pod.containers.iter().map(container).collect(),
    }
}

impl Kubelet for MemoryKubelet {
    async fn want(&self, wanted: Wanted) {
        self.lock().wanted = wanted;
        self.tell();
    }

    async fn next_report(&self) -> Report {
        match self.0.reports.lock().await.next().await {
            Some(report) => report,
            // The sender lives as long as this.
            None => std::future::pending().await,
        }
    }

    async fn discard(&self, claim: &Claim) -> Result<(), KubeletError> {
        self.lock().discarded.push(claim.clone());
        Ok(())
    }

    fn notices(&self) -> Vec<String> {
        Vec::new()
    }

    async fn logs(&self, pod: &str, container: &str, _previous: bool, lines: u32) -> Result<Vec<String>, KubeletError> {
        let state = self.lock();
        let found = state.wanted.pods.iter().find(|wanted| wanted.uid == pod);
        let found = found.and_then(|wanted| wanted.containers.iter().chain(&wanted.init_containers).find(|one| one.name == container));
        match found {
            Some(_) => Ok((0..lines.min(3)).map(|line| format!("line {line} of {container}")).collect()),
            None => Err(KubeletError::NoLog { subject: format!("container {container} of pod {pod}") }),
        }
    }
}
