use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::ClusterError;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Sends a request again while it fails for a passing reason, for at most `patience`, with pauses that double up to 2 s.
///
/// # Errors
/// The last error.
pub(crate) async fn retry<T, F>(patience: Duration, mut request: impl FnMut() -> F) -> Result<T, ClusterError>
where
    F: Future<Output = Result<T, ClusterError>>,
{
    let end = Instant::now() + patience;
    let mut pause = FIRST_PAUSE;
    loop {
        match request().await {
            Err(error) if error.is_transient() && Instant::now() + pause < end => {
                tracing::debug!(error = &error as &dyn std::error::Error, "trying again");
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            result => return result,
        }
    }
}
