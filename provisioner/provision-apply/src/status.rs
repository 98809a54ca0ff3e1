use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::{StreamExt, iter};
use provision_model::{Health, Manifest, Origin, ResourceId, Scope, Verdict, annotations};
use serde::{Deserialize, Serialize};

use crate::run::has_to_be_awaited;
use crate::{ApplyError, Clock, Cluster, RunContext, SecretStore, Tracker, judge, observe};

const PARALLEL: usize = 64;

/// The state of one object of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectStatus {
    /// Object.
    pub resource: ResourceId,
    /// State, with its reason.
    pub verdict: Verdict,
    /// Template line that made it.
    pub origin: Option<Origin>,
}

/// The state of a release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReleaseStatus {
    /// Its recorded objects, in the order of their ids.
    pub objects: Vec<ObjectStatus>,
    /// Addresses for clients outside, by name.
    pub endpoints: BTreeMap<String, String>,
    /// What people should know of its objects.
    pub notices: Vec<String>,
}

/// Looks at every recorded object of a release. Reads only.
///
/// # Errors
/// [`ApplyError`] when the cluster or the record can't be read.
pub async fn status<C: Cluster, S: SecretStore, K: Clock>(cx: &RunContext<C, S, K>, scope: &Scope) -> Result<ReleaseStatus, ApplyError> {
    let observed = observe(cx, scope, &[]).await?;
    let tracker = Arc::new(Tracker::start(cx.cluster.clone(), cx.clock.as_ref()));
    let now = cx.clock.now();
    let looked = iter(observed.recorded.iter().map(|(id, recorded)| {
        let (tracker, live) = (tracker.clone(), observed.live.get(id));
        async move {
            let verdict = match live {
                None if recorded.completed => Verdict::new(Health::Current, "completed; removed since"),
                None => Verdict::new(Health::NotFound, "it is not there"),
                Some(live) if has_to_be_awaited(live) => {
                    let verdict = tracker.snapshot(id).await;
                    let redactor = cx.redactor.clone();
                    tracker.explain(verdict, &move |line: &str| redactor.clean(line)).await
                }
                Some(live) => judge(live, &[], now),
            };
            ObjectStatus { resource: id.clone(), verdict: cx.redactor.clean_verdict(verdict), origin: Some(recorded.origin.clone()) }
        }
    }));
    let objects = looked.buffered(PARALLEL).collect().await;
    Ok(ReleaseStatus { objects, endpoints: endpoints(observed.live.values()), notices: notices(observed.live.values()) })
}

/// Lists what objects, or the pods of workloads, say by the annotation [`annotations::NOTICE`].
pub fn notices<'m>(objects: impl Iterator<Item = &'m Manifest>) -> Vec<String> {
    let notice = |object: &Manifest| {
        let of_pods = &object.value()["spec"]["template"]["metadata"]["annotations"][annotations::NOTICE];
        let text = object.annotation(annotations::NOTICE).or_else(|| of_pods.as_str())?;
        Some(format!("{}: {text}", object.id()))
    };
    objects.filter_map(notice).collect()
}

/// Returns the addresses for clients outside, by name: of Services that have both a name for it and a load balancer with an address.
///
/// The scheme of the address is the application protocol of the Service's first port, or else the port's name.
fn endpoints<'m>(objects: impl Iterator<Item = &'m Manifest>) -> BTreeMap<String, String> {
    let endpoint = |object: &Manifest| {
        let service = (object.kind() == "Service").then(|| object.value())?;
        let name = service["metadata"]["annotations"][annotations::ENDPOINT].as_str()?;
        let (port, ingress) = (&service["spec"]["ports"][0], &service["status"]["loadBalancer"]["ingress"][0]);
        let host = ingress["ip"].as_str().or_else(|| ingress["hostname"].as_str())?;
        let number = ingress["ports"][0]["port"].as_u64().or_else(|| port["port"].as_u64())?;
        let scheme = port["appProtocol"].as_str().or_else(|| port["name"].as_str()).unwrap_or("tcp");
        Some((name.to_owned(), format!("{scheme}://{host}:{number}")))
    };
    objects.filter_map(endpoint).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_or_the_pods_of_a_workload_may_say_something() {
        let at = |metadata: serde_json::Value, template: serde_json::Value| {
            let object = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": {"template": template}});
            notices([Manifest::try_from(object).unwrap()].iter())
        };
        let said = json!({annotations::NOTICE: "it forgets"});
        let plain = json!({"name": "bus", "namespace": "n"});
        assert_eq!(at(plain.clone(), json!({"metadata": {"annotations": said}})), ["StatefulSet/n/bus: it forgets"]);
        assert_eq!(at(json!({"name": "bus", "namespace": "n", "annotations": said}), json!({})), ["StatefulSet/n/bus: it forgets"]);
        assert_eq!(at(plain, json!({})), Vec::<String>::new());
    }

    #[test]
    fn a_service_with_a_name_and_an_address_is_an_endpoint() {
        let service = |annotation: &str, port: serde_json::Value, ingress: serde_json::Value| {
            let object = json!({"apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "api", "namespace": "n", "annotations": {annotation: "gateway"}},
                "spec": {"ports": [port]}, "status": {"loadBalancer": {"ingress": ingress}}});
            endpoints([Manifest::try_from(object).unwrap()].iter())
        };
        let of = |url: &str| BTreeMap::from([("gateway".to_owned(), url.to_owned())]);
        let (http, key) = (json!({"name": "http", "port": 80}), annotations::ENDPOINT);
        assert_eq!(service(key, http.clone(), json!([{"ip": "127.0.0.1", "ports": [{"port": 41234}]}])), of("http://127.0.0.1:41234"));
        assert_eq!(service(key, http.clone(), json!([{"hostname": "lb.example.com"}])), of("http://lb.example.com:80"));
        let secure = json!({"name": "web", "port": 443, "appProtocol": "https"});
        assert_eq!(service(key, secure, json!([{"ip": "192.0.2.1"}])), of("https://192.0.2.1:443"));
        assert_eq!(service(key, http.clone(), json!([])), BTreeMap::new(), "nobody has given it an address");
        assert_eq!(service("other", http, json!([{"ip": "192.0.2.1"}])), BTreeMap::new());
    }
}
