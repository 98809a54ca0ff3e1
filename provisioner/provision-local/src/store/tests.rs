use jiff::Timestamp;
use provision_apply::WriteMode;
use provision_model::{FIELD_MANAGER, Manifest, ResourceId};
use provision_objects::ObjectError;
use serde_json::json;

use super::{LEAST_LOG, MemoryDisk, Store, StoreError, WriteError};

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn open(disk: &MemoryDisk) -> Result<Store<MemoryDisk>, StoreError> {
    Store::open(disk.clone(), now(), || Ok("seed".to_owned()))
}

fn config(name: &str, value: &str) -> Manifest {
    let metadata = json!({"name": name, "namespace": "default"});
    Manifest::try_from(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": value}})).unwrap()
}

fn apply(store: &mut Store<MemoryDisk>, manifest: &Manifest) -> Result<Manifest, WriteError> {
    let effect =
        |objects: &mut provision_objects::Objects| objects.apply_as(&manifest.id(), manifest.value(), FIELD_MANAGER, WriteMode::Persist);
    store.write(now(), effect).map(|(written, _)| written)
}

fn read(store: &Store<MemoryDisk>, name: &str) -> Option<Manifest> {
    let id = ResourceId::namespaced("", "ConfigMap", "default", name);
    store.objects().get(&id).and_then(|stored| store.objects().render(stored, None))
}

#[test]
fn what_was_answered_survives_a_power_cut() {
    let disk = MemoryDisk::default();
    let mut store = open(&disk).unwrap();
    let made = apply(&mut store, &config("x", "1")).unwrap();
    let changed = apply(&mut store, &config("x", "2")).unwrap();
    let other = apply(&mut store, &config("y", "1")).unwrap();
    store.write(now(), |objects| objects.delete(&other.id(), None)).unwrap();
    assert_ne!(made, changed);
    for _ in 0..3 {
        disk.cut_power(0);
        let again = open(&disk).unwrap();
        assert_eq!(read(&again, "x"), Some(changed.clone()), "owners of fields and all");
        assert_eq!(read(&again, "y"), None);
        assert_eq!(again.objects().revision(), store.objects().revision());
    }
}

#[test]
fn versions_and_uids_are_given_once() {
    let disk = MemoryDisk::default();
    let mut store = open(&disk).unwrap();
    let first = apply(&mut store, &config("x", "1")).unwrap();
    store.write(now(), |objects| objects.delete(&first.id(), None)).unwrap();
    disk.cut_power(0);
    let second = apply(&mut open(&disk).unwrap(), &config("x", "1")).unwrap();
    assert_ne!(second.uid(), first.uid());
    assert!(second.resource_version() > first.resource_version().map(|version| version + 1));
}

#[test]
fn a_torn_last_line_is_dropped_and_written_over() {
    let disk = MemoryDisk::default();
    let mut store = open(&disk).unwrap();
    let kept = apply(&mut store, &config("x", "1")).unwrap();
    // A write of which only the beginning reached the disk: nobody was answered.
    for torn in [1, 10, 100] {
        let log = format!("log-{}", store.log);
        disk.edit(&log, |content| {
            content
                .extend_from_slice(&b"0123456789abcdef {\"revision\":999,\"made\":9,\"gone\":[\"/ConfigMap/default/x\"]}"[..torn.min(70)])
        });
        store = open(&disk).unwrap();
        assert_eq!(read(&store, "x"), Some(kept.clone()), "{torn} bytes");
        apply(&mut store, &config("y", &torn.to_string())).unwrap();
        store = open(&disk).unwrap();
        assert_eq!(read(&store, "y").unwrap().text("/data/a"), Some(torn.to_string().as_str()));
    }
}

#[test]
fn a_line_with_its_end_but_not_its_middle_is_torn_too() {
    let disk = MemoryDisk::default();
    let mut store = open(&disk).unwrap();
    apply(&mut store, &config("x", "1")).unwrap();
    let log = format!("log-{}", store.log);
    disk.edit(&log, |content| {
        let middle = content.len() / 2;
        content[middle] = 0;
    });
    assert_eq!(read(&open(&disk).unwrap(), "x"), None);
}

#[test]
fn damage_before_the_end_is_told_and_nothing_is_thrown_away() {
    let disk = MemoryDisk::default();
    let mut store = open(&disk).unwrap();
    apply(&mut store, &config("x", "1")).unwrap();
    apply(&mut store, &config("y", "1")).unwrap();
    let log = format!("log-{}", store.log);
    disk.edit(&log, |content| content[30] ^= 1);
    let error = open(&disk).err().unwrap().to_string();
    assert_eq!(error, format!("the file `{log}` of the state folder is damaged at line 1"));
    disk.edit(&log, |content| content[30] ^= 1);
    assert!(read(&open(&disk).unwrap(), "y").is_some());
    // What still reads as an object is damage all the same.
    let swap = |content: &mut Vec<u8>, from: &str, to: &str| {
        *content = String::from_utf8(content.clone()).unwrap().replacen(from, to, 1).into_bytes()
    };
    let mut store = open(&disk).unwrap();
    apply(&mut store, &config("x", "2")).unwrap();
    apply(&mut store, &config("y", "2")).unwrap();
    let log = format!("log-{}", store.log);
    disk.edit(&log, |content| swap(content, "\"a\":\"2\"", "\"a\":\"3\""));
    assert!(open(&disk).err().unwrap().to_string().ends_with("is damaged at line 1"));
    disk.edit(&log, |content| swap(content, "\"a\":\"3\"", "\"a\":\"2\""));
    disk.edit("snapshot", |content| content.truncate(content.len() - 3));
    assert!(open(&disk).err().unwrap().to_string().contains("`snapshot` of the state folder is damaged"));
}

#[test]
fn a_newer_format_is_refused() {
    let disk = MemoryDisk::default();
    drop(open(&disk).unwrap());
    disk.edit("snapshot", |content| *content = super::format::line(&json!({"format": 2, "other": true})).into_bytes());
    assert!(matches!(open(&disk), Err(StoreError::Newer { found: 2, known: 1 })));
}

#[test]
fn a_full_disk_refuses_and_changes_nothing() {
    let disk = MemoryDisk::default();
    let mut store = open(&disk).unwrap();
    let before = apply(&mut store, &config("x", "1")).unwrap();
    let version = store.objects().get(&before.id()).unwrap().text("/metadata/resourceVersion").map(str::to_owned);
    for space in [0, 1, 20, 200] {
        disk.fill(Some(space));
        let error = apply(&mut store, &config("x", "2")).unwrap_err();
        assert!(matches!(error, WriteError::Store(StoreError::Write(_))), "{error}");
        assert!(apply(&mut store, &config("new", "1")).is_err());
        assert_eq!(read(&store, "x"), Some(before.clone()));
        assert_eq!(read(&store, "new"), None);
        assert_eq!(read(&open(&disk_copy(&disk)).unwrap(), "x"), Some(before.clone()), "{space} bytes free, then a crash");
    }
    assert_eq!(store.objects().get(&before.id()).unwrap().text("/metadata/resourceVersion").map(str::to_owned), version);
    disk.fill(None);
    apply(&mut store, &config("x", "3")).unwrap();
    disk.cut_power(0);
    assert_eq!(read(&open(&disk).unwrap(), "x").unwrap().text("/data/a"), Some("3"));
}

/// The same files on a disk of their own, as after a crash.
fn disk_copy(disk: &MemoryDisk) -> MemoryDisk {
    let copy = MemoryDisk::default();
    for name in disk.names() {
        let content = super::Disk::read(disk, &name).unwrap().unwrap();
        copy.edit(&name, |file| *file = content);
    }
    copy
}

#[test]
fn a_disk_that_syncs_no_more_refuses_and_what_it_took_does_not_come_back() {
    let disk = MemoryDisk::default();
    let mut store = open(&disk).unwrap();
    apply(&mut store, &config("x", "1")).unwrap();
    disk.break_down(true);
    assert!(apply(&mut store, &config("x", "2")).is_err());
    assert!(apply(&mut store, &config("x", "3")).is_err());
    disk.break_down(false);
    apply(&mut store, &config("y", "1")).unwrap();
    let again = open(&disk_copy(&disk)).unwrap();
    assert_eq!(read(&again, "x").unwrap().text("/data/a"), Some("1"));
    assert!(read(&again, "y").is_some());
}

#[test]
fn a_refused_write_changes_nothing() {
    let disk = MemoryDisk::default();
    let mut store = open(&disk).unwrap();
    let before = disk_copy(&disk).names();
    let error = store.write(now(), |objects| {
        objects.apply_as(&config("x", "1").id(), config("x", "1").value(), FIELD_MANAGER, WriteMode::Persist)?;
        Err::<(), _>(ObjectError::NotFound { subject: "something".to_owned() })
    });
    assert!(matches!(error, Err(WriteError::Rules(ObjectError::NotFound { .. }))));
    assert_eq!(read(&store, "x"), None);
    disk.cut_power(0);
    assert_eq!(read(&open(&disk).unwrap(), "x"), None);
    assert_eq!(before.len(), 2);
}

#[test]
fn a_long_log_becomes_a_snapshot() {
    let disk = MemoryDisk::default();
    let mut store = open(&disk).unwrap();
    let value = "x".repeat(64 * 1024);
    for number in 0..u64::from(u32::try_from(LEAST_LOG).unwrap()) / (64 * 1024) * 5 {
        apply(&mut store, &config("x", &format!("{number}{value}"))).unwrap();
        assert!(store.length <= LEAST_LOG + 2 * 64 * 1024, "{}", store.length);
    }
    assert!(store.log > 3, "{}", store.log);
    assert_eq!(disk.names(), [format!("log-{}", store.log), "snapshot".to_owned()]);
    disk.cut_power(0);
    assert_eq!(read(&open(&disk).unwrap(), "x"), read(&store, "x"));
}

#[test]
fn a_snapshot_that_can_not_be_written_costs_nothing() {
    let disk = MemoryDisk::default();
    let mut store = open(&disk).unwrap();
    let value = "x".repeat(512 * 1024);
    for number in 0..8 {
        // Room for the line, none for a snapshot beside it.
        disk.fill(Some(600 * 1024));
        apply(&mut store, &config(&format!("x{number}"), &value)).unwrap();
    }
    let again = open(&{
        disk.fill(None);
        disk_copy(&disk)
    });
    assert!((0..8).all(|number| read(again.as_ref().unwrap(), &format!("x{number}")).is_some()));
}

proptest::proptest! {
    /// Whatever is cut off or changed in a log, reading ends: with a state, or with an error that says where.
    #[test]
    fn any_log_is_read_or_refused(cut in 0_usize..2000, flip in 0_usize..2000, bit in 0_u8..8) {
        let disk = MemoryDisk::default();
        let mut store = open(&disk).unwrap();
        for number in 0..3 {
            apply(&mut store, &config("x", &number.to_string())).unwrap();
        }
        let log = format!("log-{}", store.log);
        disk.edit(&log, |content| {
            content.truncate(content.len().saturating_sub(cut));
            if let Some(byte) = content.get_mut(flip) {
                *byte ^= 1 << bit;
            }
        });
        match open(&disk) {
            Ok(store) => proptest::prop_assert!(store.objects().revision() > 1),
            Err(error) => proptest::prop_assert!(matches!(error, StoreError::Damaged { .. }), "{error}"),
        }
    }
}
