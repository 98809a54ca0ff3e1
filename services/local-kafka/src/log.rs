//! The broker's words, as lines of our log.

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;

/// Longest part of a line that is taken, in bytes.
const LONGEST: usize = 4096;

/// One line of what the broker writes: `hh:mm:ss.SSS [thread] LEVEL class - message`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry<'a> {
    level: &'a str,
    class: &'a str,
    message: &'a str,
}

fn parse(line: &str) -> Option<Entry<'_>> {
    let (_, rest) = line.split_once('[')?;
    let (_, rest) = rest.split_once("] ")?;
    let (level, rest) = rest.split_once(' ')?;
    let (class, message) = rest.trim_start().split_once(" - ")?;
    ["FATAL", "ERROR", "WARN", "INFO", "DEBUG"].contains(&level).then_some(Entry { level, class, message: message.trim() })
}

/// Returns what a line tells about a failure: of an error, of Java's own complaint, or of a cause in a stack.
fn failure(line: &str) -> Option<&str> {
    if let Some(entry) = parse(line) {
        return ["FATAL", "ERROR"].contains(&entry.level).then_some(entry.message);
    }
    let begins =
        ["Exception in thread", "Caused by: ", "Error: ", "Error occurred", "java.lang.OutOfMemoryError", "org.apache.kafka.common."];
    begins.iter().any(|begin| line.starts_with(begin)).then(|| line.trim())
}

/// Returns the last failure in what a program wrote.
pub(crate) fn last_failure(text: &str) -> Option<String> {
    text.lines().filter_map(failure).next_back().map(str::to_owned)
}

/// Writes what the broker says into our log, until it says no more; keeps the last failure, which tells why a broker ended.
pub(crate) async fn relay(output: impl AsyncRead + Unpin, failed: watch::Sender<String>) {
    let (mut reader, mut bytes) = (BufReader::new(output), Vec::new());
    while matches!(reader.read_until(b'\n', &mut bytes).await, Ok(length) if length > 0) {
        // What is no text is shown as well as it can be: the broker waits if nobody reads on.
        let line = String::from_utf8_lossy(&bytes);
        let line = line[..line.floor_char_boundary(LONGEST)].trim_end();
        if let Some(words) = failure(line) {
            failed.send_replace(words.to_owned());
        }
        write(line);
        bytes.clear();
    }
}

fn write(line: &str) {
    match parse(line) {
        Some(Entry { level: "FATAL" | "ERROR", class, message }) => tracing::error!(source = "kafka", class, "{message}"),
        Some(Entry { level: "WARN", class, message }) => tracing::warn!(source = "kafka", class, "{message}"),
        Some(Entry { class, message, .. }) => tracing::info!(source = "kafka", class, "{message}"),
        None if !line.trim().is_empty() => tracing::info!(source = "kafka", "{}", line.trim()),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_with_their_origin() {
        let entry = parse("22:26:29.876 [main] WARN  org.apache.kafka.X - a - b [c]");
        assert_eq!(entry, Some(Entry { level: "WARN", class: "org.apache.kafka.X", message: "a - b [c]" }));
        for line in ["", "\tat kafka.Kafka$.main(Kafka.scala:100)", "[x] LOUD y - z", "a [b] ERROR", "java.lang.RuntimeException: x"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn the_last_failure_is_the_deepest_cause() {
        let told = "1 [m] WARN  a - b\n1 [main] ERROR kafka.Kafka$ - Exiting Kafka\njava.lang.RuntimeException: no\n\tat x\nCaused by: java.net.BindException: taken\n\tat y\n2 [m] INFO  c - d\n";
        assert_eq!(last_failure(told).as_deref(), Some("Caused by: java.net.BindException: taken"));
        assert_eq!(last_failure("1 [m] WARN  a - b\n"), None);
    }

    #[tokio::test]
    async fn what_is_no_text_does_not_stop_it() {
        let (sender, receiver) = watch::channel(String::new());
        relay(&b"\xff\xfe\n1 [m] ERROR a - fo\xffur\n"[..], sender).await;
        assert_eq!(*receiver.borrow(), "fo\u{fffd}ur");
    }
}
