//! A corpus of mistakes: each file in `tests/mistakes` holds a small project and what must be said about it.
//!
//! The head says what the mistake is, then `set`, `env`, `region` as on the command line, then one `expect PLACE CODE` for each
//! finding, in order; files follow, each after a line `=== path`. A base is added where a case brings none.

use std::fs;
use std::path::Path;

use provision_config::{RenderInputs, Selection, Sources, render, resolve};
use provision_model::Severity;

const BASE: &str = "\
purpose: test
platform: {name: p, namespace: n}
target: {kubernetes: '1.36'}
provided: {objects: [Namespace/n]}
services:
  api: {kind: Deployment, replicas: 2}
config: {A: a}
";

struct Case {
    selection: Selection,
    expected: Vec<String>,
    files: Vec<(String, String)>,
}

fn read(path: &Path) -> Case {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut case = Case {
        selection: Selection { environment: "dev".to_owned(), ..Selection::default() },
        expected: Vec::new(),
        files: vec![("environments/base.yaml".to_owned(), BASE.to_owned())],
    };
    let mut parts = text.split("=== ");
    for line in parts.next().unwrap_or_default().lines().skip(1) {
        match line.trim_start_matches("# ").split_once(' ') {
            Some(("expect", rest)) => case.expected.push(rest.to_owned()),
            Some(("set", rest)) => case.selection.sets.push(rest.to_owned()),
            Some(("env", rest)) => rest.clone_into(&mut case.selection.environment),
            Some(("region", rest)) => case.selection.region = Some(rest.to_owned()),
            other => panic!("{}: {other:?} is no instruction", path.display()),
        }
    }
    for part in parts {
        let Some((name, content)) = part.split_once('\n') else { panic!("{}: a file without a name", path.display()) };
        case.files.push((name.to_owned(), content.to_owned()));
    }
    case
}

/// Says what is found, one line each: place and code.
fn found(case: &Case) -> Vec<String> {
    let sources = Sources::from_files(case.files.clone());
    let result = resolve(&sources, &case.selection).and_then(|environment| render(&sources, &environment, &RenderInputs::default()));
    let findings: Vec<_> = match result {
        Ok(rendered) => rendered.desired.findings.into_iter().filter(|finding| finding.severity == Severity::Fatal).collect(),
        Err(errors) => {
            for problem in &errors.problems {
                assert_eq!(problem.excerpt.is_some(), !problem.finding.origins.is_empty(), "{errors}");
            }
            errors.problems.into_iter().map(|problem| problem.finding).collect()
        }
    };
    let place = |finding: &provision_model::Finding| finding.origins.first().map_or_else(|| "-".to_owned(), ToString::to_string);
    findings.iter().map(|finding| format!("{} {}", place(finding), finding.code)).collect()
}

#[test]
fn every_mistake_is_found_at_its_place() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 60, "{} cases", paths.len());
    let mut wrong = String::new();
    for path in &paths {
        let case = read(path);
        let found = found(&case);
        if found.is_empty() || found != case.expected {
            let lines: Vec<String> = found.iter().map(|line| format!("# expect {line}\n")).collect();
            wrong.push_str(&format!("@@ {}\n{}", path.file_name().unwrap().display(), lines.concat()));
        }
    }
    assert!(wrong.is_empty(), "found instead:\n{wrong}");
}
