use std::path::{Path, PathBuf};

use provision_config::{Environment, RenderInputs, Rendered, Selection, Sources, render, resolve};
use provision_model::Severity;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn selections(sources: &Sources) -> Vec<Selection> {
    let mut selections = Vec::new();
    for name in sources.environments() {
        selections.push(Selection { environment: name.to_string(), ..Selection::default() });
        for region in sources.regions(&name) {
            selections.push(Selection { environment: name.to_string(), region: Some(region.to_string()), ..Selection::default() });
        }
    }
    selections
}

fn rendered(sources: &Sources, selection: &Selection) -> (Environment, Rendered) {
    let environment = resolve(sources, selection).unwrap_or_else(|errors| panic!("{selection:?}\n{errors}"));
    let rendered = render(sources, &environment, &RenderInputs::default()).unwrap_or_else(|errors| panic!("{selection:?}\n{errors}"));
    (environment, rendered)
}

#[test]
fn every_environment_and_region_renders_without_a_warning() {
    let sources = Sources::read(&root()).unwrap();
    let mut unexpected = Vec::new();
    for selection in selections(&sources) {
        let (_, rendered) = rendered(&sources, &selection);
        assert!(rendered.desired.objects.len() > 20, "{selection:?} has {} objects", rendered.desired.objects.len());
        let serious = rendered.desired.findings.iter().filter(|finding| finding.severity > Severity::Info);
        // Digests come with the lock file, which is written when images are pushed; add-ons' schemas come from the cluster.
        for finding in serious.filter(|finding| !matches!(finding.code.0.as_str(), "image-not-pinned" | "unknown-kind")) {
            unexpected.push(format!("{}: {} {:?} {:?}", selection.environment, finding.message, finding.help, finding.origins));
        }
    }
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
}

#[test]
fn equal_sources_give_equal_objects() {
    let sources = Sources::read(&root()).unwrap();
    let selection = Selection { environment: "prod".to_owned(), ..Selection::default() };
    let (_, first) = rendered(&sources, &selection);
    for _ in 0..3 {
        assert_eq!(rendered(&sources, &selection).1.desired, first.desired);
    }
}
