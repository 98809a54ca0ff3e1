//! A real registry for one test, and a look into the images it holds.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use bytes::Bytes;
use flate2::read::GzDecoder;
use provision_image::{Digest, Image};
use tempfile::TempDir;

const INSTALL: &str = "docker-registry is not installed; install it with `apt-get install docker-registry`";
const USER: &str = "ci";
const PASSWORD: &str = "s3cret-canary";
/// `USER:PASSWORD` as htpasswd stores it.
const HTPASSWD: &str = "ci:$2b$04$D5FdoYZt6JYqEhuLHYO2I.VW4g9OTo7nSDAJU222e7KkGScNPc5Am\n";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RegistryMode {
    Open,
    Password,
    ReadOnly,
}

pub(crate) struct Registry {
    process: Child,
    address: String,
    folder: TempDir,
}

impl Registry {
    /// Starts a registry and waits until it answers.
    pub(crate) fn start(mode: RegistryMode) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let config = folder.path().join("config.yml");
        fs::write(&config, configuration(folder.path(), &address, mode)).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let started = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn();
        let process = started.unwrap_or_else(|error| panic!("{INSTALL} ({error})"));
        let registry = Self { process, address, folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(&registry.address).is_err() {
            let log = || fs::read_to_string(registry.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the registry did not start:\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) async fn get(&self, path: &str) -> Bytes {
        let accept = "application/vnd.oci.image.manifest.v1+json";
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(format!("http://{}{path}", self.address)).header("Accept", accept).send().await.unwrap();
        assert!(answer.status().is_success(), "GET {path}: {}", answer.status());
        answer.bytes().await.unwrap()
    }

    /// Removes a blob from a repository, as if its upload had never arrived.
    pub(crate) fn forget_blob(&self, repository: &str, digest: &Digest) {
        let links = format!("data/docker/registry/v2/repositories/{repository}/_layers/sha256/{}", digest.hex());
        fs::remove_dir_all(self.folder.path().join(links)).unwrap();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn configuration(folder: &Path, address: &str, mode: RegistryMode) -> String {
    let folder = folder.display();
    let read_only = mode == RegistryMode::ReadOnly;
    let mut text = format!(
        "version: 0.1\nlog: {{level: info}}\nhttp: {{addr: \"{address}\"}}\nstorage:\n  filesystem: {{rootdirectory: \"{folder}/data\"}}\n  \
         maintenance: {{readonly: {{enabled: {read_only}}}}}\n"
    );
    if mode == RegistryMode::Password {
        fs::write(format!("{folder}/htpasswd"), HTPASSWD).unwrap();
        text.push_str(&format!("auth: {{htpasswd: {{realm: test, path: \"{folder}/htpasswd\"}}}}\n"));
    }
    text
}

/// Returns a docker `config.json` with the password that [`RegistryMode::Password`] accepts.
pub(crate) fn docker_config(registry: &str) -> String {
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
    serde_json::json!({"auths": {registry: {"auth": auth}}}).to_string()
}

/// Instead of the head of an answer: the connection is closed without one.
pub(crate) const CUT: &str = "";

/// Reads a request to its end and returns its head.
fn read_request(connection: &TcpStream) -> String {
    let mut reader = BufReader::new(connection);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "a request ended early: {head}");
    }
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    reader.read_exact(&mut vec![0; length.unwrap_or(0)]).unwrap();
    head
}

/// Passes connections on to `target`; the first one is cut off after `bytes` from the client. Returns its own address.
pub(crate) fn cut_off_once(target: &str, bytes: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let target = target.to_owned();
    std::thread::spawn(move || {
        for (number, client) in listener.incoming().enumerate() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&target).unwrap());
            let (mut to_client, from_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut &from_server, &mut to_client).ok());
            std::thread::spawn(move || {
                let limit = if number == 0 { bytes } else { u64::MAX };
                std::io::copy(&mut (&client).take(limit), &mut &server).ok();
                for stream in [client, server] {
                    stream.shutdown(Shutdown::Both).ok();
                }
            });
        }
    });
    address
}

/// A server that answers each request as a function of its text says: for what a real registry can't be made to do.
pub(crate) struct Scripted {
    pub(crate) address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// Starts to answer; `script` gets the head of a request and the server's address, and returns the head of the answer and its body.
    pub(crate) fn start(script: impl Fn(&str, &str) -> (String, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, own) = (Arc::clone(&requests), address.clone());
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let request = read_request(&connection);
                let (head, body) = script(&request, &own);
                seen.lock().unwrap().push(request);
                if head == CUT {
                    continue;
                }
                let length = body.len();
                write!(connection, "HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").unwrap();
            }
        });
        Self { address, requests }
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Unpacks an image's layers over one another, as a container engine does.
pub(crate) fn unpack(image: &Image, folder: &Path) {
    for layer in image.blobs().filter(|blob| blob.media_type.contains("layer")) {
        let mut archive = tar::Archive::new(GzDecoder::new(layer.content.as_ref()));
        archive.set_preserve_permissions(true);
        archive.unpack(folder).unwrap();
    }
}

/// Runs a command with `root` as its root folder and returns its standard output.
pub(crate) fn run_in(root: &Path, command: &[&str]) -> String {
    // Without root, a user namespace gives the right to change the root folder.
    let output = Command::new("unshare").arg("--map-root-user").arg("chroot").arg(root).args(command).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
