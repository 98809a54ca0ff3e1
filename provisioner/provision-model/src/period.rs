use std::time::Duration;

/// Parses `1h30m`, `15s`, `250ms`; `None` if it is no length of time.
pub fn parse_period(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() || text.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        let tail = rest.get(digits..)?;
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let part = match tail.get(..unit)? {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3600)?),
            "d" => Duration::from_secs(number.checked_mul(86_400)?),
            _ => return None,
        };
        total = total.checked_add(part)?;
        rest = tail.get(unit..)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_sums_of_whole_units() {
        let seconds = |text: &str| parse_period(text).map(|period| period.as_secs_f64());
        for (text, expected) in [("15s", 15.0), ("250ms", 0.25), ("1h30m", 5400.0), ("2d", 172_800.0), ("1m1ms", 60.001), ("0s", 0.0)] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for text in ["", "5", "s", "1.5s", "-1s", "1w", "1 s", "1s ", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
