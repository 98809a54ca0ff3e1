//! The broker's words, as lines of our log.

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

/// Writes a line of the broker into our log; returns the failure that it tells of, which says why a broker ended.
pub(crate) fn take(line: &str) -> Option<String> {
    write(line);
    failure(line).map(str::to_owned)
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
}
