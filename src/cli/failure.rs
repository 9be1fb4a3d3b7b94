//! Why the program ends without having done its work, in one line if it is one thing.

use std::io::{self, Write as _};
use std::path::PathBuf;

use crate::broker::definitions::Problem;
use crate::config::ConfigError;
use crate::perf::error::PerfError;
use crate::server::tls::TlsError;

/// A failure of a command.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    #[error("cannot open the log{}: {error}", place(path.as_ref()))]
    Log { path: Option<PathBuf>, error: io::Error },
    #[error("cannot create the data directory {}: {error}", path.display())]
    DataDirectory { path: PathBuf, error: io::Error },
    #[error("cannot use the data in {}: {error}", path.display())]
    Storage { path: PathBuf, error: io::Error },
    #[error("cannot back up {}: {error}", path.display())]
    Backup { path: PathBuf, error: io::Error },
    #[error("cannot read from standard input: {0}")]
    Input(io::Error),
    #[error("cannot use the file {}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("{0}")]
    Refused(String),
    #[error("{text}")]
    RefusedAs { code: u8, text: String },
    #[error("cannot reach a broker on {}: {error}; does it run there? --data-dir and --url name another", path.display())]
    NoBroker { path: PathBuf, error: io::Error },
    #[error("cannot read the data in {}: {error}", path.display())]
    DataUnread { path: PathBuf, error: io::Error },
    #[error("the data in {} is not repaired: {why}", path.display())]
    NotRepaired { path: PathBuf, why: String },
    #[error("cannot read definitions from {}: {error}", path.display())]
    DefinitionsUnread { path: PathBuf, error: io::Error },
    #[error("cannot import the definitions in {}: {}", path.display(), listed(problems))]
    Definitions { path: PathBuf, problems: Vec<Problem> },
    #[error(transparent)]
    Perf(PerfError),
    #[error("storage failed: {0}")]
    StorageFailed(String),
    #[error("cannot start the worker threads: {0}")]
    Runtime(io::Error),
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    #[error("{0}")]
    Listen(io::Error),
}

impl Failure {
    /// Tells the person at the console, who may not be looking at the log.
    pub(super) fn report(&self) {
        // Without a console there is nobody to tell.
        let _ = writeln!(io::stderr(), "leveret: {self}");
    }
}

fn place(path: Option<&PathBuf>) -> String {
    path.map(|path| format!(" file {}", path.display())).unwrap_or_default()
}

/// All of them, each in a line of its own if there are several.
fn listed(problems: &[Problem]) -> String {
    match problems {
        [problem] => problem.to_string(),
        problems => {
            let lines: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
            format!("{} problems{lines}", problems.len())
        }
    }
}
