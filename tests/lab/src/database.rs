//! The region's PostgreSQL: its files, its one role and database.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{User, chown};

use crate::certificates::write_secret;
use crate::error::{FileContext, LabError};
use crate::region::{Region, random_hex};
use crate::servers::{NODE_ADDRESS, POD_NETWORK, RUN};
use crate::tools::postgres_bin;

/// Role and database of the platform.
const NAME: &str = "feature";

/// Makes the password of the database's role, once; outside of the region, where clients read it too.
pub(crate) fn ensure_password(region: &Region) -> Result<(), LabError> {
    let path = region.path("database.password");
    if path.exists() { Ok(()) } else { write_secret(&path, &random_hex(16)?) }
}

/// The URL of the database for a client that reaches it at `address`.
pub(crate) fn url(region: &Region, address: &str) -> Result<String, LabError> {
    let path = region.path("database.password");
    let password = fs::read_to_string(&path).on("read", &path)?;
    Ok(format!("postgres://{NAME}:{password}@{address}/{NAME}"))
}

/// The database's address as pods see it.
pub(crate) fn inner_address() -> String {
    format!("{NODE_ADDRESS}:5432")
}

/// Becomes PostgreSQL, inside the region; makes the database's files before that if there are none.
///
/// Returns only if it failed.
///
/// # Errors
/// [`LabError`] if the database's files can't be made or PostgreSQL can't be started.
pub fn run(region: &Region) -> Result<(), LabError> {
    let bin = postgres_bin()?;
    let user = User::from_name("postgres")
        .map_err(|source| LabError::Kernel { action: "find the user postgres".into(), source })?
        .ok_or_else(|| LabError::NotInstalled { path: "/usr/lib/postgresql".into() })?;
    // The user postgres can't pass root's home folder, so the region shows it its folder in another place.
    let base = Path::new(RUN).join("postgres");
    chown(&base, Some(user.uid), Some(user.gid))
        .map_err(|source| LabError::Kernel { action: format!("give away {}", base.display()), source })?;
    let data = base.join("data");
    let as_user = |program: &str| {
        let mut command = Command::new(bin.join(program));
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).current_dir("/");
        command
    };
    if !data.exists() {
        let part = base.join("data.part");
        if part.exists() {
            fs::remove_dir_all(&part).on("remove", &part)?;
        }
        create(&part, region, &as_user)?;
        fs::rename(&part, &data).on("rename", &part)?;
    }
    let source = as_user("postgres")
        .args(["-c", &format!("listen_addresses=127.0.0.1,{NODE_ADDRESS}")])
        .args(["-c", &format!("unix_socket_directories={}", base.display()), "-c", "fsync=off"])
        .arg("-D")
        .arg(&data)
        .exec();
    Err(LabError::Spawn { program: "postgres".into(), source })
}

fn create(folder: &Path, region: &Region, as_user: &impl Fn(&str) -> Command) -> Result<(), LabError> {
    let mut initdb = as_user("initdb");
    initdb.args(["-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-A", "peer", "--no-sync", "-k", "-D"]).arg(folder);
    finish(initdb, "initdb", "")?;
    let path = region.path("database.password");
    let password = fs::read_to_string(&path).on("read", &path)?;
    let mut single = as_user("postgres");
    single.args(["--single", "-j", "-D"]).arg(folder).arg("postgres");
    // In single-user mode with -j a statement ends at a semicolon and an empty line.
    let sql = format!("CREATE ROLE {NAME} LOGIN PASSWORD '{password}';\n\nCREATE DATABASE {NAME} OWNER {NAME};\n\n");
    finish(single, "postgres --single", &sql)?;
    let rules = format!(
        "local all postgres peer\nhost all all 127.0.0.1/32 scram-sha-256\nhost all all {POD_NETWORK} scram-sha-256\nhost all all {NODE_ADDRESS}/24 scram-sha-256\n"
    );
    let path = folder.join("pg_hba.conf");
    fs::write(&path, rules).on("write", &path)
}

/// Runs a command to its end with `input`.
fn finish(mut command: Command, program: &str, input: &str) -> Result<(), LabError> {
    let failed = |source| LabError::Spawn { program: program.to_owned(), source };
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    Err(LabError::Program {
        program: program.to_owned(),
        status: output.status.to_string(),
        message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
