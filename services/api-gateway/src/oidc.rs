//! Who a client is: bearer tokens, checked against the keys of their issuer.
//!
//! OpenID Connect Core 1.0 (section 3.1.3.7) and RFC 7519 say what is checked, RFC 8725 what not to believe: the algorithm is the key's,
//! never the token's choice alone; `none` and shared secrets are refused. Bearer tokens may be used until they expire (RFC 6750), so a
//! second use is not told from a theft; an issuer that makes tokens for one use each is served by `OIDC_ONE_TIME_TOKENS`.

mod keys;
mod seen;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;
use url::Url;

pub(crate) use keys::{FetchError, Keys};
use seen::Seen;

/// How far clocks may differ, in seconds.
const LEEWAY: u64 = 60;
/// Longest token and longest name that are looked at.
const MAX_TOKEN: usize = 8 * 1024;
const MAX_SUBJECT: usize = 255;

/// Who issues the tokens, and for whom they must be.
#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    pub(crate) url: Url,
    pub(crate) audience: String,
    pub(crate) keys_age: Duration,
    pub(crate) one_time: bool,
}

impl Issuer {
    /// Returns the issuer as tokens name it.
    fn name(&self) -> &str {
        // The URL type adds a slash to a bare host; issuers don't.
        let text = self.url.as_str();
        if self.url.path() == "/" { text.trim_end_matches('/') } else { text }
    }
}

/// Why a client is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It sent no token.
    Missing,
    /// It sent one that is not good; why, in words that tell nothing of the token.
    Invalid(&'static str),
    /// Nobody can tell: the issuer's keys are not known yet, or no more tokens can be remembered.
    Unknown(&'static str),
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: f64,
    iat: Option<f64>,
    jti: Option<String>,
}

/// Tells who a client is.
pub(crate) struct Authenticator {
    issuer: Issuer,
    keys: Arc<Keys>,
    seen: Seen,
}

impl Authenticator {
    pub(crate) fn new(issuer: Issuer) -> Result<Self, FetchError> {
        Ok(Self { keys: Arc::new(Keys::new(&issuer)?), issuer, seen: Seen::default() })
    }

    pub(crate) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys)
    }

    /// Returns the subject of the token that a request carries.
    pub(crate) async fn subject(&self, headers: &HeaderMap) -> Result<String, Refusal> {
        let token = bearer(headers)?;
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refusal::Invalid("it is no JWT, or its algorithm is not known"))?;
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA) {
            return Err(Refusal::Invalid("its algorithm is not allowed"));
        }
        // RFC 7515, section 4.1.11: who doesn't understand what is critical must refuse it.
        if header.crit.is_some() {
            return Err(Refusal::Invalid("it needs an extension that is not known"));
        }
        if header.typ.is_some_and(|kind| !["jwt", "at+jwt", "application/at+jwt"].contains(&kind.to_ascii_lowercase().as_str())) {
            return Err(Refusal::Invalid("it is a token of another type"));
        }
        let key = self.keys.find(header.kid.as_deref(), header.alg).await?;
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &self.validation(header.alg)).map_err(|error| refused(&error))?.claims;
        self.check(claims)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_audience(&[&self.issuer.audience]);
        validation.set_issuer(&[self.issuer.name()]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation
    }

    /// Checks what is left once signature, issuer, audience and times are good.
    fn check(&self, claims: Claims) -> Result<String, Refusal> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let leeway = Duration::from_secs(LEEWAY);
        if claims.iss != self.issuer.name() {
            return Err(Refusal::Invalid("it was issued by somebody else"));
        }
        if claims.iat.is_some_and(|issued| issued > (now + leeway).as_secs_f64()) {
            return Err(Refusal::Invalid("it was issued in the future"));
        }
        if claims.sub.is_empty() || claims.sub.len() > MAX_SUBJECT {
            return Err(Refusal::Invalid("its subject is empty or too long"));
        }
        if self.issuer.one_time {
            let id = claims.jti.ok_or(Refusal::Invalid("it has no id, and may be used once only"))?;
            let until = Duration::try_from_secs_f64(claims.exp).map_err(|_| Refusal::Invalid("it expires at no time"))?;
            self.seen.use_once(id, until.saturating_add(leeway), now)?;
        }
        Ok(claims.sub)
    }
}

/// Returns the one token of a request.
fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::Missing)?;
    if values.next().is_some() {
        return Err(Refusal::Invalid("there are several"));
    }
    let value = value.to_str().map_err(|_| Refusal::Invalid("it is no text"))?;
    let (scheme, token) = value.split_once(' ').ok_or(Refusal::Missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::Missing);
    }
    match token.trim() {
        "" => Err(Refusal::Missing),
        token if token.len() > MAX_TOKEN => Err(Refusal::Invalid("it is too long")),
        token => Ok(token),
    }
}

fn refused(error: &jsonwebtoken::errors::Error) -> Refusal {
    use jsonwebtoken::errors::ErrorKind;
    Refusal::Invalid(match error.kind() {
        ErrorKind::ExpiredSignature => "it has expired",
        ErrorKind::ImmatureSignature => "it is not valid yet",
        ErrorKind::InvalidIssuer => "it was issued by somebody else",
        ErrorKind::InvalidAudience => "it is for somebody else",
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) | ErrorKind::Json(_) => {
            "a claim is missing or has a wrong form"
        }
        _ => "it is malformed",
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;

    fn authenticator() -> Authenticator {
        let issuer = Issuer {
            // Nobody listens there, and no key is known.
            url: "https://127.0.0.1:1".parse().unwrap(),
            audience: "feature".to_owned(),
            keys_age: Duration::from_secs(300),
            one_time: false,
        };
        Authenticator::new(issuer).unwrap()
    }

    #[test]
    fn any_header_is_refused_while_no_key_is_known() {
        // One that is asked for keys once: it rests before it asks again.
        let authenticator = authenticator();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let algorithm = prop_oneof![Just("RS256"), Just("ES256"), Just("EdDSA"), Just("none"), Just("HS256"), Just("x")];
        let near =
            (algorithm, "[a-z\"{},:]{0,20}", "\\PC{0,40}", "[A-Za-z0-9_-]{0,90}").prop_map(move |(algorithm, more, claims, signature)| {
                let header = format!(r#"{{"alg":"{algorithm}","typ":"JWT","kid":"k"{more}}}"#);
                format!("Bearer {}.{}.{signature}", part(&header), part(&claims))
            });
        let value = prop_oneof![near, "(Bearer |bearer  |Basic )?[ -~]{0,80}", "Bearer [A-Za-z0-9_-]{0,40}(\\.[A-Za-z0-9_-]{0,40}){0,4}"];
        let mut runner = proptest::test_runner::TestRunner::default();
        let result = runner.run(&value, |value| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().map_err(|_| TestCaseError::reject("no header"))?);
            let subject = runtime.block_on(authenticator.subject(&headers));
            prop_assert!(subject.is_err(), "{subject:?}");
            Ok(())
        });
        result.unwrap();
    }

    #[test]
    fn only_one_bearer_token_is_looked_at() {
        let long = format!("Bearer {}", "x".repeat(MAX_TOKEN + 1));
        for (values, expected) in [
            (&[][..], Err(Refusal::Missing)),
            (&["Bearer abc"], Ok("abc")),
            (&["bearer  abc "], Ok("abc")),
            (&["Basic abc"], Err(Refusal::Missing)),
            (&["Bearer"], Err(Refusal::Missing)),
            (&["Bearer "], Err(Refusal::Missing)),
            (&["Bearer a", "Bearer b"], Err(Refusal::Invalid("there are several"))),
            (&[&long], Err(Refusal::Invalid("it is too long"))),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(bearer(&headers), expected, "{values:?}");
        }
    }

    #[test]
    fn an_issuer_is_named_as_in_tokens() {
        for (url, name) in
            [("https://id.example.com", "https://id.example.com"), ("https://id.example.com/a/", "https://id.example.com/a/")]
        {
            let issuer = Issuer { url: url.parse().unwrap(), audience: String::new(), keys_age: Duration::ZERO, one_time: false };
            assert_eq!(issuer.name(), name);
        }
    }
}
