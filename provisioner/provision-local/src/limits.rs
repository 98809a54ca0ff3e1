//! How much of the machine a container may use: control groups where they may be written, limits of processes otherwise.

mod groups;
mod hierarchy;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) use self::groups::Groups;
use self::hierarchy::Hierarchy;

/// Most processes and threads of one container.
const PROCESSES: u64 = 4096;
/// Without control groups only the data of each process can be limited; what allocators set aside and never use counts too.
const DATA_FACTOR: u64 = 4;
const LEAST_DATA: u64 = 1 << 30;

/// Controllers that limit what manifests limit.
const WANTED: [&str; 2] = ["cpu", "memory"];

/// What a container may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Limits {
    /// Most memory, in bytes.
    pub(crate) memory: Option<u64>,
    /// Most CPU, in thousandths of one.
    pub(crate) cpu: Option<u64>,
}

/// How limits are enforced on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enforcement {
    /// By control groups of version 2 or 1, with what they can limit: `cpu`, `memory`, `pids`.
    Groups {
        /// Version.
        version: u8,
        /// Controllers.
        controllers: Vec<&'static str>,
    },
    /// By limits of single processes.
    Processes,
}

impl Enforcement {
    /// Says what is not limited as the manifests want it, if something is not.
    pub(crate) fn lack(&self) -> Option<String> {
        match self {
            Self::Groups { controllers, .. } => {
                let lacking: Vec<&str> = WANTED.into_iter().filter(|wanted| !controllers.contains(wanted)).collect();
                (!lacking.is_empty()).then(|| format!("control groups of this machine do not limit {}", lacking.join(", ")))
            }
            Self::Processes => Some(self.to_string()),
        }
    }
}

impl fmt::Display for Enforcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Groups { version, controllers } => write!(f, "limits by control groups, version {version}: {}", controllers.join(", ")),
            Self::Processes => write!(
                f,
                "no control group may be written: memory is limited only for single processes ({DATA_FACTOR} times the limit), CPU and processes are not limited"
            ),
        }
    }
}

/// What a launcher has to do for the limits of one run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Enforced {
    /// Control groups to join.
    pub(crate) groups: Vec<PathBuf>,
    /// Most bytes of data of one process.
    pub(crate) data: Option<u64>,
}

/// Makes control groups for runs, if this machine lets us.
#[derive(Debug, Clone)]
pub(crate) struct Limiter(Option<Hierarchy>);

impl Limiter {
    /// Finds out what this machine allows; `name` is of no other state folder.
    pub(crate) fn find(name: &str) -> Self {
        let hierarchy = Hierarchy::find(name);
        Self(hierarchy)
    }

    /// Tells how limits are enforced.
    pub(crate) fn enforcement(&self) -> Enforcement {
        match &self.0 {
            Some(hierarchy) => Enforcement::Groups { version: hierarchy.version(), controllers: hierarchy.controllers() },
            None => Enforcement::Processes,
        }
    }

    /// Makes the groups of one run, named by the relative path `run`.
    ///
    /// # Errors
    /// If a group can't be made although others could.
    pub(crate) fn enforce(&self, run: &Path, limits: Limits) -> io::Result<Enforced> {
        match &self.0 {
            Some(hierarchy) => {
                let data = limits.memory.filter(|_| !hierarchy.controllers().contains(&"memory")).map(data_limit);
                Ok(Enforced { groups: hierarchy.make(run, limits, PROCESSES)?, data })
            }
            None => Ok(Enforced { groups: Vec::new(), data: limits.memory.map(data_limit) }),
        }
    }

    /// Removes our place among the control groups if nothing is in it.
    pub(crate) fn leave(&self) {
        if let Some(hierarchy) = &self.0 {
            hierarchy.leave();
        }
    }

    /// Removes the groups below the relative path, as far as they are empty.
    pub(crate) fn remove(&self, path: &Path) {
        if let Some(hierarchy) = &self.0 {
            hierarchy.remove(path);
        }
    }
}

fn data_limit(memory: u64) -> u64 {
    memory.saturating_mul(DATA_FACTOR).max(LEAST_DATA)
}
