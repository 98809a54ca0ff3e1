use clap::Args;
use provision_config::{RenderInputs, explain_field, explain_value, render};

use crate::args::GlobalArgs;
use crate::context;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::ui::Ui;

/// Say where a value or a field of an object comes from, back to the line of each layer.
///
/// Examples:
///   provision explain --env prod services.api-gateway.replicas
///   provision explain --env prod Deployment/api-gateway spec.replicas
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ExplainArgs {
    /// A value's path, or an object as `Kind/name` or `Kind/namespace/name`.
    #[arg(value_name = "PATH|OBJECT")]
    subject: String,
    /// A field of the object, such as `spec.template.spec.containers[0].image`.
    #[arg(value_name = "FIELD")]
    field: Option<String>,
}

pub(crate) fn run(args: ExplainArgs, global: &GlobalArgs, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    let sources = context::sources(global)?;
    let environment = context::environment(global, &sources)?;
    let Some(field) = args.field else {
        let explanation = explain_value(&environment, &args.subject).map_err(CliError::Config)?;
        if ui.is_json() {
            ui.json(&explanation)?
        } else {
            ui.text(&explanation.to_string())?
        }
        return Ok(ExitStatus::Done);
    };
    let rendered = render(&sources, &environment, &RenderInputs::default()).map_err(CliError::Config)?;
    let explanation = explain_field(&sources, &environment, &rendered, &args.subject, &field).map_err(CliError::Config)?;
    if ui.is_json() {
        ui.json(&explanation)?
    } else {
        ui.text(&explanation.to_string())?
    }
    Ok(ExitStatus::Done)
}
