use std::process::Stdio;

use crate::api_server::{ApiServer, REFUSAL, TOKEN};
use crate::project::{Ended, Project, ended};

fn run(project: &Project, server: &ApiServer, arguments: &[&str], filter: Option<&str>) -> Ended {
    let mut command = project.command(&[arguments, &["--env", "dev", "--kubeconfig", server.kubeconfig()]].concat());
    if let Some(filter) = filter {
        command.env("RUST_LOG", filter);
    }
    ended(&command.output().unwrap())
}

fn logged(stderr: &str) -> bool {
    ["TRACE", "DEBUG", " INFO", " WARN", "ERROR"].iter().any(|level| stderr.contains(level))
}

#[test]
fn nothing_is_logged_unless_it_is_asked_for() {
    let project = Project::new();
    let server = ApiServer::start(&project);
    for filter in [None, Some(""), Some("off")] {
        let ended = run(&project, &server, &["plan"], filter).expect(0);
        assert!(!logged(&ended.stderr), "{filter:?}: {}", ended.stderr);
    }
}

#[test]
fn the_levels_tell_decisions_then_requests() {
    let project = Project::new();
    let server = ApiServer::start(&project);
    let decision = "provision::plan: decided resource=ConfigMap/default/settings action=Create reason=\"not there\"";
    let request = "provision::request: GET /version 200 in ";
    for (arguments, filter, has_decision, has_request) in [
        (&["plan", "-v"][..], None, true, false),
        (&["-vv", "plan"], None, true, true),
        (&["plan", "-vvv"], None, true, true),
        (&["plan"], Some("info"), true, false),
        (&["plan"], Some("trace"), true, true),
        (&["plan"], Some("provision::request=debug"), false, true),
        (&["plan"], Some("warn"), false, false),
        (&["plan", "-v"], Some("trace"), true, false),
    ] {
        let ended = run(&project, &server, arguments, filter).expect(0);
        let found = (ended.stderr.contains(decision), ended.stderr.contains(request));
        assert_eq!(found, (has_decision, has_request), "{arguments:?} {filter:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, run(&project, &server, &["plan"], None).stdout, "results are the same with logs");
    }
}

#[test]
fn a_request_without_an_answer_is_logged_too() {
    let project = Project::new();
    let server = ApiServer::start(&project);
    let config = std::fs::read_to_string(server.kubeconfig()).unwrap();
    let address = config.split("http://").nth(1).unwrap().split('"').next().unwrap();
    project.write("kubeconfig", &config.replace(address, "127.0.0.1:1"));
    let ended = run(&project, &server, &["plan", "-vv"], None).expect(1);
    ended.says(&["provision::request: GET /version no answer after "]);
}

/// A text in the forms in which it may stand in a log.
fn encodings(text: &str) -> Vec<String> {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let url: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("%{:02X}", u32::from(c)) }).collect();
    // Of base 64 the inner part, which does not depend on what stands before and behind.
    let base64 = "Y2FuYXJ5L3Rva2VuKzdmM2E5YzUxfmUy";
    vec![text.to_owned(), hex, url, text.replace('/', "\\/"), base64.to_owned()]
}

#[test]
fn no_filter_brings_credentials_or_answers_into_the_log() {
    let project = Project::new();
    let server = ApiServer::start(&project);
    for filter in ["trace", "kube_client=trace,kube=trace,hyper=trace,hyper_util=trace,tower_http=trace,rustls=trace,provision=debug"] {
        for verb in [&["plan"][..], &["up", "--yes"], &["status"], &["history"]] {
            let ended = run(&project, &server, verb, Some(filter));
            let log: Vec<&str> = ended.stderr.lines().filter(|line| logged(line)).collect();
            assert!(log.iter().any(|line| line.contains("provision::request: ")), "{verb:?}: {}", ended.stderr);
            assert!(log.iter().all(|line| line.contains(" provision")), "{verb:?}: {log:?}");
            let text = format!("{}{}", ended.stdout, ended.stderr);
            for encoding in encodings(TOKEN) {
                assert!(!text.contains(&encoding), "{filter} {verb:?} holds the token as {encoding}");
            }
            assert!(!log.iter().any(|line| line.contains(REFUSAL)), "{filter} {verb:?}: {log:?}");
        }
    }
    assert!(server.asked().iter().all(|asked| asked.authorization == format!("Bearer {TOKEN}")), "the token was sent");
    assert!(server.asked().iter().any(|asked| asked.method == "GET" && asked.path.contains("provision-system")), "a refusal was sent");
}

#[test]
fn a_wrong_filter_is_told_and_stops_nothing() {
    let project = Project::new();
    let server = ApiServer::start(&project);
    let ended = run(&project, &server, &["plan"], Some("provision=loud")).expect(0);
    ended.says(&["RUST_LOG is not used"]);
}

#[test]
fn a_log_that_nobody_reads_any_more_stops_nothing() {
    let project = Project::new();
    let mut child = project.command(&["render", "--env", "dev", "-vvv"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!output.stdout.is_empty());
}
