//! provision-image.
