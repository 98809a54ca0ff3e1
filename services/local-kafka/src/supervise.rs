//! From an empty folder to a broker that takes clients, and to its end.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use service_bus::{BusError, BusSettings, Ensured, ensure_topic};
use service_kit::Lifecycle;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::Config;
use crate::broker::{self, StartError};
use crate::folder::{Folder, FolderError};
use crate::installed::{Installed, InstalledError, find};

/// How often a broker that starts is asked.
const POLL: Duration = Duration::from_millis(200);
/// Longest time for the topics, once the broker listens.
const TOPICS: Duration = Duration::from_secs(30);
/// `ApiVersions` of version 0, numbered 1, from a client without a name: what any broker answers first.
const QUESTION: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];

#[derive(Debug, Error)]
pub(crate) enum SuperviseError {
    #[error(transparent)]
    Installed(#[from] InstalledError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the broker has no topics")]
    Topics(#[source] BusError),
    #[error("Kafka ended ({0})")]
    Ended(String),
}

/// What was found to be in order before anything is done.
pub(crate) struct Prepared {
    config: Config,
    folder: Folder,
    installed: Installed,
}

/// Checks what is installed, and takes the folder.
///
/// # Errors
/// What is not in order.
pub(crate) fn prepare(config: Config) -> Result<Prepared, SuperviseError> {
    let installed = find(&config.search_path, config.jars.as_deref())?;
    tracing::info!(java = %installed.java.display(), jars = %installed.jars.display(), "Kafka found");
    Ok(Prepared { folder: Folder::open(&config.data)?, installed, config })
}

/// How far the broker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Preparing,
    Starting,
    Open,
}

/// One broker, from its start to its end.
pub(crate) struct Supervisor {
    prepared: Prepared,
    stage: Mutex<Stage>,
}

impl Supervisor {
    pub(crate) fn new(prepared: Prepared) -> Self {
        Self { prepared, stage: Mutex::new(Stage::Preparing) }
    }

    /// Prepares what is missing, runs the broker and keeps it until it is to stop.
    ///
    /// # Errors
    /// If the broker does not start or does not stay, with its last words.
    pub(crate) async fn run(&self, lifecycle: Lifecycle) -> Result<(), SuperviseError> {
        let Prepared { config, folder, installed } = &self.prepared;
        tokio::select! {
            () = lifecycle.stopping() => return Ok(()),
            prepared = folder.prepare(installed, &config.listen) => prepared?,
        }
        self.reach(Stage::Starting);
        let settings = folder.write_settings(&config.listen, &folder.data())?;
        let mut kafka = broker::start(folder, installed, config.heap, &settings)?;
        let outcome = tokio::select! {
            () = lifecycle.stopping() => Ok(()),
            ended = kafka.ended() => return Err(SuperviseError::Ended(ended)),
            error = self.failed_to_open() => Err(error),
        };
        broker::shut_down(&mut kafka).await;
        outcome
    }

    /// Asks the broker a question, as a client would.
    ///
    /// # Errors
    /// Why it does not answer.
    pub(crate) async fn answers(&self) -> Result<(), String> {
        let stage = *self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        match stage {
            Stage::Preparing => Err("the log is being prepared".to_owned()),
            Stage::Starting => Err("Kafka is starting".to_owned()),
            Stage::Open => ask(self.address()).await.map_err(|error| format!("no answer from {}: {}", self.address(), error.kind())),
        }
    }

    /// Makes the topics and opens the broker for clients; returns only if that fails.
    async fn failed_to_open(&self) -> SuperviseError {
        while let Err(error) = ask(self.address()).await {
            tracing::debug!(cause = %error, "Kafka does not answer yet");
            sleep(POLL).await;
        }
        let settings = BusSettings { limit: TOPICS, ..BusSettings::new(vec![self.address().to_string()], "local-kafka") };
        for topic in &self.prepared.config.topics {
            match ensure_topic(&settings, topic).await {
                Ok(Ensured::Made) => tracing::info!(topic = topic.name, partitions = topic.partitions, "topic made"),
                Ok(Ensured::There(partitions)) if partitions == topic.partitions => {}
                Ok(Ensured::There(partitions)) => {
                    tracing::warn!(topic = topic.name, partitions, wanted = topic.partitions, "the topic stays as it was made");
                }
                Err(error) => return SuperviseError::Topics(error),
            }
        }
        self.reach(Stage::Open);
        tracing::info!(address = %self.address(), "takes clients");
        std::future::pending().await
    }

    fn address(&self) -> SocketAddr {
        self.prepared.config.listen.told()
    }

    fn reach(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }
}

/// Asks a broker which requests it knows, and takes any answer to that.
async fn ask(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&QUESTION).await?;
    let mut begin = [0; 8];
    stream.read_exact(&mut begin).await?;
    if begin.ends_with(&[0, 0, 0, 1]) { Ok(()) } else { Err(std::io::ErrorKind::InvalidData.into()) }
}
