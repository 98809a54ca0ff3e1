use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::project::Project;

/// The token that clients of the server send.
pub(crate) const TOKEN: &str = "canary/token+7f3a9c51~e2";
/// What the server says in each refusal.
pub(crate) const REFUSAL: &str = "canary-of-a-refusal";

/// What a client asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authorization: String,
}

impl Asked {
    /// Tells whether the request would change something.
    pub(crate) fn writes(&self) -> bool {
        self.method != "GET" && !self.path.contains("dryRun=All") && !self.path.contains("/selfsubject")
    }
}

/// An API server with nothing in it, which lets everybody do everything but stores nothing.
pub(crate) struct ApiServer {
    kubeconfig: PathBuf,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl ApiServer {
    /// Listens on loopback until the test's process ends; writes a kubeconfig into the project.
    pub(crate) fn start(project: &Project) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let log = log.clone();
                std::thread::spawn(move || serve(&stream, &log));
            }
        });
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{address}")}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {"token": TOKEN}}],
        });
        project.write("kubeconfig", &kubeconfig.to_string());
        Self { kubeconfig: project.path("kubeconfig"), asked }
    }

    pub(crate) fn kubeconfig(&self) -> &str {
        self.kubeconfig.to_str().unwrap()
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// Answers one request; the connection ends with it.
fn serve(mut stream: &TcpStream, log: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    if reader.read_line(&mut first).unwrap_or(0) == 0 {
        return;
    }
    let (mut authorization, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => value.clone_into(&mut authorization),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let mut words = first.split_whitespace().map(str::to_owned);
    let asked = Asked { method: words.next().unwrap(), path: words.next().unwrap(), authorization };
    log.lock().unwrap().push(asked.clone());
    let (status, answer) = answer(&asked);
    let answer = answer.to_string();
    let head =
        format!("HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
    // A client that is gone needs no answer.
    stream.write_all(format!("{head}{answer}").as_bytes()).ok();
}

fn answer(asked: &Asked) -> (u16, Value) {
    let path = asked.path.split('?').next().unwrap();
    let refused = |code: u16, reason: &str| {
        (code, json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": REFUSAL, "reason": reason, "code": code}))
    };
    match (asked.method.as_str(), path) {
        ("GET", "/version") => (200, json!({"major": "1", "minor": "36", "gitVersion": "v1.36.3"})),
        ("GET", "/api") => (200, served("", &[("configmaps", "ConfigMap"), ("secrets", "Secret"), ("namespaces", "Namespace")])),
        ("GET", "/apis") => (200, served("coordination.k8s.io", &[("leases", "Lease")])),
        ("GET", "/api/v1/namespaces/kube-system") => (200, json!({"metadata": {"name": "kube-system", "uid": "uid-of-the-cluster"}})),
        ("GET", _) if path.ends_with('s') => (200, json!({"metadata": {"resourceVersion": "1"}, "items": []})),
        ("GET", _) => refused(404, "NotFound"),
        ("POST", _) if path.contains("/selfsubject") => (201, json!({"status": {"allowed": true, "resourceRules": []}})),
        _ => refused(403, "Forbidden"),
    }
}

fn served(group: &str, kinds: &[(&str, &str)]) -> Value {
    let resources: Vec<Value> = kinds
        .iter()
        .map(|(plural, kind)| {
            let scope = if *plural == "namespaces" { "Cluster" } else { "Namespaced" };
            json!({"resource": plural, "scope": scope, "verbs": ["get", "list", "watch", "create", "patch", "delete"],
                "responseKind": {"group": group, "version": "v1", "kind": kind}})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
        "items": [{"metadata": {"name": group}, "versions": [{"version": "v1", "resources": resources}]}]})
}
