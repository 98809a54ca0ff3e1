use jiff::{SignedDuration, Timestamp};
use provision_model::{Cause, Manifest};
use serde_json::Value;

use super::context::{Context, Happening};
use super::fields::{list, text, time, whole};
use super::pod::{container_spec, restarts};
use super::probe;
use super::symptom::{Patience, Symptom};

/// What registries and networks say when the next try may succeed.
const PASSING: [&str; 13] = [
    "timeout",
    "connection refused",
    "connection reset",
    "deadline exceeded",
    "toomanyrequests",
    "Too Many Requests",
    "Service Unavailable",
    "Bad Gateway",
    "Gateway Timeout",
    "Internal Server Error",
    "unexpected EOF",
    "server misbehaving",
    "RegistryUnavailable",
];
/// Ends further apart than this are not one loop.
const LOOP_SECONDS: i64 = 600;

/// Returns what the containers of a pod show, init containers first.
pub(super) fn symptoms(pod: &Manifest, context: &Context<'_>) -> Vec<Symptom> {
    let events = context.events(pod);
    let mut found = Vec::new();
    for (pointer, init) in [("/status/initContainerStatuses", true), ("/status/containerStatuses", false)] {
        for status in list(pod.value(), pointer) {
            let scene = Scene { pod, events: &events, init };
            found.extend(scene.symptom(status));
            found.extend(probe::symptom(pod, status, &events));
        }
    }
    found
}

struct Scene<'s> {
    pod: &'s Manifest,
    events: &'s [Happening<'s>],
    init: bool,
}

impl Scene<'_> {
    fn symptom(&self, status: &Value) -> Option<Symptom> {
        if let Some(reason) = text(status, "/state/waiting/reason") {
            return self.waiting(status, reason);
        }
        if status.pointer("/state/terminated").is_some() {
            return self.terminated(status);
        }
        // It runs again: suspected while it is not ready, as the next end may be near.
        let ready = status.get("ready").and_then(Value::as_bool).unwrap_or(false);
        let ended_badly = status.pointer("/lastState/terminated").is_some_and(|last| last.get("exitCode").and_then(whole) != Some(0));
        (!ready && restarts(status) > 0 && ended_badly).then(|| ended(self.pod, status, "/lastState/terminated").patience(Patience::Open))
    }

    fn waiting(&self, status: &Value, reason: &str) -> Option<Symptom> {
        let message = text(status, "/state/waiting/message").unwrap_or_default();
        match reason {
            "ErrImagePull"
            | "ImagePullBackOff"
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "ImageInspectError"
            | "RegistryUnavailable" => Some(self.image(status, reason, message)),
            "CrashLoopBackOff" => Some(self.looping(status, message)),
            "CreateContainerConfigError" => Some(self.config(status, message)),
            "CreateContainerError" | "RunContainerError" | "PreStartHookError" | "PostStartHookError" => {
                let detail = format!("container {} can't be started: {message}", name(status));
                let patience = match self.since("Failed") {
                    Some(since) => Patience::seconds_after(Some(since), 8),
                    None => Patience::Open,
                };
                Some(self.sign(Cause::CrashLoop, status, detail).says(message).next("correct its command and image").patience(patience))
            }
            _ => None,
        }
    }

    fn image(&self, status: &Value, reason: &str, message: &str) -> Symptom {
        let pulls: Vec<_> =
            self.about(status).filter(|event| event.reason == "Failed" && event.message.starts_with("Failed to pull image")).collect();
        let failures: i64 = pulls.iter().map(|event| event.count).sum();
        let registry = pulls.first().map_or(message, |event| event.message);
        let image = container_spec(self.pod, name(status)).and_then(|spec| text(spec, "/image")).or_else(|| text(status, "/image"));
        let image = image.unwrap_or_default();
        let first = pulls.iter().filter_map(|event| event.first).min();
        let passing = PASSING.iter().any(|word| registry.contains(word));
        let patience = match reason {
            "InvalidImageName" | "ErrImageNeverPull" => Patience::Over,
            _ if failures >= 2 => Patience::Over,
            "ImagePullBackOff" if !passing || first.is_none() => Patience::Over,
            "ImagePullBackOff" => Patience::seconds_after(first, 20),
            _ if first.is_some() => Patience::seconds_after(first, if passing { 20 } else { 6 }),
            _ => Patience::Open,
        };
        let reply = registry.split_once(" desc = ").map_or(registry, |(_, reply)| reply);
        let detail = if reply.contains(image) {
            format!("the image of container {} can't be pulled: {reply}", name(status))
        } else {
            format!("the image {image} of container {} can't be pulled: {reply}", name(status))
        };
        let says = if registry.contains(image) { registry.to_owned() } else { format!("{image}: {registry}") };
        self.sign(Cause::ImagePull, status, detail)
            .says(&says)
            .next("check that the image and its tag or digest are in the registry, and that the cluster may pull it")
            .patience(patience)
    }

    fn looping(&self, status: &Value, message: &str) -> Symptom {
        let symptom = self.blame(status, ended(self.pod, status, "/lastState/terminated"));
        let symptom = if symptom.evidence.message.is_none() { symptom.says(message) } else { symptom };
        symptom.patience(Patience::Over)
    }

    fn terminated(&self, status: &Value) -> Option<Symptom> {
        let exit = status.pointer("/state/terminated/exitCode").and_then(whole).unwrap_or(0);
        let spec = container_spec(self.pod, name(status));
        let sidecar = self.init && spec.and_then(|spec| text(spec, "/restartPolicy")) == Some("Always");
        let always = self.pod.text("/spec/restartPolicy").is_none_or(|policy| policy == "Always");
        let must_stay = if self.init { sidecar } else { always };
        if exit == 0 && !must_stay {
            return None;
        }
        let last = status.pointer("/lastState/terminated");
        let near = match (last.and_then(|last| time(last, "/finishedAt")), time(status, "/state/terminated/finishedAt")) {
            (Some(before), Some(end)) => end.duration_since(before) < SignedDuration::from_secs(LOOP_SECONDS),
            _ => true,
        };
        let again = restarts(status) > 0 && near;
        let symptom = self.blame(status, ended(self.pod, status, "/state/terminated"));
        Some(symptom.patience(if again { Patience::Over } else { Patience::Open }))
    }

    /// A container that ends because a probe kills it is the probe's case.
    fn blame(&self, status: &Value, symptom: Symptom) -> Symptom {
        if symptom.cause != Some(Cause::CrashLoop) {
            return symptom;
        }
        let killed = self.about(status).find(|event| {
            event.reason == "Killing" && (event.message.contains("failed liveness probe") || event.message.contains("failed startup probe"))
        });
        let Some(killed) = killed else { return symptom };
        let failure = self.about(status).find(|event| event.reason == "Unhealthy").map_or(killed.message, |event| event.message);
        let exit_code = symptom.evidence.exit_code;
        let mut symptom = self
            .sign(Cause::Probe, status, format!("container {} is killed again and again by its probe: {failure}", name(status)))
            .says(failure)
            .next(probe::NEXT);
        symptom.evidence.exit_code = exit_code;
        symptom
    }

    fn config(&self, status: &Value, message: &str) -> Symptom {
        let missing = ["not found", "couldn't find key", "non-existent"].iter().any(|part| message.contains(part)) || message.is_empty();
        let patience = Patience::seconds_after(self.since("Failed").or_else(|| self.pod_started()), 3);
        if missing {
            return self
                .sign(Cause::ConfigMissing, status, format!("container {} lacks its configuration: {message}", name(status)))
                .says(message)
                .next("make the ConfigMap or Secret with that key, or correct the reference")
                .patience(patience);
        }
        self.sign(Cause::Admission, status, format!("the kubelet refuses container {}: {message}", name(status)))
            .says(message)
            .next("change the container's securityContext or its image as the message asks")
            .patience(patience)
    }

    fn sign(&self, cause: Cause, status: &Value, message: String) -> Symptom {
        let mut symptom = Symptom::new(cause, self.pod, message.trim_end_matches([':', ' ']));
        symptom.evidence.container = Some(name(status).to_owned());
        symptom
    }

    fn about<'a>(&'a self, status: &'a Value) -> impl Iterator<Item = &'a Happening<'a>> {
        self.events.iter().filter(move |event| event.container.is_none_or(|container| container == name(status)))
    }

    fn since(&self, reason: &str) -> Option<Timestamp> {
        self.events.iter().filter(|event| event.reason == reason).filter_map(|event| event.first).min()
    }

    fn pod_started(&self) -> Option<Timestamp> {
        time(self.pod.value(), "/status/startTime").or_else(|| super::fields::created(self.pod))
    }
}

fn name(status: &Value) -> &str {
    text(status, "/name").unwrap_or_default()
}

/// Says how a container ended, from the given state of its status; without patience.
pub(super) fn ended(pod: &Manifest, status: &Value, state: &str) -> Symptom {
    let state = status.pointer(state);
    let exit = state.and_then(|state| state.get("exitCode")).and_then(whole);
    let reason = state.and_then(|state| text(state, "/reason")).unwrap_or_default();
    let said = state.and_then(|state| text(state, "/message")).unwrap_or_default();
    let times = restarts(status);
    let repeated = match times {
        ..=0 => String::new(),
        1 => ", restarted once".to_owned(),
        _ => format!(", restarted {times} times"),
    };
    let container = name(status);
    let mut symptom = match (reason, exit) {
        ("OOMKilled", _) => {
            Symptom::new(Cause::Oom, pod, format!("container {container} was killed because it used more memory than its limit{repeated}"))
                .next("raise its memory limit, or find out what uses the memory")
        }
        (_, Some(0)) => Symptom::new(Cause::CrashLoop, pod, format!("container {container} ended by itself with exit code 0{repeated}"))
            .next("a container of this kind must keep running: correct its command, or make it a Job"),
        (_, Some(code)) => Symptom::new(Cause::CrashLoop, pod, format!("container {container} ended with exit code {code}{repeated}"))
            .next("read its last log lines; correct its configuration or image"),
        (_, None) => Symptom::new(Cause::CrashLoop, pod, format!("container {container} ends again and again{repeated}"))
            .next("read its last log lines; correct its configuration or image"),
    };
    symptom.evidence.container = Some(container.to_owned());
    symptom.evidence.exit_code = exit.and_then(|code| i32::try_from(code).ok());
    symptom.says(said)
}
