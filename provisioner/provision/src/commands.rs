//! One file a verb: its arguments, whose docs are the help text, and `run`.

mod completions;
mod down;
mod drift;
mod env;
mod explain;
mod history;
mod image;
mod logs;
mod man;
mod plan;
mod render;
mod restart;
mod resume;
mod rollback;
mod status;
mod up;

use clap::Subcommand;

use crate::args::Cli;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::ui::Ui;

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Read environments: values, where each comes from, differences, schema.
    ///
    /// Example: provision env show --env prod --origin
    #[command(subcommand)]
    Env(env::EnvCommand),
    Render(render::RenderArgs),
    Explain(explain::ExplainArgs),
    Plan(plan::PlanArgs),
    Up(up::UpArgs),
    Resume(resume::ResumeArgs),
    Rollback(rollback::RollbackArgs),
    Down(down::DownArgs),
    Restart(restart::RestartArgs),
    Status(status::StatusArgs),
    Logs(logs::LogsArgs),
    Drift(drift::DriftArgs),
    History(history::HistoryArgs),
    /// Build and push the images of the services.
    ///
    /// Example: provision image build --binaries target/release
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
        Command::Plan(args) => plan::run(args, &global, ui).await,
        Command::Up(args) => up::run(args, &global, ui).await,
        Command::Resume(args) => resume::run(args, &global, ui).await,
        Command::Rollback(args) => rollback::run(args, &global, ui).await,
        Command::Down(args) => down::run(args, &global, ui).await,
        Command::Restart(args) => restart::run(args, &global, ui).await,
        Command::Logs(args) => logs::run(args, &global, ui).await,
        Command::Status(args) => status::run(args, &global, ui).await,
        Command::Drift(args) => drift::run(args, &global, ui).await,
        Command::History(args) => history::run(args, &global, ui).await,
        Command::Image(command) => image::run(command, &global, ui).await,
        Command::Completions(args) => completions::run(args, ui),
        Command::Man(args) => man::run(args, ui),
    }
}
