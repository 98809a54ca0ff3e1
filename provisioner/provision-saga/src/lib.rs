//! provision-saga.
