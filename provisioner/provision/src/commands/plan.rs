use std::path::{Path, PathBuf};

use clap::Args;
use provision_model::Plan;
use provision_plan::PlanOptions;

use crate::args::GlobalArgs;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::session::{Session, blocked};
use crate::ui::Ui;
use crate::ui::plan::show_plan;
use crate::{notices, plan_file};

/// Show what `up` would change, in which order and why. Writes nothing to the cluster.
///
/// Examples:
///   provision plan --env dev
///   provision plan --env prod --out prod.plan && provision up --env prod --plan prod.plan
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct PlanArgs {
    /// Save the plan; `up --plan FILE` then does exactly this or refuses.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Exit with 3 when there are changes.
    #[arg(long)]
    detailed_exit_code: bool,
    #[command(flatten)]
    limits: LimitArgs,
}

/// Limits of what one run may delete.
#[derive(Debug, Clone, Args)]
pub(crate) struct LimitArgs {
    /// Allow up to N deletions, instead of the environment's limit.
    #[arg(long, value_name = "N")]
    allow_deletes: Option<usize>,
    /// Allow that nothing is rendered, which deletes everything.
    #[arg(long)]
    allow_empty: bool,
}

impl LimitArgs {
    pub(crate) fn options(&self) -> PlanOptions {
        PlanOptions { allow_deletes: self.allow_deletes, allow_empty: self.allow_empty, ..PlanOptions::default() }
    }
}

pub(crate) async fn run(args: PlanArgs, global: &GlobalArgs, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    let session = Session::open(global, ui).await?;
    let plan = make(&session, &args.limits).await?;
    show_plan(ui, &plan)?;
    if let Some(refusal) = blocked(&plan) {
        return Err(refusal);
    }
    if let Some(file) = &args.out {
        plan_file::write(file, &plan)?;
        ui.note(&format!("saved; apply it with `{}`", up_command(global, &args.limits, &plan, file)));
    }
    Ok(if args.detailed_exit_code && !plan.is_empty() { ExitStatus::Differences } else { ExitStatus::Done })
}

/// The command that applies the saved plan; what leads to other decisions has to be said again.
fn up_command(global: &GlobalArgs, limits: &LimitArgs, plan: &Plan, file: &Path) -> String {
    let mut command = format!("provision up --env {}", plan.environment);
    if let Some(region) = &plan.region {
        command.push_str(&format!(" --region {region}"));
    }
    for set in &global.sets {
        command.push_str(&format!(" --set {}", quoted(set)));
    }
    if let Some(count) = limits.allow_deletes {
        command.push_str(&format!(" --allow-deletes {count}"));
    }
    if limits.allow_empty {
        command.push_str(" --allow-empty");
    }
    format!("{command} --plan {}", quoted(&file.display().to_string()))
}

/// Quotes for a shell what is not plain.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@,+".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Renders, checks and plans.
pub(crate) async fn make(session: &Session, limits: &LimitArgs) -> Result<Plan, CliError> {
    let desired = session.render().await?;
    // Questions to the server that don't depend on each other are asked at the same time.
    let (findings, plan, notices) =
        tokio::join!(session.preflight(&desired), session.plan(&desired, limits.options()), notices::about_plan(session, &desired));
    let (findings, mut plan, notices) = (findings?, plan?, notices?);
    plan.findings.extend(findings);
    plan.findings.extend(notices);
    Ok(plan)
}
