use provision_model::{Cause, Manifest};
use serde_json::Value;

use super::context::Happening;
use super::fields::{condition, text, time, whole};
use super::pod::container_spec;
use super::symptom::{Patience, Symptom};

pub(super) const NEXT: &str = "read its log lines, and check the path, port and timing of its probe";
/// A readiness probe kills nothing, so a program that is slow to start gets at least this long.
const READINESS_FLOOR_SECONDS: i64 = 20;

/// Returns the sign of a probe that fails on a running container for longer than the probe itself allows.
pub(super) fn symptom(pod: &Manifest, status: &Value, events: &[Happening<'_>]) -> Option<Symptom> {
    let name = text(status, "/name")?;
    let started = time(status, "/state/running/startedAt")?;
    if status.get("ready").and_then(Value::as_bool).unwrap_or(false) {
        return None;
    }
    let about = |event: &&Happening<'_>| {
        event.reason == "Unhealthy"
            && event.container.is_none_or(|container| container == name)
            && event.last.is_none_or(|at| at >= started)
    };
    let failure = events.iter().find(about)?;
    let spec = container_spec(pod, name)?;
    let starting = spec.get("startupProbe").is_some() && !status.get("started").and_then(Value::as_bool).unwrap_or(false);
    let unready = condition(pod, "Ready").filter(|ready| ready.is_false()).and_then(|ready| ready.since);
    let (from, seconds) = if starting {
        (started, budget(spec, "startupProbe"))
    } else {
        let startup = if spec.get("startupProbe").is_some() { budget(spec, "startupProbe") } else { 0 };
        (unready.map_or(started, |since| since.max(started)), startup + budget(spec, "readinessProbe").max(READINESS_FLOOR_SECONDS))
    };
    let message = format!("container {name} runs and its probe still fails: {}", failure.message);
    let mut symptom = Symptom::new(Cause::Probe, pod, message).says(failure.message).next(NEXT);
    symptom.evidence.container = Some(name.to_owned());
    Some(symptom.patience(Patience::seconds_after(Some(from), seconds)))
}

/// Computes how long a probe may fail from the start on, in seconds, with the API's defaults.
fn budget(spec: &Value, probe: &str) -> i64 {
    let field = |name: &str, default: i64| spec.get(probe).and_then(|probe| probe.get(name)).and_then(whole).unwrap_or(default);
    field("initialDelaySeconds", 0) + field("periodSeconds", 10) * field("failureThreshold", 3) + field("timeoutSeconds", 1)
}
