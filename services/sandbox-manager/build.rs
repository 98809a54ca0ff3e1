//! Makes the Rust types and clients of the part of containerd's interface that is used.

use std::error::Error;

const FILES: [&str; 12] = [
    "containerd/cgroups_v1.proto",
    "containerd/cgroups_v2.proto",
    "containerd/containers.proto",
    "containerd/content.proto",
    "containerd/images.proto",
    "containerd/namespaces.proto",
    "containerd/runc.proto",
    "containerd/snapshots.proto",
    "containerd/tasks.proto",
    "containerd/transfer.proto",
    "containerd/transfer_types.proto",
    "containerd/version.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let configuration = tonic_prost_build::configure().build_server(false).include_file("containerd.rs");
    Ok(configuration.compile_fds(descriptors)?)
}
