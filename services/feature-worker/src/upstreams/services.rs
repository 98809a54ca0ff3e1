//! The upstreams as they are: services by JSON over HTTP and gRPC, an S3 object store.

use std::time::Duration;

use feature_api::git::{ApplyRequest, ApplyResponse, ArchiveRequest, LookRequest, LookResponse, ReadRequest, ReadResponse};
use feature_api::llm::{PatchRequest, PatchResponse, PlanRequest, PlanResponse};
use feature_api::repository::{RecordHeadRequest, Repository, ResolveRequest};
use feature_api::sandbox::Spec;
use service_kit::rpc::Client;
use service_kit::{BoxError, Upstream};

use super::objects::{Objects, StoreAddress};
use super::sandbox::Sandbox;
use super::{Object, Ran, UpstreamError, Upstreams};

/// Longest time for a look into a table.
const LOOKUP: Duration = Duration::from_secs(15);

/// Where the upstreams are, and how long they may take.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses {
    pub(crate) repository: Upstream,
    pub(crate) git: Upstream,
    pub(crate) llm: Upstream,
    pub(crate) sandbox: Upstream,
    pub(crate) objects: StoreAddress,
    /// Longest time for one call of the git service.
    pub(crate) git_limit: Duration,
    /// Longest time for one call of the LLM orchestrator, its own repeats included.
    pub(crate) llm_limit: Duration,
    /// Longest time for one sandbox, from the call to its result.
    pub(crate) sandbox_limit: Duration,
}

/// The upstreams of this process.
pub(crate) struct Services {
    repository: Client,
    git: Client,
    llm: Client,
    sandbox: Sandbox,
    objects: Objects,
}

impl Services {
    /// Prepares connections without opening any.
    pub(crate) fn new(addresses: Addresses) -> Result<Self, BoxError> {
        Ok(Self {
            repository: Client::new(addresses.repository, LOOKUP)?,
            git: Client::new(addresses.git, addresses.git_limit)?,
            llm: Client::new(addresses.llm, addresses.llm_limit)?,
            sandbox: Sandbox::new(&addresses.sandbox, addresses.sandbox_limit)?,
            objects: Objects::new(&addresses.objects),
        })
    }

    /// Returns the bucket of the artifacts.
    pub(crate) fn objects(&self) -> Objects {
        self.objects.clone()
    }
}

impl Upstreams for Services {
    async fn resolve(&self, url: &str) -> Result<Repository, UpstreamError> {
        let request = ResolveRequest { url: url.to_owned() };
        Ok(self.repository.call("/feature.repository.v1.RepositoryService/Resolve", &request).await?)
    }

    async fn record_head(&self, request: RecordHeadRequest) -> Result<(), UpstreamError> {
        let recorded: Repository = self.repository.call("/feature.repository.v1.RepositoryService/RecordHead", &request).await?;
        drop(recorded);
        Ok(())
    }

    async fn look(&self, request: LookRequest) -> Result<LookResponse, UpstreamError> {
        Ok(self.git.call("/feature.git.v1.GitService/Look", &request).await?)
    }

    async fn read(&self, request: ReadRequest) -> Result<ReadResponse, UpstreamError> {
        Ok(self.git.call("/feature.git.v1.GitService/Read", &request).await?)
    }

    async fn apply(&self, request: ApplyRequest) -> Result<ApplyResponse, UpstreamError> {
        Ok(self.git.call("/feature.git.v1.GitService/Apply", &request).await?)
    }

    async fn plan(&self, request: PlanRequest) -> Result<PlanResponse, UpstreamError> {
        Ok(self.llm.call("/feature.llm.v1.LlmService/Plan", &request).await?)
    }

    async fn patch(&self, request: PatchRequest) -> Result<PatchResponse, UpstreamError> {
        Ok(self.llm.call("/feature.llm.v1.LlmService/Patch", &request).await?)
    }

    async fn run(&self, tree: ArchiveRequest, spec: Spec) -> Result<Ran, UpstreamError> {
        let archive = self.git.send("/feature.git.v1.GitService/Archive", &tree).await?;
        self.sandbox.run(spec, archive).await
    }

    async fn store(&self, object: Object) -> Result<(), UpstreamError> {
        self.objects.put(object).await
    }
}
