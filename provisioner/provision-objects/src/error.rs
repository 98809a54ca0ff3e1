use thiserror::Error;

/// Why a write is refused, in the words of an API server. No variant holds a secret value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ObjectError {
    /// The object or kind is not there.
    #[error("{subject} is not there")]
    NotFound {
        /// What was asked for.
        subject: String,
    },
    /// An object of that name is there already.
    #[error("{subject} is there already")]
    AlreadyExists {
        /// What was to be made.
        subject: String,
    },
    /// The precondition on UID or version does not hold.
    #[error("{subject} was changed by someone else meanwhile: {message}")]
    Conflict {
        /// Which object.
        subject: String,
        /// What does not hold.
        message: String,
    },
    /// The object is invalid, or a field can't be changed in place.
    #[error("{subject} is refused: {message}")]
    Invalid {
        /// Which object.
        subject: String,
        /// All causes in one text.
        message: String,
        /// Each cause: field, reason (`FieldValueInvalid`), message.
        causes: Vec<(String, String, String)>,
    },
    /// Nothing may be made there any more.
    #[error("not allowed to {verb} {subject}: {message}")]
    Forbidden {
        /// Verb.
        verb: String,
        /// On what.
        subject: String,
        /// Why.
        message: String,
    },
    /// What was written can't be read back as an object.
    #[error("{subject} can't be read back")]
    Broken {
        /// Which object.
        subject: String,
    },
}
