//! The command line of `lab`.

use std::path::PathBuf;

/// What `lab` is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Bring the region up.
    Up,
    /// End it and remove all it had.
    Down,
    /// Say what it does.
    Status,
    /// Print what clients need as shell exports.
    Env,
    /// Be the region's first process.
    First,
    /// Be its PostgreSQL.
    Postgres,
    /// Be its Kafka.
    Kafka,
    /// Be its object store.
    ObjectStore,
    /// Offer released volumes again.
    Reclaim,
}

/// A parsed command line.
#[derive(Debug, PartialEq, Eq)]
pub struct Arguments {
    /// What to do.
    pub verb: Verb,
    /// With which region.
    pub region: String,
    /// In which folder; `None` is the default.
    pub dir: Option<PathBuf>,
}

/// How `lab` is called.
pub const USAGE: &str = "usage: lab up|down|status|env [--region NAME] [--dir DIR]

  up       starts the region's servers, or finds them up; also after a kill
  down     ends them and removes all they had; safe at any time
  status   says what is there (exit code 1 if the cluster is not usable)
  env      prints KUBECONFIG and the other addresses as shell exports

  --region NAME   r1 by default
  --dir DIR       ~/.cache/provision/lab by default, or PROVISION_LAB_DIR

Needs root. The programs come from tests/lab/install.sh.
";

/// Reads the arguments behind the program's name; `Err` says what is wrong with them.
///
/// # Errors
/// A sentence for the person who typed them.
pub fn parse<I: IntoIterator<Item = String>>(words: I) -> Result<Arguments, String> {
    let mut words = words.into_iter();
    let verb = match words.next().as_deref() {
        Some("up") => Verb::Up,
        Some("down") => Verb::Down,
        Some("status") => Verb::Status,
        Some("env") => Verb::Env,
        Some("first") => Verb::First,
        Some("postgres") => Verb::Postgres,
        Some("kafka") => Verb::Kafka,
        Some("object-store") => Verb::ObjectStore,
        Some("reclaim") => Verb::Reclaim,
        Some(other) => return Err(format!("`{other}` is no command")),
        None => return Err("no command given".into()),
    };
    let mut arguments = Arguments { verb, region: "r1".into(), dir: None };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("`{word}` needs a value"));
        match word.as_str() {
            "--region" => arguments.region = value()?,
            "--dir" => arguments.dir = Some(value()?.into()),
            _ => return Err(format!("`{word}` is no option")),
        }
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Arguments, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn defaults_and_options() {
        assert_eq!(parse_line("up"), Ok(Arguments { verb: Verb::Up, region: "r1".into(), dir: None }));
        assert_eq!(
            parse_line("down --dir /x --region r2"),
            Ok(Arguments { verb: Verb::Down, region: "r2".into(), dir: Some("/x".into()) })
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(parse_line(""), Err("no command given".into()));
        assert_eq!(parse_line("start"), Err("`start` is no command".into()));
        assert_eq!(parse_line("up --region"), Err("`--region` needs a value".into()));
        assert_eq!(parse_line("up --force"), Err("`--force` is no option".into()));
    }
}
