use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::try_join_all;
use provision_apply::{Cluster, ClusterError, RunContext, SystemClock, contents, observe, predict, preflight};
use provision_config::settings::Engine;
use provision_config::{Environment, RenderInputs, Sources, render};
use provision_kube::{Connection, KubeCluster, Patience};
use provision_local::LocalCluster;
use provision_model::{ClusterIdentity, Desired, Finding, GroupKind, Observed, Plan, ResourceId, Scope, Severity};
use provision_plan::{PlanOptions, leaving_namespaces, needs_prediction, plan_down, plan_with};
use provision_saga::CancelToken;
use tokio::task::JoinHandle;

use crate::args::GlobalArgs;
use crate::cluster::AnyCluster;
use crate::context;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::interrupts::Interrupts;
use crate::log::progress::log_decisions;
use crate::programs::Programs;
use crate::roles;
use crate::secrets::Secrets;
use crate::ui::Ui;

/// Everything that a run talks to.
pub(crate) type Run = RunContext<AnyCluster, Secrets, SystemClock>;

/// A project, one of its environments and the cluster behind it.
pub(crate) struct Session {
    pub(crate) sources: Sources,
    pub(crate) environment: Environment,
    pub(crate) scope: Scope,
    programs: Programs,
    pub(crate) run: Run,
    pub(crate) identity: ClusterIdentity,
}

impl Session {
    /// Checks the configuration, then connects; nothing is written.
    pub(crate) async fn open(global: &GlobalArgs, ui: &mut Ui) -> Result<Self, CliError> {
        let sources = context::sources(global)?;
        let environment = context::environment(global, &sources)?;
        let (programs, sources, environment) = match environment.settings.target.engine {
            Engine::Kubernetes => (Programs::default(), sources, environment),
            Engine::Local => pinned(global, &sources, &environment)?,
        };
        let secrets = Secrets::open(global, &environment)?;
        let cluster = connect(global, &environment).await?;
        let mut run = RunContext::new(Arc::new(cluster), Arc::new(secrets), Arc::new(SystemClock), ui.run(), holder());
        run.progress = ui.start_progress();
        tracing::info!(server = run.cluster.server(), "connecting");
        let identity = run.cluster.identity().await.map_err(|source| CliError::cluster("reach the cluster", source))?;
        tracing::info!(version = identity.version, uid = identity.uid, "cluster answered");
        let scope = Scope {
            environment: environment.name.clone(),
            region: environment.region.clone(),
            release: environment.release.clone(),
            policy: environment.policy(),
        };
        Ok(Self { sources, environment, scope, programs, run, identity })
    }

    /// Renders against the version and the definitions of the cluster.
    ///
    /// A cluster may have hundreds of definitions, megabytes of them: only those of kinds that the set holds are read.
    pub(crate) async fn render(&self) -> Result<Desired, CliError> {
        let mut inputs = RenderInputs { crds: Vec::new(), target: minor(&self.identity.version) };
        let built_in = render(&self.sources, &self.environment, &inputs);
        // A mistake may look different with the definitions, so it is not told before they are read.
        let open = built_in.as_ref().ok().and_then(|rendered| without_schema(&rendered.desired.findings));
        let rendered = match (built_in, open) {
            (Ok(rendered), Some(kinds)) if kinds.is_empty() => rendered,
            (_, kinds) => {
                inputs.crds = self.definitions(kinds.as_ref()).await?;
                render(&self.sources, &self.environment, &inputs).map_err(CliError::Config)?
            }
        };
        tracing::info!(objects = rendered.desired.objects.len(), target = inputs.target, definitions = inputs.crds.len(), "rendered");
        Ok(rendered.desired)
    }

    /// Reads the definitions of some kinds; all, when the kinds are not known or one of them is not served, for what is near to it.
    async fn definitions(&self, kinds: Option<&BTreeSet<GroupKind>>) -> Result<Vec<serde_json::Value>, CliError> {
        let failed = |source| CliError::cluster("read the cluster's own kinds", source);
        let api = self.run.cluster.api().await.map_err(failed)?;
        let kind = GroupKind::new("apiextensions.k8s.io", "CustomResourceDefinition");
        let Some(resource) = api.find(&kind, None) else { return Ok(Vec::new()) };
        let name = |kind| api.find(kind, None).map(|found| format!("{}.{}", found.plural, found.kind.group));
        let names: Option<Vec<String>> = kinds.and_then(|kinds| kinds.iter().map(name).collect());
        let read = match names {
            Some(names) => {
                let get = async |name: String| self.run.cluster.get(&ResourceId::cluster(&kind.group, &kind.kind, &name)).await;
                try_join_all(names.into_iter().map(get)).await.map(|found| found.into_iter().flatten().collect())
            }
            None => self.run.cluster.list(resource, None).await.map(|listing| listing.items),
        };
        match read {
            Ok(definitions) => Ok(definitions.into_iter().map(serde_json::Value::from).collect()),
            // Without that right the objects of such kinds are checked by the server alone.
            Err(ClusterError::Forbidden { .. }) => Ok(Vec::new()),
            Err(source) => Err(failed(source)),
        }
    }

    /// Observes the cluster and plans towards `desired`.
    pub(crate) async fn plan(&self, desired: &Desired, mut options: PlanOptions) -> Result<Plan, CliError> {
        let observed = self.observe(desired).await?;
        let leaving = leaving_namespaces(Some(desired), &observed);
        options.contents = contents(&self.run, &leaving).await.map_err(CliError::apply)?;
        let plan = plan_with(desired, &observed, &options).map_err(|source| CliError::Plan { source })?;
        log_decisions(&plan);
        Ok(plan)
    }

    async fn observe(&self, desired: &Desired) -> Result<Observed, CliError> {
        let mut observed = observe(&self.run, &self.scope, &desired.objects).await.map_err(CliError::apply)?;
        let changed = needs_prediction(desired, &observed);
        tracing::info!(live = observed.live.len(), recorded = observed.recorded.len(), to_predict = changed.len(), "observed");
        predict(&self.run, &mut observed, changed).await.map_err(CliError::apply)?;
        Ok(observed)
    }

    /// Observes the cluster and plans the deletion of all that the release recorded.
    pub(crate) async fn plan_down(&self) -> Result<Plan, CliError> {
        let observed = observe(&self.run, &self.scope, &[]).await.map_err(CliError::apply)?;
        let foreign = contents(&self.run, &leaving_namespaces(None, &observed)).await.map_err(CliError::apply)?;
        let plan = plan_down(&self.scope, &observed, &foreign);
        log_decisions(&plan);
        Ok(plan)
    }

    /// Brings the programs of this machine to where its engine starts them; on a cluster there are none.
    pub(crate) fn install_programs(&self) -> Result<(), CliError> {
        match self.run.cluster.as_ref() {
            AnyCluster::Kubernetes(_) => Ok(()),
            AnyCluster::Local(cluster) => self.programs.install(&roles::installed(cluster.state())),
        }
    }

    /// Leaves no process behind when nothing is to run any more; on a cluster there is none of ours.
    pub(crate) async fn rest(&self) -> Result<(), CliError> {
        match self.run.cluster.as_ref() {
            AnyCluster::Kubernetes(_) => Ok(()),
            AnyCluster::Local(cluster) => {
                cluster.end_supervisor().await.map_err(|source| CliError::cluster("end the supervisor of this machine", source))
            }
        }
    }

    /// Names the cluster for a question.
    pub(crate) fn identity_text(&self) -> String {
        format!("{} ({})", self.run.cluster.server(), self.identity.version)
    }

    /// Checks reachability, rights and served versions.
    pub(crate) async fn preflight(&self, desired: &Desired) -> Result<Vec<Finding>, CliError> {
        preflight(&self.run, desired).await.map_err(CliError::apply)
    }

    /// The first Ctrl-C (or SIGTERM) asks to stop between steps, the second ends the process at once; both can be resumed.
    pub(crate) fn listen_for_interrupt(&self) -> Result<JoinHandle<()>, CliError> {
        let cancel: CancelToken = self.run.cancel.clone();
        let mut interrupts = Interrupts::listen()?;
        Ok(tokio::spawn(async move {
            interrupts.next().await;
            tracing::info!("interrupted");
            note("stopping after what is in flight; press Ctrl-C again to leave at once");
            cancel.cancel();
            interrupts.next().await;
            note("left at once; go on with `provision resume`");
            std::process::exit(i32::from(ExitStatus::Interrupted.code()));
        }))
    }
}

/// Pins the images of an environment of this machine to its programs.
fn pinned(global: &GlobalArgs, sources: &Sources, environment: &Environment) -> Result<(Programs, Sources, Environment), CliError> {
    let cache = context::state_folder(global)?.join("programs.json");
    let programs = Programs::find(environment, &roles::folder()?, &cache)?;
    let sources = programs.pin(sources, environment);
    let environment = context::environment(global, &sources)?;
    Ok((programs, sources, environment))
}

/// Reaches what the environment's engine stands for.
async fn connect(global: &GlobalArgs, environment: &Environment) -> Result<AnyCluster, CliError> {
    if environment.settings.target.engine == Engine::Local {
        let state = context::state_folder(global)?.join(environment.release.as_str());
        let settings = roles::settings(state)?;
        return LocalCluster::open(settings).await.map(AnyCluster::Local).map_err(CliError::local);
    }
    let connection = Connection { kubeconfig: kubeconfig(global), context: global.context.clone() };
    let connected = KubeCluster::connect(&connection, Patience::default()).await;
    connected.map(|cluster| AnyCluster::Kubernetes(Box::new(cluster))).map_err(|source| CliError::Connect { source })
}

/// The kubeconfig that is named; several in `KUBECONFIG` are left to the client, which merges them.
fn kubeconfig(global: &GlobalArgs) -> Option<PathBuf> {
    let of_variable = || {
        let variable = std::env::var_os("KUBECONFIG")?;
        let mut paths = std::env::split_paths(&variable).filter(|path| !path.as_os_str().is_empty());
        paths.next().filter(|_| paths.next().is_none())
    };
    global.kubeconfig.clone().or_else(of_variable)
}

/// Writes a remark from a task that has no `Ui`.
fn note(text: &str) {
    use std::io::Write;
    writeln!(anstream::stderr().lock(), "{text}").ok();
}

/// Tells whether a plan may be applied; otherwise says what must be settled.
pub(crate) fn blocked(plan: &Plan) -> Option<CliError> {
    let fatal: Vec<_> = plan.findings.iter().filter(|finding| finding.severity == Severity::Fatal).collect();
    (!fatal.is_empty()).then(|| CliError::Findings { count: fatal.len(), exit: exit_of(&fatal) })
}

/// A safety rule refuses; anything else among the findings means that the input is wrong.
fn exit_of(fatal: &[&Finding]) -> ExitStatus {
    let safety = ["too-many-deletes", "empty-set", "owned-by-another-release"];
    if fatal.iter().all(|finding| safety.contains(&finding.code.0.as_str())) { ExitStatus::Refused } else { ExitStatus::Invalid }
}

/// Returns the kinds that were rendered without a known schema; none when nothing is known of the target at all.
fn without_schema(findings: &[Finding]) -> Option<BTreeSet<GroupKind>> {
    let is = |finding: &&Finding, code: &str| finding.code.0 == code;
    if findings.iter().any(|finding| is(&finding, "unknown-target")) {
        return None;
    }
    Some(
        findings
            .iter()
            .filter(|finding| is(finding, "unknown-kind"))
            .filter_map(|finding| Some(finding.resource.as_ref()?.kind.clone()))
            .collect(),
    )
}

fn minor(version: &str) -> Option<String> {
    let mut parts = version.trim_start_matches('v').split('.');
    Some(format!("{}.{}", parts.next()?, parts.next()?))
}

fn holder() -> String {
    let host = std::env::var("HOSTNAME").or_else(|_| std::fs::read_to_string("/etc/hostname"));
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "someone".to_owned());
    format!("{user}@{} pid {}", host.as_deref().unwrap_or("unknown").trim(), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_safety_rule_alone_refuses_and_a_mistake_beside_it_is_invalid_input() {
        let (safety, mistake) = (Finding::fatal("too-many-deletes", "11 of 10"), Finding::fatal("kind-not-served", "no"));
        assert_eq!(exit_of(&[&safety]), ExitStatus::Refused);
        assert_eq!(exit_of(&[&safety, &mistake]), ExitStatus::Invalid);
        assert_eq!(exit_of(&[&mistake]), ExitStatus::Invalid);
    }

    #[test]
    fn only_kinds_without_schema_need_the_clusters_definitions() {
        let of = |code: &str, kind: &str| Finding::warning(code, "m").on(ResourceId::cluster("example.com", kind, "a"));
        let kinds = without_schema(&[of("unknown-kind", "Widget"), of("image-not-pinned", "Gadget")]);
        assert_eq!(kinds, Some(BTreeSet::from([GroupKind::new("example.com", "Widget")])));
        assert_eq!(without_schema(&[]), Some(BTreeSet::new()));
        assert_eq!(without_schema(&[of("unknown-target", "Widget")]), None);
    }

    #[test]
    fn a_version_is_cut_to_its_minor() {
        assert_eq!(minor("v1.36.3"), Some("1.36".to_owned()));
        assert_eq!(minor("v1.31.4-eks-abc123"), Some("1.31".to_owned()));
        assert_eq!(minor("nonsense"), None);
    }
}
