//! A report on a data directory, for people to read.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::storage::repair::Outcome;
use crate::storage::verify::{Affected, CatalogueFile, JournalFile, Problem, Report, SegmentFile};

/// Problems that are printed in full; of more there is only the number.
const MOST_PROBLEMS: usize = 1000;

/// The whole report. Its last line is `sound` or `damaged: N problems`.
pub(super) fn text(path: &Path, report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut out, path, report);
    out
}

fn write(out: &mut String, path: &Path, report: &Report) -> std::fmt::Result {
    writeln!(out, "data directory {}", path.display())?;
    match report.catalogue {
        Some(CatalogueFile { oldest, queues, segments }) => writeln!(
            out,
            "catalogue: {}, {}, journal from number {oldest} on",
            counted(queues, "queue"),
            counted(segments, "segment file")
        )?,
        None if report.problems.iter().any(|problem| problem.file == "catalogue") => {
            writeln!(out, "catalogue: none that can be read")?;
        }
        None => writeln!(out, "catalogue: none yet")?,
    }
    for JournalFile { name, number, records, messages, bytes, end, torn } in &report.journal {
        let (records, messages) = (counted(*records, "record"), counted(*messages, "message"));
        write!(out, "{name}: number {number}, {records}, {messages}, ends at {end} of {bytes} bytes")?;
        if *torn {
            write!(out, "; the end is torn, nothing behind it was durable")?;
        }
        writeln!(out)?;
    }
    for SegmentFile { name, messages, bytes } in &report.segments {
        writeln!(out, "{name}: {}, {bytes} bytes", counted(*messages, "message"))?;
    }
    for (what, names) in [
        ("not in use, to be written over", &report.spare),
        ("not in use, to be removed", &report.leftovers),
        ("kept by a repair", &report.kept),
        ("not of a broker", &report.others),
    ] {
        for name in names {
            writeln!(out, "{name}: {what}")?;
        }
    }
    write_problems(out, &report.problems)?;
    let totals = &report.totals;
    let counts = [
        counted(totals.vhosts, "vhost"),
        counted(totals.exchanges, "exchange"),
        counted(totals.queues, "queue"),
        counted(totals.bindings, "binding"),
        counted(totals.messages, "message"),
    ];
    write!(out, "total: {}", counts.join(", "))?;
    match totals.lost {
        0 => writeln!(out)?,
        lost => writeln!(out, "; {} more damaged", counted(lost, "message"))?,
    }
    match report.problems.len() {
        0 => writeln!(out, "sound"),
        count => writeln!(out, "damaged: {}", counted(count as u64, "problem")),
    }
}

fn write_problems(out: &mut String, problems: &[Problem]) -> std::fmt::Result {
    for problem in problems.iter().take(MOST_PROBLEMS) {
        writeln!(out, "problem: {problem}")?;
        if problem.affected.is_empty() {
            writeln!(out, "  affects: nothing that is known to be in a queue")?;
        }
        for affected in &problem.affected {
            writeln!(out, "  affects: {affected}")?;
        }
    }
    match problems.len().saturating_sub(MOST_PROBLEMS) {
        0 => Ok(()),
        more => writeln!(out, "problem: and {more} more"),
    }
}

/// What a repair is going to drop, queue by queue.
pub(super) fn dropped(report: &Report) -> String {
    let mut queues: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut records, mut unknown, mut acknowledgements) = (0, false, false);
    for affected in report.problems.iter().flat_map(|problem| &problem.affected) {
        match affected {
            Affected::Messages { queue, count, .. } => *queues.entry(queue).or_default() += count,
            Affected::Records { count, .. } => records += count,
            Affected::UnknownRecords => unknown = true,
            Affected::Everything => acknowledgements = true,
        }
    }
    let mut out = String::from("a repair drops:\n");
    for (queue, count) in queues {
        out.push_str(&format!("  {queue}: {}\n", counted(count, "message")));
    }
    if records > 0 || unknown {
        let more = if unknown { ", and those of which nobody knows how many" } else { "" };
        out.push_str(&format!("  {}{more}\n", counted(records, "record")));
    }
    if acknowledgements {
        out.push_str("  definitions that only the catalogue has, and the messages in those queues\n");
    }
    if records > 0 || unknown || acknowledgements {
        out.push_str("messages that were acknowledged may come back; all are flagged as redelivered\n");
    }
    out
}

/// What a repair has done.
pub(super) fn outcome(outcome: &Outcome) -> String {
    let mut out = String::new();
    for (name, kept) in &outcome.renamed {
        out.push_str(&format!("{name}: kept as {kept}\n"));
    }
    out.push_str(&format!("repaired: {} kept\n", counted(outcome.messages, "message")));
    out
}

/// A number of things.
pub(super) fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
