//! What the services of the feature platform say to each other, made of the protobuf files in `proto/`.
//!
//! All but the sandbox manager speak JSON over HTTP: POST `/<package>.<Service>/<Method>`, the request as the body, names as in the files,
//! unknown names refused. An error is `{"code", "message"}` with the HTTP status of its code, as the Connect protocol has it
//! (<https://connectrpc.com/docs/protocol#error-codes>). The sandbox manager speaks gRPC.

mod repository_url;

pub use repository_url::{RepositoryUrl, Scheme, Schemes, UrlError, UrlRules};

/// Takes in what is generated of one package: its types and their JSON form.
macro_rules! package {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[expect(
            clippy::allow_attributes,
            clippy::allow_attributes_without_reason,
            clippy::missing_errors_doc,
            clippy::too_many_lines,
            unused_qualifications,
            reason = "generated"
        )]
        pub mod $name {
            include!(concat!(env!("OUT_DIR"), "/feature.", stringify!($name), ".v1.rs"));
            include!(concat!(env!("OUT_DIR"), "/feature.", stringify!($name), ".v1.serde.rs"));
        }
    };
}

package! {
    /// Features.
    feature
}
package! {
    /// Repositories.
    repository
}
package! {
    /// Work on git.
    git
}
package! {
    /// Language models.
    llm
}
package! {
    /// Sandboxes.
    sandbox
}
