//! Services that don't come up, and the verbs that look at them.

use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::project::{Project, all, deployment, read_until, wait};

const SLEEPS: &str = "exec sleep 1000";

#[test]
fn a_service_that_ends_again_and_again_is_shown_with_its_last_words() {
    let project = Project::new(&deployment("web", SLEEPS, ""));
    project.well(&["up", "--yes"]);
    project.objects(&deployment("web", "echo the key is missing; exit 3", ""));
    let begun = Instant::now();
    let words =
        ["[crash-loop]", "Deployment/small/web", "exit code 3", "│ the key is missing", "made by: templates/objects.yaml:1", "next:"];
    project.badly(&["up", "--yes"], 1, &words);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    project.objects(&deployment("web", SLEEPS, ""));
    project.well(&["up", "--yes"]);
}

#[test]
fn a_service_that_never_becomes_ready_is_shown_with_the_answer_to_its_probe() {
    let probe = "        readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1, failureThreshold: 2}\n";
    let project = Project::new(&deployment("web", SLEEPS, probe));
    let begun = Instant::now();
    project.badly(&["up", "--yes"], 1, &["[probe]", "/readyz", "connection refused", "next:"]);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn a_command_that_is_not_there_is_named() {
    let project = Project::new(&deployment("web", SLEEPS, "").replace("/bin/sh", "/nowhere/shell"));
    project.badly(&["up", "--yes"], 1, &["Deployment/small/web", "/nowhere/shell", "next:"]);
}

#[test]
fn names_that_are_none_get_a_suggestion() {
    let project = Project::new(&all(&[&deployment("web", SLEEPS, ""), &deployment("worker", SLEEPS, "")]));
    project.well(&["up", "--yes"]);
    project.badly(&["logs", "wroker"], 2, &["`wroker`", "did you mean `worker`? there are pods of: web, worker"]);
    project.badly(&["logs", "web", "--container", "wep"], 2, &["no container is called `wep`", "did you mean `web`?"]);
    project.badly(&["restart", "deployment/wbe", "--yes"], 2, &["`deployment/wbe`", "did you mean `web`? there are: web, worker"]);
    project.badly(&["restart", "nothing-like-it", "--yes"], 2, &["there are: web, worker"]);
    for verb in ["logs", "restart"] {
        let help = project.well(&[verb, "--help"]).stdout;
        assert!(help.contains("Examples:") && help.contains(&format!("provision {verb} feature-worker")), "{help}");
    }
}

#[test]
fn what_is_followed_ends_with_the_code_of_an_interrupt() {
    let project = Project::new(&deployment("web", "echo it begins; exec sleep 1000", ""));
    project.well(&["up", "--yes"]);
    let interrupted = |arguments: &[&str], text: &str, meanwhile: &dyn Fn()| {
        let mut child = project.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        read_until(&mut child, text);
        meanwhile();
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{arguments:?}");
    };
    interrupted(&["logs", "web", "--follow"], "it begins", &|| ());
    interrupted(&["status", "--watch"], "Deployment/small/web  1 of 1 pods are available", &|| ());
    let mut child = project.command(&["status", "--watch"]).stdout(Stdio::piped()).spawn().unwrap();
    read_until(&mut child, "Deployment/small/web  1 of 1 pods are available");
    project.well(&["down", "--yes"]);
    read_until(&mut child, "NotFound");
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    wait("it ends", || child.try_wait().unwrap());
}
