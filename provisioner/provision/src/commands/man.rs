use std::path::PathBuf;

use clap::{Args, CommandFactory};

use crate::args::Cli;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::ui::Ui;

/// Write manual pages: one a verb into a folder, or the first one to stdout.
///
/// Example: provision man --out /usr/local/share/man/man1
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Folder for one page a verb.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: ManArgs, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    let command = Cli::command();
    match args.out {
        Some(folder) => {
            let failed = |source| CliError::File { action: "write manual pages to", path: folder.clone(), source };
            std::fs::create_dir_all(&folder).map_err(failed)?;
            clap_mangen::generate_to(command, &folder).map_err(failed)?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page).map_err(|source| CliError::Output { source })?;
            ui.text(&String::from_utf8_lossy(&page))?;
        }
    }
    Ok(ExitStatus::Done)
}
