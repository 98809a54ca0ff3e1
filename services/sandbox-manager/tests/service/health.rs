//! Health over gRPC, and what the start refuses.

use service_testing::{Service, check_refused, eventually};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::PROGRAM;

/// Variables that a start needs; the folder is removed with the value.
fn settings(folder: &tempfile::TempDir) -> [(&'static str, &str); 3] {
    [("GRPC_PORT", "0"), ("SANDBOX_RUNTIME", "process"), ("SANDBOX_DATA_PATH", folder.path().to_str().unwrap())]
}

fn start(folder: &tempfile::TempDir, more: &[(&str, &str)]) -> Service {
    let all: Vec<_> = settings(folder).into_iter().chain(more.iter().copied()).collect();
    Service::start(PROGRAM, &[], &all).unwrap()
}

async fn client(port: u16) -> HealthClient<Channel> {
    HealthClient::new(Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap().connect().await.unwrap())
}

async fn status(port: u16) -> ServingStatus {
    let answer = client(port).await.check(HealthCheckRequest::default()).await.unwrap();
    answer.into_inner().status()
}

#[test]
fn its_grpc_health_follows_its_life() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut service = start(&folder, &[("SHUTDOWN_LAME_DUCK_SECONDS", "5")]);
    service.wait_for_readiness(200).unwrap();
    let port = service.port("grpc").unwrap();
    assert_eq!(runtime.block_on(status(port)), ServingStatus::Serving);
    service.terminate().unwrap();
    let told = || (runtime.block_on(status(port)) == ServingStatus::NotServing).then_some(());
    eventually("clients are sent elsewhere", told).unwrap();
    assert_eq!(service.wait().unwrap().code(), Some(0), "{}", service.log());
}

#[test]
fn who_watches_its_health_does_not_hold_up_its_end() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut service = start(&folder, &[("SHUTDOWN_GRACE_SECONDS", "20")]);
    service.wait_for_readiness(200).unwrap();
    let port = service.port("grpc").unwrap();
    let (mut client, mut watched) = runtime.block_on(async {
        let mut client = client(port).await;
        let watched = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        (client, watched)
    });
    assert_eq!(runtime.block_on(watched.message()).unwrap().unwrap().status(), ServingStatus::Serving);
    service.end_in_order().unwrap();
    // Only now: a client that is gone would hold nothing up.
    assert!(runtime.block_on(client.check(HealthCheckRequest::default())).is_err());
}

#[test]
fn a_taken_port_is_named_with_its_variable() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let mut service = start(&folder, &[("GRPC_PORT", &port)]);
    assert_eq!(service.wait().unwrap().code(), Some(1));
    assert!(service.log().contains(&format!("failed to listen on 127.0.0.1:{port} (GRPC_PORT)")), "{}", service.log());
}

#[test]
fn an_unknown_runtime_is_refused() {
    let log = check_refused(PROGRAM, &[], &[("GRPC_PORT", "0"), ("SANDBOX_RUNTIME", "docker")]).unwrap();
    assert!(log.contains("expected containerd or process"), "{log}");
}

#[test]
fn what_is_not_built_or_not_there_is_refused_with_what_is() {
    let folder = tempfile::tempdir().unwrap();
    for (variable, value, words) in [
        ("SANDBOX_RUNTIME", "containerd", "SANDBOX_IMAGE is not set"),
        ("SANDBOX_REQUIRED_ISOLATION", "network,teleport", "this machine does not offer teleport to sandboxes"),
        ("SANDBOX_DATA_PATH", "/proc/nowhere", "/proc/nowhere can't be used (SANDBOX_DATA_PATH)"),
    ] {
        let mut service = start(&folder, &[(variable, value)]);
        assert_eq!(service.wait().unwrap().code(), Some(1));
        assert!(service.log().contains(words), "{words}: {}", service.log());
    }
    let first = start(&folder, &[]);
    first.wait_for_readiness(200).unwrap();
    let mut second = start(&folder, &[]);
    assert_eq!(second.wait().unwrap().code(), Some(1));
    assert!(second.log().contains("is used by another sandbox-manager"), "{}", second.log());
}
