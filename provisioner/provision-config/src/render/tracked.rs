use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{Enumerator, Object, ObjectRepr, Value};
use serde_json::Value as Json;

use crate::path;

/// What was read of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Read {
    /// All of it; the number stands for its path.
    Whole(u64),
    /// Which keys it has or how many items.
    Keys(u64),
}

/// Collects what one evaluation reads.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    with_paths: bool,
    reads: Mutex<Vec<Read>>,
    paths: Mutex<Vec<String>>,
}

impl Recorder {
    /// Builds a recorder that keeps the paths as text too.
    pub(crate) fn with_paths() -> Self {
        Self { with_paths: true, ..Self::default() }
    }

    fn record(&self, read: Read, value: &Tracked) {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).push(read);
        if self.with_paths && matches!(read, Read::Whole(_)) {
            self.paths.lock().unwrap_or_else(PoisonError::into_inner).push(value.path());
        }
    }

    /// Notes paths that were read before, for what is computed now.
    pub(crate) fn record_paths(&self, paths: &[String]) {
        if self.with_paths && !paths.is_empty() {
            self.paths.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(paths);
        }
    }

    /// Takes everything that was read so far, each once.
    pub(crate) fn take(&self) -> Vec<Read> {
        let mut reads = std::mem::take(&mut *self.reads.lock().unwrap_or_else(PoisonError::into_inner));
        reads.sort_unstable();
        reads.dedup();
        reads
    }

    /// Takes the paths that were read since the last time, each once, in order.
    pub(crate) fn take_paths(&self) -> Vec<String> {
        if !self.with_paths {
            return Vec::new();
        }
        let all = std::mem::take(&mut *self.paths.lock().unwrap_or_else(PoisonError::into_inner));
        let mut once: Vec<String> = Vec::new();
        for path in all {
            if !once.contains(&path) {
                once.push(path);
            }
        }
        once
    }
}

/// The number of a path: equal for equal paths in every run.
pub(crate) fn root_hash() -> u64 {
    0xcbf2_9ce4_8422_2325
}

/// The number of a path with one more step.
pub(crate) fn step_hash(parent: u64, step: &str) -> u64 {
    let mixed = step.bytes().chain([0xff]).fold(parent, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    mixed ^ (mixed >> 29)
}

/// A hasher for numbers of paths, which are hashes already, alone or with small numbers beside them.
#[derive(Debug, Default)]
pub(crate) struct PathHasher(u64);

impl Hasher for PathHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = self.0.rotate_left(8) ^ number;
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number.unsigned_abs() as u64);
    }
}

/// A set of numbers of paths.
pub(crate) type PathSet = HashSet<u64, BuildHasherDefault<PathHasher>>;

#[derive(Debug)]
enum Step {
    Key(Arc<str>),
    Index(usize),
}

/// A container inside the settings, as templates see it: it tells the recorder what is read of it.
#[derive(Debug)]
pub(crate) struct Tracked {
    root: Arc<Json>,
    recorder: Arc<Recorder>,
    parent: Option<(Arc<Tracked>, Step)>,
    hash: u64,
}

impl Tracked {
    /// Builds the root.
    pub(crate) fn root(values: &Arc<Json>, recorder: &Arc<Recorder>) -> Arc<Self> {
        Arc::new(Self { root: values.clone(), recorder: recorder.clone(), parent: None, hash: root_hash() })
    }

    /// Returns the value itself without a note.
    pub(crate) fn json(&self) -> &Json {
        const NULL: &Json = &Json::Null;
        match &self.parent {
            None => &self.root,
            Some((parent, Step::Key(key))) => parent.json().get(&**key).unwrap_or(NULL),
            Some((parent, Step::Index(index))) => parent.json().get(*index).unwrap_or(NULL),
        }
    }

    /// Returns the number of its path.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Notes that all of it is read and returns it.
    pub(crate) fn read_whole(&self) -> &Json {
        self.recorder.record(Read::Whole(self.hash), self);
        self.json()
    }

    /// Returns the same container under another recorder.
    pub(crate) fn rebound(&self, recorder: &Arc<Recorder>) -> Arc<Self> {
        let parent = self.parent.as_ref().map(|(parent, step)| {
            let step = match step {
                Step::Key(key) => Step::Key(key.clone()),
                Step::Index(index) => Step::Index(*index),
            };
            (parent.rebound(recorder), step)
        });
        Arc::new(Self { root: self.root.clone(), recorder: recorder.clone(), parent, hash: self.hash })
    }

    /// Writes the path as people write it.
    pub(crate) fn path(&self) -> String {
        match &self.parent {
            None => String::new(),
            Some((parent, Step::Key(key))) => path::join(&parent.path(), key),
            Some((parent, Step::Index(index))) => format!("{}[{index}]", parent.path()),
        }
    }

    /// Returns a child as templates see it; `None` when there is none.
    pub(crate) fn key(self: &Arc<Self>, key: &str) -> Option<Value> {
        match self.json().get(key) {
            Some(child) => Some(self.child(child, Step::Key(Arc::from(key)), key)),
            None => {
                self.recorder.record(Read::Keys(self.hash), self);
                None
            }
        }
    }

    /// Returns an item of a list; `None` beyond its end.
    pub(crate) fn index(self: &Arc<Self>, index: usize) -> Option<Value> {
        match self.json().get(index) {
            Some(child) => Some(self.child(child, Step::Index(index), &index.to_string())),
            None => {
                self.recorder.record(Read::Keys(self.hash), self);
                None
            }
        }
    }

    fn child(self: &Arc<Self>, child: &Json, step: Step, name: &str) -> Value {
        let tracked = || Self {
            root: self.root.clone(),
            recorder: self.recorder.clone(),
            hash: step_hash(self.hash, name),
            parent: Some((self.clone(), step)),
        };
        match child {
            Json::Object(map) if !map.is_empty() => Value::from_object(tracked()),
            Json::Array(items) if !items.is_empty() => Value::from_object(tracked()),
            leaf => {
                let tracked = tracked();
                self.recorder.record(Read::Whole(tracked.hash), &tracked);
                leaf_value(leaf)
            }
        }
    }
}

fn leaf_value(leaf: &Json) -> Value {
    match leaf {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(*value),
        Json::Number(number) => number
            .as_i64()
            .map(Value::from)
            .or_else(|| number.as_u64().map(Value::from))
            .unwrap_or_else(|| Value::from(number.as_f64().unwrap_or_default())),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(_) => Value::from(Vec::<Value>::new()),
        Json::Object(_) => Value::from_pairs(Vec::<(String, Value)>::new()),
    }
}

/// Turns plain JSON into a value of the template engine.
pub(crate) fn from_json(json: &Json) -> Value {
    match json {
        Json::Array(items) => Value::from(items.iter().map(from_json).collect::<Vec<_>>()),
        Json::Object(map) => Value::from_pairs(map.iter().map(|(key, value)| (key.clone(), from_json(value)))),
        leaf => leaf_value(leaf),
    }
}

impl Object for Tracked {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        if self.json().is_array() { ObjectRepr::Seq } else { ObjectRepr::Map }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str() {
            Some(key) => self.key(key),
            None => self.index(key.as_usize()?),
        }
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.key(key)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.recorder.record(Read::Keys(self.hash), self);
        match self.json() {
            Json::Array(items) => Enumerator::Seq(items.len()),
            Json::Object(map) => Enumerator::Values(map.keys().map(|key| Value::from(key.as_str())).collect()),
            _ => Enumerator::Empty,
        }
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        self.recorder.record(Read::Keys(self.hash), self);
        match self.json() {
            Json::Array(items) => Some(items.len()),
            Json::Object(map) => Some(map.len()),
            _ => Some(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_read_is_recorded_and_nothing_else() {
        let values = Arc::new(json!({"a": {"b": 1, "c": 2}, "d": [1, 2], "e": {}}));
        let recorder = Arc::new(Recorder::with_paths());
        let root = Tracked::root(&values, &recorder);
        let a = root.key("a").unwrap();
        assert!(recorder.take().is_empty(), "walking through is no read");
        assert_eq!(a.get_attr("b").unwrap().as_i64(), Some(1));
        assert_eq!(recorder.take_paths(), ["a.b"]);
        let a_hash = step_hash(root_hash(), "a");
        assert_eq!(recorder.take(), [Read::Whole(step_hash(a_hash, "b"))]);
        assert!(a.get_attr("x").unwrap().is_undefined());
        assert_eq!(recorder.take(), [Read::Keys(a_hash)]);
        assert!(root.key("d").unwrap().is_true());
        assert_eq!(recorder.take(), [Read::Keys(step_hash(root_hash(), "d"))]);
        let d = root.key("d").unwrap().downcast_object::<Tracked>().unwrap();
        assert!(d.index(2).is_none());
        assert_eq!(recorder.take(), [Read::Keys(step_hash(root_hash(), "d"))], "a longer list would have it");
        assert!(!root.key("e").unwrap().is_true());
        assert_eq!(recorder.take_paths(), ["e"]);
    }
}
