//! `lab`: brings a region of real servers up and takes it down.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use lab::{Lab, LabError, Region, State, Verb};

fn main() -> ExitCode {
    let arguments = match lab::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            print_error(&format!("lab: {message}\n\n{}", lab::USAGE));
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            let mut text = format!("lab: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                // Writing to a String can't fail.
                write!(text, ": {cause}").unwrap_or_default();
                source = cause.source();
            }
            print_error(&format!("{text}\n"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &lab::Arguments) -> Result<ExitCode, LabError> {
    let folder = match &arguments.dir {
        Some(folder) => folder.clone(),
        None => lab::lab_folder()?,
    };
    let region = Region::new(&folder, &arguments.region)?;
    let tools = lab::tools()?;
    match arguments.verb {
        Verb::Up => {
            let started = Instant::now();
            let say = |text: &str| print(&format!("lab: {:5.1} s {text}\n", started.elapsed().as_secs_f64()));
            lab::up(&region, &tools, &say)?;
            print(&format!("lab: up; KUBECONFIG={}\n", region.kubeconfig().display()));
        }
        Verb::Down => lab::down(&region)?,
        Verb::Status => return status(&region, &tools),
        Verb::Env => print(&environment(&region, &tools)?),
        Verb::First => lab::run_first(&region, &tools)?,
        Verb::Postgres => lab::run_database(&region)?,
        Verb::Kafka => lab::run_kafka(&region)?,
        Verb::ObjectStore => lab::run_object_store(&region, &tools)?,
        Verb::Reclaim => lab::reclaim(&region, &tools)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn status(region: &Region, tools: &lab::Tools) -> Result<ExitCode, LabError> {
    let (text, code) = match lab::state(region, tools) {
        State::Absent => ("down".to_owned(), ExitCode::FAILURE),
        State::Dead => (format!("killed; left: {}", lab::leftovers(region)?.join(", ")), ExitCode::FAILURE),
        State::Starting(first) => (format!("not usable; first process {}", first.pid), ExitCode::FAILURE),
        State::Up(first) => (format!("up; first process {}", first.pid), ExitCode::SUCCESS),
    };
    print(&format!("lab {}: {text}\n", region.name));
    Ok(code)
}

fn environment(region: &Region, tools: &lab::Tools) -> Result<String, LabError> {
    let handle = Lab::at(region, tools)?;
    let (access_key, secret_key) = handle.object_store_keys()?;
    let variables = [
        ("KUBECONFIG", region.kubeconfig().display().to_string()),
        ("LAB_REGISTRY", handle.registry()?),
        ("LAB_REGISTRY_IN_CLUSTER", handle.registry_in_cluster().to_owned()),
        ("DATABASE_URL", handle.database_url()?),
        ("LAB_DATABASE_URL", handle.database_url_outside()?),
        ("LAB_KAFKA", handle.kafka_outside()?),
        ("LAB_KAFKA_IN_CLUSTER", handle.kafka()?),
        ("LAB_S3", handle.object_store_url_outside()?),
        ("LAB_S3_IN_CLUSTER", handle.object_store_url()?),
        ("LAB_S3_ACCESS_KEY", access_key),
        ("LAB_S3_SECRET_KEY", secret_key),
        ("LAB_TOOLS", handle.tools_bin().display().to_string()),
        ("LAB_CRDS", handle.crds().display().to_string()),
    ];
    Ok(variables.iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect())
}

/// Nobody is there to hear about a closed output.
fn print(text: &str) {
    std::io::stdout().write_all(text.as_bytes()).unwrap_or_default();
}

fn print_error(text: &str) {
    std::io::stderr().write_all(text.as_bytes()).unwrap_or_default();
}
