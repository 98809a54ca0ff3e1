//! What the worker leaves in the object store, and removes from it.

use std::time::Duration;

use feature_api::feature::State;
use service_testing::{Service, built, eventually};
use tempfile::TempDir;

use crate::platform::Platform;

/// A real object store.
struct Store {
    folder: TempDir,
    service: Service,
}

impl Store {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let variables = [
            ("STORE_PATH", path.to_str().unwrap()),
            ("STORE_BUCKETS", "artifacts"),
            ("AWS_ACCESS_KEY_ID", "canary-access"),
            ("AWS_SECRET_ACCESS_KEY", "canary-secret"),
        ];
        let service = Service::start(built("local-store").unwrap(), &[], &variables).unwrap();
        service.wait_for_readiness(200).unwrap();
        Self { folder, service }
    }

    fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.service.port("http").unwrap())
    }

    /// Returns how many files the store has on disk whose content is an artifact's.
    fn bodies(&self) -> usize {
        let mut folders = vec![self.folder.path().join("store")];
        let mut bodies = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else if std::fs::read(entry.path()).is_ok_and(|body| body.windows(7).any(|part| part == b"--- a/x")) {
                    bodies += 1;
                }
            }
        }
        bodies
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_whose_time_is_over_are_removed_and_not_told_any_more() {
    let (platform, store) = (Platform::start(Duration::from_millis(1)).await, Store::start());
    let address = store.address();
    let variables = [("OBJECT_STORE_ENDPOINT", address.as_str()), ("ARTIFACT_SWEEP_SECONDS", "1"), ("OBJECT_STORE_REGION", "local")];
    let workers = ["first", "second"].map(|name| platform.worker(name, &[], &variables));
    let features = platform.create(3).await;
    platform.until(&[State::Completed], 3, &[&workers[0], &workers[1]]).await;
    assert_eq!(store.bodies(), 3);
    let past = "jsonb_set(output, '{expires_at}', '1')";
    platform.query(&format!(
        "UPDATE execution_steps SET output = {past} WHERE step_type = 'artifacts' AND feature_execution_id = '{}'",
        features[0]
    ));
    eventually("the artifact is removed", || (store.bodies() == 2).then_some(())).unwrap();
    let removed = || platform.query("SELECT feature_execution_id FROM execution_steps WHERE artifacts_removed_at IS NOT NULL");
    eventually("the removal is recorded", || (removed() == features[0].to_string()).then_some(())).unwrap();
    for (feature, kept) in features.iter().zip([0, 2, 2]) {
        assert_eq!(platform.store.get(*feature).await.unwrap().artifacts.len(), kept, "{feature}");
    }
    let counted = workers.iter().map(|worker| {
        let metrics = service_testing::get(worker.port("metrics").unwrap(), "/metrics").unwrap().body;
        let line = metrics.lines().find_map(|line| line.strip_prefix("artifacts_removed_total ")).unwrap().to_owned();
        line.parse::<u32>().unwrap()
    });
    assert_eq!(counted.sum::<u32>(), 2, "one of them did it");
}
