use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::assemble::Parts;
use super::board::ended;
use super::container::{Container, Kind, PodContext, Progress};
use super::run::Run;
use crate::keeper::ExitRecord;
use crate::kubelet::{ContainerState, Hook};
use crate::probe::{Asker, Beside, Verdict, watch_probes};

/// The least that is left of a grace period after a hook, as on a cluster.
const LEAST_GRACE: Duration = Duration::from_secs(2);
impl Container<'_> {
    /// Watches a run until it has ended, by itself or by us.
    pub(super) async fn attend(&self, run: &Run, progress: &Progress) -> ExitRecord {
        self.runs(run, progress);
        let asker = Asker { address: self.context.pod.address, beside: self.beside(run) };
        let heard = |verdict: Verdict<'_>| self.hear(run, verdict);
        tokio::select! {
            exit = run.ended() => exit,
            () = self.context.stopped() => {
                self.context.board.event(self.name(), false, "Killing", format!("Stopping container {}", self.name()));
                self.end(run, &asker).await
            }
            probe = watch_probes(self.spec, &asker, run.health(), &heard) => {
                let message = format!("Container {} failed {probe} probe, will be restarted", self.name());
                self.context.board.event(self.name(), false, "Killing", message);
                self.context.board.change(self.name(), |report| report.ready = false);
                self.end(run, &asker).await
            }
        }
    }

    pub(super) fn runs(&self, run: &Run, progress: &Progress) {
        let health = run.health();
        self.context.board.change(self.name(), |report| {
            report.state = ContainerState::Running { since: run.started };
            report.last = progress.last.as_ref().map(ended);
            report.restarts = progress.number;
            report.ready = health.ready && self.kind == Kind::Main;
        });
    }

    fn hear(&self, run: &Run, verdict: Verdict<'_>) {
        match verdict {
            Verdict::Health(health) => {
                run.note_health(health);
                self.context.board.change(self.name(), |report| {
                    report.ready = health.ready && self.kind == Kind::Main;
                });
            }
            Verdict::Bad { probe, message } => {
                let kind = format!("{}{}", probe[..1].to_uppercase(), &probe[1..]);
                self.context.board.event(self.name(), true, "Unhealthy", format!("{kind} probe failed: {message}"));
            }
        }
    }

    /// Ends a run within the pod's grace period, the hook before it included.
    async fn end(&self, run: &Run, asker: &Asker) -> ExitRecord {
        let (grace, begin) = (self.context.pod.grace, Instant::now());
        if let Some(hook) = &self.spec.pre_stop {
            let hook = async {
                match hook {
                    Hook::Sleep(duration) => sleep(*duration).await,
                    Hook::Ask(check) => {
                        if let Err(message) = asker.ask(check, grace).await {
                            self.context.board.event(self.name(), true, "FailedPreStopHook", message);
                        }
                    }
                }
            };
            tokio::select! {
                exit = run.ended() => return exit,
                _ = timeout(grace, hook) => {}
            }
        }
        let left = grace.saturating_sub(begin.elapsed());
        run.stop(if self.spec.pre_stop.is_some() { left.max(LEAST_GRACE.min(grace)) } else { left }).await
    }

    /// Returns how commands are run beside the program, as it is itself.
    fn beside(&self, run: &Run) -> Beside {
        let PodContext { shared, pod, volumes, owner, .. } = self.context;
        let paths = volumes.paths(pod, &self.spec.mounts, owner).unwrap_or_default();
        let (spec, launch, catalogue) = (self.spec.clone(), run.spec.launch.clone(), shared.settings.catalogue.clone());
        let pod = pod.clone();
        Beside::new(shared.settings.keeper.clone(), move |command| {
            let parts = Parts { pod: &pod, paths: &paths, catalogue: &catalogue, identity: None };
            parts.beside(&spec, &launch, command).map_err(|error| error.to_string())
        })
    }
}
