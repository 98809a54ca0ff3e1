use provision_model::{Cause, Health, Manifest, ResourceId, Verdict};

use super::fields::{list, text};

/// Which log shows why a container fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSource {
    /// The pod.
    pub pod: ResourceId,
    /// Its container.
    pub container: String,
    /// Whether the run before this one is meant.
    pub previous: bool,
}

/// Tells which container's log explains a verdict; none where no container has run.
pub fn explain_logs(verdict: &Verdict, context: &[&Manifest]) -> Option<LogSource> {
    if verdict.health != Health::Failed {
        return None;
    }
    let ran = matches!(verdict.cause, Some(Cause::CrashLoop | Cause::Oom | Cause::Probe | Cause::JobFailed | Cause::Deadline));
    let (subject, container) = (verdict.evidence.subject.as_deref()?, verdict.evidence.container.as_deref()?);
    let pod = context.iter().find(|object| object.kind() == "Pod" && object.id().to_string() == subject).filter(|_| ran)?;
    let status = ["/status/containerStatuses", "/status/initContainerStatuses"]
        .into_iter()
        .flat_map(|pointer| list(pod.value(), pointer))
        .find(|status| text(status, "/name") == Some(container))?;
    let has_previous = status.pointer("/lastState/terminated").is_some();
    let ended = status.pointer("/state/terminated").is_some();
    if !has_previous && !ended && status.pointer("/state/running").is_none() {
        return None;
    }
    // A probe fails on the run that goes on; everything else shows in the run that ended.
    let previous = has_previous && !ended && verdict.cause != Some(Cause::Probe);
    Some(LogSource { pod: pod.id(), container: container.to_owned(), previous })
}
