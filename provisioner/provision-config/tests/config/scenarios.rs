//! The black-box scenarios of configuration: provenance, types, injection, strictness, differences.

use provision_config::{RenderInputs, Rendered, Selection, Sources, env_diff, explain_field, explain_value, render, resolve, to_yaml};
use provision_model::Manifest;
use serde_json::json;

const BASE: &str = "\
purpose: test
platform: {name: p, namespace: n}
target: {kubernetes: '1.36'}
provided: {objects: [Namespace/n]}
services:
  api: {kind: Deployment, replicas: 2}
";

const CONFIG_MAP: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: c, namespace: n}
";

const DEPLOYMENT: &str = "\
$for: 'entry in {{ values.services }}'
$let: {name: '{{ entry.key }}', service: '{{ entry.value }}'}
apiVersion: apps/v1
kind: Deployment
metadata: {name: '{{ name }}', namespace: n}
spec:
  replicas: '{{ service.replicas }}'
  selector: {matchLabels: {app: '{{ name }}'}}
  template:
    metadata: {labels: {app: '{{ name }}'}}
    spec:
      containers:
      - {name: a, image: 'x@sha256:1', resources: '{{ service.resources }}'}
";

fn project(files: &[(&str, &str)]) -> Sources {
    Sources::from_files([("environments/base.yaml", BASE)].iter().chain(files).map(|(path, text)| (*path, *text)))
}

fn select(environment: &str, region: Option<&str>, sets: &[&str]) -> Selection {
    Selection {
        environment: environment.into(),
        region: region.map(str::to_owned),
        sets: sets.iter().map(|set| (*set).to_owned()).collect(),
    }
}

fn rendered(sources: &Sources, selection: &Selection) -> Result<Rendered, String> {
    let environment = resolve(sources, selection).map_err(|errors| errors.to_string())?;
    render(sources, &environment, &RenderInputs::default()).map_err(|errors| errors.to_string())
}

fn manifests(rendered: &Rendered) -> Vec<Manifest> {
    rendered.desired.objects.iter().map(|object| object.manifest.clone()).collect()
}

#[test]
fn a_value_and_a_field_are_explained_through_all_layers() {
    let sources = project(&[
        ("environments/prod.yaml", "services:\n  api:\n    replicas: 3\n"),
        ("environments/prod/eu-west.yaml", "services: {api: {replicas: 5, resources: {limits: {cpu: 1}}}}\n"),
        ("templates/service/deployment.yaml", DEPLOYMENT),
    ]);
    let selection = select("prod", Some("eu-west"), &["services.api.replicas=7"]);
    let environment = resolve(&sources, &selection).unwrap();
    let expected = "\
services.api.replicas = 7
  set by --set:1:23: 7
  over   environments/prod/eu-west.yaml:1:28: 5
  over   environments/prod.yaml:3:15: 3
  over   environments/base.yaml:6:37: 2
";
    assert_eq!(explain_value(&environment, "services.api.replicas").unwrap().to_string(), expected);
    let rendered = render(&sources, &environment, &RenderInputs::default()).unwrap();
    let field = explain_field(&sources, &environment, &rendered, "Deployment/api", "spec.replicas").unwrap();
    assert_eq!(field.template.to_string(), "templates/service/deployment.yaml:7:13");
    assert_eq!((field.value, field.values.len()), (json!(7), 1));
    assert_eq!(field.values[0].to_string(), expected);
    let cpu =
        explain_field(&sources, &environment, &rendered, "deployment/n/api", "spec.template.spec.containers[name=a].resources.limits.cpu")
            .unwrap();
    assert_eq!(cpu.values[0].path, "services.api.resources.limits.cpu");
    assert_eq!(cpu.values[0].layers[0].origin.to_string(), "environments/prod/eu-west.yaml:1:57");
    let literal = explain_field(&sources, &environment, &rendered, "Deployment/api", "metadata.namespace").unwrap();
    assert_eq!((literal.template.line, literal.values.len()), (5, 0));
    for (object, field, expected) in [
        ("Deployment/apj", "spec", "did you mean `Deployment/api`?"),
        ("Deploymnt/api", "spec", "did you mean the kind `Deployment`?"),
        ("Deployment/api", "spec.replcas", "did you mean `replicas`?"),
        ("nonsense", "spec", "names no object"),
    ] {
        let message = explain_field(&sources, &environment, &rendered, object, field).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn computed_names_lead_to_the_values_that_they_are_made_of() {
    let template = format!(
        "$let:\n  first: '{{{{ values.purpose }}}}-{{{{ values.config.A }}}}'\n  second: '{{{{ first | upper }}}}'\n  \
         map: {{x: '{{{{ values.config.B }}}}'}}\n{CONFIG_MAP}data:\n  a: '{{{{ second }}}}'\n  b: '{{{{ map.x }}}}'\n  \
         c: {{$include: _c.yaml, $with: {{given: '{{{{ first }}}}'}}}}\n  \
         $merge:\n  - $for: 'item in {{{{ values.network.blocked_cidrs }}}}'\n    'key-{{{{ loop.index0 }}}}': '{{{{ item }}}}'\n"
    );
    let sources = project(&[
        ("environments/dev.yaml", "config: {A: x, B: y}\nnetwork: {blocked_cidrs: [10.0.0.0/8, 10.1.0.0/16]}\n"),
        ("templates/a.yaml", &template),
        ("templates/_c.yaml", "$value: '{{ given }}!'\n"),
    ]);
    let environment = resolve(&sources, &select("dev", None, &[])).unwrap();
    let rendered = render(&sources, &environment, &RenderInputs::default()).unwrap();
    let explained = |field: &str| {
        let explanation = explain_field(&sources, &environment, &rendered, "ConfigMap/c", field).unwrap();
        let layers = |value: &provision_config::ValueExplanation| format!("{} {}", value.path, value.layers[0].origin);
        explanation.values.iter().map(layers).collect::<Vec<_>>()
    };
    let first = ["purpose environments/base.yaml:1:10", "config.A environments/dev.yaml:1:13"];
    assert_eq!(explained("data.a"), first);
    assert_eq!(explained("data.b"), ["config.B environments/dev.yaml:1:19"]);
    assert_eq!(explained("data.c"), first);
    assert_eq!(explained("data.key-1"), ["network.blocked_cidrs[1] environments/dev.yaml:2:39"]);
}

#[test]
fn what_is_missing_is_said_once_with_all_its_places() {
    let config_map = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: nowhere}}\n");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: n}\nspec:\n  containers:\n  - {name: a, image: x}\n  - {name: b, image: x}\n  - {name: c, image: y}\n";
    let sources = project(&[
        ("environments/dev.yaml", ""),
        ("templates/a.yaml", &[config_map("a"), config_map("b"), config_map("c"), pod.to_owned()].join("---\n")),
    ]);
    let rendered = rendered(&sources, &select("dev", None, &[])).unwrap();
    let said: Vec<String> = rendered
        .desired
        .findings
        .iter()
        .filter(|finding| finding.code.0 != "unused-value")
        .map(|finding| {
            let places: Vec<String> = finding.origins.iter().map(ToString::to_string).collect();
            format!("{} at {}", finding.message, places.join(", "))
        })
        .collect();
    let expected = [
        "the image `x` has no digest, so it may change under the same name (and at 1 other place) at templates/a.yaml:18:22, templates/a.yaml:19:22",
        "the image `y` has no digest, so it may change under the same name at templates/a.yaml:20:22",
        "Namespace/nowhere is neither rendered nor provided by the cluster (and at 2 other places) at templates/a.yaml:3:32, templates/a.yaml:7:32, templates/a.yaml:11:32",
    ];
    assert_eq!(said, expected);
}

#[test]
fn values_that_nothing_reads_are_said_once() {
    let sources = project(&[
        ("environments/dev.yaml", "logging: {level: warn}\n"),
        ("templates/a.yaml", &format!("{CONFIG_MAP}data: {{a: \"{{{{ values.logging.level if false else 'x' }}}}\"}}\n")),
    ]);
    let rendered = rendered(&sources, &select("dev", None, &[])).unwrap();
    let said: Vec<String> =
        rendered.desired.findings.iter().map(|finding| format!("{} at {}", finding.message, finding.origins[0])).collect();
    let expected = [
        "no template reads `platform.name` at environments/base.yaml:2:18",
        "no template reads `platform.namespace` at environments/base.yaml:2:32",
        "no template reads `services` at environments/base.yaml:6:3",
        "nothing in this environment reads `logging.level` at environments/dev.yaml:1:18",
    ];
    assert_eq!(said, expected);
}

#[test]
fn versions_that_the_target_does_not_serve_are_refused_with_the_replacement() {
    let object = |version: &str, kind: &str| format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a, namespace: n}}\n");
    let definition = std::fs::read_to_string(crate::project::root().join("templates/crds/externalsecrets.yaml")).unwrap();
    let refused = |template: String, files: &[(&str, &str)], inputs: &RenderInputs| {
        let sources = project(&[&[("environments/dev.yaml", ""), ("templates/a.yaml", template.as_str())], files].concat());
        let environment = resolve(&sources, &select("dev", None, &[])).unwrap();
        render(&sources, &environment, inputs).unwrap_err().to_string()
    };
    let budget = refused(object("policy/v1beta1", "PodDisruptionBudget"), &[], &RenderInputs::default());
    let expected =
        "templates/a.yaml:1:1: Kubernetes 1.36 does not serve `policy/v1beta1` PodDisruptionBudget (kind-not-served); use `policy/v1`";
    assert_eq!(budget, expected);
    // The definition is known from the folder, or from the cluster.
    let secret = || object("external-secrets.io/v1beta1", "ExternalSecret");
    let expected = "templates/a.yaml:1:1: `external-secrets.io/v1beta1` ExternalSecret is not served, as its definition says (kind-not-served); use `external-secrets.io/v1`";
    assert_eq!(refused(secret(), &[("templates/crds/e.yaml", definition.as_str())], &RenderInputs::default()), expected);
    let of_cluster = RenderInputs { crds: vec![serde_yaml::from_str(&definition).unwrap()], target: None };
    assert_eq!(refused(secret(), &[], &of_cluster), expected);
}

#[test]
fn texts_and_numbers_keep_their_type_for_every_reader() {
    let sources = project(&[
        (
            "environments/dev.yaml",
            "config: {a: NO, b: 1.10, c: 1e7, d: 0777, e: 10000000, f: 2026-01-02}\nevent_bus: {topic: t, partitions: 1, retention_ms: 10000000}\n",
        ),
        (
            "templates/a.yaml",
            &format!(
                "{CONFIG_MAP}data:\n  $merge: ['{{{{ values.config }}}}']\n  r: '{{{{ values.event_bus.retention_ms | string }}}}'\n---\n{}",
                DEPLOYMENT.replace("{{ service.replicas }}", "{{ values.event_bus.partitions }}")
            ),
        ),
    ]);
    let rendered = rendered(&sources, &select("dev", None, &[])).unwrap();
    let data = &rendered.desired.objects[0].manifest.value()["data"];
    assert_eq!(*data, json!({"a": "NO", "b": "1.10", "c": "1e7", "d": "0777", "e": "10000000", "f": "2026-01-02", "r": "10000000"}));
    assert_eq!(rendered.desired.objects[1].manifest.value()["spec"]["replicas"], json!(1));
    let yaml = to_yaml(&manifests(&rendered));
    for line in [
        "  a: \"NO\"\n",
        "  b: \"1.10\"\n",
        "  c: \"1e7\"\n",
        "  d: \"0777\"\n",
        "  e: \"10000000\"\n",
        "  f: \"2026-01-02\"\n",
        "  replicas: 1\n",
    ] {
        assert!(yaml.contains(line), "{line} in\n{yaml}");
    }
}

#[test]
fn a_value_can_not_inject_yaml() {
    let sources = project(&[
        ("environments/dev.yaml", "config: {v: \"a\\nevil: true\", a: NO, b: x, t: '{{ values.purpose }}'}\n"),
        (
            "templates/a.yaml",
            &format!(
                "{CONFIG_MAP}data:\n  x: '{{{{ values.config.v }}}}'\n  y: '{{{{ values.config.a }}}}-{{{{ values.config.b }}}}'\n  z: '{{{{ values.config.t }}}}'\n"
            ),
        ),
    ]);
    let rendered = rendered(&sources, &select("dev", None, &[])).unwrap();
    let data = &rendered.desired.objects[0].manifest.value()["data"];
    assert_eq!(*data, json!({"x": "a\nevil: true", "y": "NO-x", "z": "{{ values.purpose }}"}));
}

#[test]
fn what_is_not_defined_has_a_place_and_shows_nothing_else() {
    let template = format!(
        "{CONFIG_MAP}data:\n  canary: '{{{{ values.config.canary }}}}'\n  a: \"{{{{ values.services.api.replcas }}}}\"\n  b: >-\n    first\n    {{{{ values.nope | upper }}}}\n"
    );
    let sources = project(&[("environments/dev.yaml", "config: {canary: kf83hfq02mslw9}\n"), ("templates/a.yaml", &template)]);
    let environment = resolve(&sources, &select("dev", None, &[])).unwrap();
    let errors = render(&sources, &environment, &RenderInputs::default()).unwrap_err();
    let expected = "\
templates/a.yaml:6:10: `values.services.api.replcas` is not defined (undefined); did you mean `replicas`?
templates/a.yaml:9:8: `values.nope` is not defined (undefined)";
    let text = errors.to_string();
    assert!(text.starts_with(expected), "{text}");
    assert!(!format!("{errors:?} {errors}").contains("kf83hfq02mslw9"));
}

#[test]
fn environments_differ_where_they_are_meant_to_or_where_one_forgot() {
    let staging = "config: {A: '1', B: x}\nservices: {api: {replicas: 3}}\n";
    let sources = project(&[
        ("environments/staging.yaml", staging),
        ("environments/same.yaml", "# other order\nservices:\n  api: {replicas: 3}\nconfig:\n  B: x # here\n  A: '1'\n"),
        ("environments/prod.yaml", "config: {A: '2'}\n"),
        ("templates/a.yaml", &format!("{CONFIG_MAP}data: '{{{{ values.config }}}}'\n---\n{DEPLOYMENT}")),
    ]);
    let compare = |a: &str, b: &str| env_diff(&sources, &select(a, None, &[]), &select(b, None, &[]), &RenderInputs::default()).unwrap();
    assert!(compare("staging", "same").is_empty(), "{}", compare("staging", "same"));
    let expected = "\
values, intended: both set it
  config.A
    - \"1\"  # environments/staging.yaml:1:13
    + \"2\"  # environments/prod.yaml:1:13
  services.api.replicas
    - 3  # environments/staging.yaml:2:28
    + 2  # environments/base.yaml:6:37
values, accidental: one of them does not set it
  config.B
    - \"x\"  # environments/staging.yaml:1:21
    + not set
objects
  ~ ConfigMap/n/c
      data.A: \"1\" -> \"2\"
      data.B: \"x\" -> not there
  ~ Deployment/n/api
      spec.replicas: 3 -> 2
";
    assert_eq!(compare("staging", "prod").to_string(), expected);
}
