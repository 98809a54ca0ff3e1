//! The objects of this machine through the socket of their supervisor.

mod follow;
mod launch;
mod watching;

use std::io;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use provision_apply::{Access, Cluster, ClusterError, Deletion, Listing, LogLines, RequestCounts, ServiceAnswer, Watching, WriteMode};
use provision_model::{ApiResource, ApiSurface, ClusterIdentity, GroupKind, Manifest, ResourceId};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::time::timeout;

pub use self::launch::{Launch, LocalError};
use crate::keeper::ProcessRef;
use crate::protocol::{Ask, Envelope, FULL, Hello, LONGEST_ANSWER, Reply, VERSION, WireAnswer, WireListing, read_line, write_line};
use crate::{socket, store};

/// How long a supervisor that was told to end may take.
const HAND_OVER: Duration = Duration::from_secs(10);
/// Objects on one page of a list, as a Kubernetes client asks for them.
const PAGE: usize = 500;

/// Where the objects are and who keeps them.
#[derive(Debug, Clone)]
pub struct LocalSettings {
    /// State folder.
    pub state: PathBuf,
    /// Which build this is: a supervisor of a smaller one is asked to hand over.
    pub build: u64,
    /// How a supervisor is started when none answers.
    pub launch: Launch,
}

/// Where a published port of a Service is to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub service: String,
    /// Name of the port; empty if it has none.
    pub port: String,
    /// Address for clients on this machine.
    pub address: SocketAddrV4,
}

/// One machine as a cluster; clones share the counts of requests.
#[derive(Clone)]
pub struct LocalCluster(Arc<Shared>);

struct Shared {
    settings: LocalSettings,
    control: PathBuf,
    lists: AtomicU64,
    gets: AtomicU64,
    dry_runs: AtomicU64,
    writes: AtomicU64,
    watches: AtomicU64,
    others: AtomicU64,
}

impl LocalCluster {
    /// Reaches the supervisor of a state folder: starts one if none answers, and asks an older one to hand over.
    ///
    /// # Errors
    /// [`LocalError`].
    pub async fn open(settings: LocalSettings) -> Result<Self, LocalError> {
        store::refuse_newer(&settings.state.join("objects"))
            .map_err(|source| LocalError::Newer { path: settings.state.clone(), source: Box::new(source) })?;
        let control = socket::control(&settings.state).map_err(|source| LocalError::State {
            action: "make",
            path: settings.state.clone(),
            source,
        })?;
        let count = AtomicU64::default;
        let (lists, gets, dry_runs, writes, watches, others) = (count(), count(), count(), count(), count(), count());
        let cluster = Self(Arc::new(Shared { settings, control, lists, gets, dry_runs, writes, watches, others }));
        launch::ensure(&cluster).await?;
        Ok(cluster)
    }

    /// Returns the state folder.
    pub fn state(&self) -> &Path {
        &self.0.settings.state
    }

    /// Lists where the published ports are to be had.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn endpoints(&self) -> Result<Vec<Endpoint>, ClusterError> {
        let kind = GroupKind::new("", "Service");
        let surface = self.api().await?;
        let Some(resource) = surface.find(&kind, None) else { return Ok(Vec::new()) };
        let services = self.list(resource, None).await?.items;
        Ok(services.iter().flat_map(endpoints_of).collect())
    }

    /// Lists what is not as the manifests want it, for people: users and limits that are not enforced, ports that are taken.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn notices(&self) -> Result<Vec<String>, ClusterError> {
        Self::count(&self.0.others, 1);
        self.ask(|| Ask::Notices).await
    }

    /// Ends the supervisor, and returns when its process is gone; what runs goes on, and the next request starts another one.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn end_supervisor(&self) -> Result<(), ClusterError> {
        let ended = async {
            let process = i32::try_from(self.hello().await?.pid).ok().and_then(ProcessRef::find);
            // One inside this very process ends without it.
            let process = process.filter(|process| ProcessRef::own() != Some(*process));
            self.exchange(Ask::HandOver).await?;
            let Some(process) = process else { return Ok(()) };
            timeout(HAND_OVER, process.ended()).await.map_err(|_| io::ErrorKind::TimedOut.into())
        };
        match ended.await {
            Ok(()) => Ok(()),
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => Err(self.unreachable(error)),
        }
    }

    async fn hello(&self) -> io::Result<Hello> {
        match self.exchange(Ask::Hello).await? {
            Reply::Ok(value) => serde_json::from_value(value).map_err(io::Error::other),
            Reply::Error(error) => Err(io::Error::other(ClusterError::from(error))),
        }
    }

    /// Asks the supervisor that is there, if one is.
    async fn exchange(&self, ask: Ask) -> io::Result<Reply> {
        let mut stream = self.send(ask).await?;
        read_line(&mut stream, LONGEST_ANSWER).await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    async fn send(&self, ask: Ask) -> io::Result<BufReader<UnixStream>> {
        let stream = socket::connect(&self.0.control).await?;
        if !socket::is_ours(&stream) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the supervisor is another user's"));
        }
        let mut stream = BufReader::new(stream);
        write_line(&mut stream, &Envelope { protocol: VERSION, ask }).await?;
        Ok(stream)
    }

    /// Makes sure that a supervisor is there and sends it a request.
    async fn reach(&self, ask: impl Fn() -> Ask) -> Result<BufReader<UnixStream>, ClusterError> {
        match self.send(ask()).await {
            Ok(stream) => Ok(stream),
            Err(error) if is_absent(&error) => {
                launch::ensure(self).await.map_err(|error| self.unreachable(error))?;
                self.send(ask()).await.map_err(|error| self.unreachable(error))
            }
            Err(error) => Err(self.unreachable(error)),
        }
    }

    async fn ask<T: DeserializeOwned>(&self, ask: impl Fn() -> Ask) -> Result<T, ClusterError> {
        let mut stream = self.reach(ask).await?;
        let reply = read_line(&mut stream, LONGEST_ANSWER).await.map_err(|error| self.unreachable(error))?;
        match reply {
            Some(Reply::Ok(value)) => serde_json::from_value(value)
                .map_err(|_| ClusterError::Other { message: "the supervisor's answer can't be understood".to_owned(), source: None }),
            Some(Reply::Error(error)) => Err(self.told(error.into())),
            None => Err(self.unreachable(io::Error::from(io::ErrorKind::UnexpectedEof))),
        }
    }

    /// Adds to a refusal for want of space which folder has none.
    fn told(&self, error: ClusterError) -> ClusterError {
        match error {
            ClusterError::Server { subject, status: FULL, message } => {
                let message = format!("{message}; the state folder is {}", self.state().display());
                ClusterError::Server { subject, status: FULL, message }
            }
            other => other,
        }
    }

    fn unreachable(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClusterError {
        ClusterError::Unreachable { server: self.0.control.display().to_string(), source: source.into() }
    }

    fn count(counter: &AtomicU64, by: usize) {
        counter.fetch_add(u64::try_from(by).unwrap_or(0), Ordering::Relaxed);
    }
}

/// Tells whether nobody listens at the socket.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn endpoints_of(service: &Manifest) -> Vec<Endpoint> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let ports = list(&service.value()["spec"]["ports"]);
    let ingress = list(&service.value()["status"]["loadBalancer"]["ingress"]);
    let open = ingress.iter().flat_map(|entry| list(&entry["ports"]).into_iter().map(|port| (entry["ip"].clone(), port)));
    let endpoint = |((ip, open), port): ((Value, Value), &Value)| {
        Some(Endpoint {
            namespace: service.namespace()?.to_owned(),
            service: service.name().to_owned(),
            port: port["name"].as_str().unwrap_or_default().to_owned(),
            address: SocketAddrV4::new(ip.as_str()?.parse().ok()?, u16::try_from(open["port"].as_u64()?).ok()?),
        })
    };
    open.zip(&ports).filter_map(endpoint).collect()
}

impl Cluster for LocalCluster {
    async fn identity(&self) -> Result<ClusterIdentity, ClusterError> {
        Self::count(&self.0.others, 1);
        self.ask(|| Ask::Identity).await
    }

    async fn api(&self) -> Result<ApiSurface, ClusterError> {
        Self::count(&self.0.others, 1);
        self.ask(|| Ask::Api).await
    }

    async fn list(&self, resource: &ApiResource, namespace: Option<&str>) -> Result<Listing, ClusterError> {
        let ask = || Ask::List { resource: resource.clone(), namespace: namespace.map(str::to_owned) };
        let listing: Result<WireListing, ClusterError> = self.ask(ask).await;
        Self::count(&self.0.lists, listing.as_ref().map_or(1, |listing| listing.items.len().div_ceil(PAGE).max(1)));
        listing.map(Listing::from)
    }

    async fn get(&self, id: &ResourceId) -> Result<Option<Manifest>, ClusterError> {
        Self::count(&self.0.gets, 1);
        self.ask(|| Ask::Get { id: id.clone() }).await
    }

    async fn apply(&self, manifest: &Manifest, mode: WriteMode) -> Result<Manifest, ClusterError> {
        let dry_run = mode == WriteMode::DryRun;
        Self::count(if dry_run { &self.0.dry_runs } else { &self.0.writes }, 1);
        self.ask(|| Ask::Apply { manifest: manifest.clone(), dry_run }).await
    }

    async fn create(&self, manifest: &Manifest) -> Result<Manifest, ClusterError> {
        Self::count(&self.0.writes, 1);
        self.ask(|| Ask::Create { manifest: manifest.clone() }).await
    }

    async fn update(&self, manifest: &Manifest) -> Result<Manifest, ClusterError> {
        Self::count(&self.0.writes, 1);
        self.ask(|| Ask::Update { manifest: manifest.clone() }).await
    }

    async fn delete(&self, id: &ResourceId, uid: Option<&str>) -> Result<Deletion, ClusterError> {
        Self::count(&self.0.writes, 1);
        let accepted: bool = self.ask(|| Ask::Delete { id: id.clone(), uid: uid.map(str::to_owned) }).await?;
        Ok(if accepted { Deletion::Accepted } else { Deletion::Absent })
    }

    fn watch(&self, resource: &ApiResource, namespace: Option<&str>) -> Watching {
        Self::count(&self.0.watches, 1);
        watching::watch(self.clone(), resource.clone(), namespace.map(str::to_owned))
    }

    async fn logs(&self, pod: &ResourceId, container: &str, previous: bool, lines: u32) -> Result<Vec<String>, ClusterError> {
        Self::count(&self.0.others, 1);
        self.ask(|| Ask::Logs { pod: pod.clone(), container: container.to_owned(), previous, lines }).await
    }

    fn follow(&self, pod: &ResourceId, container: &str, lines: u32) -> LogLines {
        Self::count(&self.0.others, 1);
        follow::follow(self.clone(), pod.clone(), container.to_owned(), lines)
    }

    async fn get_through_service(&self, service: &ResourceId, port: &str, path: &str) -> Result<ServiceAnswer, ClusterError> {
        Self::count(&self.0.others, 1);
        let ask = || Ask::Through { service: service.clone(), port: port.to_owned(), path: path.to_owned() };
        let answer: WireAnswer = self.ask(ask).await?;
        Ok(answer.into())
    }

    /// Whoever reaches the socket may do everything.
    async fn missing_rights(&self, _wanted: &[Access]) -> Result<Vec<Access>, ClusterError> {
        Ok(Vec::new())
    }

    fn requests(&self) -> RequestCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RequestCounts {
            lists: read(&self.0.lists),
            gets: read(&self.0.gets),
            dry_runs: read(&self.0.dry_runs),
            writes: read(&self.0.writes),
            watches: read(&self.0.watches),
            others: read(&self.0.others),
        }
    }
}
