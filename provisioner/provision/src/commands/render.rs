use std::path::PathBuf;

use clap::Args;
use provision_config::{RenderInputs, Rendered, render, to_yaml};
use provision_model::{Manifest, Severity};

use crate::args::GlobalArgs;
use crate::context;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::ui::{Ui, report};

/// Write the wanted objects as YAML: same input, same bytes.
///
/// Examples:
///   provision render --env prod
///   provision render --env prod --region us-east --out out/
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct RenderArgs {
    /// Folder for one file an object, instead of stdout.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: RenderArgs, global: &GlobalArgs, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    let sources = context::sources(global)?;
    let environment = context::environment(global, &sources)?;
    let rendered = render(&sources, &environment, &RenderInputs::default()).map_err(CliError::Config)?;
    for finding in rendered.desired.findings.iter().filter(|finding| finding.severity > Severity::Info) {
        ui.note(&report::finding_text(finding));
    }
    let manifests: Vec<Manifest> = rendered.desired.objects.iter().map(|object| object.manifest.clone()).collect();
    match (&args.out, ui.is_json()) {
        (Some(folder), _) => write_files(folder, &rendered)?,
        (None, true) => ui.json(&manifests)?,
        (None, false) => ui.text(&to_yaml(&manifests))?,
    }
    Ok(ExitStatus::Done)
}

/// Writes one file an object: `<namespace or _cluster>/<kind>-<name>.yaml`.
fn write_files(folder: &std::path::Path, rendered: &Rendered) -> Result<(), CliError> {
    for object in &rendered.desired.objects {
        let id = object.id();
        let place = folder.join(id.namespace.as_deref().unwrap_or("_cluster"));
        let file = place.join(format!("{}-{}.yaml", id.kind.kind.to_lowercase(), id.name.replace([':', '/'], "_")));
        let failed = |source| CliError::File { action: "write", path: file.clone(), source };
        std::fs::create_dir_all(&place).map_err(failed)?;
        std::fs::write(&file, to_yaml(std::slice::from_ref(&object.manifest))).map_err(failed)?;
    }
    Ok(())
}
