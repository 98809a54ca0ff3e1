//! Upstreams in memory: they count what they did for whom, and fail when they are told to.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use feature_api::git::{ApplyRequest, ApplyResponse, ArchiveRequest, File, LookRequest, LookResponse, ReadRequest, ReadResponse};
use feature_api::llm::{PatchRequest, PatchResponse, PlanRequest, PlanResponse, Usage};
use feature_api::repository::{RecordHeadRequest, Repository};
use feature_api::sandbox::Spec;
use sha2::{Digest, Sha256};

use super::{Object, Ran, UpstreamError, Upstreams};

/// The upstreams; clones share them.
#[derive(Clone, Default)]
pub(crate) struct MemoryUpstreams(Arc<Mutex<Outside>>);

#[derive(Default)]
pub(crate) struct Outside {
    /// Calls in their order.
    pub(crate) calls: Vec<&'static str>,
    /// What the next calls of a name answer instead.
    pub(crate) failures: HashMap<&'static str, VecDeque<UpstreamError>>,
    /// Calls of these names never answer.
    pub(crate) silent: Vec<&'static str>,
    /// Commits by branch.
    pub(crate) branches: BTreeMap<String, String>,
    /// How often a branch got another commit than it had.
    pub(crate) rewritten: usize,
    pub(crate) objects: BTreeMap<String, Object>,
    /// How a sandbox ends.
    pub(crate) ran: Ran,
    /// What the plan says: no verification.
    pub(crate) unverified: bool,
}

impl MemoryUpstreams {
    pub(crate) fn outside(&self) -> MutexGuard<'_, Outside> {
        self.0.lock().unwrap()
    }

    /// Lets the next calls of a name fail.
    pub(crate) fn fail(&self, call: &'static str, failures: impl IntoIterator<Item = UpstreamError>) {
        self.outside().failures.entry(call).or_default().extend(failures);
    }

    async fn called(&self, call: &'static str) -> Result<(), UpstreamError> {
        let (failure, silent) = {
            let mut outside = self.outside();
            outside.calls.push(call);
            (outside.failures.get_mut(call).and_then(VecDeque::pop_front), outside.silent.contains(&call))
        };
        if silent {
            std::future::pending::<()>().await;
        }
        failure.map_or(Ok(()), Err)
    }
}

impl UpstreamError {
    pub(crate) fn lasting(message: impl Into<String>) -> Self {
        Self { message: message.into(), transient: false, retry_after: None }
    }
}

impl Upstreams for MemoryUpstreams {
    async fn resolve(&self, url: &str) -> Result<Repository, UpstreamError> {
        self.called("resolve").await?;
        Ok(Repository { url: url.to_owned(), credential: Some("demo".to_owned()), ..Repository::default() })
    }

    async fn record_head(&self, _request: RecordHeadRequest) -> Result<(), UpstreamError> {
        self.called("record_head").await
    }

    async fn look(&self, _request: LookRequest) -> Result<LookResponse, UpstreamError> {
        self.called("look").await?;
        let paths = vec!["Makefile".to_owned(), "README.md".to_owned()];
        Ok(LookResponse { branch: "main".to_owned(), head: "a".repeat(40), paths, truncated: false })
    }

    async fn read(&self, request: ReadRequest) -> Result<ReadResponse, UpstreamError> {
        self.called("read").await?;
        let files = request.paths.into_iter().map(|path| File { path, content: "x\n".to_owned() }).collect();
        Ok(ReadResponse { files, skipped: vec![] })
    }

    async fn apply(&self, request: ApplyRequest) -> Result<ApplyResponse, UpstreamError> {
        self.called("apply").await?;
        // As git: the commit is made of what it holds, its time included.
        let commit = hex::encode(Sha256::digest(format!("{request:?}")));
        let mut outside = self.outside();
        let before = outside.branches.insert(request.branch, commit.clone());
        let repeated = before.as_ref() == Some(&commit);
        outside.rewritten += usize::from(before.is_some() && !repeated);
        Ok(ApplyResponse { commit, tree: "t".repeat(40), paths: vec!["README.md".to_owned()], repeated })
    }

    async fn plan(&self, _request: PlanRequest) -> Result<PlanResponse, UpstreamError> {
        self.called("plan").await?;
        let verify = if self.outside().unverified { vec![] } else { vec!["make".to_owned(), "test".to_owned()] };
        Ok(PlanResponse { summary: "Add a page".to_owned(), files: vec!["README.md".to_owned()], verify, ..PlanResponse::default() })
    }

    async fn patch(&self, request: PatchRequest) -> Result<PatchResponse, UpstreamError> {
        self.called("patch").await?;
        let usage = Some(Usage { input_tokens: 10, output_tokens: 5 });
        Ok(PatchResponse { patch: format!("--- a/{0}\n+++ b/{0}\n", request.files[0].path), model: "m".to_owned(), usage })
    }

    async fn run(&self, _tree: ArchiveRequest, _spec: Spec) -> Result<Ran, UpstreamError> {
        self.called("run").await?;
        Ok(self.outside().ran.clone())
    }

    async fn store(&self, object: Object) -> Result<(), UpstreamError> {
        self.called("store").await?;
        let before = self.outside().objects.insert(object.key.clone(), object.clone());
        assert!(before.is_none_or(|before| before == object), "a repeat stored something else");
        Ok(())
    }
}
