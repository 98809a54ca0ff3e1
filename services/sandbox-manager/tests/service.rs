//! The sandbox manager and its gRPC health service.

#![cfg(test)]

use service_testing::{Service, check_refused, eventually};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sandbox-manager");

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
    let mut service = Service::start(PROGRAM, &[], &[("GRPC_PORT", "0"), ("SHUTDOWN_LAME_DUCK_SECONDS", "5")]).unwrap();
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
    let mut service = Service::start(PROGRAM, &[], &[("GRPC_PORT", "0"), ("SHUTDOWN_GRACE_SECONDS", "20")]).unwrap();
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
    let mut service = Service::start(PROGRAM, &[], &[("GRPC_PORT", &port)]).unwrap();
    assert_eq!(service.wait().unwrap().code(), Some(1));
    assert!(service.log().contains(&format!("failed to listen on 127.0.0.1:{port} (GRPC_PORT)")), "{}", service.log());
}

#[test]
fn an_unknown_runtime_is_refused() {
    let log = check_refused(PROGRAM, &[], &[("GRPC_PORT", "0"), ("SANDBOX_RUNTIME", "docker")]).unwrap();
    assert!(log.contains("expected containerd or process"), "{log}");
}
