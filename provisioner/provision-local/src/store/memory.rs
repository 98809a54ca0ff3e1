//! A disk in memory that forgets at a power cut what was not made durable.
#![cfg(test)]

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Disk;

/// A disk in memory; clones share it.
#[derive(Clone, Default)]
pub(crate) struct MemoryDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    durable: BTreeMap<String, Vec<u8>>,
    /// As programs see it.
    seen: BTreeMap<String, Vec<u8>>,
    /// Bytes that may still be written.
    space: Option<usize>,
    /// Whether nothing can be made durable or cut off any more.
    broken: bool,
}

impl MemoryDisk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what was not made durable, but for the first `torn` bytes of it.
    pub(crate) fn cut_power(&self, torn: usize) {
        let mut state = self.lock();
        let State { durable, seen, .. } = &mut *state;
        for (name, content) in &mut *seen {
            let kept = durable.get(name).map_or(0, Vec::len);
            if content.len() > kept {
                content.truncate(kept + torn);
            } else {
                content.clone_from(durable.entry(name.clone()).or_default());
            }
        }
        durable.clone_from(seen);
        state.broken = false;
        state.space = None;
    }

    /// Leaves only so many bytes free.
    pub(crate) fn fill(&self, space: Option<usize>) {
        self.lock().space = space;
    }

    /// Lets nothing become durable or be cut off any more.
    pub(crate) fn break_down(&self, broken: bool) {
        self.lock().broken = broken;
    }

    /// Changes a file behind the back of the store.
    pub(crate) fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        let mut content = state.seen.get(name).cloned().unwrap_or_default();
        edit(&mut content);
        state.seen.insert(name.to_owned(), content.clone());
        state.durable.insert(name.to_owned(), content);
    }

    /// Lists the names of the files.
    pub(crate) fn names(&self) -> Vec<String> {
        self.lock().seen.keys().cloned().collect()
    }
}

impl State {
    fn check(&self) -> io::Result<()> {
        if self.broken { Err(io::Error::other("the disk is broken")) } else { Ok(()) }
    }

    fn take_space(&mut self, wanted: usize) -> usize {
        let Some(space) = &mut self.space else { return wanted };
        let given = wanted.min(*space);
        *space -= given;
        given
    }
}

impl Disk for MemoryDisk {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.lock().seen.get(name).cloned())
    }

    fn replace(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        state.check()?;
        if state.take_space(content.len()) < content.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.seen.insert(name.to_owned(), content.to_vec());
        state.durable.insert(name.to_owned(), content.to_vec());
        Ok(())
    }

    fn append(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        let given = state.take_space(content.len());
        let Some(file) = state.seen.get_mut(name) else { return Err(io::ErrorKind::NotFound.into()) };
        file.extend_from_slice(&content[..given]);
        if given < content.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.check()?;
        let content = state.seen.get(name).cloned().unwrap_or_default();
        state.durable.insert(name.to_owned(), content);
        Ok(())
    }

    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        let mut state = self.lock();
        state.check()?;
        let mut content = state.seen.get(name).cloned().unwrap_or_default();
        content.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        state.seen.insert(name.to_owned(), content.clone());
        state.durable.insert(name.to_owned(), content);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.durable.remove(name);
        state.seen.remove(name);
        Ok(())
    }
}
