//! The sandbox manager and its gRPC health service.

#![cfg(test)]

use service_testing::{Service, eventually};
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sandbox-manager");

async fn status(port: u16) -> ServingStatus {
    let channel = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap().connect().await.unwrap();
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();
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
fn an_unknown_runtime_is_refused() {
    let mut service = Service::start(PROGRAM, &[], &[("GRPC_PORT", "0"), ("SANDBOX_RUNTIME", "docker")]).unwrap();
    assert_eq!(service.wait().unwrap().code(), Some(2));
    assert!(service.log().contains("expected containerd or process"), "{}", service.log());
}
