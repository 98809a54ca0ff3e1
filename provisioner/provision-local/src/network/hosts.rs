//! Finds names of Services and pods in text, where a host name may stand, and puts addresses in their place.
//!
//! A program on this machine asks no cluster for names, so they are gone before it starts. Only whole host names count: behind `://` or
//! `@`, before `:PORT`, with a namespace (`NAME.NAMESPACE`), or as the whole value of a variable that names a host. Everything else that
//! happens to be called like a Service stays: paths, words, names of programs.

use std::net::Ipv4Addr;

/// What a host name may mean, the likeliest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Meanings.
    pub places: Vec<Place>,
    /// Whether it ends in `.svc` or `.svc.cluster.local` and can be nothing else.
    pub certain: bool,
}

/// Something with an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A Service.
    Service {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
    },
    /// A pod by its stable name below a headless Service.
    Pod {
        /// Namespace.
        namespace: String,
        /// The Service.
        service: String,
        /// Name of the pod.
        name: String,
    },
}

/// Puts addresses in the place of names in one text; `variable` is the name of the variable that holds it, if one does.
///
/// `lookup` gives the address of what a name may mean in `namespace`. Pure.
pub fn rewrite(text: &str, variable: Option<&str>, namespace: &str, lookup: &dyn Fn(&Host) -> Option<Ipv4Addr>) -> String {
    let names_host = variable.is_some_and(|name| name.ends_with("HOST") || name.ends_with("HOSTNAME"));
    let (mut result, mut rest) = (String::with_capacity(text.len()), 0);
    for token in tokens(text) {
        let stands = standing(text, &token, names_host);
        let found = stands.and_then(|stands| Host::parse(&text[token.clone()], namespace, stands)).and_then(|host| lookup(&host));
        if let Some(address) = found {
            result.push_str(&text[rest..token.start]);
            result.push_str(&address.to_string());
            rest = token.end;
        }
    }
    result.push_str(&text[rest..]);
    result
}

impl Host {
    /// Reads a host name as seen from a namespace; a name of one word only where `bare` allows it.
    fn parse(token: &str, namespace: &str, stands: Standing) -> Option<Self> {
        let name = token.strip_suffix('.').unwrap_or(token).to_ascii_lowercase();
        let name = name.strip_suffix(".cluster.local").unwrap_or(&name);
        let (name, certain) = name.strip_suffix(".svc").map_or((name, false), |name| (name, true));
        let labels: Vec<&str> = name.split('.').collect();
        if !labels.iter().all(|label| is_label(label)) {
            return None;
        }
        let service = |name: &str, namespace: &str| Place::Service { namespace: namespace.to_owned(), name: name.to_owned() };
        let pod = |name: &str, service: &str, namespace: &str| Place::Pod {
            namespace: namespace.to_owned(),
            service: service.to_owned(),
            name: name.to_owned(),
        };
        let places = match labels.as_slice() {
            [one] if !certain && stands == Standing::Bare => vec![service(one, namespace)],
            [one, two] if certain => vec![service(one, two)],
            [one, two] => vec![service(one, two), pod(one, two, namespace)],
            [one, two, three] => vec![pod(one, two, three)],
            _ => return None,
        };
        Some(Self { places, certain })
    }
}

fn is_label(label: &str) -> bool {
    let alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = label.as_bytes();
    bytes.len() <= 63
        && alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// How sure it is that a token is a host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Its surroundings say so: one word is enough.
    Bare,
    /// Its surroundings allow it: it needs a namespace.
    Dotted,
}

/// Lists the longest runs of characters that host names are made of.
fn tokens(text: &str) -> Vec<std::ops::Range<usize>> {
    let bytes = text.as_bytes();
    let of_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') || !byte.is_ascii();
    let (mut found, mut start) = (Vec::new(), None);
    for (index, byte) in bytes.iter().enumerate() {
        match (of_host(*byte), start) {
            (true, None) => start = Some(index),
            (false, Some(begin)) => {
                found.push(begin..index);
                start = None;
            }
            _ => {}
        }
    }
    found.extend(start.map(|begin| begin..bytes.len()));
    found
}

/// Tells whether a host name may stand where the token does.
fn standing(text: &str, token: &std::ops::Range<usize>, names_host: bool) -> Option<Standing> {
    let (before, after) = (&text[..token.start], &text[token.end..]);
    if let Some(authority) = authority(before) {
        // What comes before a later `@` is a user or a password.
        let is_user = authority_end(after).contains('@');
        let is_first = authority.is_empty() || authority.ends_with(['@', ',']);
        return (is_first && !is_user).then_some(Standing::Bare);
    }
    if !before.is_empty() && !before.ends_with(is_border) {
        return None;
    }
    let has_port = after.strip_prefix(':').is_some_and(|port| {
        let digits = port.bytes().take_while(u8::is_ascii_digit).count();
        (1..=5).contains(&digits)
            && (port[digits..].is_empty() || port[digits..].starts_with(|next| is_border(next) || matches!(next, '/' | '?')))
    });
    let is_whole = before.is_empty() && after.is_empty();
    if has_port || (names_host && is_whole) || before.ends_with("host=") {
        return Some(Standing::Bare);
    }
    (after.is_empty() || after.starts_with(|next| is_border(next) || matches!(next, '/' | '?' | ':'))).then_some(Standing::Dotted)
}

/// Returns what stands between the last `://` and the end of `before`, if that is still the part of a URL that names hosts.
fn authority(before: &str) -> Option<&str> {
    let (_, authority) = before.rsplit_once("://")?;
    (authority_end(authority).len() == authority.len()).then_some(authority)
}

/// Returns the part of a text up to where hosts of a URL end.
fn authority_end(text: &str) -> &str {
    let end = text.find(|one: char| one.is_whitespace() || matches!(one, '/' | '?' | '#' | '"' | '\'' | '<' | '>' | '`' | '|'));
    &text[..end.unwrap_or(text.len())]
}

fn is_border(one: char) -> bool {
    one.is_whitespace() || matches!(one, ',' | ';' | '=' | '"' | '\'' | '`' | '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' | '|' | '@')
}

#[cfg(test)]
mod tests;
