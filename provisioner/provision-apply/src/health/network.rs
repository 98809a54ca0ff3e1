use provision_model::{Cause, Manifest};

use super::context::Context;
use super::fields::{condition, list, text};
use super::symptom::{Assessment, Symptom};

/// Judges a Service: one of type LoadBalancer needs an address from outside. Endpoints are no part of it, as they come with the pods.
pub(super) fn assess_service(subject: &Manifest, context: &Context<'_>) -> Assessment {
    if subject.text("/spec/type") != Some("LoadBalancer") {
        return Assessment::current("it is there");
    }
    let addresses = list(subject.value(), "/status/loadBalancer/ingress");
    let address = addresses.iter().find_map(|entry| text(entry, "/ip").or_else(|| text(entry, "/hostname")));
    if subject.text("/spec/clusterIP").is_none_or(str::is_empty) {
        return Assessment::in_progress("it has no address in the cluster yet");
    }
    if let Some(address) = address {
        return Assessment::current(format!("it is reached at {address}"));
    }
    let waits = Assessment::in_progress("it has no address from a load balancer yet");
    let events = context.events(subject);
    match events.iter().find(|event| event.warning) {
        Some(event) => {
            let message = format!("it gets no address from a load balancer: {}", event.message);
            let symptom =
                Symptom::new(Cause::Deadline, subject, message).says(event.message).next("see the cloud's load balancer controller");
            waits.weigh(vec![symptom], jiff::Timestamp::MIN)
        }
        None => waits,
    }
}

/// Judges an Ingress: without an address it is current all the same, as many controllers never write one.
pub(super) fn assess_ingress(subject: &Manifest) -> Assessment {
    let has_address = !list(subject.value(), "/status/loadBalancer/ingress").is_empty();
    Assessment::current(if has_address { "it has an address" } else { "warning: it has no address yet" })
}

/// Judges a Gateway by what its controller reports, if it reports.
pub(super) fn assess_gateway(subject: &Manifest) -> Assessment {
    if let Some(programmed) = condition(subject, "Programmed")
        && !programmed.is_stale(subject)
        && programmed.is_false()
        && programmed.reason != "Pending"
    {
        return Assessment::in_progress(format!("it is not programmed: {}", programmed.says()));
    }
    let has_address = !list(subject.value(), "/status/addresses").is_empty();
    Assessment::current(if has_address { "it has an address" } else { "warning: it has no address yet" })
}

/// Judges a HorizontalPodAutoscaler: one that can't scale is a warning, as the workload runs without it.
pub(super) fn assess_autoscaler(subject: &Manifest) -> Assessment {
    for kind in ["ScalingActive", "AbleToScale"] {
        if let Some(condition) = condition(subject, kind).filter(|condition| condition.is_false() && condition.reason != "ScalingDisabled")
        {
            return Assessment::current(format!("warning: it does not scale: {}", condition.says()));
        }
    }
    Assessment::current("it is set")
}
