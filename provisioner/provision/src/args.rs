use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, ValueEnum};

use crate::commands::Command;

/// Brings a whole platform up from environment files and templates.
///
/// Decide, then act: every change is shown beforehand, can be stopped at any moment and resumed, undone, and compared with what is
/// really there.
#[derive(Debug, Parser)]
#[command(name = "provision", version, max_term_width = 110, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  provision env show --env prod --origin      every value and the line it comes from
  provision plan --env dev                    what would change, in which order and why
  provision up --env dev                      apply it, wait until it works, say why if it does not
  provision resume --env dev                  go on after a kill, from any machine
  provision rollback --env dev --to 3         back to what release 3 recorded

Exit codes: 0 done, 1 failed, 2 invalid input, 3 differences, 4 resumable, 5 refused, 130 interrupted.";

/// Flags of every verb.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every verb")]
pub(crate) struct GlobalArgs {
    /// Environment: the stem of `environments/NAME.yaml`.
    #[arg(long = "env", short = 'e', value_name = "NAME", env = "PROVISION_ENV", global = true)]
    pub(crate) environment: Option<String>,
    /// Region overlay: the stem of `environments/ENV/NAME.yaml`.
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) region: Option<String>,
    /// Project folder, which holds `environments/` and `templates/` [default: the nearest parent that does].
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) root: Option<PathBuf>,
    /// Overrides one value; typed by the schema and recorded as a layer.
    #[arg(long = "set", value_name = "PATH=VALUE", global = true)]
    pub(crate) sets: Vec<String>,
    /// Output for people or for programs.
    #[arg(long, short = 'o', value_enum, default_value_t = OutputFormat::Text, global = true)]
    pub(crate) output: OutputFormat,
    /// Kubeconfig file [default: `KUBECONFIG`, then ~/.kube/config, then the in-cluster account].
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig [default: its current one].
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) context: Option<String>,
    /// Log to stderr what the run does; twice: each request to the cluster too [default: what `RUST_LOG` says].
    #[arg(long, short = 'v', action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// Folder for local state: the generated secrets of environments in `local` mode.
    #[arg(long, value_name = "DIR", env = "PROVISION_STATE", global = true)]
    pub(crate) state: Option<PathBuf>,
}

/// How results are written to stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people.
    Text,
    /// For programs: one document, or one event a line for long work.
    Json,
}
