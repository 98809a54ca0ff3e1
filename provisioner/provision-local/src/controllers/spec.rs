//! Parts of a pod's spec as values.

use std::time::Duration;

use serde_json::Value;

use crate::kubelet::{Check, Hook, Probe};

/// Goes over a list; nothing if there is none.
pub(super) fn list<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    value[field].as_array().into_iter().flatten()
}

/// Reads a number of 32 bits.
pub(super) fn number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

/// Reads a quantity (`500m`, `1.5`, `64Mi`, `1e3`) in thousandths, rounded up.
pub(super) fn quantity(text: &str) -> Option<u64> {
    const SUFFIXES: [(&str, u64); 12] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("Pi", 1 << 50),
        ("k", 1000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("P", 1_000_000_000_000_000),
        ("m", 0),
        ("", 1),
    ];
    let (digits, factor) = SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)))?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let number = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let digits = number(whole)?.checked_mul(scale)?.checked_add(number(fraction)?)?;
    let thousandths = if factor == 0 { digits } else { digits.checked_mul(u128::from(factor))?.checked_mul(1000)? };
    u64::try_from(thousandths.div_ceil(scale)).ok()
}

/// Reads a probe; names of ports are those of the container.
pub(super) fn probe(container: &Value, field: &str) -> Option<Probe> {
    let probe = container.get(field)?;
    let seconds = |field: &str, otherwise: u64| Duration::from_secs(probe[field].as_u64().unwrap_or(otherwise));
    let count = |field: &str, otherwise: u32| number(&probe[field]).unwrap_or(otherwise).max(1);
    Some(Probe {
        check: check(container, probe)?,
        initial_delay: seconds("initialDelaySeconds", 0),
        period: seconds("periodSeconds", 10).max(Duration::from_secs(1)),
        timeout: seconds("timeoutSeconds", 1).max(Duration::from_secs(1)),
        success_threshold: count("successThreshold", 1),
        failure_threshold: count("failureThreshold", 3),
    })
}

/// Reads what is done before a container is stopped.
pub(super) fn stop_hook(container: &Value) -> Option<Hook> {
    let hook = container["lifecycle"].get("preStop")?;
    match hook["sleep"]["seconds"].as_u64() {
        Some(seconds) => Some(Hook::Sleep(Duration::from_secs(seconds))),
        None => check(container, hook).map(Hook::Ask),
    }
}

fn check(container: &Value, probe: &Value) -> Option<Check> {
    if let Some(http) = probe.get("httpGet") {
        let header = |header: &Value| Some((header["name"].as_str()?.to_owned(), header["value"].as_str()?.to_owned()));
        return Some(Check::Http {
            port: port(container, &http["port"])?,
            path: http["path"].as_str().unwrap_or("/").to_owned(),
            headers: list(http, "httpHeaders").filter_map(header).collect(),
            tls: http["scheme"] == "HTTPS",
        });
    }
    if let Some(tcp) = probe.get("tcpSocket") {
        return Some(Check::Tcp { port: port(container, &tcp["port"])? });
    }
    if let Some(grpc) = probe.get("grpc") {
        let service = grpc["service"].as_str().unwrap_or_default().to_owned();
        return Some(Check::Grpc { port: port(container, &grpc["port"])?, service });
    }
    let command: Vec<String> = list(&probe["exec"], "command").filter_map(Value::as_str).map(str::to_owned).collect();
    (!command.is_empty()).then_some(Check::Exec { command })
}

fn port(container: &Value, port: &Value) -> Option<u16> {
    let number = match port.as_str() {
        Some(name) => list(container, "ports").find(|one| one["name"] == name).map(|one| &one["containerPort"])?,
        None => port,
    };
    number.as_u64().and_then(|number| u16::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_thousandths() {
        for (text, wanted) in [
            ("500m", Some(500)),
            ("2", Some(2000)),
            ("1.5", Some(1500)),
            ("0.1m", Some(1)),
            ("64Mi", Some(64 * 1024 * 1024 * 1000)),
            ("1k", Some(1_000_000)),
            ("", None),
            (".", None),
            ("Mi", None),
            ("-1", None),
            ("1x", None),
            ("99999999999999999999P", None),
        ] {
            assert_eq!(quantity(text), wanted, "{text}");
        }
    }
}
