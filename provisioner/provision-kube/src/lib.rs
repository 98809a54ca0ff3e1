//! provision-kube.
