//! The addresses of Services: each connection goes to one of the ready pods, each in turn.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::publish::Publisher;
use crate::kubelet::{Report, WantedService};
use crate::notices::Notices;
use crate::runtime::Reports;

/// How long a pod may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Time between two attempts to listen at an address that is taken.
const RETRY: Duration = Duration::from_millis(500);
/// Rest after the machine has run out of descriptors.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// What a notice about a port is about.
const ADDRESS: &str = "address";
const PUBLISHED: &str = "published";

type Targets = Arc<Vec<SocketAddrV4>>;
type Subject = (String, String, u16);

/// The Services that are served now. Dropping it closes all of them.
#[derive(Debug)]
pub(crate) struct Services {
    reports: Reports,
    notices: Notices,
    publisher: Arc<Publisher>,
    ports: Mutex<BTreeMap<(Subject, SocketAddrV4, bool), Port>>,
}

#[derive(Debug)]
struct Port {
    targets: watch::Sender<Targets>,
    tasks: Vec<JoinHandle<()>>,
    notices: Notices,
    about: [String; 2],
}

impl Drop for Port {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        for about in &self.about {
            self.notices.withdraw(about);
        }
    }
}

impl Services {
    /// Serves nothing yet; published ports are remembered in the file.
    pub(crate) fn new(published: PathBuf, reports: Reports, notices: Notices) -> Self {
        Self { reports, notices, publisher: Arc::new(Publisher::new(published)), ports: Mutex::default() }
    }

    /// Serves exactly these from now on.
    pub(crate) fn set(&self, services: &[WantedService]) {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted = BTreeMap::new();
        for service in services {
            for port in &service.ports {
                let subject = (service.namespace.clone(), service.name.clone(), port.port);
                let key = (subject, SocketAddrV4::new(service.address, port.port), service.published);
                wanted.insert(key, Arc::new(port.targets.clone()));
            }
        }
        ports.retain(|key, _| wanted.contains_key(key));
        for (key, targets) in wanted {
            match ports.get(&key) {
                Some(port) => drop(port.targets.send_if_modified(|old| {
                    *old != targets && {
                        *old = targets;
                        true
                    }
                })),
                None => {
                    let port = self.open(&key, targets);
                    ports.insert(key, port);
                }
            }
        }
    }

    fn open(&self, (subject, address, published): &(Subject, SocketAddrV4, bool), targets: Targets) -> Port {
        let (sender, receiver) = watch::channel(targets);
        let (reports, notices) = (self.reports.clone(), self.notices.clone());
        let line = Line { subject: subject.clone(), reports, notices, targets: receiver, turn: Arc::default() };
        let about = [ADDRESS, PUBLISHED].map(|what| line.about(what));
        let mut tasks = vec![tokio::spawn(line.clone().serve(*address))];
        if *published {
            tasks.push(tokio::spawn(line.publish(Arc::clone(&self.publisher))));
        }
        Port { targets: sender, tasks, notices: self.notices.clone(), about }
    }
}

/// One port of a Service.
#[derive(Debug, Clone)]
struct Line {
    subject: Subject,
    reports: Reports,
    notices: Notices,
    targets: watch::Receiver<Targets>,
    turn: Arc<AtomicUsize>,
}

impl Line {
    /// Listens while there are ready pods, so that connections are refused when there is none.
    async fn serve(mut self, address: SocketAddrV4) {
        let mut connections = JoinSet::new();
        let about = self.about(ADDRESS);
        loop {
            if self.targets.wait_for(|targets| !targets.is_empty()).await.is_err() {
                return;
            }
            match TcpListener::bind(address).await {
                Ok(listener) => {
                    self.notices.withdraw(&about);
                    let mut targets = self.targets.clone();
                    tokio::select! {
                        () = self.accept(&listener, &mut connections) => {}
                        _ = targets.wait_for(|targets| targets.is_empty()) => {}
                    }
                }
                Err(error) => {
                    self.say(&about, &refusal(address, &error));
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// Listens at a port of 127.0.0.1 all the time: the port must not get lost.
    async fn publish(self, publisher: Arc<Publisher>) {
        let about = self.about(PUBLISHED);
        let (namespace, service, port) = self.subject.clone();
        let listener = loop {
            match publisher.listen(&self.subject).await {
                Ok((listener, note)) => {
                    match note {
                        Some(note) => self.say(&about, &note),
                        None => self.notices.withdraw(&about),
                    }
                    break listener;
                }
                Err(error) => {
                    self.say(&about, &format!("port {port} can't be published: {error}"));
                    sleep(RETRY).await;
                }
            }
        };
        if let Ok(std::net::SocketAddr::V4(address)) = listener.local_addr() {
            self.reports.send(Report::Published { namespace, service, port, address });
        }
        self.accept(&listener, &mut JoinSet::new()).await;
    }

    async fn accept(&self, listener: &TcpListener, connections: &mut JoinSet<()>) {
        loop {
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((client, _)) => {
                    let targets = Arc::clone(&self.targets.borrow());
                    let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                    connections.spawn(pass(client, targets, turn));
                }
                Err(error) if is_exhausted(&error) => sleep(EXHAUSTED).await,
                // Of one connection only: the client has gone already.
                Err(_) => {}
            }
        }
    }

    /// Names a notice about this port.
    fn about(&self, what: &str) -> String {
        let (namespace, service, port) = &self.subject;
        format!("service {namespace}/{service}/{port} {what}")
    }

    fn say(&self, about: &str, message: &str) {
        let (namespace, service, _) = &self.subject;
        self.notices.say(about, &format!("Service/{namespace}/{service}: {message}"));
    }
}

/// Passes one connection on, in both directions until each side has closed its own.
async fn pass(mut client: TcpStream, targets: Targets, turn: usize) {
    for step in 0..targets.len() {
        let target = targets[(turn + step) % targets.len()];
        let Ok(Ok(mut pod)) = timeout(CONNECT, TcpStream::connect(target)).await else { continue };
        // Small messages go out at once, as they came.
        drop((client.set_nodelay(true), pod.set_nodelay(true)));
        // One side broke off: the other one learns it by the end of its connection.
        drop(copy_bidirectional(&mut client, &mut pod).await);
        return;
    }
    // As near to a refusal as a connection that was accepted can come.
    drop(client.set_zero_linger());
}

fn is_exhausted(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(nix::errno::Errno::from_raw),
        Some(nix::errno::Errno::EMFILE | nix::errno::Errno::ENFILE | nix::errno::Errno::ENOBUFS | nix::errno::Errno::ENOMEM)
    )
}

pub(super) fn refusal(address: SocketAddrV4, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse if *address.ip() == Ipv4Addr::LOCALHOST => {
            format!("port {} of {} is taken by another program", address.port(), address.ip())
        }
        io::ErrorKind::AddrInUse => format!("{address} is taken: another program listens at all addresses with this port"),
        io::ErrorKind::PermissionDenied => {
            format!("{address} can't be had by an ordinary user: ports below 1024 belong to root; use another port in this environment")
        }
        _ => format!("{address} can't be listened at: {error}"),
    }
}
