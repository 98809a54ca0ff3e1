//! The log of a container as it is written: client and keeper share the disk.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::unfold;
use provision_apply::{Cluster as _, ClusterError, LogLines};
use provision_model::ResourceId;

use super::LocalCluster;

/// Time between two looks at a file.
const PAUSE: Duration = Duration::from_millis(100);
/// Looks without anything new after which the pod is asked whether the container still runs.
const QUIET: u32 = 10;

struct Following {
    cluster: LocalCluster,
    pod: ResourceId,
    container: String,
    path: PathBuf,
    file: File,
    /// The beginning of a line whose end is not written yet.
    rest: Vec<u8>,
    ready: VecDeque<String>,
    quiet: u32,
}

/// Follows a log: its last lines, then each as it is written, until the container ends.
pub(super) fn follow(cluster: LocalCluster, pod: ResourceId, container: String, lines: u32) -> LogLines {
    let begin = async move { open(cluster, pod, container, lines).await };
    futures::stream::once(begin)
        .flat_map(|opened| match opened {
            Ok(following) => unfold(Some(following), step).boxed(),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        })
        .boxed()
}

async fn open(cluster: LocalCluster, pod: ResourceId, container: String, lines: u32) -> Result<Following, ClusterError> {
    let missing = || ClusterError::NotFound { subject: format!("a log of container {container} of {pod}") };
    // Both are names of folders below; one that leads elsewhere is none that a pod has.
    let uid = cluster.get(&pod).await?.and_then(|pod| pod.uid().map(str::to_owned)).ok_or_else(missing)?;
    if [uid.as_str(), container.as_str()].iter().any(|name| name.contains(['/', '\0']) || name.starts_with('.') || name.is_empty()) {
        return Err(missing());
    }
    let folder = cluster.state().join("pods").join(uid).join("containers").join(&container);
    let path = newest_run(&folder).ok_or_else(missing)?.join("log");
    let file = File::open(&path).map_err(|_| missing())?;
    let mut following = Following {
        cluster: cluster.clone(),
        pod: pod.clone(),
        container: container.clone(),
        path,
        file,
        rest: Vec::new(),
        ready: VecDeque::new(),
        quiet: 0,
    };
    following.read().map_err(|error| failed(&following, error))?;
    let wanted = usize::try_from(lines).unwrap_or(usize::MAX);
    let excess = following.ready.len().saturating_sub(wanted);
    following.ready.drain(..excess);
    Ok(following)
}

/// Finds the newest of the folders `NUMBER-...` of a container's runs.
fn newest_run(container: &Path) -> Option<PathBuf> {
    let runs = fs::read_dir(container).ok()?.flatten().map(|entry| entry.path());
    let number = |path: &Path| path.file_name()?.to_str()?.split_once('-')?.0.parse::<u64>().ok();
    runs.filter_map(|path| Some((number(&path)?, path))).max().map(|(_, path)| path)
}

async fn step(state: Option<Following>) -> Option<(Result<String, ClusterError>, Option<Following>)> {
    let mut following = state?;
    loop {
        if let Some(line) = following.ready.pop_front() {
            return Some((Ok(line), Some(following)));
        }
        tokio::time::sleep(PAUSE).await;
        if let Err(error) = following.read() {
            return Some((Err(failed(&following, error)), None));
        }
        if !following.ready.is_empty() {
            following.quiet = 0;
            continue;
        }
        following.quiet += 1;
        if following.quiet % QUIET == 0 && !following.runs().await && following.read().is_ok() && following.ready.is_empty() {
            let rest = std::mem::take(&mut following.rest);
            return (!rest.is_empty()).then(|| (Ok(String::from_utf8_lossy(&rest).into_owned()), None));
        }
    }
}

fn failed(following: &Following, error: io::Error) -> ClusterError {
    let message = format!("failed to read the log of container {} of {}", following.container, following.pod);
    ClusterError::Other { message, source: Some(error.into()) }
}

impl Following {
    /// Reads what was written meanwhile; goes on with a new file when the keeper has begun one.
    fn read(&mut self) -> io::Result<()> {
        self.file.read_to_end(&mut self.rest)?;
        let turned = match fs::metadata(&self.path) {
            Ok(there) => there.ino() != self.file.metadata()?.ino(),
            Err(_) => false,
        };
        if turned {
            // What came last into the old one is read first.
            self.file.read_to_end(&mut self.rest)?;
            self.file = File::open(&self.path)?;
            self.file.read_to_end(&mut self.rest)?;
        }
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.ready.push_back(String::from_utf8_lossy(&line[..end]).into_owned());
        }
        Ok(())
    }

    /// Tells whether the container still runs, as far as one can know.
    async fn runs(&self) -> bool {
        let Ok(pod) = self.cluster.get(&self.pod).await else { return true };
        let Some(pod) = pod else { return false };
        let statuses =
            ["containerStatuses", "initContainerStatuses"].into_iter().filter_map(|field| pod.value()["status"][field].as_array());
        let mut own = statuses.flatten().filter(|one| one["name"] == self.container.as_str());
        own.any(|one| one["state"].get("running").is_some())
    }
}
