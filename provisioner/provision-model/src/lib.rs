//! provision-model.
