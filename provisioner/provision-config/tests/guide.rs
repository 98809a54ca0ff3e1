//! The project's own environments and templates: all render, the matrix of environments shows, the rules hold, and production
//! is the deployment guide but for the differences that are declared.
//!
//! `guide/*.yaml` holds the guide's objects, one a file; `guide/differences.yaml` what we render otherwise and why.

#![expect(clippy::unwrap_used, reason = "a test that can't read its own files must fail")]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use provision_config::{ConfigErrors, RenderInputs, Renderer, Selection, Sources, render, resolve};
use provision_model::Severity;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    variants: Vec<Variant>,
    differences: Vec<Difference>,
    added: Vec<Added>,
    not_rendered: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Variant {
    object: String,
    set: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    defects: Vec<String>,
    objects: Vec<String>,
    paths: Vec<String>,
    #[serde(default)]
    becomes: Option<Value>,
    #[serde(default)]
    absent: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Added {
    defects: Vec<String>,
    objects: Vec<String>,
}

/// One place where an object of ours is not as in the guide; an empty path is the whole object.
struct Found {
    object: String,
    path: String,
    ours: Option<Value>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guide")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn yaml<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn guide() -> Vec<Value> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| !path.ends_with("differences.yaml"));
    files.sort();
    files.iter().map(|path| yaml(path)).collect()
}

/// The project's files; templates are compiled once for all renderings of a test.
struct Project {
    sources: Sources,
    renderer: Renderer,
}

impl Project {
    fn read() -> Self {
        let sources = Sources::read(&root()).unwrap();
        let renderer = Renderer::new(&sources).unwrap_or_else(|errors| panic!("{errors}"));
        Self { sources, renderer }
    }

    fn render(&mut self, environment: &str, region: Option<&str>, sets: &[String]) -> Result<Vec<Value>, ConfigErrors> {
        let selection = Selection { environment: environment.to_owned(), region: region.map(str::to_owned), sets: sets.to_vec() };
        let environment = resolve(&self.sources, &selection)?;
        let rendered = self.renderer.render(&environment, &RenderInputs::default())?;
        Ok(rendered.desired.objects.iter().map(|object| object.manifest.value().clone()).collect())
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn name(object: &Value) -> String {
    format!("{}/{}", text(object, "/kind"), text(object, "/metadata/name"))
}

/// Tells whether `ours` is what we render for `guide`: same kind and name, or the name and a digest behind it.
fn is_same(guide: &Value, ours: &Value) -> bool {
    let (wanted, found) = (name(guide), name(ours));
    let digest = found.strip_prefix(&wanted).and_then(|rest| rest.strip_prefix('-'));
    wanted == found || digest.is_some_and(|digest| digest.len() == 10 && digest.chars().all(|c| c.is_ascii_hexdigit()))
}

/// Finds our form of an object, in the guide's namespace or else in another one.
fn counterpart<'a>(guide: &Value, ours: &'a [Value]) -> Option<(usize, &'a Value)> {
    let same: Vec<_> = ours.iter().enumerate().filter(|(_, object)| is_same(guide, object)).collect();
    let namespace = text(guide, "/metadata/namespace");
    same.iter().find(|(_, object)| text(object, "/metadata/namespace") == namespace).or(same.first()).copied()
}

/// Leaves out what means the same as saying nothing.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| (key.clone(), plain(value))).filter(|(key, value)| {
                let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
                let unset = *value == Value::Bool(false) && ["hostPID", "privileged"].contains(&key.as_str());
                !empty && !unset
            });
            Value::Object(entries.collect())
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        scalar => scalar.clone(),
    }
}

/// Names the items of a list: by what they are called or whom they concern, else by their number.
fn keyed(items: &[Value]) -> BTreeMap<String, &Value> {
    let mut keyed = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        let called = ["name", "secretKey"].into_iter().find_map(|field| item.get(field)?.as_str().map(str::to_owned));
        let peers = || ["to", "from"].into_iter().find_map(|field| Some(format!("{field} {}", item.get(field)?)));
        let mut key = called.or_else(peers).unwrap_or_else(|| index.to_string());
        while keyed.contains_key(&key) {
            key.push_str(" again");
        }
        keyed.insert(key, item);
    }
    keyed
}

/// Collects the places where `ours` differs, each as high up as all below it differs.
fn compare(path: &str, guide: Option<&Value>, ours: Option<&Value>, found: &mut Vec<(String, Option<Value>)>) {
    match (guide, ours) {
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            for key in left.keys().chain(right.keys()).collect::<BTreeSet<_>>() {
                let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(&below, left.get(key), right.get(key), found);
            }
        }
        (Some(Value::Array(left)), Some(Value::Array(right))) if left.iter().chain(right).all(Value::is_object) => {
            let (left, right) = (keyed(left), keyed(right));
            for key in left.keys().chain(right.keys()).collect::<BTreeSet<_>>() {
                compare(&format!("{path}[{key}]"), left.get(key).copied(), right.get(key).copied(), found);
            }
        }
        (left, right) if left == right => {}
        (_, right) => found.push((path.to_owned(), right.cloned())),
    }
}

/// Matches `text` with a pattern in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|tail| {
            tail.char_indices().map(|(at, _)| at).chain([tail.len()]).any(|at| matches(rest, tail.get(at..).unwrap_or_default()))
        }),
    }
}

/// Compares the guide with our renderings; gives the differences and the objects that the guide does not have.
fn findings(declared: &Declared) -> (Vec<Found>, BTreeSet<String>) {
    let mut project = Project::read();
    let mut production = |sets: &[String]| project.render("prod", None, sets).unwrap_or_else(|errors| panic!("{errors}"));
    let ours = production(&[]);
    let mut found = Vec::new();
    let mut taken = BTreeSet::new();
    for object in guide() {
        let variant = declared.variants.iter().find(|variant| variant.object == name(&object)).map(|variant| production(&variant.set));
        let standard = counterpart(&object, &ours);
        taken.extend(standard.map(|(index, _)| index));
        let other = variant.as_deref().and_then(|ours| counterpart(&object, ours));
        for mine in [Some(standard), variant.is_some().then_some(other)].into_iter().flatten() {
            let mut places = Vec::new();
            compare("", Some(&plain(&object)), mine.map(|(_, mine)| plain(mine)).as_ref(), &mut places);
            found.extend(places.into_iter().map(|(path, ours)| Found { object: name(&object), path, ours }));
        }
    }
    let added = ours.iter().enumerate().filter(|(index, _)| !taken.contains(index)).map(|(_, object)| name(object)).collect();
    (found, added)
}

#[test]
fn production_is_the_guide_but_for_the_declared_differences() {
    let declared: Declared = yaml(&folder().join("differences.yaml"));
    let (found, added) = findings(&declared);
    let mut problems = Vec::new();

    let explained: Vec<Cell<bool>> = found.iter().map(|_| Cell::new(false)).collect();
    for difference in &declared.differences {
        for (object, path) in difference.objects.iter().flat_map(|object| difference.paths.iter().map(move |path| (object, path))) {
            let mut used = false;
            for (found, explained) in found.iter().zip(&explained) {
                if !matches(object, &found.object) || !matches(path, &found.path) {
                    continue;
                }
                used = true;
                explained.set(true);
                if difference.absent && found.ours.is_some() || difference.becomes.is_some() && difference.becomes != found.ours {
                    problems.push(format!("{} {} is rendered otherwise than declared", found.object, found.path));
                }
            }
            if !used {
                problems.push(format!("{object} {path} ({}) does not differ any more", difference.defects.join(", ")));
            }
        }
    }
    let undeclared = found.iter().zip(&explained).filter(|(_, explained)| !explained.get());
    problems.extend(undeclared.map(|(found, _)| format!("{} {} differs undeclared, ours: {:?}", found.object, found.path, found.ours)));

    let patterns: Vec<&String> = declared.added.iter().flat_map(|added| &added.objects).collect();
    let surplus = added.iter().filter(|object| !patterns.iter().any(|pattern| matches(pattern, object)));
    problems.extend(surplus.map(|object| format!("{object} is added undeclared")));
    let missing = patterns.iter().filter(|pattern| !added.iter().any(|object| matches(pattern, object)));
    problems.extend(missing.map(|pattern| format!("{pattern} is not added any more")));

    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_defect_of_the_guide_is_declared_and_explained() {
    let declared: Declared = yaml(&folder().join("differences.yaml"));
    let page = fs::read_to_string(root().join("docs/guide-differences.md")).unwrap();
    let ids: BTreeSet<String> = (declared.differences.iter().flat_map(|difference| &difference.defects))
        .chain(declared.added.iter().flat_map(|added| &added.defects))
        .chain(&declared.not_rendered)
        .cloned()
        .collect();
    let defects: BTreeSet<String> = (1..=53).map(|number| format!("000-{number}")).collect();
    assert_eq!(defects.difference(&ids).collect::<Vec<_>>(), Vec::<&String>::new(), "defects without a declared difference");
    let unexplained: Vec<_> = ids.union(&defects).filter(|id| !page.contains(&format!("\n| {id} |"))).collect();
    assert_eq!(unexplained, Vec::<&String>::new(), "ids without a row in docs/guide-differences.md");
}

#[test]
fn every_environment_and_region_renders() {
    let mut project = Project::read();
    let mut count = 0;
    for environment in project.sources.environments() {
        let regions = project.sources.regions(&environment);
        for region in [None].into_iter().chain(regions.iter().map(|region| Some(region.as_str()))) {
            let result = project.render(environment.as_str(), region, &[]);
            assert!(result.as_ref().is_ok_and(|objects| objects.len() > 40), "{environment} {region:?}: {:?}", result.err());
            count += 1;
        }
    }
    assert_eq!(count, 9, "local, dev, staging, and prod and dr each alone and in two regions");
}

#[test]
fn the_matrix_of_environments_shows_in_what_is_rendered() {
    let mut project = Project::read();
    let has = |objects: &[Value], kind: &str| objects.iter().any(|object| text(object, "/kind") == kind);
    let config = |objects: &[Value], pointer: &str| {
        let config = objects.iter().find(|object| name(object) == "ConfigMap/feature-config").unwrap();
        text(config, pointer).to_owned()
    };
    //                         quota  budgets alerts backup local  log level
    for (environment, expected) in [
        ("dev", (false, false, false, false, true, "debug")),
        ("staging", (true, true, false, false, false, "debug")),
        ("prod", (false, true, true, true, false, "info")),
        ("dr", (false, true, true, true, false, "info")),
    ] {
        let objects = project.render(environment, None, &[]).unwrap();
        let kinds = ["ResourceQuota", "PodDisruptionBudget", "PrometheusRule", "CronJob", "Secret"].map(|kind| has(&objects, kind));
        let [quota, budgets, alerts, backup, local] = kinds;
        let level = config(&objects, "/data/LOG_LEVEL");
        assert_eq!((quota, budgets, alerts, backup, local, level.as_str()), expected, "{environment}");
        assert_ne!(has(&objects, "ExternalSecret"), local, "{environment}: secrets come from one place");
    }
    let mut bucket = |region| config(&project.render("prod", Some(region), &[]).unwrap(), "/data/OBJECT_STORE_BUCKET");
    assert_ne!(bucket("us-east"), bucket("eu-west"));
}

#[test]
fn the_image_of_sandboxes_is_pinned_like_every_other() {
    let sources = Sources::read(&root()).unwrap();
    let digest = format!("sha256:{}", "a".repeat(64));
    let pinned = format!("images.sandbox.digest={digest}");
    for (sets, variable, is_open) in [
        (&[][..], "registry.example.com/sandbox:v1".to_owned(), true),
        (&[pinned][..], format!("registry.example.com/sandbox@{digest}"), false),
    ] {
        let selection = Selection { environment: "prod".to_owned(), region: Some("us-east".to_owned()), sets: sets.to_vec() };
        let environment = resolve(&sources, &selection).unwrap();
        let rendered = render(&sources, &environment, &RenderInputs::default()).unwrap();
        let text = serde_json::to_string(&rendered.desired.objects.iter().map(|o| o.manifest.value()).collect::<Vec<_>>()).unwrap();
        assert!(text.contains(&format!("{{\"name\":\"SANDBOX_IMAGE\",\"value\":{variable:?}}}")), "{variable}");
        let said = "the image `registry.example.com/sandbox:v1` has no digest, so it may change under the same name";
        let found = rendered.desired.findings.iter().find(|finding| finding.message == said);
        assert_eq!(found.map(|finding| finding.severity == Severity::Fatal), is_open.then_some(true), "{variable}");
    }
}

#[test]
fn values_that_break_a_rule_do_not_render() {
    let mut project = Project::read();
    for (set, expected) in [
        ("event_bus.retention_bytes=107374182400", "would fill more than 70 %"),
        ("services.feature-worker.replicas=65", "65 pods share 64 partitions"),
        (
            "services.feature-worker.grace_seconds=300",
            "services.feature-worker.grace_seconds: must be at least sandbox.timeout_seconds + 30",
        ),
        ("sandbox.timeout_seconds=601", "services.sandbox-manager.grace_seconds"),
        ("sandbox.per_node=2", "must cover sandbox.per_node sandboxes"),
        ("services.feature-service.autoscaling.min=2", "min_available must be below the fewest pods"),
        ("services.feature-service.autoscaling.max=2", "max is below min"),
        ("backup.enabled=false", "an environment with production data needs backup.enabled"),
    ] {
        let errors = project.render("prod", None, &[set.to_owned()]).expect_err(set).to_string();
        assert!(errors.contains(expected), "{set}: {errors}");
    }
}
