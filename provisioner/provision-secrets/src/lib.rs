//! Where secret values come from: an encrypted, owner-only file on this machine, or nowhere (they stay in the cluster's own store).

mod external;
mod file;
mod local;

pub use external::ExternalSecrets;
pub use file::StoreError;
pub use local::{Encoding, LocalSecrets, LocalSource, Part};
