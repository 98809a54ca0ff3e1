use kube::core::Status;
use provision_apply::ClusterError;

/// What a request was about, for error messages.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// Verb of the request.
    pub(crate) verb: &'static str,
    /// Object or kind.
    pub(crate) name: String,
    /// The body may hold secret values, so the server's words about it are not repeated.
    pub(crate) secret: bool,
}

impl Subject {
    /// Makes the error for a request that can't be built or an answer that can't be read.
    pub(crate) fn failed(&self, source: impl std::error::Error + Send + Sync + 'static) -> ClusterError {
        ClusterError::Other { message: format!("failed to {} {}", self.verb, self.name), source: Some(Box::new(source)) }
    }
}

/// What the API server says of an object that it can't read.
const UNREADABLE: [&str; 3] =
    ["failed to create typed patch object", "failed to convert new object", "unable to convert unstructured object"];

/// What admission plugins answer with 403 in the first seconds of a restarted API server, before their caches are filled.
const NOT_READY: &str = "not yet ready to handle request";

/// How the words of webhooks and policies are recognised.
const ADMISSION: [&str; 4] = ["admission webhook", "denied the request", "ValidatingAdmissionPolicy", "violates PodSecurity"];

/// Sorts an error answer into what callers tell apart.
pub(crate) fn classify(status: &Status, subject: &Subject) -> ClusterError {
    let name = subject.name.clone();
    let message = message_of(status, subject);
    match (status.code, status.reason.as_str()) {
        (401, _) => ClusterError::Unauthorized { message },
        (404, _) => ClusterError::NotFound { subject: name },
        (409, "AlreadyExists") => ClusterError::AlreadyExists { subject: name },
        (409, _) => ClusterError::Conflict { subject: name, message },
        (429, _) => ClusterError::Throttled { message },
        (403, _) if status.message.contains(NOT_READY) => ClusterError::Server { subject: name, status: 403, message },
        (403, _) if status.message.contains("exceeded quota") => ClusterError::Quota { subject: name, message },
        (400..=422, _) if is_admission(status) => ClusterError::Admission { subject: name, message },
        (403, _) => ClusterError::Forbidden { verb: subject.verb.to_owned(), subject: name, message },
        // A precondition on the UID that does not hold comes back as a field that can't change.
        (422, _) if is_about_uid(status) => ClusterError::Conflict { subject: name, message },
        (400 | 413 | 415 | 422, _) => ClusterError::Invalid { subject: name, message, causes: causes_of(status, subject) },
        // Server-side apply answers an unknown field or a wrong type with a 500 that no repetition cures.
        (500, _) if UNREADABLE.iter().any(|mark| status.message.contains(mark)) => {
            ClusterError::Invalid { subject: name, message, causes: causes_of(status, subject) }
        }
        (code @ 500..=599, _) => ClusterError::Server { subject: name, status: code, message },
        (code, _) => ClusterError::Other { message: format!("unexpected answer {code} on {name}: {message}"), source: None },
    }
}

fn is_about_uid(status: &Status) -> bool {
    status.details.iter().flat_map(|details| &details.causes).any(|cause| cause.field == "metadata.uid")
}

fn is_admission(status: &Status) -> bool {
    ADMISSION.iter().any(|mark| status.message.contains(mark))
}

fn message_of(status: &Status, subject: &Subject) -> String {
    // What the server says of the user, the name or its own load never quotes the object; everything else may.
    let quotes_nothing = matches!(status.code, 401 | 403 | 404 | 409 | 429) && !is_admission(status);
    if !subject.secret || quotes_nothing {
        return status.message.clone();
    }
    // A webhook is named before it has its say.
    let said = match status.message.split_once("denied") {
        Some((who, _)) if is_admission(status) => format!("{who}denied it"),
        _ if status.reason.is_empty() => "refused".to_owned(),
        _ => status.reason.clone(),
    };
    format!("{said} (details withheld: the object holds secret values)")
}

fn causes_of(status: &Status, subject: &Subject) -> Vec<(String, String, String)> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes
        .map(|cause| {
            let message = if subject.secret { String::new() } else { cause.message.clone() };
            (cause.field.clone(), cause.reason.clone(), message)
        })
        .collect()
}

/// Turns a failure of the client library into ours.
pub(crate) fn from_kube(error: kube::Error, subject: &Subject, server: &str) -> ClusterError {
    match error {
        kube::Error::Api(status) => classify(&status, subject),
        error @ (kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::ReadEvents(_)) => {
            ClusterError::Unreachable { server: server.to_owned(), source: Box::new(error) }
        }
        error @ kube::Error::Auth(_) => {
            ClusterError::Other { message: format!("failed to get credentials for {server}"), source: Some(Box::new(error)) }
        }
        error => subject.failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, reason: &str, message: &str) -> Status {
        let value = serde_json::json!({"status": "Failure", "code": code, "reason": reason, "message": message});
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn answers_are_told_apart() {
        let subject = Subject { verb: "apply", name: "ConfigMap/n/x".into(), secret: false };
        for (code, reason, message, expected) in [
            (401, "Unauthorized", "Unauthorized", "Unauthorized"),
            (404, "NotFound", "namespaces \"n\" not found", "NotFound"),
            (409, "AlreadyExists", "", "AlreadyExists"),
            (409, "Conflict", "", "Conflict"),
            (403, "Forbidden", "exceeded quota: q, requested: pods=1", "Quota"),
            (403, "Forbidden", "admission webhook \"w\" denied the request: no", "Admission"),
            (403, "Forbidden", "configmaps \"x\" is forbidden: not yet ready to handle request", "Server"),
            (403, "Forbidden", "User \"u\" cannot patch", "Forbidden"),
            (400, "BadRequest", "strict decoding error: unknown field", "Invalid"),
            (422, "Invalid", "Port: Invalid value: 70000", "Invalid"),
            (429, "TooManyRequests", "", "Throttled"),
            (500, "InternalError", "failed calling webhook", "Server"),
            (
                500,
                "InternalError",
                "failed to create typed patch object (n/x; /v1, Kind=ConfigMap): .dta: field not declared in schema",
                "Invalid",
            ),
            (500, "InternalError", "failed to convert new object (n/x; /v1, Kind=Secret): illegal base64 data", "Invalid"),
        ] {
            let error = classify(&status(code, reason, message), &subject);
            assert!(format!("{error:?}").starts_with(expected), "{code} {reason}: {error:?}");
        }
    }

    #[test]
    fn another_uid_is_a_conflict_and_no_immutable_field() {
        let value = serde_json::json!({"status": "Failure", "code": 422, "reason": "Invalid", "message": "metadata.uid: field is immutable",
            "details": {"causes": [{"reason": "FieldValueInvalid", "message": "field is immutable", "field": "metadata.uid"}]}});
        let subject = Subject { verb: "apply", name: "ConfigMap/n/x".into(), secret: false };
        let error = classify(&serde_json::from_value(value).unwrap(), &subject);
        assert!(matches!(error, ClusterError::Conflict { .. }), "{error:?}");
    }

    #[test]
    fn the_servers_words_about_a_secret_are_not_repeated() {
        let subject = Subject { verb: "apply", name: "Secret/n/x".into(), secret: true };
        for (code, message, expected) in [
            (400, "illegal base64 in canary-value", "Invalid"),
            (500, "failed to convert new object (n/x; /v1, Kind=Secret): canary-value", "Invalid"),
            (500, "failed calling webhook: canary-value", "Server"),
            (418, "canary-value", "Other"),
            (403, "admission webhook \"w\" denied the request: canary-value is weak", "Admission"),
            (422, "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: canary-value is weak", "Admission"),
            (403, "secrets \"x\" is forbidden: exceeded quota: q", "Quota"),
        ] {
            let error = classify(&status(code, "Reason", message), &subject);
            assert!(format!("{error:?}").starts_with(expected), "{message}: {error:?}");
            assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        }
    }

    #[test]
    fn who_refuses_a_secret_is_still_named() {
        let subject = Subject { verb: "apply", name: "Secret/n/x".into(), secret: true };
        for (message, who) in [
            ("admission webhook \"w\" denied the request: canary", "admission webhook \"w\" denied it"),
            ("User \"u\" cannot patch resource \"secrets\"", "User \"u\" cannot patch"),
        ] {
            let error = classify(&status(403, "Forbidden", message), &subject).to_string();
            assert!(error.contains(who), "{error}");
        }
    }
}
