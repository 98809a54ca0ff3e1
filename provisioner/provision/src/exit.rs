use std::process::ExitCode;

/// How the program ends, as in docs/exit-codes.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// Done and verified; nothing differs.
    Done,
    /// Failed.
    Failed,
    /// Invalid input; nothing was changed.
    Invalid,
    /// Differences exist.
    Differences,
    /// Stopped part-way, resumable.
    Resumable,
    /// Refused by a safety rule.
    Refused,
    /// Interrupted by the user, resumable.
    Interrupted,
}

impl ExitStatus {
    /// Returns the number that the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Invalid => 2,
            Self::Differences => 3,
            Self::Resumable => 4,
            Self::Refused => 5,
            Self::Interrupted => 130,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}
