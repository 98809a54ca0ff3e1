use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Reports;
use crate::keeper::ExitRecord;
use crate::kubelet::{ContainerReport, ContainerState, Ended, PodReport, Report, WantedPod};

/// What is to be told of one pod; each change is told as a whole.
pub(super) struct Board {
    report: Mutex<PodReport>,
    /// Whether nothing is told yet, because not all of the pod was looked at.
    quiet: AtomicBool,
    reports: Reports,
}

impl Board {
    pub(super) fn new(pod: &WantedPod, reports: Reports) -> Self {
        let waiting = |reason: &'static str| {
            move |name: &String| ContainerReport {
                name: name.clone(),
                state: ContainerState::Waiting { reason: reason.to_owned(), message: String::new() },
                last: None,
                restarts: 0,
                ready: false,
            }
        };
        let reason = if pod.init_containers.is_empty() { "ContainerCreating" } else { "PodInitializing" };
        let report = PodReport {
            uid: pod.uid.clone(),
            init_containers: pod.init_containers.iter().map(|one| &one.name).map(waiting("PodInitializing")).collect(),
            containers: pod.containers.iter().map(|one| &one.name).map(waiting(reason)).collect(),
        };
        Self { report: Mutex::new(report), quiet: AtomicBool::new(true), reports }
    }

    /// Tells how the pod is now, and each change from now on.
    pub(super) fn tell(&self) {
        self.quiet.store(false, Ordering::Relaxed);
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.reports.send(Report::Pod(report));
    }

    /// Changes what is said of one container, and tells it if that is something new.
    pub(super) fn change(&self, container: &str, change: impl FnOnce(&mut ContainerReport)) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        let before = report.clone();
        let PodReport { init_containers, containers, .. } = &mut *report;
        if let Some(found) = init_containers.iter_mut().chain(containers).find(|one| one.name == container) {
            change(found);
        }
        if *report != before && !self.quiet.load(Ordering::Relaxed) {
            self.reports.send(Report::Pod(report.clone()));
        }
    }

    /// Says that a container waits.
    pub(super) fn waits(&self, container: &str, reason: &str, message: String) {
        self.change(container, |report| {
            report.state = ContainerState::Waiting { reason: reason.to_owned(), message };
            report.ready = false;
        });
    }

    /// Records an Event about a container of the pod.
    pub(super) fn event(&self, _container: &str, warning: bool, reason: &str, message: String) {
        let uid = self.report.lock().unwrap_or_else(PoisonError::into_inner).uid.clone();
        self.reports.send(Report::Event { uid, warning, reason: reason.to_owned(), message });
    }
}

/// Turns the record of an end into what is told.
pub(super) fn ended(exit: &ExitRecord) -> Ended {
    Ended {
        exit_code: exit.exit_code,
        reason: exit.reason.clone(),
        message: exit.message.clone(),
        started: exit.started,
        finished: exit.finished,
    }
}
