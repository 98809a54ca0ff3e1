use std::path::PathBuf;

use clap::Args;
use provision_apply::GenerationKind;
use provision_model::Plan;

use crate::args::GlobalArgs;
use crate::commands::plan::{LimitArgs, make};
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::operate::{RunArgs, confirm, finish};
use crate::plan_file;
use crate::session::{Session, blocked};
use crate::ui::Ui;
use crate::ui::plan::show_plan;

/// Bring the platform up: check, plan, apply, wait until it works, record.
///
/// Every step can be repeated and the run can be killed at any moment:
/// `provision resume` goes on. When something does not come up, the run ends
/// early and says why.
///
/// Examples:
///   provision up --env dev
///   provision up --env prod --region us-east --plan prod.plan
///   provision up --env dev --yes -o json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct UpArgs {
    /// Apply this saved plan, or refuse if the live state leads to another one.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    run: RunArgs,
}

pub(crate) async fn run(args: UpArgs, global: &GlobalArgs, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    ui.long_work();
    let saved = args.plan.as_deref().map(plan_file::read).transpose()?;
    let global = &saved.as_ref().map_or_else(|| global.clone(), |plan| named_by(plan, global));
    let session = Session::open(global, ui).await?;
    if let Some(saved) = &saved {
        same_release(saved, &session)?;
    }
    let plan = make(&session, &args.limits).await?;
    if let Some(saved) = &saved {
        same_decisions(saved, &plan, ui)?;
    }
    show_plan(ui, &plan)?;
    if let Some(refusal) = blocked(&plan) {
        return Err(refusal);
    }
    // A saved plan was looked at when it was made.
    if !plan.is_empty() && saved.is_none() {
        confirm(ui, &args.run, &format!("Apply these changes to {}?", session.identity_text()))?;
    }
    finish(&session, &plan, args.run.options(GenerationKind::Up), ui).await
}

/// Takes the environment from a saved plan when none is named.
fn named_by(plan: &Plan, global: &GlobalArgs) -> GlobalArgs {
    if global.environment.is_some() {
        return global.clone();
    }
    let region = global.region.clone().or_else(|| plan.region.as_ref().map(ToString::to_string));
    GlobalArgs { environment: Some(plan.environment.to_string()), region, ..global.clone() }
}

/// Refuses a plan that was made for something else.
fn same_release(saved: &Plan, session: &Session) -> Result<(), CliError> {
    if saved.release != session.scope.release {
        return Err(CliError::Refused {
            message: format!("the plan was made for {}, this is {}; nothing was done", saved.release, session.scope.release),
            help: "name the environment and the region it was made with, or make a new plan".to_owned(),
        });
    }
    if saved.cluster.uid != session.identity.uid {
        return Err(CliError::Refused {
            message: format!(
                "the plan was made for another cluster ({} instead of {}); nothing was done",
                saved.cluster.uid, session.identity.uid
            ),
            help: "use the context it was made with, or make a new plan".to_owned(),
        });
    }
    Ok(())
}

/// Refuses a saved plan when the live state leads to other decisions.
fn same_decisions(saved: &Plan, now: &Plan, ui: &mut Ui) -> Result<(), CliError> {
    if saved.decision_digest() != now.decision_digest() {
        show_plan(ui, now)?;
        return Err(CliError::Refused {
            message: "the saved plan is stale: what would be done now, shown above, is something else; nothing was done".to_owned(),
            help: "look at it and save a new plan with `provision plan --out FILE`".to_owned(),
        });
    }
    Ok(())
}
