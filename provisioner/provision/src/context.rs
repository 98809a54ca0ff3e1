use std::path::{Path, PathBuf};

use provision_config::{Environment, Selection, Sources, resolve};

use crate::args::GlobalArgs;
use crate::error::CliError;

/// Finds the project folder: the one that was named, or the nearest parent of the working folder with `environments/`.
pub(crate) fn root(global: &GlobalArgs) -> Result<PathBuf, CliError> {
    if let Some(root) = &global.root {
        return if root.join("environments").is_dir() {
            Ok(root.clone())
        } else {
            Err(CliError::NoRoot { place: root.display().to_string() })
        };
    }
    let start = std::env::current_dir().map_err(|source| CliError::File { action: "find", path: PathBuf::from("."), source })?;
    let found = start.ancestors().find(|folder| folder.join("environments").is_dir()).map(Path::to_path_buf);
    found.ok_or_else(|| CliError::NoRoot { place: format!("{} or above it", start.display()) })
}

/// Reads the project's files.
pub(crate) fn sources(global: &GlobalArgs) -> Result<Sources, CliError> {
    let root = root(global)?;
    tracing::info!(root = %root.display(), "reading the project");
    Sources::read(&root).map_err(|source| CliError::Load { source })
}

/// Returns what was selected; a missing `--env` is a usage error that names those that exist.
pub(crate) fn selection(global: &GlobalArgs, sources: &Sources) -> Result<Selection, CliError> {
    let Some(environment) = global.environment.clone() else {
        let known: Vec<String> = sources.environments().iter().map(ToString::to_string).collect();
        let help = format!("add `--env NAME` or set PROVISION_ENV; there are: {}", known.join(", "));
        return Err(CliError::Usage { message: "which environment? none is named".to_owned(), help });
    };
    Ok(Selection { environment, region: global.region.clone(), sets: global.sets.clone() })
}

/// Merges and checks the selected environment.
pub(crate) fn environment(global: &GlobalArgs, sources: &Sources) -> Result<Environment, CliError> {
    let environment = resolve(sources, &selection(global, sources)?).map_err(CliError::Config)?;
    let region = environment.region.as_ref().map(tracing::field::display);
    tracing::info!(environment = %environment.name, region, release = %environment.release, "environment resolved");
    Ok(environment)
}

/// Returns the folder for local state: outside the project, so that a read-only project works.
///
/// For root it is the machine's: programs that root starts for other users could not reach a folder in its home.
pub(crate) fn state_folder(global: &GlobalArgs) -> Result<PathBuf, CliError> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let of_machine = || nix::unistd::Uid::effective().is_root().then(|| PathBuf::from("/var/lib"));
    let base = || std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).or_else(of_machine).or_else(home);
    let found = global.state.clone().or_else(|| base().map(|base| base.join("provision")));
    let found = found.ok_or_else(|| CliError::Usage {
        message: "there is no folder for local state: HOME is not set".to_owned(),
        help: "name one with `--state DIR`".to_owned(),
    })?;
    std::path::absolute(&found).map_err(|source| CliError::File { action: "find", path: found, source })
}
