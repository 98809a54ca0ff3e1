use futures::StreamExt;
use kube::api::{Api, DynamicObject};
use kube::runtime::{WatchStreamExt, watcher};
use provision_apply::{ClusterError, WatchEvent, Watching};
use provision_model::ApiResource;

use crate::error::{Subject, classify, from_kube};
use crate::list::{subject_name, typed};
use crate::send::{Purpose, Sender};

/// How long the server serves one watch, in seconds. A connection that went silent is given up 5 s later, so this bounds for how long a
/// run can wait for an event that will never come; the watch is then resumed where it was.
const PERIOD: u32 = 30;

/// Watches a kind; the client library resumes it, lists anew when it must, and pauses between failures.
pub(crate) fn watch(sender: &Sender, resource: &ApiResource, namespace: Option<&str>) -> Watching {
    sender.counters.count(Purpose::Watch);
    let kind = kube::core::ApiResource {
        group: resource.kind.group.clone(),
        version: resource.version.clone(),
        api_version: resource.api_version(),
        kind: resource.kind.kind.clone(),
        plural: resource.plural.clone(),
    };
    let api: Api<DynamicObject> = match namespace.filter(|_| resource.namespaced) {
        Some(namespace) => Api::namespaced_with(sender.client.clone(), namespace, &kind),
        None => Api::all_with(sender.client.clone(), &kind),
    };
    let subject = Subject { verb: "watch", name: subject_name(resource, namespace), secret: false };
    let (resource, server) = (resource.clone(), sender.server.clone());
    let events = watcher(api, watcher::Config::default().timeout(PERIOD)).default_backoff();
    events.map(move |event| translate(event, &resource, &subject, &server)).boxed()
}

fn translate(
    event: Result<watcher::Event<DynamicObject>, watcher::Error>,
    resource: &ApiResource,
    subject: &Subject,
    server: &str,
) -> Result<WatchEvent, ClusterError> {
    let manifest = |object: DynamicObject| {
        let value = serde_json::to_value(object).map_err(|source| unreadable(subject, source))?;
        typed(value, resource).map_err(|source| unreadable(subject, source))
    };
    match event {
        Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => manifest(object).map(WatchEvent::Changed),
        Ok(watcher::Event::Delete(object)) => manifest(object).map(WatchEvent::Deleted),
        Ok(watcher::Event::Init) => Ok(WatchEvent::Restarted),
        Ok(watcher::Event::InitDone) => Ok(WatchEvent::Synced),
        Err(watcher::Error::WatchError(status)) => Err(classify(&status, subject)),
        Err(watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error)) => {
            Err(from_kube(error, subject, server))
        }
        Err(error @ watcher::Error::NoResourceVersion) => Err(unreadable(subject, error)),
    }
}

fn unreadable(subject: &Subject, source: impl std::error::Error + Send + Sync + 'static) -> ClusterError {
    ClusterError::Other { message: format!("failed to read an event of the watch on {}", subject.name), source: Some(Box::new(source)) }
}
