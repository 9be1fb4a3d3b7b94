//! Durations and sizes as people write them.

use std::time::Duration;

/// Units of a duration, longest first, with their length in milliseconds.
const DURATION_UNITS: [(&str, u64); 6] =
    [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Units of a size in bytes; the decimal ones are powers of 1000.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("B", 1),
];

/// Reads "30s", "500ms", "10min", "1h", "2.5s" or a bare number of seconds. `None` for anything else, for more
/// than fits into 64 bits of milliseconds, and for parts of a millisecond.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let factor = if unit.is_empty() { 1000 } else { factor(&DURATION_UNITS, unit)? };
    scale(number, factor).map(Duration::from_millis)
}

/// Writes a duration so that [`parse_duration`] reads it back: "30s", "2500ms", "10min".
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    // Days and the short form of minutes are read but not written: "24h" and "10min" leave less to guess.
    let unit = DURATION_UNITS.iter().filter(|(unit, _)| !matches!(*unit, "d" | "m"));
    let (unit, factor) =
        unit.copied().find(|(_, factor)| millis.is_multiple_of(*factor)).unwrap_or(("ms", 1));
    format!("{}{unit}", millis / factor)
}

/// Reads "16 MiB", "2GiB", "1.5 GB" or a bare number of bytes. `None` for anything else, for more than 64 bits
/// and for parts of a byte.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    scale(number, if unit.is_empty() { 1 } else { factor(&SIZE_UNITS, unit)? })
}

/// Writes a size so that [`parse_size`] reads it back: in the largest binary unit that divides it, else as bytes.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    let binary = SIZE_UNITS.iter().filter(|(unit, _)| unit.ends_with("iB"));
    match binary.copied().find(|(_, factor)| bytes != 0 && bytes.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{} {unit}", bytes / factor),
        None => bytes.to_string(),
    }
}

/// "16 MiB" into "16" and "MiB". `None` without a number at the front.
fn split_unit(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    if number.is_empty() { None } else { Some((number, unit.trim_start())) }
}

/// Units are told apart without regard to case, as "ms" and "MS" or "kb" and "kB" mean the same to people.
fn factor(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| *factor)
}

/// `number` times `factor`, exactly, where `number` is decimal digits with an optional fraction.
fn scale(number: &str, factor: u64) -> Option<u64> {
    let digits = number.replace('_', "");
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, "0"));
    // Nine places are more than any unit here can use; they keep the arithmetic inside 128 bits.
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 9 || fraction.contains('.') {
        return None;
    }
    let divisor = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let whole = u128::from(whole.parse::<u64>().ok()?) * u128::from(factor);
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(factor);
    if !part.is_multiple_of(divisor) {
        return None;
    }
    u64::try_from(whole + part / divisor).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, millis) in [
            ("30s", 30_000),
            ("500ms", 500),
            ("10min", 600_000),
            ("10 min", 600_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("30", 30_000),
            ("0", 0),
            ("2.5s", 2500),
            (" 1 S ", 1000),
        ] {
            assert_eq!(parse_duration(text.trim()), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "s", "-1s", "1 week", "1.s", ".5s", "0.5ms", "1.2.3s", "99999999999999999999", "1s1s"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        assert_eq!(parse_duration(&format!("{}h", u64::MAX)), None, "too long for 64 bits");
    }

    #[test]
    fn sizes_are_read_in_every_unit() {
        for (text, bytes) in [
            ("16 MiB", 16 << 20),
            ("2GiB", 2 << 30),
            ("131072", 131_072),
            ("131_072", 131_072),
            ("1.5 KiB", 1536),
            ("64kB", 64_000),
            ("64KB", 64_000),
            ("7 B", 7),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1 Mb2", "0.5 B", "16 MiB MiB", "20000000 TiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for millis in [0, 1, 500, 1000, 2500, 30_000, 60_000, 90_000, 3_600_000, 86_400_000] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
        }
        assert_eq!(show_duration(Duration::from_millis(2500)), "2500ms");
        assert_eq!(show_duration(Duration::from_secs(600)), "10min");
        for bytes in [0, 1, 1000, 1024, 131_072, 131_073, 16 << 20, 5 << 30, u64::MAX] {
            assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
        }
        assert_eq!(show_size(16 << 20), "16 MiB");
    }
}
