//! Programs of the workspace that a test needs beside its own.

use std::env;
use std::io;
use std::path::PathBuf;
use std::process::Command;

/// Returns a program of another package, built as this test was, and builds it if it is not there.
///
/// `cargo test --workspace` builds all programs; a test of one package builds only its own, and finds what was built last.
///
/// # Errors
/// If it does not compile; with the compiler's words.
pub fn built(package: &str) -> io::Result<PathBuf> {
    // Tests lie in <target>/<profile>/deps.
    let own = env::current_exe()?;
    let profile =
        own.parent().and_then(|deps| deps.parent()).ok_or_else(|| io::Error::other("the test lies outside of a target folder"))?;
    let target = profile.parent().ok_or_else(|| io::Error::other("the test lies outside of a target folder"))?;
    let program = profile.join(package);
    if program.is_file() {
        return Ok(program);
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", package, "--bin", package]).arg("--target-dir").arg(target);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output()?;
    if output.status.success() {
        return Ok(program);
    }
    Err(io::Error::other(format!("{package} does not compile\n{}", String::from_utf8_lossy(&output.stderr))))
}
