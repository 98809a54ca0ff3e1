//! The architecture as a table: which of our crates may depend on which.
#![expect(clippy::unwrap_used, reason = "a test fails where cargo does not answer as it should")]

use std::collections::BTreeMap;
use std::process::Command;

const EDGES: &[(&str, &[&str])] = &[
    ("provision-model", &[]),
    ("provision-saga", &[]),
    ("provision-config", &["provision-model"]),
    ("provision-plan", &["provision-model"]),
    ("provision-objects", &["provision-model"]),
    ("provision-apply", &["provision-model", "provision-saga", "provision-objects"]),
    ("provision-kube", &["provision-model", "provision-apply"]),
    ("provision-secrets", &["provision-model", "provision-apply"]),
    ("provision-image", &[]),
    ("provision-local", &["provision-model", "provision-apply", "provision-objects"]),
    (
        "provision",
        &[
            "provision-model",
            "provision-saga",
            "provision-config",
            "provision-plan",
            "provision-apply",
            "provision-kube",
            "provision-local",
            "provision-secrets",
            "provision-image",
        ],
    ),
    ("service-kit", &[]),
    ("service-testing", &[]),
    ("feature-api", &[]),
    ("service-bus", &[]),
    ("feature-store", &["feature-api"]),
    ("api-gateway", &["service-kit"]),
    ("feature-service", &["service-kit", "feature-api", "feature-store", "service-bus"]),
    ("repository-service", &["service-kit", "feature-api"]),
    ("feature-worker", &["service-kit", "feature-api", "feature-store", "service-bus"]),
    ("git-service", &["service-kit", "feature-api"]),
    ("llm-orchestrator", &["service-kit", "feature-api"]),
    ("sandbox-manager", &["service-kit", "feature-api"]),
    ("local-bus", &["service-kit", "service-bus"]),
    ("local-git", &["service-kit"]),
    ("local-kafka", &["service-kit", "service-bus"]),
    ("local-models", &["service-kit"]),
    ("local-postgres", &["service-kit"]),
    ("local-store", &["service-kit"]),
    ("lab", &[]),
    ("machine", &["provision-model", "provision-apply", "provision-local", "service-testing"]),
    (
        "integration",
        &[
            "provision-model",
            "provision-saga",
            "provision-config",
            "provision-plan",
            "provision-apply",
            "provision-kube",
            "provision-secrets",
            "provision-image",
            "lab",
            "machine",
        ],
    ),
];

/// Returns each of our crates with those of our crates that it depends on, tests left out.
fn actual() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let name = |package: &serde_json::Value| package["name"].as_str().unwrap().to_owned();
    let ours: Vec<String> = packages.iter().map(name).collect();
    let edges = |package: &serde_json::Value| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        dependencies.filter(|dependency| dependency["kind"].is_null()).map(name).filter(|name| ours.contains(name)).collect()
    };
    packages.iter().map(|package| (name(package), edges(package))).collect()
}

#[test]
fn crates_depend_only_on_the_edges_listed_here() {
    let allowed: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    for (package, dependencies) in actual() {
        let Some(allowed) = allowed.get(package.as_str()) else { panic!("{package} is not in the table of edges") };
        for dependency in dependencies {
            assert!(allowed.contains(&dependency.as_str()), "{package} must not depend on {dependency}");
        }
    }
}
