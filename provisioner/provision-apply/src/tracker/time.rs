use jiff::{SignedDuration, Timestamp};
use provision_model::Manifest;
use serde_json::Value;

/// Older news than this says nothing about the clocks.
const STALE: SignedDuration = SignedDuration::from_secs(60);

/// Tells the time of the cluster from the time here: machines' clocks differ, and patience is measured in the cluster's times.
///
/// The least difference ever seen between the arrival of an object and the newest time in it is the difference of the clocks, plus the
/// time that news takes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ClusterTime {
    behind: Option<SignedDuration>,
}

impl ClusterTime {
    /// Learns from an object that arrived at `now`.
    pub(super) fn learn(&mut self, object: &Manifest, now: Timestamp) {
        if let Some(newest) = newest_time(object) {
            let age = now.duration_since(newest);
            self.behind = Some(self.behind.map_or(age, |known| known.min(age)));
        }
    }

    /// Returns the cluster's time for a wait: never ahead of the cluster's newest news by more than the time since it came.
    pub(super) fn cautious(&self, now: Timestamp) -> Timestamp {
        shift(now, self.behind.unwrap_or_default())
    }

    /// Returns the cluster's time for a look at objects that may have been quiet for long.
    pub(super) fn likely(&self, now: Timestamp) -> Timestamp {
        shift(now, self.behind.filter(|behind| *behind < STALE).unwrap_or_default())
    }

    /// Returns how long it is from `now` here until `moment` in the cluster.
    pub(super) fn until(&self, moment: Timestamp, now: Timestamp) -> SignedDuration {
        moment.duration_since(self.cautious(now)).max(SignedDuration::ZERO)
    }
}

fn shift(now: Timestamp, behind: SignedDuration) -> Timestamp {
    now.checked_sub(behind).unwrap_or(now)
}

fn newest_time(object: &Manifest) -> Option<Timestamp> {
    let read = |value: Option<&Value>| value.and_then(Value::as_str).and_then(|text| text.parse::<Timestamp>().ok());
    let fields = ["/metadata/creationTimestamp", "/lastTimestamp", "/eventTime", "/series/lastObservedTime"];
    let own = fields.iter().filter_map(|pointer| read(object.value().pointer(pointer)));
    let managed = object.managed_fields().iter().filter_map(|entry| read(entry.get("time")));
    own.chain(managed).max()
}
