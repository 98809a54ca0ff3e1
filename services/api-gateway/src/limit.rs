//! How many requests a client may send: a bucket of tokens for each, in bounded memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most clients with a bucket of their own, about 100 bytes each.
const CLIENTS: usize = 50_000;

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) per_second: f64,
    pub(crate) burst: u32,
}

/// Who sends requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    /// Named by a token.
    Subject(String),
    /// Known by its address only.
    Address(IpAddr),
}

impl Client {
    /// Names a client by its address; one network of IPv6 is one client, for it has more addresses than anyone could count.
    pub(crate) fn at(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self::Address(IpAddr::V6((address.to_bits() & (u128::MAX << 64)).into())),
            address @ IpAddr::V4(_) => Self::Address(address),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// The buckets of all clients.
pub(crate) struct Limiter {
    rate: Rate,
    most: usize,
    buckets: Mutex<Buckets>,
}

struct Buckets {
    own: HashMap<Client, Bucket>,
    /// Shared by those that find no room: a flood of invented clients slows itself and newcomers down, not those who were here.
    shared: Bucket,
}

impl Limiter {
    pub(crate) fn new(rate: Rate, now: Instant) -> Self {
        Self::with_room(rate, now, CLIENTS)
    }

    fn with_room(rate: Rate, now: Instant, most: usize) -> Self {
        let shared = Bucket { tokens: f64::from(rate.burst), at: now };
        Self { rate, most, buckets: Mutex::new(Buckets { own: HashMap::new(), shared }) }
    }

    /// Takes a token from a client's bucket.
    ///
    /// # Errors
    /// The time after which there will be one, if there is none.
    pub(crate) fn take(&self, client: &Client, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if !buckets.own.contains_key(client) && buckets.own.len() >= self.most {
            // Who has a full bucket again is as good as unknown.
            buckets.own.retain(|_, bucket| self.filled(*bucket, now).tokens < f64::from(self.rate.burst));
        }
        let Buckets { own, shared } = &mut *buckets;
        let full = Bucket { tokens: f64::from(self.rate.burst), at: now };
        let bucket = if own.len() < self.most { own.entry(client.clone()).or_insert(full) } else { own.get_mut(client).unwrap_or(shared) };
        *bucket = self.filled(*bucket, now);
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::try_from_secs_f64((1.0 - bucket.tokens) / self.rate.per_second).unwrap_or(Duration::from_hours(24)))
    }

    fn filled(&self, bucket: Bucket, now: Instant) -> Bucket {
        let seconds = now.saturating_duration_since(bucket.at).as_secs_f64();
        Bucket { tokens: (bucket.tokens + seconds * self.rate.per_second).min(f64::from(self.rate.burst)), at: now.max(bucket.at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 2.0, burst: 3 };

    fn subject(name: &str) -> Client {
        Client::Subject(name.to_owned())
    }

    #[test]
    fn a_burst_is_taken_then_the_rate_holds() {
        let start = Instant::now();
        let limiter = Limiter::new(RATE, start);
        let take = |client, milliseconds| limiter.take(&subject(client), start + Duration::from_millis(milliseconds));
        for _ in 0..3 {
            assert_eq!(take("a", 0), Ok(()));
        }
        assert_eq!(take("a", 0), Err(Duration::from_millis(500)));
        assert_eq!(take("b", 0), Ok(()), "another client has its own");
        assert_eq!(take("a", 250), Err(Duration::from_millis(250)), "asking in vain costs nothing");
        assert_eq!(take("a", 500), Ok(()));
        assert_eq!(take("a", 3_600_000).and_then(|()| take("a", 3_600_000)).and_then(|()| take("a", 3_600_000)), Ok(()));
        assert!(take("a", 3_600_000).is_err(), "a bucket holds no more than the burst");
    }

    #[test]
    fn invented_clients_take_no_more_room_than_there_is() {
        let start = Instant::now();
        let limiter = Limiter::with_room(RATE, start, 2);
        assert_eq!(limiter.take(&subject("here"), start), Ok(()));
        let served = (0..1000).filter(|index| limiter.take(&subject(&format!("invented {index}")), start).is_ok()).count();
        assert_eq!(served, 1 + 3, "one had room, the others share three tokens");
        assert_eq!(limiter.take(&subject("here"), start), Ok(()), "who was here keeps its own");
        assert_eq!(limiter.buckets.lock().unwrap().own.len(), 2);
        let later = start + Duration::from_secs(10);
        assert_eq!(limiter.take(&subject("new"), later), Ok(()));
        assert_eq!(limiter.buckets.lock().unwrap().own.len(), 1, "those who rested were forgotten");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let at = |text: &str| Client::at(text.parse().unwrap());
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:1"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
    }
}
