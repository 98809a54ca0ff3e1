//! Passing on what a command writes, within its bound.

use feature_api::sandbox::run_event::Event;
use feature_api::sandbox::{Output, RunEvent};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc::Sender;
use tonic::Status;

use crate::runtime::Stream;

/// Size of a piece, in bytes.
const PIECE: usize = 32 << 10;

/// An event for the client, or why there is no further one.
pub(crate) type Told = Result<RunEvent, Status>;

/// Passes a stream on to its end; what is beyond `most` bytes is read and left out. Tells whether there was such.
pub(crate) async fn pass(mut stream: Stream, stderr: bool, most: usize, sender: &Sender<Told>) -> bool {
    let (mut left, mut truncated) = (most, false);
    let mut piece = vec![0; PIECE];
    while let Ok(read @ 1..) = stream.read(&mut piece).await {
        let kept = read.min(left);
        truncated |= kept < read;
        left -= kept;
        if kept > 0 && sender.send(Ok(output(stderr, piece[..kept].to_vec()))).await.is_err() {
            // Nobody listens; that ends the command elsewhere.
            break;
        }
    }
    truncated
}

/// Makes an event of output.
pub(crate) fn output(stderr: bool, data: Vec<u8>) -> RunEvent {
    RunEvent { event: Some(Event::Output(Output { stderr, data })) }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn a_stream_is_cut_at_its_bound_and_read_to_its_end() {
        for (length, most, expected, cut) in [(10, 10, 10, false), (11, 10, 10, true), (200_000, 100_000, 100_000, true), (0, 5, 0, false)]
        {
            let (sender, mut receiver) = channel(100);
            let bytes: &'static [u8] = vec![7; length].leak();
            assert_eq!(pass(Box::pin(bytes), true, most, &sender).await, cut);
            drop(sender);
            let mut sum = 0;
            while let Some(Ok(RunEvent { event: Some(Event::Output(Output { stderr: true, data })) })) = receiver.recv().await {
                sum += data.len();
            }
            assert_eq!(sum, expected);
        }
    }
}
