//! The S3 operations on the store.

mod read;
mod write;

use std::sync::Arc;

use s3s::dto::{
    Bucket, CommonPrefix, CreateBucketInput, CreateBucketOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput,
    DeleteObjectsOutput, ETag, GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput,
    ListBucketsInput, ListBucketsOutput, ListObjectsV2Input, ListObjectsV2Output, PutObjectInput, PutObjectOutput,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use crate::listing::{Query, list};
use crate::silence::Reporter;
use crate::store::{Object, Store, StoreError};

/// The store, as the protocol sees it.
pub(crate) struct Api {
    store: Arc<Store>,
    reporter: Reporter,
}

impl Api {
    pub(crate) fn new(store: Arc<Store>, reporter: Reporter) -> Self {
        Self { store, reporter }
    }

    /// Does work on the store that waits for the disk.
    async fn with_store<T: Send + 'static>(&self, work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static) -> S3Result<T> {
        let store = Arc::clone(&self.store);
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.map_err(S3Error::internal_error)?.map_err(|error| self.refusal(&error))
    }

    /// Returns what the client is told; the store's own failures are reported, without their paths.
    fn refusal(&self, error: &StoreError) -> S3Error {
        match error {
            StoreError::NoBucket(_) => s3_error!(NoSuchBucket),
            StoreError::NoObject => s3_error!(NoSuchKey),
            StoreError::Condition => s3_error!(PreconditionFailed),
            StoreError::TooLarge(limit) => s3_error!(EntityTooLarge, "an object may have {limit} bytes"),
            full if full.is_full() => {
                self.reporter.failure(error);
                // Not 503: a client would try again at once.
                let mut refusal = S3Error::with_message(S3ErrorCode::Custom("InsufficientStorage".into()), "the disk is full");
                refusal.set_status_code(axum::http::StatusCode::INSUFFICIENT_STORAGE);
                refusal
            }
            StoreError::Disk { .. } | StoreError::InUse(_) | StoreError::Broken { .. } => {
                self.reporter.failure(error);
                s3_error!(InternalError)
            }
        }
    }
}

/// Refuses keys that XML can't carry.
fn check_key(key: &str) -> S3Result<()> {
    if key.chars().any(char::is_control) {
        return Err(s3_error!(InvalidArgument, "keys with control characters are not supported"));
    }
    Ok(())
}

fn entry(object: &Object) -> s3s::dto::Object {
    s3s::dto::Object {
        key: Some(object.key.clone()),
        size: i64::try_from(object.size).ok(),
        e_tag: Some(ETag::Strong(object.tag.clone())),
        last_modified: Some(object.modified_at().into()),
        ..Default::default()
    }
}

#[async_trait::async_trait]
impl S3 for Api {
    async fn create_bucket(&self, request: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        let bucket = request.input.bucket;
        let location = format!("/{bucket}");
        if !self.with_store(move |store| store.make_bucket(&bucket)).await? {
            return Err(s3_error!(BucketAlreadyOwnedByYou));
        }
        Ok(S3Response::new(CreateBucketOutput { location: Some(location) }))
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.store.objects(&request.input.bucket, |_| ()).map_err(|error| self.refusal(&error))?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn list_buckets(&self, _request: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        let bucket = |name| Bucket { name: Some(name), ..Default::default() };
        let buckets = self.store.buckets().into_iter().map(bucket).collect();
        Ok(S3Response::new(ListBucketsOutput { buckets: Some(buckets), ..Default::default() }))
    }

    async fn list_objects_v2(&self, request: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let query = Query {
            prefix: input.prefix.as_deref().unwrap_or_default(),
            delimiter: input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty()),
            after: input.continuation_token.as_deref().or(input.start_after.as_deref()),
            limit: input.max_keys.and_then(|limit| usize::try_from(limit).ok()),
        };
        let page = self.store.objects(&input.bucket, |objects| list(objects, query)).map_err(|error| self.refusal(&error))?;
        let output = ListObjectsV2Output {
            key_count: i32::try_from(page.len()).ok(),
            is_truncated: Some(page.next.is_some()),
            contents: Some(page.objects.iter().map(|object| entry(object)).collect()),
            common_prefixes: Some(page.prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(prefix) }).collect()),
            next_continuation_token: page.next,
            continuation_token: input.continuation_token,
            start_after: input.start_after,
            name: Some(input.bucket),
            prefix: input.prefix,
            delimiter: input.delimiter,
            max_keys: Some(input.max_keys.unwrap_or(1000)),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.head(request.input).map(S3Response::new)
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.get(request.input).await.map(S3Response::new)
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.put(request.input, request.trailing_headers).await.map(S3Response::new)
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.delete(request.input).await.map(|()| S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(&self, request: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.delete_several(request.input).await.map(S3Response::new)
    }
}
