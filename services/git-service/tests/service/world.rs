//! A git service beside its remotes, and calls to it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use service_testing::{Service, eventually};
use tempfile::TempDir;

use crate::PROGRAM;
use crate::remote::{HttpRemote, PASSWORD, git};

pub(crate) const STEP: &str = "01900000-0000-7000-8000-000000000001";

/// A patch that adds one file.
pub(crate) fn adding(path: &str, text: &str) -> String {
    format!("--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+{text}\n")
}

pub(crate) struct World {
    pub(crate) service: Service,
    pub(crate) http: HttpRemote,
    pub(crate) folder: TempDir,
    pub(crate) base: String,
}

impl World {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(variables: &[(&str, &str)]) -> Self {
        Self::start_by(&[PROGRAM], variables)
    }

    /// Starts the service as the first process of a process namespace, as in a container.
    pub(crate) fn start_as_first() -> Self {
        let new = if nix::unistd::geteuid().is_root() { &["--pid"][..] } else { &["--user", "--map-root-user", "--pid"] };
        Self::start_by(&[&["/usr/bin/unshare"], new, &["--fork", "--kill-child", PROGRAM]].concat(), &[])
    }

    fn start_by(command: &[&str], variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let remotes = folder.path().join("remotes");
        fs::create_dir(&remotes).unwrap();
        let base = make_remote(&remotes, "repo", &[("README.md", "hello\n".as_bytes()), ("src/main.rs", b"fn main() {}\n")]);
        let http = HttpRemote::start(&remotes);
        let service = serve(folder.path(), command, variables);
        Self { service, http, folder, base }
    }

    pub(crate) fn remotes(&self) -> PathBuf {
        self.folder.path().join("remotes")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    /// Ends the service as `kill -9` does and starts another one on the same folder.
    pub(crate) fn kill_and_restart(&mut self, variables: &[(&str, &str)]) {
        // Its guard kills it.
        self.service = Service::start("/bin/true", &[], &[]).unwrap();
        self.service = serve(self.folder.path(), &[PROGRAM], variables);
    }

    pub(crate) fn call(&self, method: &str, request: &Value) -> (u16, Value) {
        call(self.service.port("http").unwrap(), method, request)
    }

    /// Calls a method that must succeed.
    pub(crate) fn done(&self, method: &str, request: &Value) -> Value {
        let (status, answer) = self.call(method, request);
        assert_eq!(status, 200, "{method}: {answer}\n{}", self.service.log());
        answer
    }

    /// Calls a method that must fail; returns the code and the message.
    pub(crate) fn refused(&self, method: &str, request: &Value) -> (String, String) {
        let (status, answer) = self.call(method, request);
        assert_ne!(status, 200, "{answer}");
        (answer["code"].as_str().unwrap().to_owned(), answer["message"].as_str().unwrap().to_owned())
    }

    pub(crate) fn look(&self, url: &str) -> Value {
        json!({"remote": {"url": url}})
    }

    pub(crate) fn change(&self, url: &str, branch: &str, patch: &str) -> Value {
        json!({
            "remote": {"url": url}, "base": self.base, "branch": branch, "patch": patch, "message": "Add a file",
            "committed_at": "2026-01-02T03:04:05Z", "step_id": STEP,
        })
    }

    pub(crate) fn metrics(&self) -> String {
        service_testing::get(self.service.port("metrics").unwrap(), "/metrics").unwrap().body
    }

    /// Returns the command lines of running processes that work for this world's service, itself left out.
    pub(crate) fn workers(&self) -> Vec<String> {
        let mark = self.cache().display().to_string();
        processes_with(&mark, "GIT_CEILING_DIRECTORIES")
    }

    pub(crate) fn wait_for_no_workers(&self) {
        eventually("no git is left", || self.workers().is_empty().then_some(())).unwrap();
    }
}

/// Starts the service by a command, its program and arguments.
fn serve(folder: &Path, command: &[&str], variables: &[(&str, &str)]) -> Service {
    let base = folder.join("cache").display().to_string();
    let credentials = format!(
        r#"{{"robot": {{"username": "robot", "password": "{PASSWORD}"}}, "wrong": {{"username": "robot", "password": "x{PASSWORD}"}}}}"#
    );
    let mut all = vec![
        ("GIT_WORKSPACE_BASE_PATH", base.as_str()),
        ("ALLOW_LOOPBACK_URLS", "true"),
        ("GIT_CREDENTIALS", credentials.as_str()),
        // Git's processes inherit PATH: it marks them as this world's.
    ];
    let path = format!("/usr/local/bin:/usr/bin:/bin:{base}/none");
    all.push(("PATH", path.as_str()));
    all.extend(variables.iter().copied());
    let service = Service::start(command[0], &command[1..], &all).unwrap();
    service.wait_for_readiness(200).unwrap();
    service
}

/// Makes a bare repository with one commit on `main`, and returns that.
pub(crate) fn make_remote(remotes: &Path, name: &str, files: &[(&str, &[u8])]) -> String {
    let work = tempfile::tempdir().unwrap();
    let bare = remotes.join(name);
    git(remotes, &["init", "--quiet", "--bare", name]);
    git(&bare, &["config", "http.receivepack", "true"]);
    git(&bare, &["config", "uploadpack.allowFilter", "true"]);
    git(work.path(), &["init", "--quiet"]);
    for (path, content) in files {
        let path = work.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    std::os::unix::fs::symlink("README.md", work.path().join("link")).unwrap();
    git(work.path(), &["add", "--all", "--force"]);
    git(work.path(), &["commit", "--quiet", "--message=First"]);
    git(work.path(), &["push", "--quiet", bare.to_str().unwrap(), "HEAD:refs/heads/main"]);
    git(&bare, &["rev-parse", "main"])
}

pub(crate) fn call(port: u16, method: &str, request: &Value) -> (u16, Value) {
    let path = format!("/feature.git.v1.GitService/{method}");
    let answer = service_testing::post(port, &path, &request.to_string()).unwrap();
    let body = serde_json::from_str(&answer.body);
    (answer.status, body.unwrap_or_else(|_| panic!("{}: {}", answer.status, answer.body)))
}

/// Sends a request whose answer is not text; returns the stream after the head.
pub(crate) fn stream(port: u16, method: &str, request: &Value) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let body = request.to_string();
    let length = body.len();
    // HTTP/1.0: the body ends with the connection and has no chunks.
    write!(stream, "POST /feature.git.v1.GitService/{method} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.contains(" 200 ") && head.contains("application/x-tar"), "{head}");
    stream
}

/// Returns the command lines of processes whose environment holds both texts.
pub(crate) fn processes_with(mark: &str, other: &str) -> Vec<String> {
    let holds = |environment: &[u8], text: &str| environment.windows(text.len()).any(|window| window == text.as_bytes());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
        if holds(&environment, mark) && holds(&environment, other) {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push(String::from_utf8_lossy(&line).replace('\0', " "));
        }
    }
    found
}
