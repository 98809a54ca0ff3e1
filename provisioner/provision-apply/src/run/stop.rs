use std::sync::{Arc, Mutex, PoisonError};

use provision_saga::CancelToken;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::work::Work;
use crate::lease::Hold;
use crate::{Clock, Cluster, SecretStore, StopReason};

/// Asks a run to stop, with the first reason that came up.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    token: CancelToken,
    reason: Arc<Mutex<Option<StopReason>>>,
}

impl Stop {
    pub(super) fn token(&self) -> CancelToken {
        self.token.clone()
    }

    pub(super) fn stop(&self, reason: StopReason) {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        self.token.cancel();
    }

    pub(super) fn reason(&self) -> Option<StopReason> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Tasks that stop a run from outside; they end when this is dropped.
pub(super) struct Watchdogs {
    _tasks: JoinSet<()>,
}

impl Watchdogs {
    pub(super) fn start<C: Cluster, S: SecretStore, K: Clock>(work: &Work<C, S, K>) -> Self {
        let mut tasks = JoinSet::new();
        let (stop, asked) = (work.stop.clone(), work.cx.cancel.clone());
        if asked.is_cancelled() {
            stop.stop(StopReason::Interrupted);
        }
        tasks.spawn(async move {
            asked.cancelled().await;
            stop.stop(StopReason::Interrupted);
        });
        if let Some(limit) = work.options.timeout {
            let stop = work.stop.clone();
            tasks.spawn(async move {
                sleep(limit).await;
                stop.stop(StopReason::TimedOut);
            });
        }
        if let Some(mut hold) = work.hold.clone() {
            let stop = work.stop.clone();
            tasks.spawn(async move {
                if let Ok(lost) = hold.wait_for(|hold| matches!(hold, Hold::Lost(_))).await
                    && let Hold::Lost(message) = &*lost
                {
                    stop.stop(StopReason::LeaseLost { message: message.clone() });
                }
            });
        }
        Self { _tasks: tasks }
    }
}
