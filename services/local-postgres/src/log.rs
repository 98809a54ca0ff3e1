//! The server's log, as lines of ours.

/// What the server writes in front of each entry: kind of its process, its id, the database, the user.
pub(crate) const PREFIX: &str = "%b|%p|%d|%u| ";

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

/// Writes a line of the server into our log; returns the failure that it tells of.
pub(crate) fn take(line: &str) -> Option<String> {
    let Some(entry) = parse(line) else {
        tracing::info!(source = "postgresql", "{}", line.trim());
        return None;
    };
    write(&entry);
    matches!(entry.severity, Severity::Failure | Severity::Panic).then(|| entry.message.to_owned())
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

    #[test]
    fn only_failures_are_told() {
        let told = ["a|1||| FATAL:  one", "a|1||| LOG:  two", "three", "a|1||| PANIC:  four"].map(take);
        assert_eq!(told, [Some("one".to_owned()), None, None, Some("four".to_owned())]);
    }
}
