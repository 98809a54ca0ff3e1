//! What the tests on real parts share: the lab, a client for it, and a namespace for each test.

mod project;
mod workloads;

use std::sync::Arc;
use std::time::{Duration, Instant};

use lab::{Lab, LabHandle};
use provision_apply::{Cluster, WriteMode};
use provision_kube::{Connection, KubeCluster, Patience};
use provision_model::{Manifest, ResourceId};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

pub use project::{Ended, Project, wait};
pub use workloads::{container, deployment, shell};

/// A real cluster and a client for it.
pub struct World {
    /// The lab, or the cluster that `PROVISION_TEST_KUBECONFIG` names.
    pub lab: LabHandle,
    /// A client with full rights.
    pub cluster: Arc<KubeCluster>,
    _turn: MutexGuard<'static, ()>,
}

/// One test at a time: they measure how long things take on one small node.
static TURN: Mutex<()> = Mutex::const_new(());

impl World {
    /// Brings the lab up if it is not, and connects.
    ///
    /// # Panics
    /// When there is no lab and none can be started: these tests are never skipped.
    #[expect(clippy::expect_used, reason = "a test without its world must fail, with the reason")]
    pub async fn start() -> Self {
        let turn = TURN.lock().await;
        let lab =
            tokio::task::spawn_blocking(Lab::require).await.expect("the lab's thread ends").expect("a lab, or PROVISION_TEST_KUBECONFIG");
        let connection = Connection { kubeconfig: Some(lab.kubeconfig().to_path_buf()), context: None };
        let cluster = KubeCluster::connect(&connection, Patience::default()).await.expect("a client for the lab");
        Self { lab, cluster: Arc::new(cluster), _turn: turn }
    }

    /// Makes a namespace that no other test uses and returns its name.
    ///
    /// # Panics
    /// When the cluster refuses.
    #[expect(clippy::expect_used, reason = "a test without its namespace must fail, with the reason")]
    pub async fn namespace(&self, test: &str) -> String {
        let name = format!("t-{test}-{}", std::process::id());
        let namespace = manifest(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
        self.cluster.apply(&namespace, WriteMode::Persist).await.expect("a namespace for the test");
        let account = ResourceId::namespaced("", "ServiceAccount", &name, "default");
        until("the default service account", || async { self.cluster.get(&account).await.ok().flatten() }).await;
        name
    }

    /// Sends a process of the test what Ctrl-C sends.
    ///
    /// # Panics
    /// When there is no such process.
    #[expect(clippy::expect_used, reason = "the test's own process")]
    pub fn interrupt(&self, pid: u32) {
        let status = std::process::Command::new("kill").args(["-INT", &pid.to_string()]).status().expect("kill");
        assert!(status.success());
    }

    /// Deletes a test's namespace; its content goes with it.
    ///
    /// # Panics
    /// When the cluster refuses.
    #[expect(clippy::expect_used, reason = "what a test left behind would disturb the next one")]
    pub async fn forget(&self, namespace: &str) {
        self.cluster.delete(&ResourceId::cluster("", "Namespace", namespace), None).await.expect("the namespace goes");
    }
}

/// Makes a manifest of JSON that the test wrote.
///
/// # Panics
/// When it is none.
#[expect(clippy::expect_used, reason = "the test's own data")]
pub fn manifest(value: Value) -> Manifest {
    Manifest::try_from(value).expect("a manifest")
}

/// Unpacks a record's blob: base 64 of zstd.
///
/// # Panics
/// When it is something else.
#[expect(clippy::expect_used, reason = "a record in another form must fail the test")]
pub fn unpack(blob: &str) -> String {
    use base64::Engine;
    let packed = base64::engine::general_purpose::STANDARD.decode(blob).expect("base 64");
    String::from_utf8(zstd::decode_all(packed.as_slice()).expect("zstd")).expect("text")
}

/// Waits until `probe` gives something, at most 60 s.
///
/// # Panics
/// When it does not.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, probe: impl Fn() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited 60 s for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
