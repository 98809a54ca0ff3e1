//! A command in a sandbox: gRPC, the workspace streamed from the git service as it comes.

use std::time::Duration;

use feature_api::sandbox::run_event::Event;
use feature_api::sandbox::run_request::Part;
use feature_api::sandbox::sandbox_service_client::SandboxServiceClient;
use feature_api::sandbox::{Result as Ended, RunRequest, Spec};
use service_kit::{BoxError, Upstream, trace};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Extensions, Request, Status};

use super::{Ran, UpstreamError};

/// Largest piece of an archive.
const PIECE: usize = 1024 * 1024;
/// Most output that is kept; of more, the end.
const LOG: usize = 256 * 1024;

pub(crate) struct Sandbox {
    channel: Channel,
    limit: Duration,
}

impl Sandbox {
    pub(crate) fn new(upstream: &Upstream, limit: Duration) -> Result<Self, BoxError> {
        let endpoint = Endpoint::from_shared(upstream.to_string())?.connect_timeout(Duration::from_secs(5));
        // A manager that vanished without a word is noticed although the command is silent.
        let endpoint = endpoint.http2_keep_alive_interval(Duration::from_secs(10)).keep_alive_timeout(Duration::from_secs(10));
        Ok(Self { channel: endpoint.connect_lazy(), limit })
    }

    /// Runs a command on a workspace; `archive` is the body of the answer that holds it.
    pub(crate) async fn run(&self, spec: Spec, archive: impl Archive) -> Result<Ran, UpstreamError> {
        let (parts, stream) = mpsc::channel(4);
        let mut headers = http::HeaderMap::new();
        trace::inject(&mut headers);
        let request = Request::from_parts(MetadataMap::from_headers(headers), Extensions::default(), ReceiverStream::new(stream));
        let mut client = SandboxServiceClient::new(self.channel.clone());
        let answered = async {
            let mut events = client.run(request).await.map_err(refused)?.into_inner();
            let mut log = Log::default();
            while let Some(event) = events.message().await.map_err(refused)? {
                match event.event {
                    Some(Event::Output(output)) => log.add(&output.data),
                    Some(Event::Result(ended)) => return Ok(log.ran(ended)),
                    None => {}
                }
            }
            Err(UpstreamError::transient("the sandbox manager ended the call without a result"))
        };
        let sent = async {
            send(spec, archive, parts).await?;
            // The answer comes by the other way.
            std::future::pending().await
        };
        let limit = self.limit;
        tokio::select! {
            answer = answered => answer,
            sent = sent => sent,
            () = tokio::time::sleep(limit) => {
                Err(UpstreamError::transient(format!("the sandbox manager gave no result within {} s", limit.as_secs())))
            }
        }
    }
}

/// A tar archive in pieces, as they come.
pub(crate) trait Archive: Send {
    /// Returns the next piece; none at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Vec<u8>>, UpstreamError>> + Send;
}

impl Archive for reqwest::Response {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, UpstreamError> {
        let piece = self.chunk().await.map_err(|_| UpstreamError::transient("the archive broke off"))?;
        Ok(piece.map(|piece| piece.to_vec()))
    }
}

/// Sends the spec and the archive; ends early, without an error, if nobody takes them: then the answer says why.
async fn send(spec: Spec, mut archive: impl Archive, parts: mpsc::Sender<RunRequest>) -> Result<(), UpstreamError> {
    let request = |part| RunRequest { part: Some(part) };
    if parts.send(request(Part::Spec(spec))).await.is_err() {
        return Ok(());
    }
    while let Some(bytes) = archive.next().await? {
        for piece in bytes.chunks(PIECE) {
            if parts.send(request(Part::Archive(piece.to_vec()))).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn refused(status: Status) -> UpstreamError {
    // `AlreadyExists`: a sandbox of this step still runs, for a worker that is gone; it ends with its call.
    let transient = !matches!(
        status.code(),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange | Code::Unimplemented | Code::PermissionDenied
    );
    UpstreamError { message: format!("the sandbox manager: {}", status.message()), transient, retry_after: None }
}

/// The end of what a command wrote.
#[derive(Default)]
struct Log {
    bytes: Vec<u8>,
    cut: bool,
}

impl Log {
    fn add(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
        // Cut in large pieces: each output would move the whole otherwise.
        if self.bytes.len() > 2 * LOG {
            self.keep_end();
        }
    }

    fn keep_end(&mut self) {
        let from = self.bytes.len().saturating_sub(LOG);
        self.cut |= from > 0;
        self.bytes.drain(..from);
    }

    fn ran(mut self, ended: Ended) -> Ran {
        self.keep_end();
        Ran {
            exit_code: ended.exit_code,
            oom_killed: ended.oom_killed,
            timed_out: ended.timed_out,
            truncated: ended.truncated || self.cut,
            duration_ms: ended.duration_ms,
            isolation: ended.isolation,
            log: String::from_utf8_lossy(&self.bytes).into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_much_output_the_end_is_kept() {
        let mut log = Log::default();
        for line in 0..100_000 {
            log.add(format!("line {line}\n").as_bytes());
        }
        let ran = log.ran(Ended { exit_code: 3, ..Ended::default() });
        assert!(ran.truncated && ran.log.ends_with("line 99999\n") && ran.log.len() == LOG, "{} bytes", ran.log.len());
        let mut short = Log::default();
        short.add(b"a\xffb");
        let ran = short.ran(Ended::default());
        assert_eq!((ran.log.as_str(), ran.truncated), ("a\u{fffd}b", false));
    }

    #[test]
    fn what_a_repeat_can_mend_is_told_apart() {
        for (code, transient) in [
            (Code::Unavailable, true),
            (Code::AlreadyExists, true),
            (Code::ResourceExhausted, true),
            (Code::Cancelled, true),
            (Code::InvalidArgument, false),
            (Code::Unimplemented, false),
        ] {
            assert_eq!(refused(Status::new(code, "x")).transient, transient, "{code:?}");
        }
    }
}
