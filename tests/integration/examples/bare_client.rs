//! The floor that `up` is measured against: a client that only sends applies, 32 at a time, and remembers nothing.
//!
//! `bare_client KUBECONFIG NAMESPACE COUNT` prints the seconds.

use std::error::Error;
use std::time::Instant;

use futures::{StreamExt, TryStreamExt, stream};
use integration::manifest;
use provision_apply::{Cluster, WriteMode};
use provision_kube::{Connection, KubeCluster, Patience};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kubeconfig, namespace, count] = arguments.as_slice() else { return Err("bare_client KUBECONFIG NAMESPACE COUNT".into()) };
    let connection = Connection { kubeconfig: Some(kubeconfig.into()), context: None };
    let cluster = KubeCluster::connect(&connection, Patience::default()).await?;
    let space = manifest(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}));
    cluster.apply(&space, WriteMode::Persist).await?;
    let objects: Vec<_> = (0..count.parse::<usize>()?)
        .map(|n| {
            let metadata = json!({"name": format!("c-{n}"), "namespace": namespace});
            manifest(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"number": n.to_string(), "text": "x".repeat(200)}}))
        })
        .collect();
    let started = Instant::now();
    stream::iter(&objects)
        .map(|object| cluster.apply(object, WriteMode::Persist))
        .buffer_unordered(32)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    let elapsed = started.elapsed().as_secs_f64();
    std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{elapsed:.2}\n"))?;
    Ok(())
}
