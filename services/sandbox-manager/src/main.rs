//! sandbox-manager: runs commands in sandboxes, asked over gRPC; the standard health service tells whether it takes work.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use service_kit::variables::{AMOUNT, BIND_ADDRESS, COUNT, PATH, PORT, SECONDS, TEXT};
use service_kit::{App, BoxError, Kind, Lifecycle, Program, Settings, Surface, Task, Variable, listen};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

const ABOUT: &str = "runs commands in sandboxes";

const RUNTIME_KIND: Kind<String> =
    Kind { expected: "containerd or process", parse: |text| ["containerd", "process"].contains(&text).then(|| text.to_owned()) };
const GRPC_PORT: Variable<u16> = Variable::new("GRPC_PORT", &PORT, "port of the gRPC interface").or("50051");
const RUNTIME: Variable<String> = Variable::new("SANDBOX_RUNTIME", &RUNTIME_KIND, "what sandboxes are made of").or("containerd");
const CPU_LIMIT: Variable<f64> = Variable::new("SANDBOX_CPU_LIMIT", &AMOUNT, "CPUs of one sandbox").or("4");
const MEMORY_LIMIT: Variable<u32> = Variable::new("SANDBOX_MEMORY_LIMIT_MB", &COUNT, "memory of one sandbox, in MiB").or("8192");
const TIMEOUT: Variable<Duration> = Variable::new("SANDBOX_TIMEOUT_SECONDS", &SECONDS, "longest run of one sandbox").or("600");
const SOCKET: Variable<String> = Variable::new("CONTAINERD_SOCKET", &PATH, "socket of containerd").or("/run/containerd/containerd.sock");
const NODE_NAME: Variable<String> = Variable::new("NODE_NAME", &TEXT, "name of the node");

struct Config {
    address: SocketAddr,
}

fn read(settings: &mut Settings) -> Config {
    let address = settings.required(&BIND_ADDRESS).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let config = Config { address: SocketAddr::new(address, settings.required(&GRPC_PORT)) };
    settings.required(&RUNTIME);
    settings.required(&CPU_LIMIT);
    settings.required(&MEMORY_LIMIT);
    settings.required(&TIMEOUT);
    settings.required(&SOCKET);
    settings.optional(&NODE_NAME);
    config
}

async fn start(lifecycle: Lifecycle, config: Config) -> Result<App, BoxError> {
    let listener = listen(config.address, GRPC_PORT.name).await?;
    let address = listener.local_addr()?;
    tracing::info!(server = "grpc", %address, port = address.port(), "listening");
    let (mut reporter, health) = tonic_health::server::health_reporter();
    let (draining, stopping) = (lifecycle.draining(), lifecycle.stopping());
    let tell = async move {
        draining.await;
        reporter.set_service_status("", tonic_health::ServingStatus::NotServing).await;
        stopping.await;
        // Ends the streams of those who watch the status; the server would wait for them until it is cut off.
        reporter.clear_service_status("").await;
    };
    let serve = Server::builder().add_service(health).serve_with_incoming_shutdown(TcpIncoming::from(listener), lifecycle.stopping());
    let grpc = async move {
        tokio::pin!(serve);
        // Side by side: the status must change while requests are still taken.
        let served = tokio::select! {
            served = &mut serve => served,
            () = tell => serve.await,
        };
        served.map_err(BoxError::from)
    };
    Ok(App { tasks: vec![Task::new("grpc", grpc)], ..App::default() })
}

fn main() -> ExitCode {
    Program::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), ABOUT, read).surface(Surface::Metrics).run(start)
}
