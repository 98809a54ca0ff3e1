use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use service_testing::eventually;

use crate::world::{Platform, REPOSITORY};

const CLIENTS: usize = 64;
const FEATURES: usize = 5000;

/// Prints its figures (`--nocapture`): they depend on the machine and the build, and are judged elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn many_features_at_once_are_all_taken_and_soon_published() {
    let platform = Platform::start();
    let service = platform.service(&[("LOG_LEVEL", "info")]);
    let taken = Arc::new(AtomicUsize::new(0));
    let request = json!({"repository_url": REPOSITORY, "instruction": "make it blue"}).to_string();
    let started = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (client, taken, request) = (service.client.clone(), Arc::clone(&taken), request.clone());
            tokio::spawn(async move {
                while taken.fetch_add(1, Ordering::Relaxed) < FEATURES {
                    let response = client.send("Create", request.clone(), &[]).await.unwrap();
                    assert_eq!(response.status().as_u16(), 200);
                    response.bytes().await.unwrap();
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let loaded = started.elapsed();
    let unpublished = || platform.postgres.query("SELECT count(*) FROM execution_events WHERE published_at IS NULL").unwrap();
    let left = unpublished();
    eventually("the outbox is empty", || (unpublished() == "0").then_some(())).unwrap();
    let drained = started.elapsed().saturating_sub(loaded);
    let rate = u32::try_from(FEATURES).map(f64::from).unwrap() / loaded.as_secs_f64();
    let cpu = cpu_seconds(&service.metrics()) * 1000.0 / f64::from(u32::try_from(FEATURES).unwrap());
    println!("{rate:.0} Create/s; {left} events left, published {} ms later; {cpu:.2} ms of CPU each", drained.as_millis());
    assert_eq!(platform.postgres.query("SELECT count(*) FROM feature_executions").unwrap(), FEATURES.to_string());
    assert!(drained < Duration::from_secs(10), "{drained:?}");
}

fn cpu_seconds(metrics: &str) -> f64 {
    metrics.lines().find_map(|line| line.strip_prefix("process_cpu_seconds_total ")).unwrap().parse().unwrap()
}
