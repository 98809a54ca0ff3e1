use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::api_server::ApiServer;
use crate::project::{Project, ended};

#[test]
fn equal_input_renders_to_equal_bytes() {
    let project = Project::new();
    let first = project.run(&["render", "--env", "dev"]).expect(0).stdout;
    assert!(first.contains("text: one"), "{first}");
    assert_eq!(first, project.run(&["render", "--env", "dev"]).expect(0).stdout);
    for folder in ["a", "b"] {
        project.run(&["render", "--env", "dev", "--out", folder]).expect(0);
    }
    let file = |folder: &str| std::fs::read(project.path(folder).join("default/configmap-settings.yaml")).unwrap();
    assert_eq!(file("a"), file("b"));
}

#[test]
fn a_project_with_mistakes_renders_nothing() {
    let project = Project::new();
    project.write("templates/platform/second.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"{{ values.nonsense }}\"}\n");
    let ended = project.run(&["render", "--env", "dev", "--out", "out"]).expect(2);
    ended.says(&["templates/platform/second.yaml:3:", "nonsense"]);
    assert!(!project.path("out").exists());
    assert_eq!(project.run(&["render", "--env", "dev"]).expect(2).stdout, "");
}

#[test]
fn differences_between_environments_have_their_own_exit_code() {
    let project = Project::new();
    project.run(&["env", "diff", "dev", "dev"]).expect(0);
    project.run(&["env", "diff", "dev", "staging"]).expect(3);
    project.run(&["env", "diff", "dev", "stagin"]).expect(2).says(&["staging"]);
}

#[test]
fn json_is_one_document() {
    let project = Project::new();
    let server = ApiServer::start(&project);
    for (arguments, code) in [
        (&["env", "list"][..], 0),
        (&["env", "schema"], 0),
        (&["env", "show"], 0),
        (&["env", "show", "--origin"], 0),
        (&["env", "show", "nothing.here"], 2),
        (&["env", "check"], 0),
        (&["env", "diff", "dev", "staging"], 3),
        (&["render"], 0),
        (&["render", "--set", "nothing.here=1"], 2),
        (&["explain", "logging.level"], 0),
        (&["explain", "ConfigMap/settings", "data.text"], 0),
        (&["plan"], 0),
        (&["plan", "--detailed-exit-code"], 3),
        (&["status"], 0),
        (&["drift"], 0),
        (&["history"], 0),
    ] {
        let all = [arguments, &["-o", "json", "--env", "dev", "--kubeconfig", server.kubeconfig()]].concat();
        let ended = project.run(&all).expect(code);
        let document: Result<Value, _> = serde_json::from_str(&ended.stdout);
        let document = document.unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", ended.stdout));
        assert_eq!(document.get("error").is_some(), code == 2, "{arguments:?}: {document}");
    }
}

#[test]
fn a_plan_that_is_refused_is_still_one_document() {
    let project = Project::new();
    let server = ApiServer::start(&project);
    project.write("templates/platform/other.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: default}\nspec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: main, image: a.example/b:1}]}}}\n");
    let ended = project.run(&["plan", "--env", "dev", "-o", "json", "--kubeconfig", server.kubeconfig()]).expect(2);
    let plan: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert!(plan["findings"].to_string().contains("kind-not-served"), "{plan}");
    ended.says(&["must be settled first"]);
}

#[test]
fn long_work_is_one_event_a_line_and_the_last_one_tells_the_end() {
    let project = Project::new();
    let server = ApiServer::start(&project);
    for (verb, code) in [(&["up"][..], 5), (&["up", "--yes"], 1), (&["down"], 0), (&["resume"], 0), (&["rollback"], 2)] {
        let arguments = [verb, &["--env", "dev", "-o", "json", "--kubeconfig", server.kubeconfig()]].concat();
        let ended = project.run(&arguments).expect(code);
        let events: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let last = events.last().unwrap_or_else(|| panic!("{verb:?} has no event"));
        assert_eq!((last["event"].as_str(), last["exit_code"].as_i64()), (Some("run_finished"), Some(code.into())), "{verb:?}: {last}");
        assert!(events.iter().all(|event| event["time"].is_string() && event["run"] == last["run"]), "{events:?}");
    }
}

/// Runs the binary on a terminal of its own, with this typed into it.
fn on_a_terminal(project: &Project, arguments: &str, typed: &str, set: &[(&str, &str)]) -> crate::project::Ended {
    let prepared = project.command(&[]);
    let mut command = Command::new("script");
    let line = format!("{} {arguments}", env!("CARGO_BIN_EXE_provision"));
    command.args(["-qec", &line, "/dev/null"]).current_dir(project.path("")).stdin(Stdio::piped()).stdout(Stdio::piped());
    for (name, value) in prepared.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("TERM", "xterm-256color").envs(set.iter().copied());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(input);
    ended(&output)
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let project = Project::new();
    let arguments = "render --env nowhere";
    assert!(on_a_terminal(&project, arguments, "", &[]).expect(2).stdout.contains('\u{1b}'), "a terminal shows colour");
    let plain = on_a_terminal(&project, arguments, "", &[("NO_COLOR", "1")]).expect(2);
    assert!(plain.stdout.contains("nowhere") && !plain.stdout.contains('\u{1b}'), "{plain:?}");
    let server = ApiServer::start(&project);
    for arguments in [&["render", "--env", "nowhere"][..], &["plan", "--env", "dev", "-vv"], &["up", "--yes", "--env", "dev"], &["--help"]]
    {
        let arguments = [arguments, &["--kubeconfig", server.kubeconfig()]].concat();
        let piped = project.run(&arguments);
        assert!(!format!("{}{}", piped.stdout, piped.stderr).contains('\u{1b}'), "{piped:?}");
    }
}

#[test]
fn a_no_on_a_terminal_refuses_and_changes_nothing() {
    let project = Project::new();
    let server = ApiServer::start(&project);
    let ended = on_a_terminal(&project, &format!("up --env dev --kubeconfig {}", server.kubeconfig()), "n\n", &[]).expect(5);
    assert!(ended.stdout.contains("Apply these changes to") && ended.stdout.contains("not confirmed"), "{ended:?}");
    assert!(!server.asked().iter().any(crate::api_server::Asked::writes), "{:?}", server.asked());
}

#[test]
fn a_reader_that_goes_away_ends_the_output_quietly() {
    let project = Project::new();
    project.text(&"x".repeat(400_000));
    for (arguments, code) in [(&["render", "--env", "dev"][..], 0), (&["render", "--env", "dev", "-o", "json"], 0)] {
        let mut child = project.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::with_capacity(16, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(!stderr.contains("panicked") && !stderr.contains("error:"), "{stderr}");
    }
}
