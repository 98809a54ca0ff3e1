use std::io::Write;
use std::path::Path;

use provision_model::{Digest, Plan};
use serde::{Deserialize, Serialize};

use crate::error::CliError;

const FORMAT: &str = "provision-plan/1";

/// A saved plan. It holds what was decided and a digest of that; secret values are in neither.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    format: String,
    decisions: Digest,
    plan: Plan,
}

/// Saves a plan; the file is there completely or not at all.
pub(crate) fn write(path: &Path, plan: &Plan) -> Result<(), CliError> {
    let saved = Saved { format: FORMAT.to_owned(), decisions: plan.decision_digest(), plan: plan.clone() };
    let failed = |source| CliError::File { action: "write the plan to", path: path.to_path_buf(), source };
    let text = serde_json::to_vec(&saved).map_err(|source| failed(source.into()))?;
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let written = std::fs::File::create(&part).and_then(|mut file| {
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    });
    written.map_err(|source| {
        // What is left of it is of no use; the failure to write is the one to tell.
        std::fs::remove_file(&part).ok();
        failed(source)
    })
}

/// Reads a saved plan and checks that it is whole.
pub(crate) fn read(path: &Path) -> Result<Plan, CliError> {
    let bytes = std::fs::read(path).map_err(|source| CliError::File { action: "read the plan", path: path.to_path_buf(), source })?;
    let damaged = |reason: String| CliError::Content {
        path: path.to_path_buf(),
        reason,
        help: "make a new plan with `provision plan --out FILE`".to_owned(),
    };
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|source| damaged(format!("it is no saved plan ({source})")))?;
    match value.get("format").and_then(serde_json::Value::as_str) {
        Some(FORMAT) => {}
        Some(other) => return Err(damaged(format!("its format is `{other}`, this program reads `{FORMAT}`"))),
        None => return Err(damaged("it is no saved plan".to_owned())),
    }
    let saved: Saved = serde_json::from_value(value).map_err(|source| damaged(format!("it can't be read ({source})")))?;
    if saved.plan.decision_digest() != saved.decisions {
        return Err(damaged("it was changed after it was saved".to_owned()));
    }
    Ok(saved.plan)
}
