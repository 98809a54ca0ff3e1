//! Where a request comes from, as far as that can be believed.

use std::net::IpAddr;

use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Uri};

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// Origin of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Address of the client.
    pub(crate) address: IpAddr,
    /// Whether it speaks TLS to the proxy in front.
    pub(crate) secure: bool,
    /// Addresses from the client to here, as the next one is told them.
    via: Vec<IpAddr>,
    /// Name under which it asks for the gateway.
    pub(crate) host: Option<Authority>,
}

impl Origin {
    /// Finds the origin of a request that came from `peer` through `hops` proxies that are trusted.
    ///
    /// What those proxies add stands at the right of the list; everything to its left may be invented, and is dropped.
    pub(crate) fn of(uri: &Uri, headers: &HeaderMap, peer: IpAddr, hops: usize) -> Self {
        let told: Vec<&str> =
            headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).collect();
        let trusted = &told[told.len().saturating_sub(hops)..];
        let addresses: Option<Vec<IpAddr>> = trusted.iter().map(|text| parse_address(text.trim())).collect();
        let mut via = addresses.unwrap_or_default();
        via.push(peer.to_canonical());
        let proto = headers.get(FORWARDED_PROTO).filter(|_| hops > 0);
        let host = headers.get(HOST).and_then(|value| value.to_str().ok()?.parse().ok());
        Self {
            address: via[0],
            secure: proto.is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https")),
            via,
            host: uri.authority().cloned().or(host),
        }
    }

    /// Adds what the next service is to know of the client.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        let via: Vec<String> = self.via.iter().map(ToString::to_string).collect();
        let proto = if self.secure { "https" } else { "http" };
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(proto));
        for (name, value) in [(FORWARDED_FOR, Some(via.join(", "))), ("x-forwarded-host", self.host.as_ref().map(ToString::to_string))] {
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                headers.insert(name, value);
            }
        }
    }
}

/// Reads an address, with a port or without.
fn parse_address(text: &str) -> Option<IpAddr> {
    let plain = text.trim_start_matches('[').trim_end_matches(']');
    let address = plain.parse().ok().or_else(|| text.parse().ok().map(|socket: std::net::SocketAddr| socket.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(told: &[&'static str], hops: usize, expected: &str) {
        let mut headers = HeaderMap::new();
        for value in told {
            headers.append(FORWARDED_FOR, HeaderValue::from_static(value));
        }
        let origin = Origin::of(&Uri::from_static("/"), &headers, "10.0.0.9".parse().unwrap(), hops);
        let mut sent = HeaderMap::new();
        origin.tell(&mut sent);
        assert_eq!(sent[FORWARDED_FOR], expected, "{told:?} through {hops}");
        assert_eq!(origin.address.to_string(), expected.split(", ").next().unwrap());
    }

    #[test]
    fn only_what_trusted_proxies_added_is_believed() {
        check(&[], 0, "10.0.0.9");
        check(&["192.0.2.1"], 0, "10.0.0.9");
        check(&["192.0.2.1"], 1, "192.0.2.1, 10.0.0.9");
        check(&["203.0.113.5, 192.0.2.1"], 1, "192.0.2.1, 10.0.0.9");
        check(&["203.0.113.5", "192.0.2.1, 10.0.0.8"], 2, "192.0.2.1, 10.0.0.8, 10.0.0.9");
        check(&["192.0.2.1"], 2, "192.0.2.1, 10.0.0.9");
        check(&["[2001:db8::1]:443"], 1, "2001:db8::1, 10.0.0.9");
        check(&["\"><script>"], 1, "10.0.0.9");
    }

    proptest::proptest! {
        #[test]
        fn no_list_makes_another_client_than_a_trusted_proxy_told(told in "[ -~]{0,60}", honest in proptest::prelude::any::<[u8; 4]>(), hops in 1_usize..4) {
            let peer: IpAddr = [10, 0, 0, 9].into();
            let honest = IpAddr::from(honest);
            let mut headers = HeaderMap::new();
            headers.insert(FORWARDED_FOR, HeaderValue::try_from(&told).unwrap());
            proptest::prop_assert_eq!(Origin::of(&Uri::from_static("/"), &headers, peer, 0).address, peer);
            let origin = Origin::of(&Uri::from_static("/"), &headers, peer, hops);
            proptest::prop_assert!(origin.via.len() <= hops + 1);
            headers.append(FORWARDED_FOR, HeaderValue::try_from(honest.to_string()).unwrap());
            proptest::prop_assert_eq!(Origin::of(&Uri::from_static("/"), &headers, peer, 1).address, honest);
        }
    }

    #[test]
    fn tls_is_told_by_trusted_proxies_only() {
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
        let secure = |hops| Origin::of(&Uri::from_static("/"), &headers, "10.0.0.9".parse().unwrap(), hops).secure;
        assert_eq!((secure(0), secure(1)), (false, true));
    }
}
