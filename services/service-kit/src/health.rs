//! Readiness: named checks of what a service can't work without.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use metrics::gauge;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::lifecycle::Lifecycle;
use crate::program::BoxFuture;

/// Longest time for one check: below the second that a kubelet waits by default, so that the answer still names the cause.
const LIMIT: Duration = Duration::from_millis(800);
/// How long an answer is given again, so that many askers cost the database one query.
const FRESH: Duration = Duration::from_millis(250);

type Run = dyn Fn() -> BoxFuture<Result<(), String>> + Send + Sync;

/// One thing that a service can't work without.
#[derive(Clone)]
pub struct Check {
    name: String,
    run: Arc<Run>,
}

impl Check {
    /// Names a check; `run` gives the cause of a failure in words that may be shown to anyone: no secrets.
    ///
    /// It runs at most 0.8 s and is dropped then.
    pub fn new<F>(name: impl Into<String>, run: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self { name: name.into(), run: Arc::new(move || Box::pin(run())) }
    }

    /// Makes a check that stays passed once it has passed.
    ///
    /// For what a service must find when it starts, but whose later absence it tells its clients better than it would by hiding.
    #[must_use]
    pub fn once(self) -> Self {
        let (name, passed) = (self.name.clone(), Arc::new(AtomicBool::new(false)));
        Self::new(name, move || {
            let (run, passed) = (Arc::clone(&self.run), Arc::clone(&passed));
            async move {
                if !passed.load(Ordering::Relaxed) {
                    run().await?;
                    passed.store(true, Ordering::Relaxed);
                }
                Ok(())
            }
        })
    }
}

/// Whether a service can do its work, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    pub(crate) status: Status,
    pub(crate) checks: Vec<CheckReport>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Ready,
    Unready,
    Draining,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct CheckReport {
    name: String,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
}

/// Runs the checks when asked; clones share the answers.
#[derive(Clone)]
pub(crate) struct Readiness {
    checks: Arc<[Check]>,
    lifecycle: Lifecycle,
    last: Arc<Mutex<Option<(Instant, Report)>>>,
}

impl Readiness {
    pub(crate) fn new(checks: Vec<Check>, lifecycle: Lifecycle) -> Self {
        Self { checks: checks.into(), lifecycle, last: Arc::default() }
    }

    /// Runs all checks at the same time, unless they were run just now; logs and records a change.
    pub(crate) async fn report(&self) -> Report {
        // Held while the checks run: those who ask meanwhile wait for the same answer.
        let mut last = self.last.lock().await;
        if let Some((at, report)) = last.as_ref()
            && at.elapsed() < FRESH
            && self.lifecycle.is_draining() == (report.status == Status::Draining)
        {
            return report.clone();
        }
        let checks = self.run_checks().await;
        // Asked anew: the drain may have begun while the checks ran.
        let status = match (self.lifecycle.is_draining(), checks.iter().all(|check| check.ok)) {
            (true, _) => Status::Draining,
            (false, true) => Status::Ready,
            (false, false) => Status::Unready,
        };
        let report = Report { status, checks };
        record(last.as_ref().map(|(_, report)| report), &report);
        *last = Some((Instant::now(), report.clone()));
        report
    }

    async fn run_checks(&self) -> Vec<CheckReport> {
        let mut running = JoinSet::new();
        for (index, check) in self.checks.iter().enumerate() {
            let work = (check.run)();
            running.spawn(async move { (index, tokio::time::timeout(LIMIT, work).await) });
        }
        let mut causes = vec![Some("the check itself failed".to_owned()); self.checks.len()];
        while let Some(finished) = running.join_next().await {
            if let Ok((index, outcome)) = finished {
                causes[index] = outcome.unwrap_or_else(|_| Err(format!("no answer within {} ms", LIMIT.as_millis()))).err();
            }
        }
        let report = |(check, cause): (&Check, Option<String>)| CheckReport { name: check.name.clone(), ok: cause.is_none(), cause };
        self.checks.iter().zip(causes).map(report).collect()
    }
}

fn record(before: Option<&Report>, now: &Report) {
    gauge!("service_ready").set(if now.status == Status::Ready { 1.0 } else { 0.0 });
    for check in &now.checks {
        gauge!("service_ready_check", "check" => check.name.clone()).set(if check.ok { 1.0 } else { 0.0 });
    }
    if before.is_some_and(|before| before == now) {
        return;
    }
    match now.status {
        Status::Ready => tracing::info!("ready"),
        Status::Draining => tracing::info!("draining"),
        Status::Unready => {
            for check in now.checks.iter().filter(|check| !check.ok) {
                tracing::warn!(check = check.name, cause = check.cause, "not ready");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passing() -> Check {
        Check::new("passing", || async { Ok(()) })
    }

    fn check_report(checks: Vec<Check>, expected: &str) {
        let readiness = Readiness::new(checks, Lifecycle::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let report = runtime.block_on(readiness.report());
        assert_eq!(serde_json::to_string(&report).unwrap(), expected);
    }

    #[test]
    fn without_checks_a_service_is_ready() {
        check_report(vec![], r#"{"status":"ready","checks":[]}"#);
        check_report(vec![passing()], r#"{"status":"ready","checks":[{"name":"passing","ok":true}]}"#);
    }

    #[test]
    fn every_failing_check_is_named_with_its_cause() {
        let refused = Check::new("refused", || async { Err("connection refused".to_owned()) });
        let silent = Check::new("silent", std::future::pending);
        check_report(
            vec![refused, passing(), silent],
            r#"{"status":"unready","checks":[{"name":"refused","ok":false,"cause":"connection refused"},{"name":"passing","ok":true},{"name":"silent","ok":false,"cause":"no answer within 800 ms"}]}"#,
        );
    }

    #[test]
    fn a_check_that_panics_is_a_failing_check() {
        let broken = Check::new("broken", || async { panic!("bug") });
        check_report(vec![broken], r#"{"status":"unready","checks":[{"name":"broken","ok":false,"cause":"the check itself failed"}]}"#);
    }

    #[tokio::test]
    async fn what_is_needed_once_is_not_asked_for_again() {
        let answers = Arc::new(std::sync::Mutex::new(vec![Err("gone again".to_owned()), Ok(()), Err("not yet".to_owned())]));
        let check = Check::new("once", move || std::future::ready(answers.lock().unwrap().pop().unwrap())).once();
        for expected in [Err("not yet".to_owned()), Ok(()), Ok(())] {
            assert_eq!((check.run)().await, expected);
        }
    }

    #[tokio::test]
    async fn a_draining_service_is_not_ready_at_once() {
        let lifecycle = Lifecycle::default();
        let readiness = Readiness::new(vec![passing()], lifecycle.clone());
        assert_eq!(readiness.report().await.status, Status::Ready);
        lifecycle.drain();
        assert_eq!(readiness.report().await.status, Status::Draining);
    }

    #[tokio::test]
    async fn a_drain_that_begins_during_the_checks_counts() {
        let lifecycle = Lifecycle::default();
        let drains = lifecycle.clone();
        let check = Check::new("slow", move || {
            drains.drain();
            async { Ok(()) }
        });
        assert_eq!(Readiness::new(vec![check], lifecycle).report().await.status, Status::Draining);
    }

    #[tokio::test]
    async fn many_askers_cost_one_check() {
        let runs = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let check = Check::new("counted", move || {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Ok(()) }
        });
        let readiness = Readiness::new(vec![check], Lifecycle::default());
        let askers: JoinSet<Status> = (0..20)
            .map(|_| {
                let readiness = readiness.clone();
                async move { readiness.report().await.status }
            })
            .collect();
        assert_eq!(askers.join_all().await, [Status::Ready; 20]);
        assert_eq!(runs.load(Ordering::Relaxed), 1);
    }
}
