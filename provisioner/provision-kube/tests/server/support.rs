//! An API server that answers as a script says: for what a real one can't be made to do at the right moment.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use provision_kube::{Connection, KubeCluster, Patience};
use serde_json::{Value, json};

/// What the server does with a request.
pub(crate) enum Reply {
    /// Answers with a status, further header lines and a body.
    Answer(u16, &'static str, Vec<u8>),
    /// Answers 200 and sends without end.
    Endless,
    /// Keeps the connection open and says nothing.
    Silence,
    /// Closes the connection without an answer.
    Cut,
}

impl Reply {
    pub(crate) fn json(value: &Value) -> Self {
        Self::Answer(200, "", value.to_string().into_bytes())
    }

    /// Answers with a failure as the API server words it.
    pub(crate) fn failure(code: u16, reason: &str) -> Self {
        let status = json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason});
        Self::Answer(code, "", status.to_string().into_bytes())
    }
}

/// A running server; it lives as long as the test's process.
pub(crate) struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts to answer; `script` gets the request line (as in `GET /version`) and how many such lines came before.
    ///
    /// What is served, it answers by itself: ConfigMaps and Secrets.
    pub(crate) fn start(script: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_bare(move |line, before| discovery(line).unwrap_or_else(|| script(line, before)))
    }

    /// Like [`Server::start`], and the script answers what is served as well.
    pub(crate) fn start_bare(script: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (script, seen) = (Arc::new(script), Arc::clone(&requests));
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
                std::thread::spawn(move || serve(connection, script.as_ref(), &seen));
            }
        });
        Self { address, requests }
    }

    /// Returns the request lines so far, without those that ask what is served.
    pub(crate) fn requests(&self) -> Vec<String> {
        let all = self.requests.lock().unwrap().clone();
        all.into_iter().filter(|line| !matches!(line.as_str(), "GET /api" | "GET /apis")).collect()
    }

    pub(crate) async fn cluster(&self, patience: Patience) -> KubeCluster {
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), kubeconfig.to_string()).unwrap();
        let connection = Connection { kubeconfig: Some(file.path().to_path_buf()), context: None };
        KubeCluster::connect(&connection, patience).await.unwrap()
    }
}

pub(crate) fn patience(total: u64, request: u64) -> Patience {
    Patience { total: Duration::from_millis(total), request: Duration::from_millis(request) }
}

fn serve(mut connection: TcpStream, script: &dyn Fn(&str, usize) -> Reply, seen: &Mutex<Vec<String>>) {
    let Some(line) = read_request(&connection) else { return };
    let before = {
        let mut seen = seen.lock().unwrap();
        let before = seen.iter().filter(|other| **other == line).count();
        seen.push(line.clone());
        before
    };
    // A client that went away is what some of the scripts are about.
    drop(answer(&mut connection, script(&line, before)));
}

fn answer(connection: &mut TcpStream, reply: Reply) -> std::io::Result<()> {
    match reply {
        Reply::Answer(status, headers, body) => {
            let length = body.len();
            write!(connection, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n")?;
            connection.write_all(&body)
        }
        Reply::Endless => {
            write!(connection, "HTTP/1.1 200 X\r\nConnection: close\r\n\r\n")?;
            loop {
                connection.write_all(&[b'x'; 4096])?;
            }
        }
        Reply::Silence => connection.read_to_end(&mut Vec::new()).map(drop),
        Reply::Cut => Ok(()),
    }
}

/// Reads a request to its end and returns its line without the protocol's version.
fn read_request(connection: &TcpStream) -> Option<String> {
    let mut reader = BufReader::new(connection);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    reader.read_exact(&mut vec![0; length]).ok()?;
    first.trim().rsplit_once(' ').map(|(line, _)| line.to_owned())
}

/// Answers the two requests that ask what is served.
pub(crate) fn discovery(line: &str) -> Option<Reply> {
    match line {
        "GET /api" => Some(Reply::json(&served())),
        "GET /apis" => Some(Reply::json(&json!({"kind": "APIGroupDiscoveryList", "items": []}))),
        _ => None,
    }
}

fn served() -> Value {
    let kind = |kind: &str, plural: &str| json!({"resource": plural, "scope": "Namespaced", "verbs": ["get", "list", "watch", "create", "patch"], "responseKind": {"kind": kind}});
    let resources = [kind("ConfigMap", "configmaps"), kind("Secret", "secrets")];
    json!({"kind": "APIGroupDiscoveryList", "items": [{"metadata": {"name": ""}, "versions": [{"version": "v1", "resources": resources}]}]})
}
