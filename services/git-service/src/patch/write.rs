//! Patch to text, in the one form that git gets.

use std::fmt::{self, Write};

use super::{Action, FileChange, FileMode, Patch};

impl FileMode {
    fn digits(self) -> &'static str {
        match self {
            Self::Plain => "100644",
            Self::Executable => "100755",
        }
    }
}

impl fmt::Display for Patch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.iter().try_for_each(|file| write_file(file, f))
    }
}

fn write_file(file: &FileChange, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let FileChange { old, new, action, hunks } = file;
    writeln!(f, "diff --git a/{old} b/{new}")?;
    match action {
        Action::Create(mode) => writeln!(f, "new file mode {}", mode.digits())?,
        Action::Delete(mode) => writeln!(f, "deleted file mode {}", mode.digits())?,
        Action::Change { modes } | Action::Rename { modes } | Action::Copy { modes } => {
            if let Some((before, after)) = modes {
                writeln!(f, "old mode {}\nnew mode {}", before.digits(), after.digits())?;
            }
        }
    }
    match action {
        Action::Rename { .. } => writeln!(f, "rename from {old}\nrename to {new}")?,
        Action::Copy { .. } => writeln!(f, "copy from {old}\ncopy to {new}")?,
        Action::Change { .. } | Action::Create(_) | Action::Delete(_) => {}
    }
    if hunks.is_empty() {
        return Ok(());
    }
    match action {
        Action::Create(_) => f.write_str("--- /dev/null\n")?,
        _ => writeln!(f, "--- a/{old}")?,
    }
    match action {
        Action::Delete(_) => f.write_str("+++ /dev/null\n")?,
        _ => writeln!(f, "+++ b/{new}")?,
    }
    for hunk in hunks {
        writeln!(f, "@@ -{},{} +{},{} @@", hunk.old.0, hunk.old.1, hunk.new.0, hunk.new.1)?;
        for line in &hunk.lines {
            f.write_str(line)?;
            f.write_char('\n')?;
        }
    }
    Ok(())
}
