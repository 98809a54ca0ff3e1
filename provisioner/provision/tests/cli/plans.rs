use crate::api_server::{ApiServer, Asked};
use crate::project::{Ended, Project};

/// Runs a verb against a server in environment `dev`.
fn run(project: &Project, server: &ApiServer, arguments: &[&str]) -> Ended {
    project.run(&[arguments, &["--kubeconfig", server.kubeconfig()]].concat())
}

fn wrote_nothing(server: &ApiServer) {
    let writes: Vec<Asked> = server.asked().into_iter().filter(Asked::writes).collect();
    assert!(writes.is_empty(), "{writes:?}");
}

#[test]
fn without_a_terminal_and_without_yes_nothing_is_done() {
    let project = Project::new();
    let server = ApiServer::start(&project);
    let ended = run(&project, &server, &["up", "--env", "dev"]).expect(5);
    ended.says(&["ConfigMap/default/settings", "nobody can be asked", "--yes"]);
    wrote_nothing(&server);
    // The other way round: with `--yes` it begins to write, and this server refuses.
    run(&project, &server, &["up", "--env", "dev", "--yes"]).expect(1);
    assert!(server.asked().iter().any(Asked::writes));
}

#[test]
fn a_saved_plan_names_the_command_that_applies_it() {
    let project = Project::new();
    let server = ApiServer::start(&project);
    let arguments = ["plan", "--env", "dev", "--set", "logging.level=warn", "--allow-deletes", "7", "--out", "my plan"];
    let ended = run(&project, &server, &arguments).expect(0);
    ended.says(&["provision up --env dev --set logging.level=warn --allow-deletes 7 --plan 'my plan'"]);
    assert!(!project.path("my plan.part").exists());
}

#[test]
fn a_saved_plan_is_refused_when_it_would_now_be_another() {
    let project = Project::new();
    let server = ApiServer::start(&project);
    run(&project, &server, &["plan", "--env", "dev", "--out", "saved.plan"]).expect(0);
    let up = |arguments: &[&str]| run(&project, &server, &[&["up", "--plan", "saved.plan"], arguments].concat());
    up(&["--env", "staging"]).expect(5).says(&["made for dev", "this is staging"]);
    project.text("two");
    up(&["--env", "dev"]).expect(5).says(&["stale"]);
    wrote_nothing(&server);
    project.text("one");
    // It knows its environment, and it was looked at: no question is asked, and this server refuses the first write.
    up(&[]).expect(1);
    assert!(server.asked().iter().any(Asked::writes));
}

#[test]
fn a_file_that_is_no_saved_plan_is_invalid_input() {
    let project = Project::new();
    let server = ApiServer::start(&project);
    run(&project, &server, &["plan", "--env", "dev", "--out", "saved.plan"]).expect(0);
    let saved = std::fs::read_to_string(project.path("saved.plan")).unwrap();
    for (text, words) in [
        (String::new(), "no saved plan"),
        ("{}".to_owned(), "no saved plan"),
        (saved[..saved.len() / 2].to_owned(), "no saved plan"),
        (saved.replace("provision-plan/1", "provision-plan/9"), "provision-plan/9"),
        (saved.replace("\"one\"", "\"two\""), "changed after it was saved"),
    ] {
        project.write("bad.plan", &text);
        run(&project, &server, &["up", "--env", "dev", "--plan", "bad.plan"]).expect(2).says(&["bad.plan", words]);
    }
    run(&project, &server, &["up", "--env", "dev", "--plan", "missing.plan"]).expect(1).says(&["missing.plan"]);
    wrote_nothing(&server);
}

#[test]
fn a_plan_that_can_not_be_saved_is_a_failure_and_leaves_nothing() {
    let project = Project::new();
    let server = ApiServer::start(&project);
    std::fs::create_dir(project.path("taken")).unwrap();
    for file in ["taken", "nowhere/saved.plan"] {
        run(&project, &server, &["plan", "--env", "dev", "--out", file]).expect(1).says(&[file, "next:"]);
        assert!(!project.path(&format!("{file}.part")).exists());
    }
}

#[test]
fn where_nothing_is_recorded_the_verbs_say_so() {
    let project = Project::new();
    let server = ApiServer::start(&project);
    for (verb, code, word) in [
        ("status", 0, "nothing is recorded"),
        ("history", 0, "no release recorded"),
        ("drift", 0, "no drift"),
        ("resume", 0, "nothing to resume"),
        ("down", 0, "nothing is there"),
        ("rollback", 2, "provision history"),
    ] {
        let ended = run(&project, &server, &[verb, "--env", "dev"]).expect(code);
        assert!(format!("{}{}", ended.stdout, ended.stderr).contains(word), "{verb}: {ended:?}");
    }
    wrote_nothing(&server);
}
