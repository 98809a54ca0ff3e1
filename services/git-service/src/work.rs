//! What the service does for its clients, one file each.

pub(crate) mod apply;
pub(crate) mod archive;
pub(crate) mod look;
pub(crate) mod read;
