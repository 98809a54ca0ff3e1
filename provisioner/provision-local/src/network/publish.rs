//! Ports of 127.0.0.1 that people use: free ones, and the same after a restart.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::proxy::refusal;
use crate::keeper::{read_record, write_record};

/// How long another supervisor of the same folder may take to let go of a port.
const HANDOVER: Duration = Duration::from_secs(5);

/// Remembers which port each Service is published at.
#[derive(Debug)]
pub(super) struct Publisher {
    path: PathBuf,
    writing: Mutex<()>,
}

impl Publisher {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, writing: Mutex::default() }
    }

    /// Listens at the port of before, or at a free one if there is none; says so when the port of before was taken.
    pub(super) async fn listen(&self, (namespace, service, port): &(String, String, u16)) -> io::Result<(TcpListener, Option<String>)> {
        let _writing = self.writing.lock().await;
        let name = format!("{namespace}/{service}/{port}");
        let mut known: BTreeMap<String, u16> = read_record(&self.path).map_err(io::Error::other)?.unwrap_or_default();
        let before = known.get(&name).copied();
        let mut note = None;
        if let Some(before) = before {
            let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, before);
            match bind_patiently(address).await {
                Ok(listener) => return Ok((listener, None)),
                Err(error) => note = Some(refusal(address, &error)),
            }
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let chosen = listener.local_addr()?.port();
        known.insert(name, chosen);
        write_record(&self.path, &known).map_err(io::Error::other)?;
        Ok((listener, note.map(|note| format!("{note}; the Service is at port {chosen} now"))))
    }
}

async fn bind_patiently(address: SocketAddrV4) -> io::Result<TcpListener> {
    let end = Instant::now() + HANDOVER;
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < end => sleep(Duration::from_millis(50)).await,
            result => return result,
        }
    }
}
