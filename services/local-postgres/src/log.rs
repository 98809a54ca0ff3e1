//! The server's log, as lines of ours.

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;

/// What the server writes in front of each entry: kind of its process, its id, the database, the user.
pub(crate) const PREFIX: &str = "%b|%p|%d|%u| ";

/// Longest part of an entry that is taken, in bytes.
const LONGEST: usize = 4096;

/// How grave an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    Note,
    Warning,
    /// A client's statement or login failed; or the server can't start.
    Failure,
    Panic,
}

/// One entry of the server's log.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry<'a> {
    backend: &'a str,
    database: &'a str,
    user: &'a str,
    severity: Severity,
    message: &'a str,
}

fn parse(line: &str) -> Option<Entry<'_>> {
    let mut fields = line.splitn(5, '|');
    let (backend, _, database, user) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let (word, message) = fields.next()?.trim_start().split_once(':')?;
    let severity = match word {
        "LOG" | "INFO" | "NOTICE" => Severity::Note,
        "WARNING" | "HINT" | "DETAIL" => Severity::Warning,
        "ERROR" | "FATAL" => Severity::Failure,
        "PANIC" => Severity::Panic,
        _ => return None,
    };
    Some(Entry { backend, database, user, severity, message: message.trim() })
}

/// Writes what the server says into our log, until it says no more; keeps the last failure, which tells why a server ended.
pub(crate) async fn relay(output: impl AsyncRead + Unpin, last_failure: watch::Sender<String>) {
    let (mut reader, mut bytes) = (BufReader::new(output), Vec::new());
    while matches!(reader.read_until(b'\n', &mut bytes).await, Ok(length) if length > 0) {
        // What is no text is shown as well as it can be: the server waits if nobody reads on.
        let line = String::from_utf8_lossy(&bytes);
        let line = line[..line.floor_char_boundary(LONGEST)].trim_end();
        match parse(line) {
            Some(entry) => {
                if matches!(entry.severity, Severity::Failure | Severity::Panic) {
                    last_failure.send_replace(entry.message.to_owned());
                }
                write(&entry);
            }
            None => tracing::info!(source = "postgresql", "{}", line.trim()),
        }
        bytes.clear();
    }
}

fn write(entry: &Entry<'_>) {
    let Entry { backend, database, user, severity, message } = entry;
    match severity {
        Severity::Note => tracing::info!(source = "postgresql", backend, database, user, "{message}"),
        Severity::Warning | Severity::Failure => tracing::warn!(source = "postgresql", backend, database, user, "{message}"),
        Severity::Panic => tracing::error!(source = "postgresql", backend, database, user, "{message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_entry(line: &str, expected: Option<(&str, &str, Severity, &str)>) {
        let entry = parse(line);
        assert_eq!(entry.map(|entry| (entry.backend, entry.user, entry.severity, entry.message)), expected);
    }

    #[test]
    fn entries_are_read_with_their_origin() {
        check_entry("postmaster|7||| LOG:  ready | really", Some(("postmaster", "", Severity::Note, "ready | really")));
        check_entry(
            "client backend|8|feature|app| ERROR:  no: such table",
            Some(("client backend", "app", Severity::Failure, "no: such table")),
        );
        check_entry("client backend|8|d|[unknown]| FATAL:  x", Some(("client backend", "[unknown]", Severity::Failure, "x")));
        check_entry("checkpointer|9||| PANIC:  x", Some(("checkpointer", "", Severity::Panic, "x")));
    }

    #[test]
    fn other_lines_are_no_entries() {
        for line in ["", "\tcontinued", "a|b", "client backend|8|d|u| SELECT 1", "client backend|8|d|u| CONTEXT:  x"] {
            check_entry(line, None);
        }
    }

    #[tokio::test]
    async fn the_last_failure_is_kept() {
        let (sender, receiver) = watch::channel(String::new());
        relay(&b"a|1||| FATAL:  one\na|1||| LOG:  two\nth\xffree\na|1||| ERROR:  four\n"[..], sender).await;
        assert_eq!(*receiver.borrow(), "four");
    }
}
