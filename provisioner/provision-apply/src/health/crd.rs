use provision_model::{Cause, Evidence, Manifest, Verdict};

use super::fields::condition;
use super::symptom::Assessment;

/// Judges a CustomResourceDefinition; the order of its conditions makes no difference.
pub(super) fn assess(subject: &Manifest) -> Assessment {
    if let Some(names) = condition(subject, "NamesAccepted").filter(|names| names.is_false()) {
        return refused(subject, format!("its names are taken: {}", names.says()), names.says());
    }
    match condition(subject, "Established") {
        Some(established) if established.is_true() => Assessment::current("its kind is served"),
        Some(established) if established.is_false() && established.reason != "Installing" => {
            refused(subject, format!("its kind can't be served: {}", established.says()), established.says())
        }
        _ => Assessment::in_progress("its kind is not served yet"),
    }
}

fn refused(subject: &Manifest, message: String, said: &str) -> Assessment {
    let evidence = Evidence { subject: Some(subject.id().to_string()), message: Some(said.to_owned()), ..Evidence::default() };
    Verdict::failed(Cause::Conflict, message)
        .with_evidence(evidence)
        .with_next("remove the other CustomResourceDefinition with these names, or change the names")
        .into()
}

/// Judges an APIService: its server must answer.
pub(super) fn assess_service(subject: &Manifest) -> Assessment {
    match condition(subject, "Available") {
        Some(available) if available.is_true() => Assessment::current("its server answers"),
        Some(available) => Assessment::in_progress(format!("its server does not answer: {}", available.says())),
        None => Assessment::in_progress("it is not known yet whether its server answers"),
    }
}
