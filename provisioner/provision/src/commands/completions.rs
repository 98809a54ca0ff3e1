use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::Cli;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::ui::Ui;

/// Write shell completions to stdout.
///
/// Example: provision completions bash > /etc/bash_completion.d/provision
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Which shell.
    shell: Shell,
}

pub(crate) fn run(args: CompletionsArgs, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "provision", &mut script);
    ui.text(&String::from_utf8_lossy(&script))?;
    Ok(ExitStatus::Done)
}
