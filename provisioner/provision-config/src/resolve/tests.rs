use super::*;

const BASE: &str = "\
purpose: test
platform: {name: p, namespace: n}
target: {kubernetes: '1.36'}
services:
  api: {kind: Deployment, replicas: 2}
config: {A: NO, B: 1.10, C: 1e7, D: 0777, E: 10000000, F: 2026-01-02}
";

fn sources(files: &[(&str, &str)]) -> Sources {
    Sources::from_files([("environments/base.yaml", BASE)].iter().chain(files).map(|(path, text)| (*path, *text)))
}

fn select(environment: &str, region: Option<&str>, sets: &[&str]) -> Selection {
    Selection {
        environment: environment.to_owned(),
        region: region.map(str::to_owned),
        sets: sets.iter().map(|set| (*set).to_owned()).collect(),
    }
}

#[test]
fn an_unknown_key_names_what_was_meant_and_who_set_it() {
    let sources = sources(&[("environments/prod.yaml", "# prod\nservices:\n  api:\n    replcas: 5\n")]);
    let errors = resolve(&sources, &select("prod", None, &[])).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "environments/prod.yaml:4:5: unknown key `replcas` in `services.api` (unknown-key); did you mean `replicas`? (set by: environments/base.yaml:5:27)"
    );
    let excerpt = errors.problems[0].excerpt.as_ref().unwrap();
    assert_eq!((excerpt.text.as_str(), excerpt.column, excerpt.length), ("    replcas: 5", 5, 7));
}

#[test]
fn texts_keep_their_lexical_form() {
    let environment = resolve(&sources(&[("environments/dev.yaml", "")]), &select("dev", None, &[])).unwrap();
    let found: Vec<&str> = environment.settings.config.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(found, ["NO", "1.10", "1e7", "0777", "10000000", "2026-01-02"]);
}

#[test]
fn a_value_knows_all_its_layers() {
    let sources = sources(&[
        ("environments/prod.yaml", "services:\n  api:\n    replicas: 3\n"),
        ("environments/prod/eu-west.yaml", "services: {api: {replicas: 5}}\n"),
    ]);
    let environment = resolve(&sources, &select("prod", Some("eu-west"), &["services.api.replicas=7"])).unwrap();
    let entries = environment.entries();
    let entry = entries.iter().find(|entry| entry.path == "services.api.replicas").unwrap();
    assert_eq!(entry.value, 7);
    assert_eq!(entry.origin.as_ref().unwrap().to_string(), "--set:1:23");
    let overridden: Vec<String> = entry.overridden.iter().map(|layer| format!("{} {}", layer.value, layer.origin)).collect();
    assert_eq!(overridden, ["5 environments/prod/eu-west.yaml:1:28", "3 environments/prod.yaml:3:15", "2 environments/base.yaml:5:37"]);
    assert_eq!(environment.release.as_str(), "prod-eu-west");
}

#[test]
fn overrides_are_typed_by_the_schema() {
    let sources = sources(&[("environments/dev.yaml", "")]);
    let environment =
        resolve(&sources, &select("dev", None, &["config.A=on", "monitoring.enabled=true", "services.api.args=[a, '1']"])).unwrap();
    assert_eq!(environment.settings.config.get("A").map(String::as_str), Some("on"));
    assert!(environment.settings.monitoring.enabled);
    assert_eq!(environment.settings.services.get("api").unwrap().args, ["a", "1"]);
    for (set, expected) in [
        ("services.apy.replicas=1", "--set:1:10: nothing to override: no layer has an entry `apy` (set-missing); did you mean `api`?"),
        ("services.api.replicas=x", "--set:1:23: `services.api.replicas` is `x`; expected a whole number (wrong-type)"),
        ("services.api.replcas=1", "--set:1:14: unknown key `replcas` in `services.api` (unknown-key)"),
        ("nonsense", "--set:1:1: `nonsense` is no override"),
        ("a..b=1", "--set:1:3: the path `a..b`: a name is missing"),
        ("services.api.ports[0]=1", "--set:1:19: an override can't reach into a list"),
        ("services.api.args=[a", "--set:1:19: the value `[a`"),
    ] {
        let message = resolve(&sources, &select("dev", None, &[set])).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{set}: {message}");
    }
}

#[test]
fn a_missing_environment_or_region_names_those_there_are() {
    let sources = sources(&[("environments/prod.yaml", ""), ("environments/dev.yaml", ""), ("environments/prod/eu-west.yaml", "")]);
    for (selection, expected) in [
        (select("prd", None, &[]), "did you mean `prod`? There are `dev`, `prod`"),
        (select("canary", None, &[]), "there are `dev`, `prod`"),
        (select("prod", Some("eu-wst"), &[]), "did you mean `eu-west`?"),
        (select("dev", Some("eu-west"), &[]), "there is no region at all"),
        (select("../x", None, &[]), "is no valid name"),
    ] {
        let message = resolve(&sources, &selection).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn the_schema_is_closed_and_documented() {
    let schema = crate::json_schema();
    assert_eq!(schema["additionalProperties"], false);
    let undocumented: Vec<&String> =
        schema["properties"].as_object().unwrap().iter().filter(|(_, s)| s.get("description").is_none()).map(|(k, _)| k).collect();
    assert!(undocumented.is_empty(), "{undocumented:?}");
}
