//! What is accepted and not enforced is said once, by each verb that looks.

use super::project::{Project, all, deployment};

const POLICY: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: small}
spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}
";
const BUDGET: &str = "apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: small}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
";
const INGRESS: &str = "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: small}
spec: {rules: [{http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}
";
const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: web, namespace: small, annotations: {provision.dev/notice: it answers nobody}}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
";

#[test]
fn what_is_kept_and_not_enforced_is_said_once_by_up_and_status() {
    let policy = POLICY.replacen("name: web", "name: other", 1);
    let objects = all(&[&deployment("web", "exec sleep 1000", ""), POLICY, &policy, BUDGET, INGRESS, SERVICE]);
    let project = Project::new(&objects);
    let up = project.well(&["up", "--yes"]);
    let notices = project.notices();
    let text = project.well(&["status"]).stderr;
    let mut said = vec!["Service/small/web: it answers nobody".to_owned()];
    for kind in ["NetworkPolicy", "PodDisruptionBudget", "Ingress"] {
        said.push(format!("{kind}: not enforced locally: "));
    }
    if !nix::unistd::Uid::effective().is_root() {
        said.push("runAsUser, runAsGroup and fsGroup are not enforced".to_owned());
    }
    for words in said {
        assert_eq!(up.stderr.matches(&words).count(), 1, "{words}: {}", up.stderr);
        assert_eq!(text.matches(&words).count(), 1, "{words}: {text}");
        assert_eq!(notices.iter().filter(|notice| notice.starts_with(&words)).count(), 1, "{words}: {notices:?}");
    }
}
