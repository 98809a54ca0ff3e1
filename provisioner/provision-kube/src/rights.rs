use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use http::Request;
use provision_apply::{Access, ClusterError};
use serde_json::{Value, json};

use crate::error::Subject;
use crate::send::{Purpose, Sender};

/// Questions that are asked at a time.
const AT_A_TIME: usize = 16;

/// Returns the rights that the user lacks: one rules review a namespace, one access review for each that it does not answer.
pub(crate) async fn missing(sender: &Sender, wanted: &[Access]) -> Result<Vec<Access>, ClusterError> {
    let mut by_namespace: BTreeMap<&str, Vec<&Access>> = BTreeMap::new();
    let mut open: Vec<&Access> = Vec::new();
    for access in wanted {
        match &access.namespace {
            Some(namespace) => by_namespace.entry(namespace).or_default().push(access),
            None => open.push(access),
        }
    }
    for (namespace, accesses) in by_namespace {
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": namespace}});
        let answer = ask(sender, "selfsubjectrulesreviews", &review).await?;
        let rules = answer.pointer("/status/resourceRules").and_then(Value::as_array).cloned().unwrap_or_default();
        // What the rules don't grant may still be granted by an authorizer that can't list its rules: ask for each.
        open.extend(accesses.into_iter().filter(|access| !rules.iter().any(|rule| grants(rule, access))));
    }
    let lacks = async |access: &Access| {
        let answer = ask(sender, "selfsubjectaccessreviews", &access_review(access)).await?;
        Ok::<_, ClusterError>((answer.pointer("/status/allowed").and_then(Value::as_bool) != Some(true)).then(|| access.clone()))
    };
    let answers: Vec<Option<Access>> = stream::iter(open).map(lacks).buffered(AT_A_TIME).try_collect().await?;
    Ok(answers.into_iter().flatten().collect())
}

/// Asks for one right; `services/proxy` is the subresource `proxy` of `services`.
fn access_review(access: &Access) -> Value {
    let (resource, subresource) = access.resource.split_once('/').unwrap_or((&access.resource, ""));
    json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {
            "verb": access.verb, "group": access.group, "resource": resource, "subresource": subresource,
            "namespace": access.namespace.as_deref().unwrap_or(""),
        }},
    })
}

/// Tells whether a rule without resource names grants the access.
fn grants(rule: &Value, access: &Access) -> bool {
    let has = |field: &str, wanted: &str| {
        rule.get(field).and_then(Value::as_array).is_some_and(|list| list.iter().any(|item| item == "*" || item == wanted))
    };
    let named = rule.get("resourceNames").and_then(Value::as_array).is_some_and(|names| !names.is_empty());
    !named && has("verbs", &access.verb) && has("apiGroups", &access.group) && has("resources", &access.resource)
}

async fn ask(sender: &Sender, plural: &str, review: &Value) -> Result<Value, ClusterError> {
    let subject = Subject { verb: "create", name: plural.to_owned(), secret: false };
    let request = Request::post(format!("/apis/authorization.k8s.io/v1/{plural}"))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(review.to_string().into_bytes())
        .map_err(|source| subject.failed(source))?;
    sender.patiently(&request, Purpose::Other, &subject).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subresource_is_asked_for_apart_from_its_resource() {
        for (resource, asked) in [("services/proxy", ["services", "proxy"]), ("pods", ["pods", ""])] {
            let access = Access { verb: "get".into(), group: String::new(), resource: resource.into(), namespace: None };
            let attributes = &access_review(&access)["spec"]["resourceAttributes"];
            assert_eq!([&attributes["resource"], &attributes["subresource"]], asked);
        }
    }

    #[test]
    fn a_rule_grants_what_it_lists_and_nothing_named() {
        let access = Access { verb: "patch".into(), group: "apps".into(), resource: "deployments".into(), namespace: Some("n".into()) };
        for (rule, granted) in [
            (json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}), true),
            (json!({"verbs": ["get", "patch"], "apiGroups": ["apps"], "resources": ["deployments"]}), true),
            (json!({"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments"]}), false),
            (json!({"verbs": ["*"], "apiGroups": [""], "resources": ["*"]}), false),
            (json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "resourceNames": ["one"]}), false),
        ] {
            assert_eq!(grants(&rule, &access), granted, "{rule}");
        }
    }
}
