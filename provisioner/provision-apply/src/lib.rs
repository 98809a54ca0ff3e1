//! provision-apply.
