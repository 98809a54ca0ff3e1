//! What can go wrong while an image is built, stored or pushed.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::elf::ElfError;

/// Why an image could not be built, stored or pushed.
///
/// A message names the file or registry; the cause is the error's source, the next step is [`ImageError::help`].
#[derive(Debug, Error)]
pub enum ImageError {
    /// A file could not be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file could not be written.
    #[error("failed to write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The program or a library is no ELF file that this crate understands.
    #[error("`{}` is not a usable program or library", path.display())]
    Elf {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: ElfError,
    },
    /// A shared library that the program needs is not on this machine.
    #[error("library `{library}`, needed by `{}`, was not found in {}", needed_by.display(), searched.join(", "))]
    LibraryNotFound {
        /// The library's name, as the program asks for it.
        library: String,
        /// The file that needs it.
        needed_by: PathBuf,
        /// The folders and caches that were searched, in order.
        searched: Vec<String>,
    },
    /// What an image is to hold beside its program is not on this machine.
    #[error("`{entry}` was not found in {}", searched.join(", "))]
    ContentNotFound {
        /// The entry, as it was given.
        entry: String,
        /// The folders that were searched, in order.
        searched: Vec<String>,
    },
    /// An entry of the contents is neither a program's name nor an absolute path.
    #[error("`{entry}` is neither the name of a program nor an absolute path without `.` and `..`")]
    InvalidContent {
        /// The refused entry.
        entry: String,
    },
    /// Something that is to go into an image is no file, folder or link.
    #[error("`{}` is no file, folder or link", path.display())]
    SpecialFile {
        /// What it is not.
        path: PathBuf,
    },
    /// A program in an image is for another kind of machine than the image's own program.
    #[error("`{}` is for another kind of machine than the image's program", path.display())]
    OtherMachine {
        /// The program.
        path: PathBuf,
    },
    /// The image's name can't be a file name at the root of the image.
    #[error("image name `{name}` is not a lower-case name like `feature-service`")]
    InvalidName {
        /// The refused name.
        name: String,
    },
    /// A path inside the image is not absolute, climbs up, or is taken.
    #[error("`{path}` can't be put into the image: {reason}")]
    InvalidPath {
        /// The path inside the image.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A text is not `sha256:` and 64 hexadecimal digits.
    #[error("`{text}` is not a digest of the form sha256:<64 hexadecimal digits>")]
    InvalidDigest {
        /// The refused text.
        text: String,
    },
    /// A text does not name a place in a registry.
    #[error("`{text}` is not an image reference: {reason}")]
    InvalidReference {
        /// The refused text.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A document could not be written or read as JSON.
    #[error("{what} is not valid JSON of the expected form")]
    Json {
        /// Which document.
        what: String,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// An image layout folder does not hold what its index says.
    #[error("image layout `{}` is damaged: {reason}", path.display())]
    Layout {
        /// The folder.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// A lock file could not be understood.
    #[error("lock file `{}` is not valid: {reason}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        reason: String,
    },
    /// The credentials for a registry could not be understood; their text is never shown.
    #[error("the credentials for registry `{registry}` are not usable: {reason}")]
    Credentials {
        /// The registry.
        registry: String,
        /// What is wrong with them.
        reason: &'static str,
    },
    /// The registry could not be reached, also not by trying again.
    #[error("failed to {action} at registry `{registry}` in {attempts} attempts")]
    Unreachable {
        /// The registry.
        registry: String,
        /// What was attempted.
        action: String,
        /// How often.
        attempts: u32,
        /// The last attempt's cause.
        #[source]
        source: reqwest::Error,
    },
    /// The registry answered, but not with what was asked for.
    #[error("registry `{registry}` refused to {action}: status {status}{detail}")]
    Refused {
        /// The registry.
        registry: String,
        /// What was attempted.
        action: String,
        /// The HTTP status.
        status: u16,
        /// The registry's own codes and messages, shortened; empty if there were none.
        detail: String,
    },
    /// The registry broke the distribution protocol.
    #[error("registry `{registry}` answered against the protocol when asked to {action}: {reason}")]
    Protocol {
        /// The registry.
        registry: String,
        /// What was attempted.
        action: String,
        /// What was wrong with the answer.
        reason: String,
    },
}

impl ImageError {
    /// Returns what the user can do next, where the crate knows it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Elf { .. } => Some("give a 64-bit Linux program for x86-64 or aarch64, as `cargo build` makes it".to_owned()),
            Self::LibraryNotFound { library, .. } => {
                Some(format!("install the package that holds `{library}`, or link the program statically"))
            }
            Self::ContentNotFound { entry, .. } => Some(format!("install the package that holds `{entry}` on this machine")),
            Self::InvalidContent { .. } => {
                Some("write a name like `git`, which is looked for in PATH, or a path like `/usr/share/x`".to_owned())
            }
            Self::Unreachable { registry, .. } => {
                Some(format!("check that a registry listens on {registry} (`curl -i http://{registry}/v2/`) and push again"))
            }
            Self::Refused { registry, status: 401 | 403, .. } => {
                Some(format!("give credentials for {registry} that may push, in a docker config.json"))
            }
            Self::Refused { status: 413 | 507, .. } => {
                Some("the registry has no room for the blob; free space there and push again".to_owned())
            }
            Self::Refused { status: 429 | 500..=599, .. } => {
                Some("the registry is overloaded or broken; look at its log and push again: what arrived is skipped".to_owned())
            }
            Self::Layout { .. } => Some("build the image again into an empty folder".to_owned()),
            Self::Lock { .. } => Some("remove the file and push the images again; it is written by the push".to_owned()),
            _ => None,
        }
    }
}
