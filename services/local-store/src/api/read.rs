//! Reading objects.

use std::io::SeekFrom;

use s3s::dto::{ETag, ETagCondition, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, Metadata, StreamingBlob};
use s3s::{S3Error, S3Result, s3_error};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::Api;
use crate::store::Object;

/// How much of a body is read at a time, in bytes.
const PIECE: usize = 64 * 1024;

impl Api {
    pub(super) fn head(&self, input: HeadObjectInput) -> S3Result<HeadObjectOutput> {
        let object = self.store.find(&input.bucket, &input.key).map_err(|error| self.refusal(&error))?;
        check_conditions(&object, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let attributes = &object.attributes;
        Ok(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: i64::try_from(object.size).ok(),
            e_tag: Some(ETag::Strong(object.tag.clone())),
            last_modified: Some(object.modified_at().into()),
            metadata: Some(metadata(&object)),
            content_type: attributes.content_type.clone(),
            content_encoding: attributes.content_encoding.clone(),
            content_disposition: attributes.content_disposition.clone(),
            content_language: attributes.content_language.clone(),
            cache_control: attributes.cache_control.clone(),
            ..Default::default()
        })
    }

    pub(super) async fn get(&self, input: GetObjectInput) -> S3Result<GetObjectOutput> {
        let (bucket, key) = (input.bucket, input.key);
        let (file, object) = self.with_store(move |store| store.open_object(&bucket, &key)).await?;
        check_conditions(&object, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let part = input.range.map_or(Ok(0..object.size), |range| range.check(object.size))?;
        let length = part.end - part.start;
        let mut file = tokio::fs::File::from_std(file);
        file.seek(SeekFrom::Start(part.start)).await.map_err(S3Error::internal_error)?;
        let body = ReaderStream::with_capacity(file.take(length), PIECE);
        let metadata = metadata(&object);
        let modified = object.modified_at();
        let attributes = object.attributes;
        Ok(GetObjectOutput {
            body: Some(StreamingBlob::wrap(body)),
            accept_ranges: Some("bytes".to_owned()),
            content_length: i64::try_from(length).ok(),
            content_range: input.range.map(|_| format!("bytes {}-{}/{}", part.start, part.end.saturating_sub(1), object.size)),
            e_tag: Some(ETag::Strong(object.tag)),
            last_modified: Some(modified.into()),
            metadata: Some(metadata),
            content_type: input.response_content_type.or(attributes.content_type),
            content_encoding: input.response_content_encoding.or(attributes.content_encoding),
            content_disposition: input.response_content_disposition.or(attributes.content_disposition),
            content_language: input.response_content_language.or(attributes.content_language),
            cache_control: input.response_cache_control.or(attributes.cache_control),
            ..Default::default()
        })
    }
}

fn metadata(object: &Object) -> Metadata {
    object.attributes.metadata.clone().into_iter().collect()
}

/// Refuses with 412 or 304 as the conditions say.
fn check_conditions(object: &Object, matches: Option<&ETagCondition>, differs: Option<&ETagCondition>) -> S3Result<()> {
    let is = |condition: &ETagCondition| condition.is_any() || condition.as_etag().is_some_and(|tag| tag.value() == object.tag);
    if matches.is_some_and(|condition| !is(condition)) {
        return Err(s3_error!(PreconditionFailed));
    }
    if differs.is_some_and(is) {
        return Err(s3_error!(NotModified));
    }
    Ok(())
}
