//! The whole platform on a real cluster, as `make cluster-up` brings it up: the checks of one feature are those of the engine of one machine.

mod containers;
mod pods;
mod way;

use std::path::Path;
use std::process::Command;

use integration::World;
use lab::{LabError, LabHandle};
use machine::{Ended, Platform, Ways, a_feature_becomes_a_branch, one_trace_over_all_services, partitions};
use service_testing::Collector;
use tempfile::TempDir;

use self::containers::{Contained, Watcher};
use self::way::Way;

/// Environment `dev` of a copy of the project, so that the lock file of the images is the test's own; it ends when this is dropped.
struct OnCluster<'a> {
    lab: &'a LabHandle,
    folder: TempDir,
}

impl<'a> OnCluster<'a> {
    fn prepare(lab: &'a LabHandle) -> Self {
        let folder = tempfile::Builder::new().prefix("provision-feature-").tempdir().unwrap();
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        std::fs::create_dir(folder.path().join("environments")).unwrap();
        for file in ["base.yaml", "dev.yaml"] {
            let file = Path::new("environments").join(file);
            std::fs::copy(repository.join(&file), folder.path().join(&file)).unwrap();
        }
        let copied = Command::new("cp").arg("-r").arg(repository.join("templates")).arg(folder.path()).status().unwrap();
        assert!(copied.success());
        Self { lab, folder }
    }

    /// Pushes the images and brings everything up, with settings of the test's own, each `path=value`.
    fn up(&self, settings: &[String]) {
        let registry = self.lab.registry().unwrap();
        let programs = assert_cmd::cargo::cargo_bin("provision").parent().unwrap().display().to_string();
        let inside = self.lab.registry_in_cluster();
        let pushed = self.provision(&["image", "push", "--binaries", &programs, "--registry", &registry, "--pull-from", inside]);
        assert_eq!(pushed.code, Some(0), "{pushed:?}");
        let store = format!("config.OBJECT_STORE_PUBLIC_ENDPOINT={}", self.lab.object_store_url_outside().unwrap());
        let settings = settings.iter().chain([&store]).flat_map(|setting| ["--set", setting]);
        let up = self.provision(&["up", "--yes", "--timeout", "300s"].into_iter().chain(settings).collect::<Vec<_>>());
        assert_eq!(up.code, Some(0), "{}\n{}", up.stdout, up.stderr);
    }

    fn way(&self, service: &str, port: u16) -> Way {
        Way::open(self.lab, "feature-system", &format!("service/{service}"), port)
    }

    fn reached(&self) -> Reached<'_> {
        Reached { gateway: self.way("api-gateway", 80), git: self.way("git", 9418), platform: self }
    }

    /// Runs a shell in the sandbox manager's container.
    fn in_sandbox_manager(&self, what: &str) -> Result<String, LabError> {
        self.lab.kubectl(&["exec", "-n", "feature-sandbox", "daemonset/sandbox-manager", "--", "sh", "-c", what])
    }
}

impl Drop for OnCluster<'_> {
    fn drop(&mut self) {
        let ended = self.provision(&["down", "--yes", "--timeout", "180s"]);
        if ended.code != Some(0) && !std::thread::panicking() {
            panic!("down failed: {ended:?}");
        }
    }
}

/// The platform and the open ways to it.
struct Reached<'a> {
    platform: &'a OnCluster<'a>,
    gateway: Way,
    git: Way,
}

impl Platform for Reached<'_> {
    async fn ways(&self) -> Ways {
        Ways {
            gateway: format!("http://{}", self.gateway.address),
            repository: "git://git.feature-system.svc:9418/demo.git".to_owned(),
            clone_from: format!("git://{}/demo.git", self.git.address),
            broker: self.platform.lab.kafka_outside().unwrap(),
        }
    }

    fn provision(&self, arguments: &[&str]) -> Ended {
        self.platform.provision(arguments)
    }

    async fn metrics(&self, service: &str) -> String {
        let running = pods::running(self.platform.lab);
        let own = running.iter().filter(|pod| pod["metadata"]["labels"]["app"] == service);
        let path = |pod: &serde_json::Value| {
            let (namespace, name) = (pod["metadata"]["namespace"].as_str().unwrap(), pod["metadata"]["name"].as_str().unwrap());
            format!("/api/v1/namespaces/{namespace}/pods/{name}:9090/proxy/metrics")
        };
        own.map(|pod| self.platform.lab.kubectl(&["get", "--raw", &path(pod)]).unwrap()).collect()
    }
}

impl OnCluster<'_> {
    fn provision(&self, arguments: &[&str]) -> Ended {
        let (access, secret) = self.lab.object_store_keys().unwrap();
        let output = Command::new(assert_cmd::cargo::cargo_bin("provision"))
            .args(arguments)
            .args(["--env", "dev", "--root"])
            .arg(self.folder.path())
            .env("KUBECONFIG", self.lab.kubeconfig())
            .env("PROVISION_STATE", self.folder.path().join("state"))
            .env("PROVISION_DEV_DATABASE_URL", self.lab.database_url().unwrap())
            .envs([("PROVISION_DEV_S3_ACCESS_KEY", access), ("PROVISION_DEV_S3_SECRET_KEY", secret)])
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feature_becomes_a_branch_on_a_cluster_where_nothing_runs_as_root() {
    let world = World::start().await;
    let collector = Collector::start_on(world.lab.listen_inside().unwrap()).unwrap();
    let platform = OnCluster::prepare(&world.lab);
    platform.up(&[format!("monitoring.otlp_endpoint={}", collector.url())]);
    let worked = a_feature_becomes_a_branch(&platform.reached()).await;
    one_trace_over_all_services(&collector, &worked).await;
    // The broker makes none by itself, and the lab makes none: these are feature-service's.
    let broker = world.lab.kafka_outside().unwrap();
    assert_eq!(partitions(&broker, "feature.events").await, (0..64).collect::<Vec<_>>());
    assert_eq!(partitions(&broker, "feature.events.dead").await, [0]);

    let running = pods::running(&world.lab);
    assert!(running.len() >= 9, "{} pods", running.len());
    for pod in &running {
        pods::says_what_it_may(pod);
        pods::is_held_to_it(pod);
    }
    assert_eq!(platform.in_sandbox_manager("id -u; id -g").unwrap(), "65532\n65532\n");
    assert!(platform.in_sandbox_manager("touch /usr/bin/x").unwrap_err().to_string().contains("Read-only file system"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feature_is_verified_in_a_container_by_the_nodes_containerd() {
    let world = World::start().await;
    let contained = Contained::prepare(&world.lab);
    let platform = OnCluster::prepare(&world.lab);
    contained.change(&platform.folder.path().join("environments/dev.yaml"));
    let watcher = Watcher::start(&world.lab);
    platform.up(&contained.settings());
    a_feature_becomes_a_branch(&platform.reached()).await;

    // CHOWN, DAC_OVERRIDE and FOWNER, as the environment says it; nothing is run in the manager's own container.
    let rights = platform.in_sandbox_manager("id -u; grep CapEff /proc/self/status").unwrap();
    assert_eq!(rights, "0\nCapEff:\t000000000000000b\n");
    watcher.tells_of_one_sandbox(&contained);
    assert_eq!(contained.left(), Vec::<String>::new());
}
