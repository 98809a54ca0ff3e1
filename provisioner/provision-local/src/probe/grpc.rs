use std::net::SocketAddrV4;
use std::time::Duration;

use tokio::time::timeout;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Asks by the health protocol of gRPC; good is SERVING.
pub(super) async fn check(address: SocketAddrV4, service: &str, limit: Duration) -> Result<(), String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| error.to_string())?;
    let failed = || format!("timeout: failed to connect service \"{address}\" within {limit:?}");
    let ask = async {
        let channel = endpoint.connect().await.map_err(|_| failed())?;
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = HealthClient::new(channel)
            .check(request)
            .await
            .map_err(|status| format!("error: health rpc probe failed: {}: {}", status.code(), status.message()))?;
        match answer.into_inner().status() {
            ServingStatus::Serving => Ok(()),
            other => Err(format!("service unhealthy (responded with \"{}\")", other.as_str_name())),
        }
    };
    timeout(limit, ask).await.unwrap_or_else(|_| Err(failed()))
}
