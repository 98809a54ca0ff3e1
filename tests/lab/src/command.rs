//! Programs that are run to their end.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use crate::error::LabError;

/// Runs a program to its end and returns what it printed.
pub(crate) fn run_program<I, S>(program: impl AsRef<OsStr>, args: I) -> Result<String, LabError>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new(program);
    command.args(args);
    run_command(command)
}

/// Runs a command to its end and returns what it printed; its error output becomes part of the error.
pub(crate) fn run_command(mut command: Command) -> Result<String, LabError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let first = command.get_args().next().map(|arg| arg.to_string_lossy().into_owned()).unwrap_or_default();
    let output = command.stdin(Stdio::null()).output().map_err(|source| LabError::Spawn { program: name.clone(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = errors.trim().lines().collect();
    let from = lines.len().saturating_sub(5);
    Err(LabError::Program {
        program: format!("{name} {first}"),
        status: output.status.to_string(),
        message: lines.get(from..).unwrap_or_default().join("; "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_carries_the_last_lines_of_the_error_output() {
        let result = run_program("sh", ["-c", "echo out; for n in 1 2 3 4 5 6; do echo line $n >&2; done; exit 3"]);
        assert!(
            matches!(&result, Err(LabError::Program { message, .. })
                if message == "line 2; line 3; line 4; line 5; line 6"),
            "{result:?}"
        );
    }

    #[test]
    fn a_success_is_what_was_printed() -> Result<(), LabError> {
        assert_eq!(run_program("echo", ["a", "b"])?, "a b\n");
        Ok(())
    }
}
