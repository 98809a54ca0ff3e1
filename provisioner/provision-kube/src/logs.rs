use futures::{StreamExt, TryStreamExt};
use http::Request;
use http_body_util::BodyExt;
use kube::client::Body;
use provision_apply::{ClusterError, LogLines};
use provision_model::ResourceId;
use tokio_util::codec::{AnyDelimiterCodec, FramedRead};
use tokio_util::io::StreamReader;

use crate::error::{Subject, classify, from_kube};
use crate::send::{Purpose, Sender, status_of};

/// Longest line that is shown; what is longer is broken here.
const LONGEST_LINE: usize = 256 * 1024;

/// Follows a container's log; what is no UTF-8 is replaced.
pub(crate) fn follow(sender: &Sender, pod: &ResourceId, container: &str, lines: u32) -> LogLines {
    sender.counters.count(Purpose::Other);
    let subject = Subject { verb: "follow the log of", name: pod.to_string(), secret: false };
    let namespace = pod.namespace.as_deref().unwrap_or("default");
    let uri = format!("/api/v1/namespaces/{namespace}/pods/{}/log?container={container}&follow=true&tailLines={lines}", pod.name);
    let (client, server) = (sender.client.clone(), sender.server.clone());
    let opened = async move {
        let request = Request::get(uri).body(Body::empty()).map_err(|source| subject.failed(source))?;
        let answer = client.send(request).await.map_err(|error| from_kube(error, &subject, &server))?;
        let (head, body) = answer.into_parts();
        if !head.status.is_success() {
            let said = body.collect_bytes().await.map_err(|error| from_kube(error, &subject, &server))?;
            return Err(classify(&status_of(head.status, &said), &subject));
        }
        let bytes = body.into_data_stream().map_err(std::io::Error::other);
        let codec = AnyDelimiterCodec::new_with_max_length(b"\n".to_vec(), Vec::new(), LONGEST_LINE);
        let lines = FramedRead::new(StreamReader::new(bytes), codec);
        Ok(lines.map(move |line| match line {
            Ok(line) => Ok(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned()),
            Err(source) => Err(ClusterError::Unreachable { server: server.clone(), source: Box::new(source) }),
        }))
    };
    futures::stream::once(opened).try_flatten().boxed()
}
