//! What an operator who looks for a fault reads on stderr: off by default, `-v` or `RUST_LOG` turn it on.
//!
//! Only the events of our own crates are shown, whatever the filter says: the HTTP and Kubernetes libraries log headers and bodies, and
//! these hold credentials and secret values. What one wants to know of a request is told by [`requests`].

pub(crate) mod progress;
mod requests;

use std::io::IsTerminal;

use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::{EnvFilter, Registry};

use crate::log::requests::Requests;

/// Whether the run's steps are logged; a log and a tree that is drawn again and again can't share a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logs {
    /// Nothing is logged.
    Off,
    /// Events go to stderr, one line each.
    On,
}

/// Starts logging as `-v` says; without that flag as `RUST_LOG` says.
///
/// # Errors
/// What is wrong with `RUST_LOG`; nothing is logged then.
pub(crate) fn start(verbosity: u8) -> Result<Logs, String> {
    let Some(filter) = filter(verbosity, std::env::var("RUST_LOG").ok().as_deref())? else { return Ok(Logs::Off) };
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        // Otherwise a reader of stderr that went away ends the run with a panic.
        .log_internal_errors(false)
        .with_filter(filter.and(filter_fn(is_ours)));
    let subscriber = Registry::default().with(lines).with(Requests.with_filter(filter_fn(requests::is_request)));
    // Not `init`: that would also take in what libraries tell the `log` crate.
    Ok(if tracing::subscriber::set_global_default(subscriber).is_ok() { Logs::On } else { Logs::Off })
}

/// Returns the filter that the flag or the variable asks for, `None` when neither wants anything.
fn filter(verbosity: u8, variable: Option<&str>) -> Result<Option<EnvFilter>, String> {
    let filter = match (verbosity, variable) {
        (0, None | Some("")) => return Ok(None),
        (0, Some(text)) => EnvFilter::try_new(text).map_err(|error| format!("RUST_LOG is not used: {error}"))?,
        (1, _) => EnvFilter::new("info"),
        (2, _) => EnvFilter::new("debug"),
        (_, _) => EnvFilter::new("trace"),
    };
    let silent = <EnvFilter as Layer<Registry>>::max_level_hint(&filter) == Some(LevelFilter::OFF);
    Ok((!silent).then_some(filter))
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    let krate = metadata.target().split("::").next().unwrap_or_default();
    krate == "provision" || krate.starts_with("provision_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_decides_then_the_variable_and_nothing_is_the_default() {
        for (verbosity, variable, expected) in [
            (0, None, None),
            (0, Some(""), None),
            (0, Some("off"), None),
            (0, Some("warn"), Some(LevelFilter::WARN)),
            (0, Some("provision=debug"), Some(LevelFilter::DEBUG)),
            (1, None, Some(LevelFilter::INFO)),
            (1, Some("trace"), Some(LevelFilter::INFO)),
            (2, Some("off"), Some(LevelFilter::DEBUG)),
            (3, None, Some(LevelFilter::TRACE)),
            (9, None, Some(LevelFilter::TRACE)),
        ] {
            let filter = filter(verbosity, variable).unwrap();
            let level = filter.and_then(|filter| <EnvFilter as Layer<Registry>>::max_level_hint(&filter));
            assert_eq!(level, expected, "{verbosity} {variable:?}");
        }
        assert!(filter(0, Some("provision=loud")).unwrap_err().contains("RUST_LOG"));
    }
}
