use std::collections::BTreeSet;

use clap::Args;
use provision_apply::{GenerationKind, restart, workloads};
use provision_config::nearest;
use provision_model::ResourceId;

use crate::args::GlobalArgs;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::operate::{RunArgs, confirm, ended};
use crate::session::Session;
use crate::ui::Ui;

/// Give services new pods, rolling, and wait until these are ready.
///
/// What runs stays as it is described: no new release is recorded, and it is no drift.
///
/// Examples:
///   provision restart feature-worker --env dev
///   provision restart --all --env dev --yes
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct RestartArgs {
    /// Names of Deployments, StatefulSets or DaemonSets; `kind/name` where a name is not enough.
    #[arg(value_name = "NAME", required_unless_present = "all")]
    names: Vec<String>,
    /// All that the release has.
    #[arg(long, conflicts_with = "names")]
    all: bool,
    #[command(flatten)]
    run: RunArgs,
}

pub(crate) async fn run(args: RestartArgs, global: &GlobalArgs, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    ui.long_work();
    let session = Session::open(global, ui).await?;
    let there = workloads(&session.run, &session.scope).await.map_err(CliError::apply)?;
    let chosen = if args.all { there } else { choose(&args.names, &there)? };
    if chosen.is_empty() {
        ui.done_without_work(&format!("{}: there is nothing to restart", session.scope.release))?;
        return Ok(ExitStatus::Done);
    }
    let list = chosen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    confirm(ui, &args.run, &format!("Restart {list} on {}?", session.identity_text()))?;
    let listener = session.listen_for_interrupt()?;
    let options = args.run.options(GenerationKind::Up);
    let result = ui.while_drawing(restart(&session.run, &session.scope, &chosen, &options)).await;
    listener.abort();
    ended(&session, &result.map_err(CliError::apply)?, ui)
}

/// Finds the workloads that are named; all that are none are told at once.
pub(crate) fn choose(names: &[String], there: &[ResourceId]) -> Result<Vec<ResourceId>, CliError> {
    let is_named = |id: &ResourceId, name: &str| match name.split_once('/') {
        Some((kind, name)) => id.kind.kind.eq_ignore_ascii_case(kind) && id.name == name,
        None => id.name == name,
    };
    let unknown: Vec<&str> = names.iter().map(String::as_str).filter(|name| !there.iter().any(|id| is_named(id, name))).collect();
    if unknown.is_empty() {
        return Ok(there.iter().filter(|id| names.iter().any(|name| is_named(id, name))).cloned().collect());
    }
    let known: BTreeSet<&str> = there.iter().map(|id| id.name.as_str()).collect();
    Err(CliError::Usage {
        message: format!("the release has no workload `{}`", unknown.join("`, `")),
        help: meant(&unknown, &known, "there are: "),
    })
}

/// Says what was likely meant by unknown names, and which there are.
pub(crate) fn meant(unknown: &[&str], known: &BTreeSet<&str>, there_are: &str) -> String {
    if known.is_empty() {
        return "it has none at all".to_owned();
    }
    let near = unknown.iter().filter_map(|name| nearest(name.rsplit('/').next().unwrap_or(name), known.iter().copied()));
    let near: BTreeSet<&str> = near.collect();
    let list = known.iter().copied().collect::<Vec<_>>().join(", ");
    if near.is_empty() {
        return format!("{there_are}{list}");
    }
    format!("did you mean `{}`? {there_are}{list}", near.into_iter().collect::<Vec<_>>().join("`, `"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_name_or_by_kind_and_name_and_all_unknown_ones_are_told() {
        let id = |kind: &str, name: &str| ResourceId::namespaced("apps", kind, "n", name);
        let there = [id("Deployment", "api"), id("DaemonSet", "agent"), id("StatefulSet", "api")];
        let names = |names: &[&str]| choose(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), &there);
        assert_eq!(names(&["api"]).unwrap(), [there[0].clone(), there[2].clone()]);
        assert_eq!(names(&["statefulset/api", "agent"]).unwrap(), [there[1].clone(), there[2].clone()]);
        let error = names(&["api", "web", "deployment/agent"]).unwrap_err();
        assert_eq!(error.to_string(), "the release has no workload `web`, `deployment/agent`");
        let known = BTreeSet::from(["api-gateway", "feature-worker"]);
        assert_eq!(meant(&["web"], &known, "there are: "), "there are: api-gateway, feature-worker");
        let near = "did you mean `feature-worker`? there are: api-gateway, feature-worker";
        assert_eq!(meant(&["StatefulSet/feature-wroker"], &known, "there are: "), near);
        assert_eq!(meant(&["web"], &BTreeSet::new(), "there are: "), "it has none at all");
    }
}
