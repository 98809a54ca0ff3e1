//! What a client may send, and what it may not.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use provision_apply::Cluster as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::world::{World, apply, config};

/// Sends bytes and returns the answer; `None` if the connection ends without one.
async fn send(state: &Path, bytes: &[u8]) -> Option<Value> {
    let mut stream = UnixStream::connect(state.join("control/socket")).await.unwrap();
    // The other side may have heard enough before all of it is sent.
    let _ = stream.write_all(bytes).await;
    let mut line = String::new();
    let mut stream = BufReader::new(stream);
    let count = tokio::time::timeout(super::world::LIMIT, stream.read_line(&mut line)).await.unwrap().unwrap_or(0);
    (count > 0).then(|| serde_json::from_str(&line).unwrap())
}

fn message(answer: Option<Value>) -> String {
    answer.unwrap()["error"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused_and_the_next_one_served() {
    let world = World::start().await;
    let none = "the line is no message of this protocol";
    let cases: [(&[u8], &str); 9] = [
        (b"\n", none),
        (b"not json\n", none),
        (b"{}\n", none),
        (b"[1, 2]\n", none),
        (b"\xff\xfe\n", none),
        (
            br#"{"protocol": 1, "ask": {"verb": "format_disk"}}
"#,
            none,
        ),
        (
            br#"{"protocol": 1, "ask": {"verb": "get", "id": "no key"}}
"#,
            none,
        ),
        (
            br#"{"protocol": 1, "ask": {"verb": "hello"}, "also": 1}
"#,
            none,
        ),
        (
            br#"{"protocol": 99, "ask": {"verb": "hello"}}
"#,
            "the supervisor speaks version 1 of the protocol, not 99",
        ),
    ];
    for (bytes, expected) in cases {
        assert_eq!(message(send(world.state.path(), bytes).await), expected, "{:?}", String::from_utf8_lossy(bytes));
    }
    let deep = format!("{}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(message(send(world.state.path(), deep.as_bytes()).await), none);
    world.cluster.identity().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_without_end_is_not_read_to_its_end() {
    let world = World::start().await;
    let endless = vec![b'x'; 5 << 20];
    let answer = send(world.state.path(), &endless).await;
    assert!(answer.is_none_or(|answer| answer["error"]["message"] == "the line is too long"));
    let half = UnixStream::connect(world.state.path().join("control/socket")).await.unwrap();
    drop(half);
    world.cluster.identity().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_sent_in_a_bad_line_is_not_repeated() {
    let world = World::start().await;
    let line = br#"{"protocol": 1, "ask": {"verb": "apply", "manifest": {"kind": "Secret", "data": "canary"}}}
"#;
    let answer = send(world.state.path(), line).await.unwrap().to_string();
    assert!(!answer.contains("canary"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_carries_many_requests() {
    let world = World::start().await;
    let stream = UnixStream::connect(world.state.path().join("control/socket")).await.unwrap();
    let mut stream = BufReader::new(stream);
    for _ in 0..3 {
        let ask = json!({"protocol": 1, "ask": {"verb": "identity"}});
        stream.write_all(format!("{ask}\n").as_bytes()).await.unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        assert!(line.starts_with("{\"ok\":"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_at_once_see_one_history() {
    let world = World::start().await;
    let writers = (0..16).map(|writer| {
        let cluster = world.cluster.clone();
        async move {
            let mut versions = Vec::new();
            for number in 0..20 {
                let written = apply(&cluster, config("shared", &format!("{writer}-{number}"))).await.unwrap();
                versions.push(written.resource_version().unwrap());
            }
            versions
        }
    });
    let answers = futures::future::join_all(writers).await;
    assert!(answers.iter().all(|versions| versions.is_sorted()));
    let mut all: Vec<u64> = answers.into_iter().flatten().collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 16 * 20, "each write has a version of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_is_for_its_owner_only() {
    let world = World::start().await;
    apply(
        &world.cluster,
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "default"}, "stringData": {"a": "b"}}),
    )
    .await
    .unwrap();
    let mode = |path: &str| std::fs::metadata(world.state.path().join(path)).unwrap().mode() & 0o777;
    assert_eq!((mode("control"), mode("control/socket"), mode("objects"), mode("objects/snapshot")), (0o700, 0o600, 0o700, 0o600));
    for entry in std::fs::read_dir(world.state.path().join("objects")).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().mode() & 0o077, 0);
    }
}
