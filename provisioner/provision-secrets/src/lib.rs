//! provision-secrets.
