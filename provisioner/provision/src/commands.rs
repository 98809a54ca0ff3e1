//! One file a verb: its arguments, whose docs are the help text, and `run`.

mod completions;
mod env;
mod explain;
mod image;
mod man;
mod render;

use clap::Subcommand;

use crate::args::Cli;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::ui::Ui;

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Read environments: values, where each comes from, differences, schema.
    #[command(subcommand)]
    Env(env::EnvCommand),
    Render(render::RenderArgs),
    Explain(explain::ExplainArgs),
    /// Build and push the images of the services.
    #[command(subcommand)]
    Image(image::ImageCommand),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// Runs one command.
pub(crate) async fn run(cli: Cli, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    let global = cli.global;
    match cli.command {
        Command::Env(command) => env::run(command, &global, ui),
        Command::Render(args) => render::run(args, &global, ui),
        Command::Explain(args) => explain::run(args, &global, ui),
        Command::Image(command) => image::run(command, &global, ui).await,
        Command::Completions(args) => completions::run(args, ui),
        Command::Man(args) => man::run(args, ui),
    }
}
