//! How a rule is written down: steps on objects of its own, and what the server must answer.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use provision_apply::{Cluster, ClusterError, WriteMode};
use provision_model::Manifest;
use serde_json::{Value, json};

/// What is asked of the server.
pub(crate) enum Step {
    /// Server-side apply.
    Apply(Value),
    /// Server-side apply that is not kept.
    DryRun(Value),
    /// Create.
    Create(Value),
    /// Replace, with the resource version that the object has right then.
    Update(Value),
    /// Replace, with the resource version as it stands.
    UpdateAsIs(Value),
}

/// What must hold of the answer.
pub(crate) enum Expect {
    /// It is accepted.
    Accepted,
    /// It is refused with this kind of error.
    Refused(&'static str),
    /// It is refused as invalid because of this field, for this reason, with these words in the message.
    Cause(&'static str, &'static str, &'static str),
    /// The answer has this value there.
    Has(&'static str, Value),
    /// The answer has nothing there.
    Lacks(&'static str),
    /// The resource version is that of the last answer.
    Unwritten,
    /// `metadata.generation` is this.
    Generation(i64),
    /// The manager `provision` owns this, by the operation; a path through `fieldsV1`.
    Owns(&'static str, &'static [&'static str]),
    /// It does not.
    OwnsNot(&'static str, &'static [&'static str]),
}

/// One rule.
pub(crate) struct Rule {
    /// What holds.
    pub(crate) name: &'static str,
    /// What is done, and what is expected each time.
    pub(crate) steps: Vec<(Step, Vec<Expect>)>,
}

/// Builds a rule.
pub(crate) fn rule(name: &'static str, steps: Vec<(Step, Vec<Expect>)>) -> Rule {
    Rule { name, steps }
}

/// Carries out one rule and returns what did not hold.
pub(crate) async fn violations(cluster: &impl Cluster, rule: &Rule) -> Vec<String> {
    let mut found = Vec::new();
    let mut last: Option<Manifest> = None;
    for (number, (step, expected)) in rule.steps.iter().enumerate() {
        let answer = carry_out(cluster, step).await;
        for expect in expected {
            if let Err(problem) = meets(expect, &answer, last.as_ref()) {
                found.push(format!("{}, step {}: {problem}", rule.name, number + 1));
            }
        }
        if let (Ok(answer), false) = (answer, matches!(step, Step::DryRun(_))) {
            last = Some(answer);
        }
    }
    found
}

async fn carry_out(cluster: &impl Cluster, step: &Step) -> Result<Manifest, ClusterError> {
    let manifest = |value: &Value| Manifest::try_from(value.clone()).unwrap();
    match step {
        Step::Apply(value) => cluster.apply(&manifest(value), WriteMode::Persist).await,
        Step::DryRun(value) => cluster.apply(&manifest(value), WriteMode::DryRun).await,
        Step::Create(value) => cluster.create(&manifest(value)).await,
        Step::Update(value) => {
            let mut answer = replace(cluster, value).await;
            // A controller may be faster a few times.
            for _ in 0..10 {
                if !matches!(answer, Err(ClusterError::Conflict { .. })) {
                    break;
                }
                answer = replace(cluster, value).await;
            }
            answer
        }
        Step::UpdateAsIs(value) => cluster.update(&manifest(value)).await,
    }
}

/// Replaces an object, with the resource version that it has right now.
async fn replace(cluster: &impl Cluster, value: &Value) -> Result<Manifest, ClusterError> {
    let live = cluster.get(&Manifest::try_from(value.clone()).unwrap().id()).await?;
    let mut value = value.clone();
    value["metadata"]["resourceVersion"] = json!(live.and_then(|live| live.resource_version()).unwrap_or_default().to_string());
    cluster.update(&Manifest::try_from(value).unwrap()).await
}

fn meets(expect: &Expect, answer: &Result<Manifest, ClusterError>, last: Option<&Manifest>) -> Result<(), String> {
    let fail = |text: String| Err(text);
    let answer = match (expect, answer) {
        (Expect::Refused(kind), Err(error)) if name_of(error) == *kind => return Ok(()),
        (Expect::Cause(field, reason, words), Err(ClusterError::Invalid { causes, message, .. })) => {
            let fits = |cause: &(String, String, String)| cause.0 == *field && cause.1 == *reason && cause.2.contains(words);
            return if causes.iter().any(fits) { Ok(()) } else { fail(format!("other causes: {causes:?} in {message}")) };
        }
        (Expect::Refused(_) | Expect::Cause(..), Ok(_)) => return fail("accepted".to_owned()),
        (_, Err(error)) => return fail(format!("refused: {} {error}", name_of(error))),
        (_, Ok(answer)) => answer,
    };
    match expect {
        Expect::Has(pointer, value) if answer.value().pointer(pointer) != Some(value) => {
            fail(format!("{pointer} is {:?} instead of {value}", answer.value().pointer(pointer)))
        }
        Expect::Lacks(pointer) if answer.value().pointer(pointer).is_some() => {
            fail(format!("{pointer} is {:?}", answer.value().pointer(pointer)))
        }
        Expect::Unwritten if answer.resource_version() != last.and_then(Manifest::resource_version) => fail("it was written".to_owned()),
        Expect::Generation(wanted) if answer.generation() != Some(*wanted) => {
            fail(format!("generation is {:?} instead of {wanted}", answer.generation()))
        }
        Expect::Owns(operation, path) if !owns(answer, operation, path) => {
            fail(format!("{path:?} is not owned: {:?}", answer.managed_fields()))
        }
        Expect::OwnsNot(operation, path) if owns(answer, operation, path) => fail(format!("{path:?} is owned")),
        _ => Ok(()),
    }
}

fn owns(object: &Manifest, operation: &str, path: &[&str]) -> bool {
    let mut entries = object.managed_fields().iter().filter(|entry| entry["manager"] == "provision" && entry["operation"] == operation);
    entries.any(|entry| path.iter().try_fold(&entry["fieldsV1"], |fields, step| fields.get(step)).is_some())
}

/// Names the kind of an error.
pub(crate) fn name_of(error: &ClusterError) -> &'static str {
    match error {
        ClusterError::NotFound { .. } => "NotFound",
        ClusterError::AlreadyExists { .. } => "AlreadyExists",
        ClusterError::Conflict { .. } => "Conflict",
        ClusterError::Invalid { .. } => "Invalid",
        ClusterError::Admission { .. } => "Admission",
        ClusterError::Quota { .. } => "Quota",
        ClusterError::Forbidden { .. } => "Forbidden",
        ClusterError::Unauthorized { .. } => "Unauthorized",
        ClusterError::Throttled { .. } => "Throttled",
        ClusterError::Unreachable { .. } => "Unreachable",
        ClusterError::Server { .. } => "Server",
        ClusterError::Other { .. } => "Other",
    }
}
