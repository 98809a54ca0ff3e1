//! Supervisors as processes: who starts them, and what is left when they are killed.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getsid};
use provision_apply::{Cluster as _, ClusterError};
use provision_local::{LocalCluster, LocalError, MemoryKubelet};
use provision_model::ResourceId;

use super::world::{LIMIT, apply, config, cron_job, launching, supervised_for, supervisor, until, workload};

/// Ends the supervisor of a state folder when a test ends.
struct Ends<'s>(&'s Path);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        if let Some(pid) = supervisor(self.0) {
            // It may have ended already.
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

async fn open(state: &Path, build: u64) -> LocalCluster {
    LocalCluster::open(launching(state, "memory", build)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_commands_one_starts_the_supervisor() {
    let state = tempfile::tempdir().unwrap();
    let _ends = Ends(state.path());
    let clusters = futures::future::join_all((0..6).map(|_| open(state.path(), 1))).await;
    let identities = futures::future::join_all(clusters.iter().map(|cluster| cluster.identity())).await;
    let first = identities[0].as_ref().unwrap();
    assert!(identities.iter().all(|identity| identity.as_ref().unwrap() == first));
    let pid = supervisor(state.path()).unwrap();
    assert_eq!(getsid(Some(pid)).unwrap(), pid, "it leads a session of its own");
    let log = std::fs::read_to_string(state.path().join("logs/supervisor.log")).unwrap();
    assert_eq!(log, "", "nobody else tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_supervisor_hands_over_and_a_newer_one_stays() {
    let state = tempfile::tempdir().unwrap();
    let _ends = Ends(state.path());
    let old = open(state.path(), 1).await;
    let made = apply(&old, config("a", "1")).await.unwrap();
    let first = supervisor(state.path()).unwrap();
    let new = open(state.path(), 2).await;
    let second = supervisor(state.path()).unwrap();
    assert_ne!(first, second);
    assert_eq!(new.get(&made.id()).await.unwrap().as_ref(), Some(&made));
    let again = open(state.path(), 1).await;
    assert_eq!(supervisor(state.path()).unwrap(), second);
    assert_eq!(again.identity().await.unwrap(), old.identity().await.unwrap());
}

/// Tells whether a process is gone, or only its parent has still to hear of its end.
fn has_ended(process: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_none_or(|fields| fields.is_empty() || fields.starts_with(" Z"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_with_nothing_to_keep_ends_and_is_there_again_when_it_is_asked() {
    let idle = Duration::from_millis(200);
    for (what, object, stays) in [
        ("nothing", None, false),
        ("an object of which nothing runs", Some(config("a", "1")), false),
        ("a workload", Some(workload("Deployment", "a", 1)), true),
        ("a job that waits for its time", Some(cron_job("a")), true),
    ] {
        let state = tempfile::tempdir().unwrap();
        let (cluster, mut supervisor) = supervised_for(state.path(), MemoryKubelet::default(), idle).await;
        if let Some(object) = object {
            apply(&cluster, object).await.unwrap();
        }
        match tokio::time::timeout(if stays { idle * 5 } else { LIMIT }, &mut supervisor).await {
            Ok(ended) => assert!(!stays && ended.unwrap().is_ok(), "{what}"),
            Err(_) => assert!(stays, "{what}"),
        }
        supervisor.abort();
    }
    let state = tempfile::tempdir().unwrap();
    let (_cluster, supervisor) = supervised_for(state.path(), MemoryKubelet::default(), idle).await;
    supervisor.await.unwrap().unwrap();
    let _ends = Ends(state.path());
    assert!(open(state.path(), 1).await.identity().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_that_can_not_work_says_why() {
    let state = tempfile::tempdir().unwrap();
    let cluster = open(state.path(), 1).await;
    let process = supervisor(state.path()).unwrap();
    cluster.end_supervisor().await.unwrap();
    assert!(has_ended(process), "its end was waited for");
    let snapshot = state.path().join("objects/snapshot");
    let text = std::fs::read_to_string(&snapshot).unwrap();
    std::fs::write(&snapshot, text.replacen('{', "{x", 1)).unwrap();
    let error = LocalCluster::open(launching(state.path(), "memory", 1)).await.err().unwrap();
    assert!(
        matches!(&error, LocalError::Ended { log, .. } if log.contains("`snapshot` of the state folder is damaged at line 1")),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_copies_side_by_side_do_not_meet() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_first, _second) = (Ends(one.path()), Ends(two.path()));
    let (a, b) = (open(one.path(), 1).await, open(two.path(), 1).await);
    apply(&a, config("a", "1")).await.unwrap();
    assert_eq!(b.get(&ResourceId::namespaced("", "ConfigMap", "default", "a")).await.unwrap(), None);
    assert_ne!(a.identity().await.unwrap().uid, b.identity().await.unwrap().uid);
    let book = ResourceId::namespaced("", "ConfigMap", "kube-system", "local-addresses");
    let block = async |cluster: &LocalCluster| cluster.get(&book).await.unwrap().unwrap().text("/data/block").unwrap().to_owned();
    assert_ne!(block(&a).await, block(&b).await);
}

/// Writes until told to stop; returns the names of what was answered.
async fn write(cluster: LocalCluster, writer: usize, count: Arc<AtomicUsize>, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut answered = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("w{writer}-{number}");
        match apply(&cluster, config(&name, &"x".repeat(2000))).await {
            Ok(_) => {
                answered.push(name);
                count.fetch_add(1, Ordering::Relaxed);
            }
            Err(ClusterError::Unreachable { .. } | ClusterError::Server { status: 503, .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_survives_kill_9_in_mid_write() {
    let state = tempfile::tempdir().unwrap();
    let _ends = Ends(state.path());
    let cluster = open(state.path(), 1).await;
    let identity = cluster.identity().await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..4).map(|writer| tokio::spawn(write(cluster.clone(), writer, count.clone(), stop.clone()))).collect();
    for round in 1..=8 {
        until("more is written", async || count.load(Ordering::Relaxed) >= round * 15).await;
        kill(supervisor(state.path()).unwrap(), Signal::SIGKILL).unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let mut answered = Vec::new();
    for writer in writers {
        answered.extend(writer.await.unwrap());
    }
    assert!(answered.len() >= 8 * 15, "{} writes were answered", answered.len());
    until("it answers again", async || cluster.identity().await.is_ok()).await;
    let there = super::world::list(&cluster, "", "ConfigMap").await;
    let there: std::collections::BTreeSet<&str> = there.iter().map(|object| object.name()).collect();
    let lost: Vec<&String> = answered.iter().filter(|name| !there.contains(name.as_str())).collect();
    assert!(lost.is_empty(), "lost: {lost:?} of {}", answered.len());
    assert_eq!(cluster.identity().await.unwrap(), identity);
}
