use crate::project::Project;

#[test]
fn mistakes_in_the_command_line_are_invalid_input_with_a_suggestion() {
    let project = Project::new();
    for (arguments, words) in [
        (&["rollbak"][..], &["'rollback'"][..]),
        (&["plan", "--env", "dev", "--detailed-exitcode"], &["'--detailed-exit-code'"]),
        (&["env", "shwo"], &["'show'"]),
        (&["plan", "-o", "jsn"], &["'json'"]),
        (&["up", "--timeout", "5"], &["90s, 10m or 2h"]),
        (&["up", "--parallel", "0"], &["1..=256"]),
        (&["status", "--watch", "--file", "x"], &["cannot be used with"]),
    ] {
        let ended = project.run(arguments).expect(2);
        assert_eq!(ended.stdout, "", "{arguments:?}");
        ended.says(words);
    }
}

#[test]
fn without_a_verb_the_help_is_shown() {
    let project = Project::new();
    let output = project.command(&[]).env_remove("PROVISION_STATE").output().unwrap();
    crate::project::ended(&output).expect(2).says(&["Usage: provision", "Examples:"]);
}

#[test]
fn without_an_environment_the_known_ones_are_named() {
    let project = Project::new();
    for arguments in [&["render"][..], &["plan"], &["up", "--yes"], &["env", "check"], &["explain", "logging.level"], &["status"]] {
        project.run(arguments).expect(2).says(&["which environment", "--env NAME", "dev, staging"]);
    }
    project.run(&["render", "--env", "stagin"]).expect(2).says(&["stagin", "staging"]);
}

#[test]
fn without_a_project_the_way_to_one_is_named() {
    let project = Project::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = project.command(arguments);
        crate::project::ended(&command.current_dir(elsewhere.path()).output().unwrap())
    };
    run(&["env", "list"]).expect(2).says(&["no `environments/` folder", "--root DIR"]);
    let named = run(&["env", "list", "--root", "."]).expect(2);
    assert!(named.stderr.contains("no `environments/` folder in .\n"), "{}", named.stderr);
    let root = project.path("");
    let listed = run(&["env", "list", "--root", root.to_str().unwrap()]).expect(0).stdout;
    assert_eq!(listed.split_whitespace().collect::<Vec<_>>(), ["dev", "staging"]);
}

#[test]
fn the_project_is_found_from_a_folder_inside_it() {
    let project = Project::new();
    let mut command = project.command(&["env", "list"]);
    let output = command.current_dir(project.path("templates/platform")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_flag_beats_the_variable_that_names_the_environment() {
    let project = Project::new();
    let purpose = |arguments: &[&str]| {
        let mut command = project.command(arguments);
        crate::project::ended(&command.env("PROVISION_ENV", "staging").output().unwrap()).expect(0).stdout
    };
    assert_eq!(purpose(&["render", "-o", "json"]), project.run(&["render", "-o", "json", "--env", "staging"]).stdout);
    assert_eq!(purpose(&["env", "show", "--env", "dev"]), project.run(&["env", "show", "--env", "dev"]).stdout);
    assert_ne!(purpose(&["env", "show"]), project.run(&["env", "show", "--env", "dev"]).stdout);
}

#[test]
fn a_cluster_that_is_away_is_a_failure_that_says_where() {
    let project = Project::new();
    project.run(&["plan", "--env", "dev", "--kubeconfig", "none"]).expect(1).says(&["kubeconfig none", "next:"]);
    let server = |port: &str| {
        format!(
            "{{apiVersion: v1, kind: Config, current-context: c, clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{port}'}}}}], contexts: [{{name: c, context: {{cluster: c, user: u}}}}], users: [{{name: u, user: {{}}}}]}}"
        )
    };
    project.write("away", &server("1"));
    for arguments in [&["up", "--yes"][..], &["up"], &["down", "--yes"], &["status"], &["drift"], &["history"]] {
        let arguments = [arguments, &["--env", "dev", "--kubeconfig", "away"]].concat();
        project.run(&arguments).expect(1).says(&["127.0.0.1:1", "check that the API server runs"]);
    }
}

#[test]
fn kubeconfig_may_list_several_files_and_the_flag_beats_it() {
    let project = Project::new();
    let server = crate::api_server::ApiServer::start(&project);
    project.write("empty", "{apiVersion: v1, kind: Config}");
    let run = |variable: &str, arguments: &[&str]| {
        let mut command = project.command(arguments);
        crate::project::ended(&command.env("KUBECONFIG", variable).output().unwrap())
    };
    run(server.kubeconfig(), &["plan", "--env", "dev"]).expect(0);
    run(&format!("{}:{}", project.path("empty").display(), server.kubeconfig()), &["plan", "--env", "dev"]).expect(0);
    run(&format!(":{}", server.kubeconfig()), &["plan", "--env", "dev"]).expect(0);
    run("elsewhere", &["plan", "--env", "dev", "--kubeconfig", server.kubeconfig()]).expect(0);
    run("elsewhere", &["plan", "--env", "dev"]).expect(1).says(&["elsewhere"]);
}
