//! What was started for a sandbox, so that it is found after a crash.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::procs::{self, ProcessRef};

const FILE: &str = "record.json";
/// Time for init to end everything by itself, as it does when its socket closes: it knows best what belongs to it.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest time that ending may take.
const LAST: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);

/// What belongs to a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Its folder.
    pub(super) folder: PathBuf,
    /// Its control groups.
    pub(super) groups: Vec<PathBuf>,
    /// Boot of the machine in which it was started.
    pub(super) boot: String,
    /// Its outermost process.
    pub(super) outer: Option<ProcessRef>,
}

impl Record {
    /// Reads the record of a folder.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn read(folder: &Path) -> io::Result<Self> {
        serde_json::from_slice(&fs::read(folder.join(FILE))?).map_err(io::Error::other)
    }

    /// Writes the record, whole or not at all.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn write(&self) -> io::Result<()> {
        let unfinished = self.folder.join("record.new");
        fs::write(&unfinished, serde_json::to_vec(self)?)?;
        fs::rename(unfinished, self.folder.join(FILE))
    }

    /// Waits for the outermost process, whose socket is closed; kills it and all below it if it does not end.
    pub(super) fn end(&self) {
        let Some(outer) = self.outer.filter(|_| self.boot == procs::boot()) else { return };
        let begun = Instant::now();
        while outer.runs() && begun.elapsed() < PATIENCE {
            std::thread::sleep(PAUSE);
        }
        while outer.runs() && begun.elapsed() < LAST {
            let below = procs::descendants(outer.pid);
            for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
                below.iter().for_each(|stat| stat.process.signal(signal));
            }
            if below.is_empty() {
                outer.signal(Signal::SIGKILL);
            }
            std::thread::sleep(PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn all_below_the_recorded_process_ends_and_a_later_one_with_its_id_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut outer = Command::new("sh").args(["-c", "setsid sleep 1000 & sleep 1000"]).process_group(0).spawn().unwrap();
        let found = ProcessRef::find(i32::try_from(outer.id()).unwrap()).unwrap();
        service_testing::eventually("both run", || (procs::descendants(found.pid).len() == 2).then_some(())).unwrap();
        let below = procs::descendants(found.pid);
        let other = ProcessRef { started: found.started + 1, ..found };
        let record = Record { folder: folder.path().to_owned(), groups: vec![], boot: procs::boot(), outer: Some(other) };
        record.write().unwrap();
        Record::read(folder.path()).unwrap().end();
        assert!(found.runs());
        Record { boot: "another".to_owned(), outer: Some(found), ..record.clone() }.end();
        assert!(found.runs());
        Record { outer: Some(found), ..record }.end();
        outer.wait().unwrap();
        assert!(below.iter().all(|stat| !stat.process.runs()));
    }
}
