//! Makes the Rust types of the protobuf files: prost for gRPC, and their JSON form under the names that the files use.

use std::error::Error;

use prost::Message;

const FILES: [&str; 5] = [
    "feature/feature/v1/feature.proto",
    "feature/repository/v1/repository.proto",
    "feature/git/v1/git.proto",
    "feature/llm/v1/llm.proto",
    "feature/sandbox/v1/sandbox.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    // Only the sandbox manager is asked by gRPC.
    tonic_prost_build::configure().compile_fds(descriptors.clone())?;
    pbjson_build::Builder::new()
        .register_descriptors(&descriptors.encode_to_vec())?
        .preserve_proto_field_names()
        .emit_fields()
        .build(&[".feature"])?;
    Ok(())
}
