//! Answers that are computed from what is asked: a plan, and a patch that applies.

mod diff;
mod material;

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

pub(crate) use material::Material;

use crate::messages::Kind;
use crate::script::Refusals;

/// What a built-in answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Builtin {
    /// A plan, as one JSON object.
    Plan,
    /// A patch, as one fenced diff.
    Patch,
}

/// A built-in answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) latency: Duration,
    pub(crate) refuse: Option<Refusals>,
}

/// Longest wait that an instruction can ask for.
const LONGEST: Duration = Duration::from_secs(600);

const GARBAGE: &str = "I had rather talk of the weather. Rain is expected, {\"but\": not here}.";

/// Returns the answer; pure.
pub(crate) fn reply(function: Builtin, material: &Material) -> Said {
    let text = match function {
        _ if material.marked("garbage") => GARBAGE.to_owned(),
        Builtin::Plan => plan(material),
        Builtin::Patch => format!("```diff\n{}```\n", patch(material)),
    };
    let latency = material.number("slow").map_or(Duration::ZERO, |milliseconds| Duration::from_millis(milliseconds).min(LONGEST));
    let refusals = |mark, kind| {
        let times = u32::try_from(material.number(mark)?).unwrap_or(u32::MAX);
        Some(Refusals { times, kind, retry_after_seconds: 1 })
    };
    let refuse = refusals("rate-limit", Kind::RateLimit).or_else(|| refusals("overloaded", Kind::Overloaded));
    Said { text, latency, refuse }
}

fn plan(material: &Material) -> String {
    let path = material.target();
    let files: Vec<&str> = material.tree().filter(|path| *path == "README.md").collect();
    // A path of ours holds nothing that a shell would read otherwise.
    let command =
        if material.marked("fail-verify") { "echo 'it fails, as asked' >&2; exit 1".to_owned() } else { format!("test -s {path}") };
    let summary = format!("Adds {path}, which holds the instruction.");
    json!({"summary": summary, "files": files, "verify": ["sh", "-c", command]}).to_string()
}

fn patch(material: &Material) -> String {
    match material {
        _ if material.marked("bad-patch") => diff::changed_file("features/no-such-file.md", "a line that is not there", "another line"),
        _ if material.marked("path-escape") => diff::new_file("../../escaped.md", &material.page()),
        _ => diff::new_file(&material.target(), &material.page()),
    }
}

#[cfg(test)]
mod tests;
