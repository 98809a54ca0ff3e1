use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use provision_config::{RenderInputs, Rendered, render, to_yaml};
use provision_model::{Manifest, ResourceId, Severity};

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
fn write_files(folder: &Path, rendered: &Rendered) -> Result<(), CliError> {
    let mut taken = BTreeSet::new();
    for object in &rendered.desired.objects {
        let file = folder.join(file_of(&object.id(), &mut taken));
        let failed = |source| CliError::File { action: "write", path: file.clone(), source };
        std::fs::create_dir_all(file.parent().unwrap_or(folder)).map_err(failed)?;
        std::fs::write(&file, to_yaml(std::slice::from_ref(&object.manifest))).map_err(failed)?;
    }
    Ok(())
}

/// Chooses the file of an object; a name that is taken (one kind in two groups, names that differ in `:`) gets a number.
fn file_of(id: &ResourceId, taken: &mut BTreeSet<PathBuf>) -> PathBuf {
    let folder = Path::new(id.namespace.as_deref().unwrap_or("_cluster"));
    let stem = format!("{}-{}", id.kind.kind.to_lowercase(), id.name.replace([':', '/'], "_"));
    let numbered = (2_usize..).map(|number| folder.join(format!("{stem}-{number}.yaml")));
    let mut candidates = std::iter::once(folder.join(format!("{stem}.yaml"))).chain(numbered);
    let file = candidates.find(|file| !taken.contains(file)).unwrap_or_else(|| folder.join(&stem));
    taken.insert(file.clone());
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_objects_share_a_file() {
        let mut taken = BTreeSet::new();
        let mut file = |id: ResourceId| file_of(&id, &mut taken).display().to_string();
        assert_eq!(file(ResourceId::namespaced("", "Service", "n", "web")), "n/service-web.yaml");
        assert_eq!(file(ResourceId::namespaced("serving.knative.dev", "Service", "n", "web")), "n/service-web-2.yaml");
        assert_eq!(file(ResourceId::cluster("rbac.authorization.k8s.io", "ClusterRole", "a:b")), "_cluster/clusterrole-a_b.yaml");
        assert_eq!(file(ResourceId::cluster("rbac.authorization.k8s.io", "ClusterRole", "a/b")), "_cluster/clusterrole-a_b-2.yaml");
    }
}
