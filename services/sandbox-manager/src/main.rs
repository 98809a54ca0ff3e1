//! sandbox-manager: runs commands in sandboxes, asked over gRPC; the standard health service tells whether it takes work.
//!
//! # What holds a sandbox
//! `SANDBOX_RUNTIME=process`: namespaces of its own (processes, mounts, network, IPC, names), as root or, where the kernel allows it, as an
//! ordinary user in a user namespace; control groups of version 1 or 2 where they may be written; limits of processes in any
//! case. Each result names what held (`isolation`), and what is not named there was not available. A command sees a read-only
//! view of `SANDBOX_READABLE_PATHS`, its workspace at `/workspace`, and a `/tmp` of its own.
//!
//! `SANDBOX_RUNTIME=containerd`: a container of its own for each, of an image, by containerd on its socket ([`containerd`]).
//!
//! # One program, five roles
//! `unsafe` code is forbidden here, and between `fork` and `exec` there is no room without it. So the program starts itself
//! again, once for each thing that only a new process can do, and each step uses safe calls only. The programs `unshare`,
//! `setpriv` and `prlimit` would do a part of it, but are not in a container's image, can't tell what failed, and can't end what they started.
//!
//! 1. *manager*: the service.
//! 2. *outer* ([`role::outer`]): joins the control groups, makes the namespaces, waits for the next.
//! 3. *init* ([`role::init`]): first process in them; mounts, starts the command, takes in orphans, ends everything when it is told to
//!    or when its socket to the manager closes, as it does when the manager is killed.
//! 4. *enter* ([`role::enter`]): sets the limits, drops the privileges, becomes the command.
//! 5. *contained* ([`role::contained`]): first process of a container, in place of 2 to 4: runc did what these do, but for taking in orphans
//!    and ending everything when the manager is gone.

mod containerd;
mod end;
mod folder;
mod groups;
mod local;
mod output;
mod plan;
mod procs;
mod role;
mod run;
mod runtime;
mod service;
mod settings;
mod slots;
mod spec;
mod unpack;

use std::process::ExitCode;
use std::sync::Arc;

use feature_api::sandbox::sandbox_service_server::SandboxServiceServer;
use service_kit::trace::grpc_span;
use service_kit::{App, BoxError, Lifecycle, Program, Surface, Task, listen};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::containerd::Containerd;
use crate::local::Local;
use crate::runtime::Runtime;
use crate::service::Sandboxes;
use crate::settings::{Config, RuntimeKind};
use crate::slots::Slots;

const ABOUT: &str = "runs commands in sandboxes";

/// Largest message: a piece of the archive is at most 1 MiB.
const LARGEST_MESSAGE: usize = 2 << 20;

async fn start(lifecycle: Lifecycle, config: Config) -> Result<App, BoxError> {
    match config.runtime {
        RuntimeKind::Containerd => serve(lifecycle, &config, Containerd::open(&config).await?).await,
        RuntimeKind::Process => serve(lifecycle, &config, Local::open(&config).await?).await,
    }
}

/// Opens the gRPC interface over a runtime.
async fn serve<R: Runtime>(lifecycle: Lifecycle, config: &Config, runtime: R) -> Result<App, BoxError> {
    let listener = listen(config.address, settings::GRPC_PORT.name).await?;
    let address = listener.local_addr()?;
    tracing::info!(server = "grpc", %address, port = address.port(), "listening");
    let (mut reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<SandboxServiceServer<Sandboxes<R>>>().await;
    let slots = Slots::new(config.concurrency);
    let runtime = Arc::new(runtime);
    let sandboxes = Sandboxes::new(Arc::clone(&runtime), config.limits.clone(), slots.clone());
    let sandboxes = SandboxServiceServer::new(sandboxes).max_decoding_message_size(LARGEST_MESSAGE);
    let (draining, stopping) = (lifecycle.draining(), lifecycle.stopping());
    let tell = async move {
        draining.await;
        reporter.set_service_status("", tonic_health::ServingStatus::NotServing).await;
        reporter.set_not_serving::<SandboxServiceServer<Sandboxes<R>>>().await;
        stopping.await;
        // Ends the streams of those who watch the status; the server would wait for them until it is cut off.
        reporter.clear_service_status("").await;
        reporter.clear_service_status("feature.sandbox.v1.SandboxService").await;
    };
    let server = Server::builder().trace_fn(grpc_span).add_service(health).add_service(sandboxes);
    let serve = server.serve_with_incoming_shutdown(TcpIncoming::from(listener), lifecycle.stopping());
    let grpc = async move {
        tokio::pin!(serve);
        // Side by side: the status must change while requests are still taken.
        let served = tokio::select! {
            served = &mut serve => served,
            () = tell => serve.await,
        };
        // A client that went away waits for nothing, but its sandbox has to be removed.
        slots.idle().await;
        served.map_err(BoxError::from)
    };
    let ending = lifecycle.stopping();
    let watch = async move {
        tokio::select! {
            reason = runtime.lost() => Err(BoxError::from(reason)),
            () = ending => Ok(()),
        }
    };
    Ok(App { tasks: vec![Task::new("grpc", grpc), Task::new("runtime", watch)], ..App::default() })
}

fn main() -> ExitCode {
    if let Some(role) = role::of(std::env::args_os().nth(1)) {
        return role();
    }
    Program::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), ABOUT, settings::read).surface(Surface::Metrics).run(start)
}
