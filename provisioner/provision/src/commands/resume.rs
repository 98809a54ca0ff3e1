use clap::Args;
use provision_apply::{GenerationKind, load_pending};
use provision_plan::PlanOptions;

use crate::args::GlobalArgs;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::operate::{RunArgs, confirm, finish};
use crate::session::{Session, blocked};
use crate::ui::Ui;
use crate::ui::plan::show_plan;

/// Go on with a run that was killed, interrupted or cut off; what it needs is in the cluster, so any machine will do.
///
/// Example: provision resume --env dev
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    run: RunArgs,
}

pub(crate) async fn run(args: ResumeArgs, global: &GlobalArgs, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    ui.long_work();
    let session = Session::open(global, ui).await?;
    let Some(pending) = load_pending(&session.run, &session.scope).await.map_err(CliError::apply)? else {
        ui.done_without_work(&format!("{}: nothing to resume", session.scope.release))?;
        return Ok(ExitStatus::Done);
    };
    let kind = pending.generation.kind.clone();
    let plan = if kind == GenerationKind::Down {
        session.plan_down().await?
    } else {
        session.plan(&pending.desired, PlanOptions { allow_deletes: Some(usize::MAX), allow_empty: true, ..PlanOptions::default() }).await?
    };
    show_plan(ui, &plan)?;
    if let Some(refusal) = blocked(&plan) {
        return Err(refusal);
    }
    if !plan.is_empty() {
        confirm(
            ui,
            &args.run,
            &format!(
                "Go on with release {} on {}, begun by {}?",
                pending.generation.number,
                session.identity_text(),
                pending.generation.by
            ),
        )?;
    }
    finish(&session, &plan, args.run.options(kind), ui).await
}
