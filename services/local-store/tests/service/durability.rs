//! What was answered stays, whatever happens to the store.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use service_testing::{Service, eventually, get};

use super::{BUCKET, KEY, Lab, PROGRAM, SECRET, client, refusal};

#[test]
fn an_answered_write_survives_a_kill() {
    let mut lab = Lab::start();
    let mut tags = Vec::new();
    for round in 0..3 {
        for number in 0..10 {
            tags.push((format!("{round}/{number}"), lab.must_put(&format!("{round}/{number}"), format!("{round}-{number}"))));
        }
        lab = lab.crash();
    }
    for (key, tag) in tags {
        assert_eq!(lab.body(&key), Some(key.replace('/', "-").into_bytes()));
        let head = lab.run(lab.client.head_object().bucket(BUCKET).key(&key).send()).unwrap();
        assert_eq!(head.e_tag(), Some(tag.as_str()));
    }
    assert_eq!(lab.keys().len(), 30);
}

#[test]
fn writes_under_way_at_a_kill_are_whole_or_not_there() {
    let mut lab = Lab::start();
    let whole = |version: u8| vec![version; 300_000];
    lab.must_put("key", whole(0));
    for round in 1..6u8 {
        let writers: Vec<_> = (0..8).map(|_| lab.runtime.spawn(lab.put("key", whole(round)).send())).collect();
        eventually("a write has begun", || (!lab.uploads().is_empty() || writers.iter().any(|writer| writer.is_finished())).then_some(()))
            .unwrap();
        lab = lab.crash();
        let found = lab.body("key").unwrap();
        assert!(found == whole(round) || found == whole(round - 1) || found[0] < round, "round {round}");
        assert_eq!(found, whole(found[0]));
        assert!(lab.uploads().is_empty());
    }
}

#[test]
fn an_upload_that_a_client_gives_up_leaves_nothing() {
    let lab = Lab::start();
    lab.must_put("key", "old");
    let presigning = aws_sdk_s3::presigning::PresigningConfig::expires_in(std::time::Duration::from_secs(60)).unwrap();
    let signed = lab.run(lab.client.put_object().bucket(BUCKET).key("key").presigned(presigning)).unwrap();
    let port = lab.service.port("http").unwrap();
    let path = signed.uri().split_once(&format!(":{port}")).unwrap().1.to_owned();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "PUT {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 100000\r\n\r\nbeginning").unwrap();
    eventually("the upload begins", || (!lab.uploads().is_empty()).then_some(())).unwrap();
    drop(stream);
    eventually("the upload is removed", || lab.uploads().is_empty().then_some(())).unwrap();
    assert_eq!(lab.body("key"), Some(b"old".to_vec()));
}

#[test]
fn what_a_crash_left_of_uploads_is_removed_at_the_start() {
    let lab = Lab::start();
    fs::write(lab.folder.path().join("store/uploads/17"), "part of a body").unwrap();
    let lab = lab.crash();
    assert!(lab.uploads().is_empty());
}

fn file_of_only_object(lab: &Lab) -> PathBuf {
    let mut files = fs::read_dir(lab.folder.path().join("store/buckets").join(BUCKET)).unwrap();
    files.next().unwrap().unwrap().path()
}

#[test]
fn a_damaged_file_is_reported_and_costs_no_other_object() {
    let lab = Lab::start();
    lab.must_put("damaged", "x");
    let file = file_of_only_object(&lab);
    lab.must_put("whole", "y");
    OpenOptions::new().append(true).open(&file).unwrap().write_all(b"!").unwrap();
    let lab = lab.crash();
    assert_eq!(lab.keys(), ["whole"]);
    assert!(lab.service.log().contains("is not readable"), "{}", lab.service.log());
    lab.must_put("damaged", "again");
    assert_eq!(lab.body("damaged"), Some(b"again".to_vec()));
}

#[test]
fn its_files_are_the_owners_only() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::start();
    lab.must_put("key", "x");
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(lab.folder.path().join("store")), 0o700);
    assert_eq!(mode(file_of_only_object(&lab)), 0o600);
}

/// Starts the store on a file system of its own with one MiB of room.
fn start_on_small_disk(folder: &std::path::Path) -> Service {
    let script = "mount -t tmpfs -o size=1m,mode=700 tmpfs \"$STORE_PATH\" && exec \"$0\"";
    let arguments = ["--user", "--map-root-user", "--mount", "/bin/sh", "-c", script, PROGRAM];
    let path = folder.to_str().unwrap();
    let variables = [
        ("STORE_PATH", path),
        ("STORE_BUCKETS", BUCKET),
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
    ];
    assert!(Command::new("unshare").args(["--user", "--map-root-user", "--mount", "true"]).status().unwrap().success());
    Service::start("/usr/bin/unshare", &arguments, &variables).unwrap()
}

#[test]
fn a_full_disk_refuses_writes_and_keeps_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let service = start_on_small_disk(folder.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = client(service.port("http").unwrap(), SECRET);
    let put = |body: Vec<u8>| runtime.block_on(client.put_object().bucket(BUCKET).key("key").body(body.into()).send());
    put(vec![1; 500_000]).unwrap();
    for _ in 0..3 {
        let (status, code) = refusal(put(vec![2; 700_000]));
        assert_eq!((status, code.as_str()), (507, "InsufficientStorage"), "{}", service.log());
    }
    let kept =
        runtime.block_on(async { client.get_object().bucket(BUCKET).key("key").send().await.unwrap().body.collect().await.unwrap() });
    assert_eq!(kept.to_vec(), vec![1; 500_000]);
    // What the refused ones had taken is free again.
    put(vec![3; 100_000]).unwrap();
    assert!(service.log().contains("a request failed"), "{}", service.log());
    assert_eq!(get(service.port("metrics").unwrap(), "/readyz").unwrap().status, 200);
}

#[test]
fn its_metrics_count_objects_and_bytes() {
    let lab = Lab::start();
    lab.must_put("a", "12345");
    lab.must_put("b", "123");
    lab.run(lab.client.delete_object().bucket(BUCKET).key("b").send()).unwrap();
    let metrics = get(lab.service.port("metrics").unwrap(), "/metrics").unwrap().body;
    assert!(metrics.contains("store_objects{bucket=\"artifacts\"} 1\n"), "{metrics}");
    assert!(metrics.contains("store_bytes{bucket=\"artifacts\"} 5\n"), "{metrics}");
}
