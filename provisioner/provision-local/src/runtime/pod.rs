use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::Shared;
use super::board::Board;
use super::container::{Container, Kind, PodContext};
use super::run::{Found, Latest, latest};
use crate::kubelet::{Report, WantedContainer, WantedPod};
use crate::volumes::{self, Owner, Volumes};

/// Rest before volumes that can't be had are tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Rest before a folder that can't be removed is tried again.
const REMOVAL: Duration = Duration::from_millis(500);

/// Runs one pod from its first container to the removal of its folder.
pub(super) async fn run(shared: Arc<Shared>, wanted: watch::Receiver<WantedPod>) {
    let pod = wanted.borrow().clone();
    let folder = shared.pod_folder(&pod.uid);
    let (stop, stopping) = watch::channel(pod.stopping);
    let context = PodContext {
        volumes: Volumes::new(folder.clone(), shared.settings.state.join("volumes")),
        owner: Owner::of(&pod),
        board: Board::new(&pod, shared.reports.clone()),
        folder: folder.clone(),
        shared: Arc::clone(&shared),
        latest: wanted.clone(),
        stopping,
        pod,
    };
    tokio::select! {
        () = live(&context) => {}
        () = follow(&context, wanted, stop) => {}
    }
    remove(&shared, &context.pod.uid, folder).await;
}

/// Lives until the pod is to end and nothing of it runs any more.
async fn live(context: &PodContext) {
    let find = async |specs: &[WantedContainer], kind| {
        join_all(specs.iter().map(|spec| async move { Container { context, spec, kind }.find().await })).await
    };
    let (init, main) = (find(&context.pod.init_containers, Kind::Init).await, find(&context.pod.containers, Kind::Main).await);
    context.board.tell();
    if has_volumes(context).await {
        run_containers(context, init, main).await;
    }
    let mut stopping = context.stopping.clone();
    // Without a sender nobody wants the pod any more.
    drop(stopping.wait_for(|stopping| *stopping).await);
}

async fn run_containers(context: &PodContext, init: Vec<Option<Latest>>, main: Vec<Option<Latest>>) {
    let pod = &context.pod;
    // Init containers that passed in an earlier supervisor's time are not run again: a repeat could harm what runs.
    let began = main.iter().any(Option::is_some);
    for (spec, found) in pod.init_containers.iter().zip(init) {
        let exit = Container { context, spec, kind: Kind::Init }.keep(found).await;
        if !began && exit.is_none_or(|exit| exit.exit_code != 0) {
            return;
        }
    }
    if context.is_over() && !began {
        return;
    }
    for (spec, _) in pod.containers.iter().zip(&main).filter(|(_, found)| found.is_none()) {
        context.board.waits(&spec.name, "ContainerCreating", String::new());
    }
    let all = pod.containers.iter().zip(main);
    join_all(all.map(|(spec, found)| async move { Container { context, spec, kind: Kind::Main }.keep(found).await })).await;
}

/// Makes the volumes, however often that fails; tells whether they are there.
async fn has_volumes(context: &PodContext) -> bool {
    if context.is_over() {
        return true;
    }
    loop {
        let (volumes, pod, owner) = (context.volumes.clone(), context.pod.clone(), context.owner);
        let error = match spawn_blocking(move || volumes.prepare(&pod, &owner)).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => explained(&error),
            Err(error) => error.to_string(),
        };
        context.board.event("", true, "FailedMount", format!("MountVolume.SetUp failed: {error}"));
        if !context.rest(RETRY).await {
            return false;
        }
    }
}

fn explained(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// Follows what is wanted of the pod: files of its volumes, and its end. Never returns.
async fn follow(context: &PodContext, mut wanted: watch::Receiver<WantedPod>, stop: watch::Sender<bool>) {
    let mut files = context.pod.volumes.clone();
    loop {
        let pod = wanted.borrow_and_update().clone();
        if pod.stopping {
            stop.send_replace(true);
        } else if pod.volumes != files {
            files.clone_from(&pod.volumes);
            let (volumes, owner) = (context.volumes.clone(), context.owner);
            match spawn_blocking(move || volumes.refresh(&pod, &owner)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => context.board.event("", true, "FailedMount", explained(&error)),
                Err(error) => context.board.event("", true, "FailedMount", error.to_string()),
            }
        }
        if wanted.changed().await.is_err() {
            // The runtime itself ends; the pod does not.
            std::future::pending::<()>().await;
        }
    }
}

/// Ends what was found of a pod that nobody wants, and removes it.
pub(super) async fn retire(shared: Arc<Shared>, uid: String) {
    let folder = shared.pod_folder(&uid);
    let containers = std::fs::read_dir(folder.join("containers")).into_iter().flatten().flatten().map(|entry| entry.path());
    let ends = containers.map(|container| async move {
        let found = spawn_blocking(move || latest(&container)).await.ok().flatten();
        if let Some(Found::Running(run)) = found.map(|found| found.state) {
            run.stop(Duration::from_millis(run.spec.grace_ms)).await;
        }
    });
    join_all(ends).await;
    remove(&shared, &uid, folder).await;
}

/// Removes the folder of a pod of which nothing runs, and tells that it is gone.
async fn remove(shared: &Arc<Shared>, uid: &str, folder: PathBuf) {
    let group = shared.limiter.clone();
    let name = uid.to_owned();
    loop {
        let (folder, group, name) = (folder.clone(), group.clone(), name.clone());
        let removed = spawn_blocking(move || {
            group.remove(name.as_ref());
            volumes::remove(&folder)
        });
        match removed.await {
            Ok(Ok(())) => break,
            Ok(Err(error)) => tracing::warn!(%uid, %error, "the folder of a pod can't be removed yet"),
            Err(error) => tracing::warn!(%uid, %error, "the folder of a pod can't be removed yet"),
        }
        tokio::time::sleep(REMOVAL).await;
    }
    shared.reports.send(Report::Gone { uid: uid.to_owned() });
}
