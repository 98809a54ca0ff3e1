//! What is generated of containerd's interface.

#![expect(clippy::allow_attributes_without_reason, unreachable_pub, unused_qualifications, reason = "generated")]

include!(concat!(env!("OUT_DIR"), "/containerd.rs"));
