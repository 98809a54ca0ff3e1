use std::path::PathBuf;
use std::sync::Once;
use std::time::Duration;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
use thiserror::Error;

/// Which cluster to talk to, and with which credentials.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// Kubeconfig file; the usual search (`KUBECONFIG`, `~/.kube/config`, then the in-cluster account) when `None`.
    pub kubeconfig: Option<PathBuf>,
    /// Context in that file; its current one when `None`.
    pub context: Option<String>,
}

/// Why no connection can be set up. Nothing has been sent yet.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The kubeconfig can't be read or used.
    #[error("failed to use the kubeconfig {place}")]
    Kubeconfig {
        /// Its path, or where it was searched.
        place: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// TLS or credentials can't be set up.
    #[error("failed to set up the connection to {server}")]
    Client {
        /// Address of the API server.
        server: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Reads the configuration and builds a client; sends nothing.
pub(crate) async fn client(connection: &Connection) -> Result<(kube::Client, String), ConnectError> {
    install_crypto();
    let mut config = configuration(connection).await?;
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    config.read_timeout = None;
    let server = config.cluster_url.to_string();
    match kube::Client::try_from(config) {
        Ok(client) => Ok((client, server)),
        Err(source) => Err(ConnectError::Client { server, source: Box::new(source) }),
    }
}

async fn configuration(connection: &Connection) -> Result<Config, ConnectError> {
    let options = KubeConfigOptions { context: connection.context.clone(), ..KubeConfigOptions::default() };
    let place = connection
        .kubeconfig
        .as_ref()
        .map_or_else(|| "(KUBECONFIG, ~/.kube/config or the in-cluster account)".to_owned(), |path| path.display().to_string());
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| ConnectError::Kubeconfig { place: place.clone(), source };
    match &connection.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path).map_err(|source| failed(Box::new(source)))?;
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|source| failed(Box::new(source)))
        }
        None if connection.context.is_some() => Config::from_kubeconfig(&options).await.map_err(|source| failed(Box::new(source))),
        None => Config::infer().await.map_err(|source| failed(Box::new(source))),
    }
}

/// Two TLS providers in one process make the first connection panic; the first caller decides for all.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
            // Someone installed one before us; theirs serves as well.
        }
    });
}
