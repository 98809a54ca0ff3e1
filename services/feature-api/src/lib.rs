//! What the services of the feature platform say to each other, made of the protobuf files in `proto/`.
//!
//! All but the sandbox manager speak JSON over HTTP: POST `/<package>.<Service>/<Method>`, the request as the body, names as in the files,
//! unknown names refused. An error is `{"code", "message"}` with the HTTP status of its code, as the Connect protocol has it
//! (<https://connectrpc.com/docs/protocol#error-codes>). The sandbox manager speaks gRPC.

mod repository_url;

pub use repository_url::{RepositoryUrl, Scheme, Schemes, UrlError, UrlRules};

/// Features.
pub mod feature {
    #![expect(
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        clippy::missing_errors_doc,
        clippy::too_many_lines,
        unused_qualifications,
        reason = "generated"
    )]
    include!(concat!(env!("OUT_DIR"), "/feature.feature.v1.rs"));
    include!(concat!(env!("OUT_DIR"), "/feature.feature.v1.serde.rs"));
}

/// Repositories.
pub mod repository {
    #![expect(
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        clippy::missing_errors_doc,
        clippy::too_many_lines,
        unused_qualifications,
        reason = "generated"
    )]
    include!(concat!(env!("OUT_DIR"), "/feature.repository.v1.rs"));
    include!(concat!(env!("OUT_DIR"), "/feature.repository.v1.serde.rs"));
}

/// Work on git.
pub mod git {
    #![expect(
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        clippy::missing_errors_doc,
        clippy::too_many_lines,
        unused_qualifications,
        reason = "generated"
    )]
    include!(concat!(env!("OUT_DIR"), "/feature.git.v1.rs"));
    include!(concat!(env!("OUT_DIR"), "/feature.git.v1.serde.rs"));
}

/// Language models.
pub mod llm {
    #![expect(
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        clippy::missing_errors_doc,
        clippy::too_many_lines,
        unused_qualifications,
        reason = "generated"
    )]
    include!(concat!(env!("OUT_DIR"), "/feature.llm.v1.rs"));
    include!(concat!(env!("OUT_DIR"), "/feature.llm.v1.serde.rs"));
}

/// Sandboxes.
pub mod sandbox {
    #![expect(
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        clippy::missing_errors_doc,
        clippy::too_many_lines,
        unused_qualifications,
        reason = "generated"
    )]
    include!(concat!(env!("OUT_DIR"), "/feature.sandbox.v1.rs"));
    include!(concat!(env!("OUT_DIR"), "/feature.sandbox.v1.serde.rs"));
}
