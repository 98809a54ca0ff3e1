use std::sync::Arc;

use futures::stream::{StreamExt, iter};
use provision_model::{Health, Origin, ResourceId, Scope, Verdict};
use serde::{Deserialize, Serialize};

use crate::run::has_to_be_awaited;
use crate::{ApplyError, Clock, Cluster, RunContext, SecretStore, Tracker, judge, observe};

const PARALLEL: usize = 64;

/// The state of one object of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectStatus {
    /// Object.
    pub resource: ResourceId,
    /// State, with its reason.
    pub verdict: Verdict,
    /// Template line that made it.
    pub origin: Option<Origin>,
}

/// Looks at every recorded object of a release, in the order of their ids. Reads only.
///
/// # Errors
/// [`ApplyError`] when the cluster or the record can't be read.
pub async fn status<C: Cluster, S: SecretStore, K: Clock>(
    cx: &RunContext<C, S, K>,
    scope: &Scope,
) -> Result<Vec<ObjectStatus>, ApplyError> {
    let observed = observe(cx, scope, &[]).await?;
    let tracker = Arc::new(Tracker::start(cx.cluster.clone(), cx.clock.as_ref()));
    let now = cx.clock.now();
    let looked = iter(observed.recorded.iter().map(|(id, recorded)| {
        let (tracker, live) = (tracker.clone(), observed.live.get(id));
        async move {
            let verdict = match live {
                None if recorded.completed => Verdict::new(Health::Current, "completed; removed since"),
                None => Verdict::new(Health::NotFound, "it is not there"),
                Some(live) if has_to_be_awaited(live) => {
                    let verdict = tracker.snapshot(id).await;
                    let redactor = cx.redactor.clone();
                    tracker.explain(verdict, &move |line: &str| redactor.clean(line)).await
                }
                Some(live) => judge(live, &[], now),
            };
            ObjectStatus { resource: id.clone(), verdict: cx.redactor.clean_verdict(verdict), origin: Some(recorded.origin.clone()) }
        }
    }));
    Ok(looked.buffered(PARALLEL).collect().await)
}
