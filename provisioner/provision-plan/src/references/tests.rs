use super::*;
use serde_json::json;

fn check(manifest: Value, expected: &[&str]) {
    let found = references(&Manifest::try_from(manifest).unwrap());
    let shown: Vec<String> = found
        .iter()
        .map(|reference| format!("{} {}{}", reference.target, reference.field, if reference.optional { " ?" } else { "" }))
        .collect();
    assert_eq!(shown, expected);
}

#[test]
fn a_pod_names_its_account_volumes_and_variables() {
    let spec = json!({
        "serviceAccountName": "app", "priorityClassName": "high", "imagePullSecrets": [{"name": "pull"}],
        "volumes": [
            {"name": "a", "configMap": {"name": "cm"}}, {"name": "b", "secret": {"secretName": "s", "optional": true}},
            {"name": "c", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "d", "emptyDir": {}},
            {"name": "e", "projected": {"sources": [{"configMap": {"name": "p"}}, {"secret": {"name": "q"}}]}}],
        "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "from"}}, {"configMapRef": {"name": "all"}}]}],
        "containers": [{"name": "m", "env": [
            {"name": "X", "value": "1"}, {"name": "Y", "valueFrom": {"secretKeyRef": {"name": "k", "key": "y"}}}]}]
    });
    check(
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x", "namespace": "n"}, "spec": {"template": {"spec": spec}}}),
        &[
            "ServiceAccount/n/app spec.template.spec.serviceAccountName",
            "PriorityClass/high spec.template.spec.priorityClassName",
            "Secret/n/pull spec.template.spec.imagePullSecrets[pull]",
            "ConfigMap/n/cm spec.template.spec.volumes[a].configMap.name",
            "Secret/n/s spec.template.spec.volumes[b].secret.secretName ?",
            "PersistentVolumeClaim/n/data spec.template.spec.volumes[c].persistentVolumeClaim.claimName",
            "ConfigMap/n/p spec.template.spec.volumes[e].projected.sources[].configMap.name",
            "Secret/n/q spec.template.spec.volumes[e].projected.sources[].secret.name",
            "Secret/n/from spec.template.spec.initContainers[i].envFrom[].secretRef.name",
            "ConfigMap/n/all spec.template.spec.initContainers[i].envFrom[].configMapRef.name",
            "Secret/n/k spec.template.spec.containers[m].env[Y].valueFrom.secretKeyRef.name",
        ],
    );
}

fn object(version: &str, kind: &str, rest: Value) -> Value {
    let mut value = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "x", "namespace": "n"}});
    if let (Some(value), Value::Object(rest)) = (value.as_object_mut(), rest) {
        value.extend(rest);
    }
    value
}

#[test]
fn workloads_bindings_and_autoscalers_name_what_they_work_on() {
    check(
        object(
            "apps/v1",
            "StatefulSet",
            json!({"spec": {"serviceName": "s", "volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {"storageClassName": "fast"}}]}}),
        ),
        &["Service/n/s spec.serviceName", "StorageClass/fast spec.volumeClaimTemplates[d].spec.storageClassName"],
    );
    check(
        object(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "ServiceAccount", "name": "a", "namespace": "m"}, {"kind": "User", "name": "u"}]}),
        ),
        &["Role/n/r roleRef", "ServiceAccount/m/a subjects[a]"],
    );
    check(
        object(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            json!({"spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "w"}}}),
        ),
        &["StatefulSet/n/w spec.scaleTargetRef"],
    );
}

#[test]
fn network_secret_and_webhook_kinds_name_what_they_work_on() {
    check(
        object(
            "networking.k8s.io/v1",
            "Ingress",
            json!({"spec": {"rules": [{"http": {"paths": [{"backend": {"service": {"name": "api"}}}]}}]}}),
        ),
        &["Service/n/api spec.rules[].http.paths[].backend.service"],
    );
    check(
        object(
            "gateway.networking.k8s.io/v1",
            "HTTPRoute",
            json!({"spec": {"parentRefs": [{"name": "gw", "namespace": "g"}], "rules": [{"backendRefs": [{"name": "api", "port": 80}]}]}}),
        ),
        &["Gateway/g/gw spec.parentRefs[]", "Service/n/api spec.rules[].backendRefs[]"],
    );
    check(
        object(
            "external-secrets.io/v1",
            "ExternalSecret",
            json!({"spec": {"secretStoreRef": {"kind": "ClusterSecretStore", "name": "vault"}}}),
        ),
        &["ClusterSecretStore/vault spec.secretStoreRef"],
    );
    check(
        object(
            "admissionregistration.k8s.io/v1",
            "ValidatingWebhookConfiguration",
            json!({"webhooks": [{"name": "w", "clientConfig": {"service": {"name": "s", "namespace": "m"}}}]}),
        ),
        &["Service/m/s webhooks[w].clientConfig.service"],
    );
    check(object("v1", "ConfigMap", json!({"data": {"name": "x"}})), &[]);
}
