use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use provision_image::{Image, ImageError, ImageLock, ImageSpec, LockedImage, PushOptions, Reference, RegistryCredentials};
use serde_json::json;

use crate::args::GlobalArgs;
use crate::context;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::ui::Ui;

/// What can be done with images.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    Build(BuildArgs),
    Push(PushArgs),
}

/// Build OCI images from compiled programs, without a container engine: same input, same digest.
///
/// Example: provision image build --env dev --binaries target/release --out out/images api-gateway feature-service
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    #[command(flatten)]
    what: WhatArgs,
    /// Folder for one OCI image layout an image.
    #[arg(long, value_name = "DIR", default_value = "out/images")]
    out: PathBuf,
}

/// Build images, push them to a registry and pin their digests in `environments/ENV.lock.yaml`.
///
/// Example: provision image push --env dev --binaries target/release --registry registry.example.com
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    #[command(flatten)]
    what: WhatArgs,
    /// Registry to push to: `host[:port][/prefix]`.
    #[arg(long, value_name = "REGISTRY")]
    registry: String,
    /// Name under which the cluster pulls, when that is another one than the one pushed to.
    #[arg(long, value_name = "REGISTRY")]
    pull_from: Option<String>,
    /// Speak plain HTTP to a registry that is not on this machine.
    #[arg(long)]
    insecure: bool,
}

/// Which images.
#[derive(Debug, Args)]
pub(crate) struct WhatArgs {
    /// Folder with the compiled programs.
    #[arg(long, value_name = "DIR", default_value = "target/release")]
    binaries: PathBuf,
    /// Names of images [default: those of every service of the environment].
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

pub(crate) async fn run(command: ImageCommand, global: &GlobalArgs, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    match command {
        ImageCommand::Build(args) => build(args, global, ui),
        ImageCommand::Push(args) => push(args, global, ui).await,
    }
}

fn failed(action: &'static str, name: &str, source: ImageError) -> CliError {
    let help = source.help().unwrap_or_else(|| "look at the cause above and run it again".to_owned());
    CliError::Image { action, name: name.to_owned(), source: Box::new(source), help }
}

/// Describes the images that were asked for, as the environment has them.
fn specs(what: &WhatArgs, global: &GlobalArgs) -> Result<Vec<ImageSpec>, CliError> {
    let sources = context::sources(global)?;
    let settings = context::environment(global, &sources)?.settings;
    let known: BTreeSet<&str> = settings.services.iter().map(|(name, service)| service.image.as_deref().unwrap_or(name)).collect();
    if let Some(name) = what.names.iter().find(|name| !known.contains(name.as_str())) {
        let known: Vec<&str> = known.into_iter().collect();
        return Err(CliError::Usage {
            message: format!("no service of this environment has an image `{name}`"),
            help: format!("name some of these, or none for all: {}", known.join(", ")),
        });
    }
    let names: Vec<&str> =
        if what.names.is_empty() { known.into_iter().collect() } else { what.names.iter().map(String::as_str).collect() };
    let contents = |name| settings.images.get(name).map(|image| image.contents.clone()).unwrap_or_default();
    Ok(names.into_iter().map(|name| ImageSpec { contents: contents(name), ..ImageSpec::new(name, what.binaries.join(name)) }).collect())
}

fn build_one(spec: &ImageSpec) -> Result<Image, CliError> {
    provision_image::build(spec).map_err(|source| failed("build", &spec.name, source))
}

fn build(args: BuildArgs, global: &GlobalArgs, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    let mut rows = Vec::new();
    for spec in specs(&args.what, global)? {
        let (name, image) = (&spec.name, build_one(&spec)?);
        let folder = args.out.join(name);
        image.write_layout(&folder).map_err(|source| failed("write", name, source))?;
        let row = json!({"name": name, "digest": image.digest().to_string(), "bytes": image.size(), "folder": folder});
        rows.push(row);
        if !ui.is_json() {
            ui.text(&format!("{name:<20} {} {:>6.1} MiB\n", image.digest(), mebibytes(image.size())))?
        }
    }
    if ui.is_json() {
        ui.json(&rows)?;
    }
    Ok(ExitStatus::Done)
}

async fn push(args: PushArgs, global: &GlobalArgs, ui: &mut Ui) -> Result<ExitStatus, CliError> {
    let environment = global.environment.clone().ok_or_else(|| CliError::Usage {
        message: "which environment's lock file? none is named".to_owned(),
        help: "add `--env NAME`".to_owned(),
    })?;
    let lock_file = context::root(global)?.join("environments").join(format!("{environment}.lock.yaml"));
    let mut lock =
        ImageLock::read(&lock_file).map_err(|source| failed("read the lock file for", &environment, source))?.unwrap_or_default();
    let options = PushOptions { insecure: args.insecure, credentials: credentials(&args.registry)?, ..PushOptions::default() };
    let mut rows = Vec::new();
    for spec in specs(&args.what, global)? {
        let name = spec.name.clone();
        let image = tokio::task::spawn_blocking(move || build_one(&spec))
            .await
            .map_err(|source| CliError::Output { source: std::io::Error::other(source) })??;
        let reference = |registry: &str| format!("{registry}/{name}").parse::<Reference>().map_err(|source| failed("name", &name, source));
        let target = reference(&args.registry)?;
        let pushed = provision_image::push(&image, &target, &options).await.map_err(|source| failed("push", &name, source))?;
        let pulled = reference(args.pull_from.as_deref().unwrap_or(&args.registry))?.image();
        let row = json!({"name": name, "image": pulled, "digest": pushed.digest.to_string(), "uploaded": pushed.uploaded, "skipped": pushed.skipped});
        rows.push(row);
        if !ui.is_json() {
            ui.text(&format!("{name:<20} {}\n", pushed.digest))?
        }
        lock.images.insert(name.clone(), LockedImage { image: pulled, digest: pushed.digest });
    }
    lock.write(&lock_file).map_err(|source| failed("write the lock file for", &environment, source))?;
    if ui.is_json() {
        ui.json(&rows)?;
    }
    ui.note(&format!("pinned in {}", lock_file.display()));
    Ok(ExitStatus::Done)
}

/// Reads the user's registry credentials, if there are any for this registry.
fn credentials(registry: &str) -> Result<Option<RegistryCredentials>, CliError> {
    let folder =
        std::env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")));
    let Some(path) = folder.map(|folder| folder.join("config.json")) else { return Ok(None) };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(CliError::File { action: "read", path, source }),
    };
    let host = registry.split('/').next().unwrap_or(registry);
    RegistryCredentials::from_docker_config(&text, host).map_err(|source| failed("find credentials for", registry, source))
}

#[expect(clippy::cast_precision_loss, reason = "a size for people, to one decimal")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
