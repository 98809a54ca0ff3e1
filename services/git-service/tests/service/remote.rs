//! Remote repositories: git's own CGI behind a small HTTP server, and git's daemon.

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, LOCATION, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Runtime;

pub(crate) const PASSWORD: &str = "canary-Zq9xV2";

/// Runs git for a test and returns what it writes.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=Tester", "-c", "user.email=tester@localhost", "-c", "init.defaultBranch=main"])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// An HTTP server over a folder of bare repositories.
///
/// Paths below `/private/` ask for the password, those below `/hanging/` never answer, `/moved/` redirects.
pub(crate) struct HttpRemote {
    pub(crate) port: u16,
    hanging: Arc<AtomicUsize>,
    _runtime: Runtime,
}

#[derive(Clone)]
struct Site {
    folder: PathBuf,
    hanging: Arc<AtomicUsize>,
}

impl HttpRemote {
    pub(crate) fn start(folder: &Path) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let hanging = Arc::new(AtomicUsize::new(0));
        let site = Site { folder: folder.to_owned(), hanging: Arc::clone(&hanging) };
        let routes = Router::new().fallback(answer).with_state(site);
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, routes).await.unwrap();
        });
        Self { port, hanging, _runtime: runtime }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// Returns how many requests were left without an answer so far.
    pub(crate) fn hanging(&self) -> usize {
        self.hanging.load(Ordering::SeqCst)
    }
}

async fn answer(State(site): State<Site>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    if path.starts_with("/hanging/") {
        site.hanging.fetch_add(1, Ordering::SeqCst);
        return std::future::pending().await;
    }
    if let Some(rest) = path.strip_prefix("/moved/") {
        let place = format!("/{rest}?{}", request.uri().query().unwrap_or_default());
        return (StatusCode::MOVED_PERMANENTLY, [(LOCATION, place)]).into_response();
    }
    let expected = format!("Basic {}", STANDARD.encode(format!("robot:{PASSWORD}")));
    if path.starts_with("/private/") && request.headers().get(AUTHORIZATION).is_none_or(|given| given != expected.as_str()) {
        return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Basic realm=\"git\"")]).into_response();
    }
    cgi(&site.folder, &path.replacen("/private/", "/", 1), request).await
}

fn variables(folder: &Path, path: &str, request: &Request) -> HashMap<&'static str, String> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    HashMap::from([
        ("GIT_PROJECT_ROOT", folder.display().to_string()),
        ("GIT_HTTP_EXPORT_ALL", "1".to_owned()),
        ("GIT_CONFIG_GLOBAL", "/dev/null".to_owned()),
        ("REMOTE_USER", "robot".to_owned()),
        ("PATH_INFO", path.to_owned()),
        ("QUERY_STRING", request.uri().query().unwrap_or_default().to_owned()),
        ("REQUEST_METHOD", request.method().to_string()),
        ("CONTENT_TYPE", header("content-type")),
        ("HTTP_CONTENT_ENCODING", header("content-encoding")),
        ("HTTP_GIT_PROTOCOL", header("git-protocol")),
    ])
}

/// Asks `git http-backend`, as RFC 3875 has it.
async fn cgi(folder: &Path, path: &str, request: Request) -> Response {
    let variables = variables(folder, path, &request);
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap_or_default();
    let mut child = tokio::process::Command::new("git")
        .arg("http-backend")
        .envs(variables)
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let write = async move { drop(input.write_all(&body).await) };
    let (output, ()) = tokio::join!(child.wait_with_output(), write);
    respond(&output.unwrap().stdout)
}

fn respond(output: &[u8]) -> Response {
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let mut response = Response::builder();
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        response = match name {
            "Status" => response.status(value[..3].parse::<u16>().unwrap()),
            _ => response.header(name, value),
        };
    }
    response.body(Body::from(Bytes::copy_from_slice(&output[end + 4..]))).unwrap()
}

/// `git daemon` on a free port; ended when dropped.
pub(crate) struct Daemon {
    process: Child,
    pub(crate) port: u16,
}

impl Daemon {
    pub(crate) fn start(folder: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // Not `git daemon`: ending that would leave the program that it starts.
        let program = PathBuf::from(git(folder, &["--exec-path"])).join("git-daemon");
        let process = Command::new(program)
            .args(["--reuseaddr", "--export-all", "--enable=receive-pack", "--listen=127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", folder.display()))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let connects = || std::net::TcpStream::connect(("127.0.0.1", port)).ok();
        service_testing::eventually("git's daemon listens", connects).unwrap();
        Self { process, port }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("git://127.0.0.1:{}/{path}", self.port)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
