//! `feature-worker replay`: what a feature's events alone say that it is, beside what the database has.

use std::io::{self, Write};
use std::process::ExitCode;

use feature_store::{Difference, Replayed, Store, replay};
use serde_json::{Value, json};
use service_kit::{Arguments, BoxError, CommandOption};
use thiserror::Error;
use uuid::Uuid;

/// Options of the command.
pub(crate) const OPTIONS: &[CommandOption] = &[
    CommandOption { name: "--feature-id", value: "ID", default: None },
    CommandOption { name: "--from-sequence", value: "N", default: Some("0") },
    CommandOption { name: "-o", value: "text|json", default: Some("text") },
];

#[derive(Debug, Error)]
enum ReplayError {
    #[error("`{value}` is not usable as {option}: expected {expected}")]
    Option { option: &'static str, value: String, expected: &'static str },
    #[error("the events of feature {feature} from sequence {from} on can't have happened like this")]
    Events {
        feature: Uuid,
        from: i32,
        #[source]
        source: feature_store::ReplayError,
    },
}

/// Replays a feature and shows the outcome: exit code 0 if events and database agree, 1 if not.
pub(crate) async fn run(store: Store, arguments: Arguments) -> Result<ExitCode, BoxError> {
    let option = |option: &'static str, expected| {
        let value = arguments.get(option).to_owned();
        move || ReplayError::Option { option, value, expected }
    };
    let feature: Uuid = arguments.get("--feature-id").parse().map_err(|_| option("--feature-id", "a UUID")())?;
    let from: Option<i32> = arguments.get("--from-sequence").parse().ok().filter(|from| *from >= 0);
    let from = from.ok_or_else(option("--from-sequence", "a number from 0 on"))?;
    let as_json = match arguments.get("-o") {
        "json" => true,
        "text" => false,
        _ => return Err(option("-o", "text or json")().into()),
    };
    let kept = store.get(feature).await?;
    let events = store.events(feature, from).await?;
    let replayed = replay(events.iter().map(|event| &event.event));
    let replayed = replayed.map_err(|source| ReplayError::Events { feature, from, source })?;
    let differences = replayed.compare(&kept, &store.steps(feature).await?);
    let text = if as_json { format!("{:#}\n", as_value(&replayed, from, &differences)) } else { as_text(&replayed, &differences) };
    io::stdout().write_all(text.as_bytes())?;
    Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn as_value(replayed: &Replayed, from: i32, differences: &[Difference]) -> Value {
    let difference = |difference: &Difference| json!({"what": difference.what, "events": difference.replayed, "database": difference.kept});
    json!({
        "feature_id": replayed.feature,
        "from_sequence": from,
        "last_sequence": replayed.sequence,
        "state": replayed.state.as_str_name(),
        "error": replayed.error,
        "matches": differences.is_empty(),
        "differences": differences.iter().map(difference).collect::<Vec<_>>(),
    })
}

fn as_text(replayed: &Replayed, differences: &[Difference]) -> String {
    let said = format!("feature {} is {} by its events up to {}", replayed.feature, replayed.state.as_str_name(), replayed.sequence);
    if differences.is_empty() {
        return format!("{said}; the database says the same\n");
    }
    let lines: String = differences.iter().map(|difference| format!("  {difference}\n")).collect();
    format!("{said}; the database says something else:\n{lines}")
}
