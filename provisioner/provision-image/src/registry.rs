//! Sending images to a registry over the OCI distribution API.

use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Method, StatusCode, Url};

use crate::{Blob, Digest, Image, ImageError, Reference};

mod credentials;
mod session;

pub use credentials::RegistryCredentials;
use session::{Answer, Call, Session};

/// How an image is sent.
#[derive(Clone, Debug)]
pub struct PushOptions {
    /// Allows plain HTTP to a registry on another machine; one on this machine is always reached over plain HTTP.
    pub insecure: bool,
    /// Who pushes; none for a registry that asks for nothing.
    pub credentials: Option<RegistryCredentials>,
    /// How often a request is sent at most, at least once.
    pub attempts: u32,
    /// Wait before the second attempt; it doubles with each further one.
    pub backoff: Duration,
    /// Longest wait between two attempts, also when the registry asks for a longer one.
    pub backoff_limit: Duration,
    /// Longest time for one request, its upload included.
    pub request_timeout: Duration,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self {
            insecure: false,
            credentials: None,
            attempts: 4,
            backoff: Duration::from_millis(250),
            backoff_limit: Duration::from_secs(5),
            request_timeout: Duration::from_secs(120),
        }
    }
}

/// What a push did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Digest under which the registry now serves the image.
    pub digest: Digest,
    /// Number of blobs that were sent.
    pub uploaded: usize,
    /// Number of blobs that the registry had already.
    pub skipped: usize,
    /// Bytes of the blobs that were sent.
    pub bytes_uploaded: u64,
}

/// Sends an image to `target`: what is missing of its layers and configuration, then the manifest.
///
/// Idempotent, and safe to repeat after it was cut off: blobs that arrived are skipped, and the manifest comes last, so that a
/// reference never leads to half an image. Connection failures, 429 and 5xx are tried again within the options' bounds.
///
/// # Errors
/// [`ImageError::Unreachable`] and [`ImageError::Refused`] name the registry and the request; [`ImageError::Protocol`] if it
/// stored something else than was sent.
pub async fn push(image: &Image, target: &Reference, options: &PushOptions) -> Result<Pushed, ImageError> {
    let session = Session::open(target, options)?;
    let mut pushed = Pushed { digest: image.digest().clone(), uploaded: 0, skipped: 0, bytes_uploaded: 0 };
    for blob in image.blobs() {
        if has_blob(&session, blob).await? {
            pushed.skipped += 1;
        } else {
            upload_blob(&session, blob).await?;
            pushed.uploaded += 1;
            pushed.bytes_uploaded += blob.content.len() as u64;
        }
    }
    put_manifest(&session, image, target).await?;
    Ok(pushed)
}

async fn has_blob(session: &Session<'_>, blob: &Blob) -> Result<bool, ImageError> {
    let action = format!("look for blob {}", blob.digest);
    let answer = session.call(Call::new(Method::HEAD, session.url(&format!("blobs/{}", blob.digest))?, &action)).await?;
    match answer.status {
        StatusCode::OK => Ok(true),
        StatusCode::NOT_FOUND => Ok(false),
        _ => Err(session.refused(&action, &answer)),
    }
}

/// Sends a blob; each attempt is an upload of its own, since what a broken one has left at its address can't be continued.
async fn upload_blob(session: &Session<'_>, blob: &Blob) -> Result<(), ImageError> {
    let action = format!("upload blob {} of {} bytes", blob.digest, blob.content.len());
    let mut attempt = 1;
    loop {
        let sent = session.send(&upload_call(session, blob, &action).await?).await;
        if sent.as_ref().is_ok_and(|answer| answer.status == StatusCode::CREATED) {
            return Ok(());
        }
        match (session.pause_after(&sent, attempt), sent) {
            (Some(pause), _) => tokio::time::sleep(pause).await,
            (None, Ok(answer)) => return Err(session.refused(&action, &answer)),
            (None, Err(source)) => return Err(session.unreachable(&action, attempt, source)),
        }
        // Only the answer may have been lost.
        if has_blob(session, blob).await? {
            return Ok(());
        }
        attempt += 1;
    }
}

/// Begins an upload and returns the request that sends the whole blob to it.
async fn upload_call<'a>(session: &Session<'_>, blob: &Blob, action: &'a str) -> Result<Call<'a>, ImageError> {
    let start = session.call(Call::new(Method::POST, session.url("blobs/uploads/")?, action)).await?;
    if start.status != StatusCode::ACCEPTED {
        return Err(session.refused(action, &start));
    }
    let mut place = upload_place(session, action, &start)?;
    place.query_pairs_mut().append_pair("digest", blob.digest.as_str());
    let mut call = Call::new(Method::PUT, place, action);
    call.headers.insert(CONTENT_TYPE, "application/octet-stream".to_owned());
    call.headers.insert(CONTENT_LENGTH, blob.content.len().to_string());
    call.body = Some(blob.content.clone());
    Ok(call)
}

/// Reads where the blob is to be sent; the registry may answer with a path or a whole URL.
fn upload_place(session: &Session<'_>, action: &str, answer: &Answer) -> Result<Url, ImageError> {
    let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let base = session.url("blobs/uploads/")?;
    location.and_then(|location| base.join(location).ok()).ok_or_else(|| session.protocol(action, "it named no place for the upload"))
}

async fn put_manifest(session: &Session<'_>, image: &Image, target: &Reference) -> Result<(), ImageError> {
    let manifest = image.manifest();
    let name = target.tag.clone().unwrap_or_else(|| manifest.digest.to_string());
    let action = format!("store the manifest of {target}");
    let mut call = Call::new(Method::PUT, session.url(&format!("manifests/{name}"))?, &action);
    call.headers.insert(CONTENT_TYPE, manifest.media_type.clone());
    call.body = Some(manifest.content.clone());
    let answer = session.call(call).await?;
    if answer.status != StatusCode::CREATED {
        return Err(session.refused(&action, &answer));
    }
    let stored = answer.headers.get("docker-content-digest").and_then(|value| value.to_str().ok());
    match stored {
        Some(stored) if stored != manifest.digest.as_str() => {
            Err(session.protocol(&action, &format!("it stored {stored} instead of {}", manifest.digest)))
        }
        _ => Ok(()),
    }
}
