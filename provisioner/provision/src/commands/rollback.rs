use clap::Args;
use provision_apply::{GenerationKind, load_generation};

use crate::args::GlobalArgs;
use crate::commands::plan::LimitArgs;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::operate::{RunArgs, confirm, finish};
use crate::session::{Session, blocked};
use crate::ui::Ui;
use crate::ui::plan::show_plan;

/// Go back to what a recorded release wanted, pruned objects included. Data is not touched.
///
/// Examples:
///   provision rollback --env dev            to the last good release before the present one
///   provision rollback --env dev --to 3
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct RollbackArgs {
    /// Number of the release, as `provision history` lists it.
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    run: RunArgs,
}

pub(crate) async fn run(args: RollbackArgs, global: &GlobalArgs, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    ui.long_work();
    let session = Session::open(global, ui).await?;
    let recorded = load_generation(&session.run, &session.scope, args.to).await.map_err(CliError::apply)?;
    let to = recorded.generation.number;
    let plan = session.plan(&recorded.desired, args.limits.options()).await?;
    show_plan(ui, &plan)?;
    if let Some(refusal) = blocked(&plan) {
        return Err(refusal);
    }
    if !plan.is_empty() {
        confirm(ui, &args.run, &format!("Roll {} back to release {to} on {}?", session.scope.release, session.identity_text()))?;
    }
    finish(&session, &plan, args.run.options(GenerationKind::Rollback { to }), ui).await
}
