//! The table at the end of a run.

use std::fmt::Write as _;

use crate::perf::percentiles::Percentiles;
use crate::perf::process::Usage;

/// Rows of a name, a value and what is said about it.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<(String, String, String)>,
}

impl Table {
    /// Adds a row.
    pub(super) fn row(&mut self, name: &str, value: impl Into<String>, more: impl Into<String>) -> &mut Self {
        self.rows.push((name.to_owned(), value.into(), more.into()));
        self
    }

    /// Adds a number, and how many that are a second.
    pub(super) fn count(&mut self, name: &str, count: u64, per_second: f64) -> &mut Self {
        self.row(name, grouped(count as f64), format!("{}/s", grouped(per_second)))
    }

    /// Adds rows for what a process used. `is_whole` if its memory and disk are of interest too.
    pub(super) fn usage(&mut self, name: &str, usage: &Usage, is_whole: bool) -> &mut Self {
        let per = match usage.messages_per_cpu_second {
            Some(per) => format!("{} messages/CPU s", grouped(per)),
            None => "too little to be measured".to_owned(),
        };
        self.row(&format!("{name} CPU"), format!("{:.2} s", usage.cpu_seconds), per);
        if is_whole {
            self.memory(name, usage);
        }
        self
    }

    /// Adds rows for what a process used for something that is not counted in messages.
    pub(super) fn cost(&mut self, name: &str, usage: &Usage) -> &mut Self {
        self.row(&format!("{name} CPU"), format!("{:.2} s", usage.cpu_seconds), "");
        self.memory(name, usage)
    }

    /// Adds rows for the memory and the disk writes of a process.
    fn memory(&mut self, name: &str, usage: &Usage) -> &mut Self {
        let peak = format!("peak {}", mebibytes(usage.peak_rss_bytes));
        self.row(&format!("{name} memory"), mebibytes(usage.rss_bytes), peak);
        let written = usage.written_bytes.map_or_else(|| "not told".to_owned(), mebibytes);
        self.row(&format!("{name} disk writes"), written, "")
    }

    /// Adds rows for percentiles.
    pub(super) fn percentiles(&mut self, name: &str, times: &Percentiles) -> &mut Self {
        if times.count == 0 {
            return self.row(name, "none", "");
        }
        let values = [
            ("p50", times.p50_us),
            ("p90", times.p90_us),
            ("p99", times.p99_us),
            ("p99.9", times.p99_9_us),
            ("max", times.max_us),
        ];
        for (label, value) in values {
            self.row(&format!("{name} {label}"), micros(value), "");
        }
        self
    }

    /// All of it, in columns.
    pub(super) fn text(&self) -> String {
        let wide = |column: fn(&(String, String, String)) -> &String| {
            self.rows.iter().map(|row| column(row).chars().count()).max().unwrap_or(0)
        };
        let (names, values) = (wide(|row| &row.0), wide(|row| &row.1));
        let mut text = String::new();
        for (name, value, more) in &self.rows {
            let line = format!("{name:<names$}  {value:>values$}  {more}");
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }
}

/// A whole number with commas between thousands.
pub(super) fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = if number <= -0.5 { "-".to_owned() } else { String::new() };
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of any size, with some digits of small ones.
pub(super) fn figure(number: f64) -> String {
    if number.abs() < 100.0 { format!("{number:.2}") } else { grouped(number) }
}

pub(super) fn micros(value: f64) -> String {
    if value < 1000.0 { format!("{value:.1} us") } else { format!("{} us", grouped(value)) }
}

pub(super) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1024.0 * 1024.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        let of = [0.0, 999.4, 1000.0, 1_234_567.0].map(grouped);
        assert_eq!(of, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([-0.2, -123.0, -1234.0].map(grouped), ["0", "-123", "-1,234"]);
    }

    #[test]
    fn columns_are_as_wide_as_they_have_to_be() {
        let mut table = Table::default();
        table.count("published", 12_345, 10.0).row("x", "1", "");
        assert_eq!(table.text(), "published  12,345  10/s\nx               1\n");
    }
}
