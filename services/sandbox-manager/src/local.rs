//! Sandboxes made of this machine's own processes.
//!
//! ```text
//! DATA/<id>/record.json   what was started for a sandbox, written before and after
//! DATA/<id>/workspace/    its files
//! ```

mod launch;
mod record;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::Flock;
use nix::unistd::geteuid;
use service_kit::BoxError;
use sha2::{Digest, Sha256};

use self::launch::launch;
use self::record::Record;
use crate::folder;
use crate::groups::{self, Hierarchy};
use crate::plan::{Mode, Plan, WORKSPACE};
use crate::procs;
use crate::runtime::{Prepared, Running, Runtime, RuntimeError, Work, require};
use crate::settings::Config;
use crate::spec::Spec;

/// Without a control group memory is looked at now and then; a single process may not even promise itself more than this times as much.
const DATA_FACTOR: u64 = 4;
const LEAST_DATA: u64 = 1 << 30;

/// The runtime.
#[derive(Debug)]
pub(crate) struct Local {
    data: PathBuf,
    _lock: Flock<File>,
    mode: Mode,
    hierarchy: Hierarchy,
    readable: Vec<PathBuf>,
    first_user: u32,
    is_root: bool,
}

impl Local {
    /// Opens the folder of the workspaces, removes what a killed one left, and finds out what the machine offers.
    ///
    /// # Errors
    /// If the folder can't be used, or something is missing that is required.
    pub(crate) async fn open(config: &Config) -> Result<Self, BoxError> {
        let lock = folder::take(&config.data)?;
        let name = format!("sandboxes-{}", hex::encode(&Sha256::digest(config.data.as_os_str().as_encoded_bytes())[..6]));
        let mut local = Self {
            data: config.data.clone(),
            _lock: lock,
            mode: Mode::Bare,
            hierarchy: Hierarchy::find(&name),
            readable: config.readable.clone(),
            first_user: config.first_user,
            is_root: geteuid().is_root(),
        };
        local.sweep();
        let isolation = local.try_modes().await;
        require(&config.required, &isolation)?;
        Ok(local)
    }

    /// Removes what an ended manager left.
    fn sweep(&self) {
        for folder in folder::list(&self.data) {
            match remove(&folder) {
                Ok(()) => tracing::info!(folder = %folder.display(), "removed what a sandbox left"),
                Err(error) => tracing::warn!(folder = %folder.display(), %error, "what a sandbox left can't be removed"),
            }
        }
    }

    /// Takes the best mode that works on this machine; returns what holds sandboxes in it.
    async fn try_modes(&mut self) -> Vec<String> {
        let candidates: &[Mode] = if self.is_root { &[Mode::Root, Mode::User] } else { &[Mode::User] };
        for mode in candidates {
            match self.try_mode(*mode).await {
                Ok(isolation) => {
                    self.mode = *mode;
                    return self.all_isolation(isolation);
                }
                Err(error) => tracing::warn!(?mode, %error, "this machine does not offer namespaces in this way"),
            }
        }
        tracing::warn!("sandboxes have no namespaces: they see this machine's files and network");
        self.all_isolation(self.user(0).map(|_| "uid".to_owned()).into_iter().collect())
    }

    /// Sets up a sandbox without a command.
    async fn try_mode(&self, mode: Mode) -> Result<Vec<String>, RuntimeError> {
        let folder = self.data.join("probe");
        let made = folder::make(&folder, self.user(0));
        let record = Record { folder: folder.clone(), groups: Vec::new(), boot: procs::boot(), outer: None };
        let plan = Plan {
            mode,
            folder: folder.clone(),
            command: Vec::new(),
            environment: [].into(),
            readable: self.readable.clone(),
            user: self.user(0).filter(|_| mode != Mode::User),
            groups: Vec::new(),
            processes: None,
            file_size: 1 << 20,
            tmp_size: 1 << 20,
            cpu_seconds: 10,
            data_size: None,
        };
        let launched = match made {
            Ok(()) => launch(&plan, record).await,
            Err(error) => Err(RuntimeError(error.to_string())),
        };
        let isolation = match launched {
            Ok(running) => {
                running.ended.await;
                Ok(running.isolation)
            }
            Err(error) => Err(error),
        };
        // What stays is removed at the next start.
        drop(remove(&folder));
        isolation
    }

    fn all_isolation(&self, mut isolation: Vec<String>) -> Vec<String> {
        let controllers = self.hierarchy.controllers();
        isolation.extend((!controllers.is_empty()).then(|| "cgroup".to_owned()));
        isolation.extend(controllers.iter().map(ToString::to_string));
        isolation.push("rlimits".to_owned());
        isolation
    }

    /// Returns the user of a place, if this program may choose one.
    fn user(&self, slot: usize) -> Option<u32> {
        self.is_root.then(|| self.first_user.saturating_add(u32::try_from(slot).unwrap_or(0)))
    }

    fn plan(&self, work: &Work<'_>) -> Plan {
        let limits = &work.spec.limits;
        let memory = limits.memory();
        let home = match self.mode {
            Mode::Bare => work.folder.join(WORKSPACE),
            Mode::Root | Mode::User => Path::new("/").join(WORKSPACE),
        };
        let home = home.display().to_string();
        let tmp = if self.mode == Mode::Bare { work.folder.join("tmp").display().to_string() } else { "/tmp".to_owned() };
        Plan {
            mode: self.mode,
            folder: work.folder.to_owned(),
            command: work.spec.command.clone(),
            environment: work.spec.variables(&BTreeMap::new(), &home, &tmp),
            readable: self.readable.clone(),
            user: self.user(work.slot).filter(|_| self.mode != Mode::User),
            groups: self.hierarchy.groups(&id_of(work.folder)),
            processes: (!self.holds("pids")).then(|| u64::from(limits.processes) + self.others()),
            file_size: limits.workspace(),
            tmp_size: memory / 2,
            cpu_seconds: limits.cpu_seconds(),
            data_size: (!self.holds("memory")).then(|| memory.saturating_mul(DATA_FACTOR).max(LEAST_DATA)),
        }
    }

    /// Returns how many processes a sandbox's user has besides: its limit counts them too, unless it is another user or namespace.
    fn others(&self) -> u64 {
        if self.mode != Mode::Bare || self.is_root {
            return 0;
        }
        procs::threads_of(geteuid().as_raw())
    }

    fn holds(&self, controller: &str) -> bool {
        self.hierarchy.controllers().contains(&controller)
    }
}

impl Runtime for Local {
    async fn prepare(&self, spec: &Spec, slot: usize) -> Result<Prepared, RuntimeError> {
        let folder = self.data.join(spec.id.to_string());
        let owner = self.user(slot).filter(|_| self.mode != Mode::User);
        let record =
            Record { folder: folder.clone(), groups: self.hierarchy.groups(&spec.id.to_string()), boot: procs::boot(), outer: None };
        let (hierarchy, id, limits) = (self.hierarchy.clone(), spec.id.to_string(), spec.limits.clone());
        let prepared = Prepared { folder: folder.clone(), owner };
        folder::blocking(move || {
            // Left by a run that could not be removed.
            remove(&folder)?;
            folder::make(&folder, owner)?;
            record.write()?;
            hierarchy.make(&id, &limits)
        })
        .await
        .map_err(|error| RuntimeError(format!("failed to make a workspace: {error}")))?;
        Ok(prepared)
    }

    async fn start(&self, work: Work<'_>) -> Result<Running, RuntimeError> {
        let plan = self.plan(&work);
        let record = Record { folder: work.folder.to_owned(), groups: plan.groups.clone(), boot: procs::boot(), outer: None };
        let mut running = launch(&plan, record).await?;
        running.isolation = self.all_isolation(running.isolation);
        Ok(running)
    }

    fn watched_memory(&self, folder: &Path) -> Option<u64> {
        if self.holds("memory") {
            return None;
        }
        let outer = Record::read(folder).ok()?.outer?;
        let page = 4096;
        Some(procs::descendants(outer.pid).iter().map(|stat| stat.pages * page).sum())
    }

    async fn lost(&self) -> RuntimeError {
        std::future::pending().await
    }

    async fn remove(&self, folder: &Path) -> Result<(), RuntimeError> {
        let folder = folder.to_owned();
        folder::blocking(move || remove(&folder)).await.map_err(|error| RuntimeError(format!("failed to remove a sandbox: {error}")))
    }
}

/// Ends what runs for a sandbox and removes its groups and its folder.
fn remove(folder: &Path) -> io::Result<()> {
    if let Ok(record) = Record::read(folder) {
        record.end();
        if !groups::remove(&record.groups) {
            return Err(io::Error::other("its control groups are not empty"));
        }
    }
    folder::remove(folder)
}

fn id_of(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
