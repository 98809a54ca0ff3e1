//! The program as it runs: a repository that real clients clone from and push to.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use service_testing::Service;

const PROGRAM: &str = env!("CARGO_BIN_EXE_local-git");

fn git(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=t", "-c", "user.email=t@localhost"])
        .args(arguments)
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_TERMINAL_PROMPT", "0")])
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn the_demo_repository_can_be_cloned_and_pushed_to_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (repositories, port) = (folder.path().join("repositories"), free_port().to_string());
    // What a start that was killed leaves behind.
    std::fs::create_dir_all(repositories.join(".demo.git/objects")).unwrap();
    let variables = [("GIT_REPOSITORIES", repositories.to_str().unwrap()), ("GIT_PORT", port.as_str()), ("PATH", "/usr/bin:/bin")];
    let url = format!("git://127.0.0.1:{port}/demo.git");

    let mut service = Service::start(PROGRAM, &[], &variables).unwrap();
    service.wait_for_readiness(200).unwrap();
    let first = git(folder.path(), &["ls-remote", &url, "refs/heads/main"]).unwrap();
    git(folder.path(), &["clone", "--quiet", &url, "work"]).unwrap();
    let work = folder.path().join("work");
    std::fs::write(work.join("features/bad.md"), "no title\n").unwrap();
    let test = Command::new("make").arg("test").current_dir(&work).output().unwrap();
    assert!(!test.status.success(), "its own test must be able to fail");
    std::fs::write(work.join("features/bad.md"), "# A title\n").unwrap();
    assert!(Command::new("make").arg("test").current_dir(&work).output().unwrap().status.success());
    git(&work, &["switch", "--quiet", "--create", "feature/x"]).unwrap();
    git(&work, &["add", "--all"]).unwrap();
    git(&work, &["commit", "--quiet", "--message=x"]).unwrap();
    git(&work, &["push", "--quiet", "origin", "feature/x"]).unwrap();
    service.end_in_order().unwrap();
    let gone = git(folder.path(), &["ls-remote", &url]).unwrap_err();
    assert!(gone.contains("refused"), "{gone}");

    let mut again = Service::start(PROGRAM, &[], &variables).unwrap();
    again.wait_for_readiness(200).unwrap();
    assert_eq!(git(folder.path(), &["ls-remote", &url, "refs/heads/main"]).unwrap(), first);
    assert!(git(folder.path(), &["ls-remote", "--exit-code", &url, "refs/heads/feature/x"]).is_ok());
    again.end_in_order().unwrap();
    assert!(!repositories.join(".demo-files").exists() && !repositories.join(".demo.git").exists());
}

#[test]
fn a_taken_port_ends_it_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let variables = [("GIT_REPOSITORIES", folder.path().to_str().unwrap()), ("GIT_PORT", port.as_str()), ("PATH", "/usr/bin:/bin")];
    let mut service = Service::start(PROGRAM, &[], &variables).unwrap();
    assert_eq!(service.wait().unwrap().code(), Some(1));
    assert!(service.log().contains("the port may be taken"), "{}", service.log());
}
