//! Writing and removing objects.

use std::time::{SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use s3s::dto::{
    DeleteObjectInput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag, ETagCondition, PutObjectInput, PutObjectOutput,
    StreamingBlob,
};
use s3s::{S3Error, S3Result, TrailingHeaders, s3_error};
use tokio::sync::mpsc;

use super::{Api, check_key};
use crate::digest::{Digests, Expected, Found};
use crate::store::{Attributes, Condition, Object, StoreError, Upload};

/// Pieces of a body that may wait for the disk.
const WAITING: usize = 8;

impl Api {
    pub(super) async fn put(&self, mut input: PutObjectInput, trailers: Option<TrailingHeaders>) -> S3Result<PutObjectOutput> {
        check_key(&input.key)?;
        let conditions = conditions(input.if_match.as_ref(), input.if_none_match.as_ref())?;
        self.store.check(&input.bucket, &input.key, &conditions).map_err(|error| self.refusal(&error))?;
        let mut expected = Expected::of(&mut input);
        let length = input.content_length.and_then(|length| u64::try_from(length).ok());
        let (upload, found) = self.take_body(input.body.take(), length, expected.digests()).await?;
        if let Some(trailers) = trailers.and_then(|trailers| trailers.take()) {
            expected.add(&trailers);
        }
        if let Some(name) = expected.differs(&found) {
            return Err(s3_error!(BadDigest, "the body does not have the {name} given"));
        }
        let tag = found.tag();
        let object = Object {
            key: input.key,
            size: upload.size(),
            tag: tag.clone(),
            modified: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs() * 1000 + u64::from(since.subsec_millis())),
            attributes: Attributes {
                metadata: input.metadata.unwrap_or_default().into_iter().collect(),
                content_type: input.content_type,
                content_encoding: input.content_encoding,
                content_disposition: input.content_disposition,
                content_language: input.content_language,
                cache_control: input.cache_control,
            },
        };
        let bucket = input.bucket;
        self.with_store(move |store| store.commit(&bucket, upload, object, &conditions)).await?;
        Ok(PutObjectOutput { e_tag: Some(ETag::Strong(tag)), ..Default::default() })
    }

    /// Takes a body to the disk; what came of one that does not end is removed.
    async fn take_body(&self, body: Option<StreamingBlob>, length: Option<u64>, mut digests: Digests) -> S3Result<(Upload, Found)> {
        let mut upload = self.with_store(move |store| store.begin_upload(length)).await?;
        let Some(mut body) = body else { return Ok((upload, digests.finish())) };
        let (sender, mut pieces) = mpsc::channel::<axum::body::Bytes>(WAITING);
        let writer = tokio::task::spawn_blocking(move || {
            while let Some(piece) = pieces.blocking_recv() {
                upload.write(&piece)?;
                digests.update(&piece);
            }
            Ok((upload, digests.finish()))
        });
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| S3Error::with_source(s3s::S3ErrorCode::IncompleteBody, error))?;
            if sender.send(piece).await.is_err() {
                // The writer has failed and says why.
                break;
            }
        }
        drop(sender);
        let written: Result<_, StoreError> = writer.await.map_err(S3Error::internal_error)?;
        written.map_err(|error| self.refusal(&error))
    }

    pub(super) async fn delete(&self, input: DeleteObjectInput) -> S3Result<()> {
        let conditions = conditions(input.if_match.as_ref(), None)?;
        self.with_store(move |store| store.remove(&input.bucket, &input.key, &conditions)).await
    }

    pub(super) async fn delete_several(&self, input: DeleteObjectsInput) -> S3Result<DeleteObjectsOutput> {
        let (bucket, keys) = (input.bucket, input.delete.objects);
        let deleted = self
            .with_store(move |store| {
                let remove = |object: s3s::dto::ObjectIdentifier| {
                    store.remove(&bucket, &object.key, &[])?;
                    Ok(DeletedObject { key: Some(object.key), ..Default::default() })
                };
                keys.into_iter().map(remove).collect::<Result<Vec<_>, StoreError>>()
            })
            .await?;
        let quiet = input.delete.quiet.unwrap_or(false);
        Ok(DeleteObjectsOutput { deleted: (!quiet).then_some(deleted), ..Default::default() })
    }
}

/// Returns what the headers demand of the object that is there.
fn conditions(matches: Option<&ETagCondition>, differs: Option<&ETagCondition>) -> S3Result<Vec<Condition>> {
    let mut conditions = Vec::new();
    match matches {
        None => {}
        Some(ETagCondition::Any) => conditions.push(Condition::Present),
        Some(ETagCondition::ETag(tag)) => conditions.push(Condition::Tag(tag.value().to_owned())),
    }
    match differs {
        None => {}
        Some(ETagCondition::Any) => conditions.push(Condition::Absent),
        // As the protocol has it: a write may only demand that there is nothing.
        Some(ETagCondition::ETag(_)) => return Err(s3_error!(NotImplemented, "If-None-Match takes only * here")),
    }
    Ok(conditions)
}
