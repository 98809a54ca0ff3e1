//! From an empty folder to a server that takes clients, and to its end.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Mutex as StdMutex, PoisonError};
use std::time::Duration;

use nix::unistd::geteuid;
use service_kit::Lifecycle;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions, Connection};
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::Config;
use crate::cluster::{ClusterError, Folder, SUPERUSER};
use crate::programs::{Programs, ProgramsError, choose, find};
use crate::server::{self, ServerError, end_leftover};

/// How often a server that starts is asked.
const POLL: Duration = Duration::from_millis(50);
/// How often a start is tried while processes of a killed server still hold its memory, and the time between.
const TRIES: u32 = 40;
const BETWEEN_TRIES: Duration = Duration::from_millis(250);
/// What the server says then.
const MEMORY_HELD: &str = "pre-existing shared memory block";

#[derive(Debug, Error)]
pub(crate) enum SuperviseError {
    #[error("PostgreSQL does not run as root: run this program as another user (`runAsUser` of the container)")]
    Root,
    #[error("failed to use the folder `{}` (POSTGRES_DATA)", path.display())]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("another program serves the folder `{}`", .0.display())]
    InUse(PathBuf),
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("failed to set up role `{role}` and database `{database}`")]
    Role {
        role: String,
        database: String,
        #[source]
        source: sqlx::Error,
    },
    #[error("PostgreSQL ended ({0})")]
    Ended(String),
}

/// What was found to be in order before anything is done.
pub(crate) struct Prepared {
    config: Config,
    folder: Folder,
    programs: Programs,
    /// Its lock ends with the process, however that ends.
    _lock: File,
}

/// Checks who runs this, the folder and the installed version; the folder becomes the working folder.
///
/// # Errors
/// What is not in order.
pub(crate) async fn prepare(config: Config) -> Result<Prepared, SuperviseError> {
    if geteuid().is_root() {
        return Err(SuperviseError::Root);
    }
    let folder = Folder::open(&config.data)?;
    let wrong = |source| SuperviseError::Folder { path: config.data.clone(), source };
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(folder.root().join("lock")).map_err(wrong)?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => SuperviseError::InUse(config.data.clone()),
        TryLockError::Error(source) => wrong(source),
    })?;
    // The socket is reached from here: its absolute path may be longer than a socket's can be.
    std::env::set_current_dir(folder.root()).map_err(wrong)?;
    let made_by = folder.made_by()?;
    let programs = choose(&find(&config.versions, &config.search_path).await, made_by, &folder.data(), &config.versions)?;
    tracing::info!(programs = %programs.folder.display(), version = programs.major, "PostgreSQL found");
    Ok(Prepared { config, folder, programs, _lock: lock })
}

/// How far the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Making,
    Starting,
    Open,
}

/// One server, from its start to its end.
pub(crate) struct Supervisor {
    prepared: Prepared,
    stage: StdMutex<Stage>,
    /// What readiness asks through, kept so that a probe costs no new process.
    asked: Mutex<Option<PgConnection>>,
}

impl Supervisor {
    pub(crate) fn new(prepared: Prepared) -> Self {
        Self { prepared, stage: StdMutex::new(Stage::Making), asked: Mutex::default() }
    }

    /// Makes what is missing, runs the server and keeps it until it is to stop.
    ///
    /// # Errors
    /// If the server does not start or does not stay, with its last words.
    pub(crate) async fn run(&self, lifecycle: Lifecycle) -> Result<(), SuperviseError> {
        let Prepared { folder, programs, .. } = &self.prepared;
        tokio::select! {
            () = lifecycle.stopping() => return Ok(()),
            made = self.make() => made?,
        }
        let mut tries = 0;
        loop {
            self.reach(Stage::Starting);
            let mut postgres = server::start(folder, programs, &self.listen())?;
            let ended = tokio::select! {
                () = lifecycle.stopping() => None,
                ended = postgres.ended() => Some(ended),
                error = self.failed_to_open() => {
                    server::shut_down(&mut postgres).await;
                    return Err(error);
                }
            };
            let Some(ended) = ended else {
                server::shut_down(&mut postgres).await;
                return Ok(());
            };
            tries += 1;
            if tries >= TRIES || !ended.contains(MEMORY_HELD) {
                return Err(SuperviseError::Ended(ended));
            }
            sleep(BETWEEN_TRIES).await;
        }
    }

    /// Asks the server a question, as a client would.
    ///
    /// # Errors
    /// Why it does not answer, in words that hold no secret.
    pub(crate) async fn answers(&self) -> Result<(), String> {
        match *self.stage.lock().unwrap_or_else(PoisonError::into_inner) {
            Stage::Making => return Err("the data folder is being made".to_owned()),
            Stage::Starting => return Err("PostgreSQL is starting".to_owned()),
            Stage::Open => {}
        }
        let mut asked = self.asked.lock().await;
        // Taken out: one that fails, or is given up while it waits, is not used again.
        let mut connection = match asked.take() {
            Some(connection) => connection,
            None => PgConnection::connect_with(&self.client()).await.map_err(|error| plain(&error))?,
        };
        connection.ping().await.map_err(|error| plain(&error))?;
        *asked = Some(connection);
        Ok(())
    }

    async fn make(&self) -> Result<(), SuperviseError> {
        let Prepared { folder, programs, .. } = &self.prepared;
        if folder.made_by()?.is_none() {
            folder.make(programs).await?;
        }
        Ok(end_leftover(&folder.data()).await?)
    }

    /// Opens the server for clients; returns only if that fails.
    async fn failed_to_open(&self) -> SuperviseError {
        let superuser = self.superuser();
        while let Err(error) = PgConnection::connect_with(&superuser).await {
            tracing::debug!(cause = plain(&error), "PostgreSQL does not answer yet");
            sleep(POLL).await;
        }
        let role = &self.prepared.config.role;
        if let Err(source) = role.ensure(&superuser).await {
            return SuperviseError::Role { role: role.name.clone(), database: role.database.clone(), source };
        }
        self.reach(Stage::Open);
        tracing::info!(address = %self.prepared.config.address, port = self.prepared.config.port, database = role.database, "takes clients");
        std::future::pending().await
    }

    fn reach(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    fn listen(&self) -> [String; 4] {
        let Config { address, port, .. } = &self.prepared.config;
        ["-p".to_owned(), port.to_string(), "-c".to_owned(), format!("listen_addresses={address}")]
    }

    fn superuser(&self) -> PgConnectOptions {
        let options = PgConnectOptions::new_without_pgpass().socket("socket").port(self.prepared.config.port);
        options.username(SUPERUSER).database("postgres").application_name("local-postgres").disable_statement_logging()
    }

    fn client(&self) -> PgConnectOptions {
        let Config { address, port, role, .. } = &self.prepared.config;
        let address = match address {
            IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            address => *address,
        };
        let options = PgConnectOptions::new_without_pgpass().host(&address.to_string()).port(*port).ssl_mode(PgSslMode::Disable);
        let options = options.username(&role.name).password(role.password.expose()).database(&role.database);
        options.application_name("local-postgres readiness").disable_statement_logging()
    }
}

/// Says why a connection failed.
fn plain(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => format!("no connection ({})", error.kind()),
        _ => "no answer".to_owned(),
    }
}
