//! What is secret stands in no output, no log and no command line, in no encoding.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use machine::{Machine, encodings};

/// Stands in the instruction of a feature, which is the user's own.
const CANARY: &str = "canary/7f3a9c51+e2~b8 d4";

/// Lists the files below a folder whose path fits.
fn files(folder: &Path, fits: &impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let below = |path: PathBuf| if path.is_dir() { files(&path, fits) } else { vec![path] };
    entries.flat_map(below).filter(|path| fits(path)).collect()
}

/// A log of the supervisor or of a run of a container.
fn is_log(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log")) || path.extension().is_some_and(|end| end == "log")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_output_log_or_command_line_holds_a_secret() {
    let machine = Machine::empty();
    let mut told = Vec::new();
    let mut run = |arguments: &[&str], code: i32| {
        // Everything that can be logged is.
        let output = machine.command(arguments).env("RUST_LOG", "trace").output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        told.push((arguments.join(" "), text));
    };
    run(&["up", "--yes", "--timeout", "300s"], 0);
    let (gateway, repository) = (machine.endpoint("gateway"), format!("{}/demo.git", machine.endpoint("git")));
    let id = machine.send(&gateway, &repository, CANARY).await;
    assert_eq!(machine.ended(&gateway, &[id], Duration::from_secs(60)).await[0].state, "COMPLETED");
    let mut secrets = machine.secrets().await;
    assert!(secrets.len() >= 8 && secrets.iter().any(|secret| secret.starts_with("postgres://feature:")), "{}", secrets.len());
    secrets.push(CANARY.to_owned());

    run(&["render"], 0);
    run(&["plan", "-o", "json", "--set", "logging.level=debug"], 0);
    run(&["drift"], 0);
    run(&["status", "-o", "json"], 0);
    run(&["history", "-o", "json"], 0);
    for workload in ["postgresql", "feature-service", "feature-worker", "llm-orchestrator", "git-service", "sandbox-manager", "api-gateway"]
    {
        run(&["logs", workload, "--tail", "5000"], 0);
    }
    let logs = files(&machine.local().join("logs"), &is_log).into_iter().chain(files(&machine.local().join("pods"), &is_log));
    for log in logs {
        told.push((log.display().to_string(), String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned()));
    }
    assert!(told.len() > 25, "the logs were found");
    let is_given = |path: &Path| path.file_name().is_some_and(|name| name == "run.json");
    let given = files(&machine.local().join("pods"), &is_given).into_iter().map(|path| fs::read_to_string(path).unwrap());
    let found = |text: String| secrets.iter().any(|secret| encodings(secret).iter().any(|encoding| text.contains(encoding)));
    assert!(given.map(found).any(|found| found), "they are found where they have to be: in what a program is started with");
    told.push(("the command lines".to_owned(), machine.all_processes().join("\n")));
    for (what, text) in &told {
        for encoding in secrets.iter().flat_map(|secret| encodings(secret)) {
            assert!(!text.contains(&encoding), "{what} holds a secret as {encoding}");
        }
    }
}
