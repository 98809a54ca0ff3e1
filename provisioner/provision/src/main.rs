//! `provision`: brings a platform up from environment files and templates, shows beforehand what will change, and says why when it fails.

mod args;
mod cluster;
mod commands;
mod context;
mod error;
mod exit;
mod interrupts;
mod log;
mod notices;
mod operate;
mod plan_file;
mod programs;
mod roles;
mod secrets;
mod session;
mod ui;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::exit::ExitStatus;
use crate::log::Logs;
use crate::ui::Ui;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(code) = roles::play() {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => return usage_exit(&usage),
    };
    let (logs, remark) = match log::start(cli.global.verbose) {
        Ok(logs) => (logs, None),
        Err(remark) => (Logs::Off, Some(remark)),
    };
    let mut ui = Ui::new(cli.global.output, logs);
    if let Some(remark) = remark {
        ui.note(&remark);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            ui.error(&error::CliError::Runtime { source });
            return ExitStatus::Failed.into();
        }
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), run = ui.run(), "started");
    let status = match runtime.block_on(commands::run(cli, &mut ui)) {
        Ok(status) => status,
        Err(error) => {
            ui.error(&error);
            error.exit()
        }
    };
    tracing::info!(exit_code = status.code(), "ended");
    // Tasks that only watch must not hold the exit back.
    runtime.shutdown_background();
    status.into()
}

/// Prints help, version or the usage error where clap would; usage errors are invalid input.
fn usage_exit(usage: &clap::Error) -> ExitCode {
    if usage.print().is_err() {
        return ExitStatus::Failed.into();
    }
    if usage.use_stderr() { ExitStatus::Invalid.into() } else { ExitStatus::Done.into() }
}
