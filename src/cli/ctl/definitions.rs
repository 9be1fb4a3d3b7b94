//! The commands that export and import definitions.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::Value;

use super::broker::{About, Broker};
use crate::cli::client::{Question, Upload, one_line, path};
use crate::cli::failure::Failure;
use crate::cli::meter::Meter;
use crate::cli::print;

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(super) enum Command {
    /// Write users, vhosts, permissions, policies, queues, exchanges and bindings to a file, as JSON
    ExportDefinitions(OfFile),
    /// Read them from a file: all of it, or nothing if something is wrong with it. What is there already stays
    ImportDefinitions(Import),
}

#[derive(Debug, Args)]
pub(super) struct Import {
    #[command(flatten)]
    of: OfFile,
    /// Change nothing, and print what would be
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct OfFile {
    /// Of this vhost only, without users and permissions
    #[arg(short = 'p', long, value_name = "VHOST")]
    vhost: Option<String>,
    /// What the file is written in
    #[arg(long, value_parser = ["json"], default_value = "json", ignore_case = true, hide = true)]
    format: String,
    /// The file; - is standard output, or standard input
    #[arg(default_value = "-")]
    file: PathBuf,
}

impl OfFile {
    fn names(&self) -> Vec<&str> {
        std::iter::once("definitions").chain(self.vhost.as_deref()).collect()
    }

    fn about(&self) -> About<'_> {
        self.vhost.as_deref().map(About::vhost).unwrap_or_default()
    }

    fn is_stream(&self) -> bool {
        self.file == Path::new("-")
    }

    fn failed(&self, error: io::Error) -> Failure {
        Failure::File { path: self.file.clone(), error }
    }
}

/// Runs a command.
pub(super) fn run(command: &Command, broker: &Broker<'_>) -> Result<(), Failure> {
    match command {
        Command::ExportDefinitions(of) => export(of, broker),
        Command::ImportDefinitions(import) => import.run(broker),
    }
}

fn export(of: &OfFile, broker: &Broker<'_>) -> Result<(), Failure> {
    let mut meter = Meter::new(broker.options.is_quiet());
    let question = Question::new(Method::GET, path(&of.names()));
    let answer = broker.client.watch(question, |done, size| {
        meter.show(done, size, &format!("{} KiB", size.div_ceil(1024)));
    });
    meter.end();
    let definitions = broker.done(answer.map_err(|error| broker.silence(error))?, of.about())?.json();
    let text = format!("{definitions:#}\n");
    if of.is_stream() {
        return print(&text);
    }
    // There are hashes of passwords in it.
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&of.file);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| of.failed(error))?;
    broker.say(&format!("definitions written to {}", of.file.display()))
}

impl Import {
    fn run(&self, broker: &Broker<'_>) -> Result<(), Failure> {
        let Self { of, dry_run } = self;
        let mut text = Vec::new();
        if of.is_stream() {
            io::stdin().lock().read_to_end(&mut text).map_err(Failure::Input)?;
        } else {
            text = std::fs::read(&of.file).map_err(|error| of.failed(error))?;
        }
        let mut meter = Meter::new(broker.options.is_quiet());
        let progress = move |done, size: u64| {
            meter.show(done, size, &format!("{} KiB", size.div_ceil(1024)));
            if done == size {
                // What follows is the broker's: one step, whose end is told by the answer.
                meter.end();
            }
        };
        let body = Upload::watched(text, Box::new(progress));
        let path = format!("{}?dry_run={dry_run}&report=true", path(&of.names()));
        let answer = broker.ask(Question { body, ..Question::new(Method::POST, path) })?;
        if let Some(failure) = listed(&answer.json()) {
            return Err(failure);
        }
        let answer = broker.done(answer, of.about())?;
        if *dry_run {
            return print(&format!("{:#}\n", answer.json()));
        }
        let report = answer.json();
        let lines = |key: &str| report[key].as_array().map(Vec::as_slice).unwrap_or_default().iter();
        for (key, what) in REMARKED {
            for line in lines(key).filter_map(Value::as_str).take(MOST_REMARKS) {
                broker.remark(&format!("{what}: {}", one_line(line)));
            }
            if let Some(more @ 1..) = lines(key).len().checked_sub(MOST_REMARKS) {
                broker.remark(&format!("{what}: {more} more"));
            }
        }
        broker.say("definitions imported")
    }
}

/// What of a report somebody has to know, and how it is called.
const REMARKED: [(&str, &str); 3] = [
    ("unsupported", "imported and without effect"),
    ("skipped", "not imported"),
    ("left_unchanged", "left as it is"),
];

/// Remarks of one kind.
const MOST_REMARKS: usize = 20;

/// Several things that are wrong with definitions, a line each.
fn listed(answer: &Value) -> Option<Failure> {
    let problems = answer.get("problems")?.as_array().filter(|problems| problems.len() > 1)?;
    let lines = problems.iter().filter_map(Value::as_str).map(|line| format!("\n  {}", one_line(line)));
    let (count, lines) = (problems.len(), lines.collect::<String>());
    Some(Failure::Refused(format!("nothing was imported; {count} things are wrong:{lines}")))
}
