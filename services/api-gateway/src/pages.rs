//! What browsers may do: which pages may ask, and what the dashboard's own page may load.

use std::net::IpAddr;

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ORIGIN, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::client::Origin;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// Headers of every answer; what a service says itself is kept, but for the policy.
pub(crate) fn protect(headers: &mut HeaderMap, secure: bool) {
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if secure {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
}

/// Tells whether a page of another origin sent a request; programs that are no browsers send neither header.
pub(crate) fn is_foreign(headers: &HeaderMap, host: Option<&Authority>) -> bool {
    if headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        return true;
    }
    headers.get(ORIGIN).is_some_and(|origin| {
        let origin: Option<Uri> = origin.to_str().ok().and_then(|origin| origin.parse().ok());
        // Compared without the scheme: a proxy in front may end TLS.
        origin.as_ref().and_then(Uri::authority).is_none_or(|origin| host.is_none_or(|host| !same(origin, host)))
    })
}

fn same(one: &Authority, other: &Authority) -> bool {
    let standard = |authority: &Authority| authority.port_u16().filter(|port| ![80, 443].contains(port));
    one.host().eq_ignore_ascii_case(other.host()) && standard(one) == standard(other)
}

/// Tells whether nobody but who runs the platform can have made the name that a request asks for.
///
/// Without tokens a browser's user is the only protection. A page of anybody's, whose name is made to mean this machine's address,
/// would be of the same origin as the gateway (DNS rebinding); addresses and names that are not in the public DNS can't be made so.
pub(crate) fn is_own_name(host: Option<&Authority>, allowed: &[String]) -> bool {
    let Some(host) = host else { return true };
    let name = host.host().trim_end_matches('.').to_ascii_lowercase();
    let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let private = [".localhost", ".svc", ".svc.cluster.local", ".internal"].iter().any(|end| name.ends_with(end));
    is_address || private || !name.contains('.') || allowed.contains(&name)
}

/// Returns why a request from a browser is refused, if it is.
pub(crate) fn refused(headers: &HeaderMap, origin: &Origin, own_names: Option<&[String]>) -> Option<&'static str> {
    if own_names.is_some_and(|allowed| !is_own_name(origin.host.as_ref(), allowed)) {
        return Some("the gateway is not known under this name; see ALLOWED_HOSTS");
    }
    is_foreign(headers, origin.host.as_ref()).then_some("pages of other origins may not call this gateway")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_other_origins_are_told() {
        let host: Authority = "gateway.example.com:8080".parse().unwrap();
        for (name, value, foreign) in [
            ("accept", "*/*", false),
            ("origin", "http://gateway.example.com:8080", false),
            ("origin", "https://GATEWAY.example.com:8080", false),
            ("origin", "http://gateway.example.com", true),
            ("origin", "http://gateway.example.com.evil.example:8080", true),
            ("origin", "null", true),
            ("origin", "%%%", true),
            ("sec-fetch-site", "same-origin", false),
            ("sec-fetch-site", "none", false),
            ("sec-fetch-site", "cross-site", true),
            ("sec-fetch-site", "same-site", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(is_foreign(&headers, Some(&host)), foreign, "{name}: {value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn an_origin_is_our_own_only_if_it_names_the_host(text in "[ -~]{0,40}", host in "[a-z]{1,8}\\.[a-z]{2,3}(:[1-9][0-9]{1,3})?") {
            let mut headers = HeaderMap::new();
            headers.insert(ORIGIN, HeaderValue::try_from(&text).unwrap());
            let host: Authority = host.parse().unwrap();
            proptest::prop_assert!(is_foreign(&headers, Some(&host)) || text.contains(host.host()));
            headers.insert(ORIGIN, HeaderValue::try_from(format!("https://{host}")).unwrap());
            proptest::prop_assert!(!is_foreign(&headers, Some(&host)));
        }
    }

    #[test]
    fn names_that_anybody_could_make_are_not_our_own() {
        let allowed = ["feature.example.com".to_owned()];
        for (host, own) in [
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("localhost:8080", true),
            ("gateway.localhost", true),
            ("api-gateway", true),
            ("api-gateway.feature-system.svc:80", true),
            ("api-gateway.feature-system.svc.cluster.local", true),
            ("Feature.example.com.", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example:8080", false),
        ] {
            assert_eq!(is_own_name(Some(&host.parse().unwrap()), &allowed), own, "{host}");
        }
    }
}
