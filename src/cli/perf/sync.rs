//! `leveret perf sync`.

use std::path::PathBuf;

use clap::Args;

use super::options::JsonOption;
use super::table::{Table, grouped};
use super::{Trouble, progress, report};
use crate::perf::sync::{self, Plan};

/// What to measure.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// A directory on the file system; a file is made in it, and removed
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// How many writes of 4 KiB, each with an fdatasync
    #[arg(long, value_name = "N", default_value_t = 1000)]
    count: u64,
    #[command(flatten)]
    json: JsonOption,
}

impl Arguments {
    /// Measures, and shows what was found.
    pub(super) fn run(&self) -> Result<(), Trouble> {
        let plan = Plan { dir: self.dir.clone(), count: self.count };
        let stop = progress::stop_on_interrupt();
        let found = sync::run(&plan, &stop)?;
        let mut table = Table::default();
        table.row("writes", grouped(found.sync.count as f64), format!("{} B each", found.write_bytes));
        table.percentiles("fdatasync", &found.sync);
        report::show("sync", None, (&plan, &found), &table, self.json.json.as_deref())
    }
}
