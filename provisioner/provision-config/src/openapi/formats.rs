//! The texts with a syntax of their own: quantities, base64, times.

/// Tells whether `text` is a quantity: a decimal number and one of `n u m k M G T P E`, `Ki Mi Gi Ti Pi Ei` or an exponent.
pub(super) fn is_quantity(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    if digits == 0 || number.len() > digits + 1 {
        return false;
    }
    match suffix {
        "" | "n" | "u" | "m" | "k" | "M" | "G" | "T" | "P" | "E" | "Ki" | "Mi" | "Gi" | "Ti" | "Pi" | "Ei" => true,
        _ => suffix.strip_prefix(['e', 'E']).is_some_and(|exponent| {
            let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            !exponent.is_empty() && exponent.bytes().all(|byte| byte.is_ascii_digit())
        }),
    }
}

/// Tells whether `text` is standard base64 with padding; line ends are allowed, as the API server does.
pub(super) fn is_base64(text: &str) -> bool {
    let (mut letters, mut padding) = (0_usize, 0_usize);
    for byte in text.bytes() {
        match byte {
            b'\r' | b'\n' => {}
            b'=' => padding += 1,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if padding == 0 => letters += 1,
            _ => return false,
        }
    }
    padding <= 2 && (letters + padding) % 4 == 0
}

/// Tells whether `text` looks like an RFC 3339 time.
pub(super) fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shape = |bytes: &[u8], shape: &[u8]| {
        bytes.len() == shape.len()
            && bytes.iter().zip(shape).all(|(byte, form)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form })
    };
    let Some((date, rest)) = bytes.split_at_checked(19) else { return false };
    let fraction = match rest {
        [b'.', digits @ ..] => 1 + digits.iter().take_while(|byte| byte.is_ascii_digit()).count(),
        _ => 0,
    };
    let zone = &rest[fraction..];
    fraction != 1 && shape(date, b"0000-00-00T00:00:00") && (zone == b"Z" || shape(zone, b"+00:00") || shape(zone, b"-00:00"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_a_number_and_a_known_suffix() {
        for text in ["1", "500m", "0.5", ".5", "5.", "1Gi", "+1e3", "1E-2", "-1", "1E", "100k"] {
            assert!(is_quantity(text), "{text}");
        }
        for text in ["", "Gi", "1GB", "1 Gi", "1.2.3", "1gi", "1e", "abc", "--1", "1K"] {
            assert!(!is_quantity(text), "{text}");
        }
    }

    #[test]
    fn base64_is_padded_and_standard() {
        for text in ["", "YQ==", "YWI=", "YWJj", "YWJj\nYQ==\n"] {
            assert!(is_base64(text), "{text}");
        }
        for text in ["YQ", "YQ=", "Y=Q=", "YQ-_", "hello world", "===="] {
            assert!(!is_base64(text), "{text}");
        }
    }

    #[test]
    fn times_carry_a_zone() {
        for text in ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.123456Z", "2026-01-31T12:00:00+01:00"] {
            assert!(is_time(text), "{text}");
        }
        for text in ["2026-01-31", "2026-01-31T12:00:00", "2026-01-31 12:00:00Z", "2026-01-31T12:00:00.Z", "soon"] {
            assert!(!is_time(text), "{text}");
        }
    }
}
