//! provision-config.
