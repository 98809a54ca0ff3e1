use std::fmt;
use std::sync::Arc;

use provision_saga::CancelToken;

use crate::{Progress, Redactor};

/// Is told what a run does. It must not block.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

/// Everything that a run needs from the outside. Clones share it all.
pub struct RunContext<C, S, K> {
    /// The cluster.
    pub cluster: Arc<C>,
    /// Where secret values come from.
    pub secrets: Arc<S>,
    /// Tells the time for what is recorded.
    pub clock: Arc<K>,
    /// Asks a run to stop between steps.
    pub cancel: CancelToken,
    /// Is told what happens.
    pub progress: ProgressSink,
    /// Learns every secret value that passes.
    pub redactor: Redactor,
    /// Id of this run, unlike that of any other.
    pub run: String,
    /// Who runs it, for people: `ana@laptop pid 4711`.
    pub by: String,
}

impl<C, S, K> RunContext<C, S, K> {
    /// Puts a context together that reports to nobody.
    pub fn new(cluster: Arc<C>, secrets: Arc<S>, clock: Arc<K>, run: impl Into<String>, by: impl Into<String>) -> Self {
        Self {
            cluster,
            secrets,
            clock,
            cancel: CancelToken::default(),
            progress: Arc::new(|_| {}),
            redactor: Redactor::default(),
            run: run.into(),
            by: by.into(),
        }
    }

    /// Returns the text that stands in the lease: who, and which run.
    pub(crate) fn holder(&self) -> String {
        format!("{} run {}", self.by, self.run)
    }

    pub(crate) fn tell(&self, progress: Progress) {
        (self.progress)(progress);
    }
}

impl<C, S, K> Clone for RunContext<C, S, K> {
    fn clone(&self) -> Self {
        Self {
            cluster: self.cluster.clone(),
            secrets: self.secrets.clone(),
            clock: self.clock.clone(),
            cancel: self.cancel.clone(),
            progress: self.progress.clone(),
            redactor: self.redactor.clone(),
            run: self.run.clone(),
            by: self.by.clone(),
        }
    }
}

impl<C, S, K> fmt::Debug for RunContext<C, S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunContext").field("run", &self.run).field("by", &self.by).finish_non_exhaustive()
    }
}
