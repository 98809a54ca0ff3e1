//! OCI images without a container engine: one program in, one reproducible image out.
//!
//! [`build`] turns an [`ImageSpec`] (a program, a CA bundle, further programs and files) into an [`Image`]: the shared libraries of the
//! programs are found by reading their ELF headers, archive entries are sorted and carry no time or owner of the building machine, so
//! equal input gives an equal digest. [`push`] sends an image to a registry over the distribution API and uploads only what is missing there.
//! [`ImageLock`] is the file in which an environment pins the digests that its templates render.
//!
//! The library reads no environment variables: credentials come in as data.

mod contents;
mod digest;
mod elf;
mod error;
mod image;
mod layer;
mod layout;
mod libraries;
mod lock;
mod reference;
mod registry;

pub use digest::Digest;
pub use error::ImageError;
pub use image::{Blob, DEFAULT_CA_BUNDLE, ExtraFile, Image, ImageSpec, build};
pub use lock::{ImageLock, LockedImage};
pub use reference::Reference;
pub use registry::{PushOptions, Pushed, RegistryCredentials, push};
