//! What takes the broker's memory, as RabbitMQ's tool breaks it down.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::broker::{About, Broker};
use super::node::node;
use super::options::Format;
use crate::cli::failure::Failure;
use crate::cli::print;

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(super) enum Command {
    /// Show what takes memory, the most first
    MemoryBreakdown(Breakdown),
}

#[derive(Debug, Args)]
pub(super) struct Breakdown {
    /// What sizes are counted in
    #[arg(long, value_enum, ignore_case = true, default_value = "gb")]
    unit: Unit,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Unit {
    /// Bytes
    Bytes,
    /// 1,000 bytes
    Kb,
    /// 1,000,000 bytes
    Mb,
    /// 1,000,000,000 bytes
    Gb,
}

impl Unit {
    fn told(self, bytes: u64) -> String {
        let of = |size: f64, name| format!("{:.4} {name}", bytes as f64 / size);
        match self {
            Self::Bytes => format!("{bytes} bytes"),
            Self::Kb => of(1e3, "kb"),
            Self::Mb => of(1e6, "mb"),
            Self::Gb => of(1e9, "gb"),
        }
    }
}

/// Runs a command.
pub(super) fn run(command: &Command, broker: &Broker<'_>) -> Result<(), Failure> {
    let Command::MemoryBreakdown(Breakdown { unit }) = command;
    let node = node(broker)?;
    let name = node["name"].as_str().unwrap_or_default();
    let told = broker.get(&["nodes", name, "memory"], About::default())?;
    let parts = parts(&told["memory"]);
    if broker.options.format() == Format::Json {
        let object: Map<String, Value> = parts
            .into_iter()
            .map(|(name, bytes, percent)| (name, json!({ "bytes": bytes, "percentage": percent })))
            .collect();
        return print(&format!("{:#}\n", Value::Object(object)));
    }
    // What there is of Erlang's only takes nothing here.
    let lines = parts.iter().filter(|(_, bytes, _)| *bytes > 0);
    print(
        &lines
            .map(|(name, bytes, percent)| format!("{name}: {} ({percent}%)\n", unit.told(*bytes)))
            .collect::<String>(),
    )
}

/// The parts with their bytes and their share of all, the largest first.
fn parts(memory: &Value) -> Vec<(String, u64, f64)> {
    let numbers = memory.as_object().into_iter().flatten();
    let mut parts: Vec<(String, u64)> =
        numbers.filter_map(|(name, bytes)| Some((name.clone(), bytes.as_u64()?))).collect();
    parts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let sum: u64 = parts.iter().map(|(_, bytes)| bytes).sum();
    let percent = |bytes: u64| {
        // With two digits behind the point.
        (bytes as f64 * 10_000.0 / sum.max(1) as f64).round() / 100.0
    };
    parts.into_iter().map(|(name, bytes)| (name, bytes, percent(bytes))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_shares_of_all_and_the_largest_comes_first() {
        let memory =
            json!({ "b": 1, "a": 1, "most": 4, "none": 0, "strategy": "rss", "total": { "rss": 7 } });
        let shares = parts(&memory);
        let shares: Vec<(&str, u64, f64)> =
            shares.iter().map(|(name, bytes, share)| (&**name, *bytes, *share)).collect();
        assert_eq!(shares, [("most", 4, 66.67), ("a", 1, 16.67), ("b", 1, 16.67), ("none", 0, 0.0)]);
        assert_eq!(parts(&json!({ "a": 0 })), [("a".to_owned(), 0, 0.0)]);
        let told = [Unit::Bytes, Unit::Kb, Unit::Mb, Unit::Gb].map(|unit| unit.told(1_500_000));
        assert_eq!(told, ["1500000 bytes", "1500.0000 kb", "1.5000 mb", "0.0015 gb"]);
    }
}
