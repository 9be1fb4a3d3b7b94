//! What every command takes: which broker, who asks, and how the answer is to look.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use zeroize::Zeroizing;

use super::password;
use super::{CONFIG, DATA};
use crate::cli::client::{Login, Remote, Target};
use crate::cli::failure::Failure;
use crate::cli::{DirectoryArgument, Place, SourceArguments, parse_assignment};

/// Options that are complete by themselves.
pub(super) const TAKES_NO_VALUE: &[&str] =
    &["-q", "--quiet", "-s", "--silent", "--json", "--no-table-headers", "-h", "--help", "-l", "--longnames"];

const BROKER: &str = "Which broker";
const LOOK: &str = "How it looks";

/// See the module.
#[derive(Args)]
pub(super) struct Options {
    /// Configuration file of the broker (TOML)
    #[arg(long, value_name = "FILE", global = true, help_heading = BROKER)]
    config: Option<PathBuf>,
    /// Any setting of the broker, such as storage.data_dir=/data; can be repeated
    #[arg(long, value_name = "SECTION.KEY=VALUE", value_parser = parse_assignment, global = true, help_heading = BROKER)]
    set: Vec<(String, String)>,
    /// Directory of the broker's data [default: ./data]
    #[arg(long, value_name = "DIR", global = true, help_heading = BROKER)]
    data_dir: Option<String>,
    /// Management API of a broker: http://HOST:PORT or https://HOST:PORT [or LEVERET_URL]
    #[arg(long, value_name = "URL", global = true, conflicts_with = "data_dir", help_heading = BROKER)]
    url: Option<String>,
    /// The broker's node, such as leveret@host: nothing is done if the broker is another one
    #[arg(short, long, value_name = "NODE", global = true, help_heading = BROKER)]
    node: Option<String>,
    /// Who logs in there [or LEVERET_USER]
    #[arg(long = "username", value_name = "NAME", global = true, help_heading = BROKER)]
    login_user: Option<String>,
    /// The password; others may see it in the list of processes [or LEVERET_PASSWORD, or it is asked for]
    #[arg(long = "password", value_name = "TEXT", global = true, help_heading = BROKER)]
    login_password: Option<String>,
    /// Certificates (PEM) of the authorities to trust there, in place of the system's
    #[arg(long, value_name = "FILE", global = true, help_heading = BROKER)]
    ca: Option<PathBuf>,
    /// Seconds to wait for an answer [default: 60; 300 for await_startup and wait]
    #[arg(short = 't', long, value_name = "SECONDS", global = true, help_heading = BROKER)]
    timeout: Option<u64>,
    /// How lists are printed
    #[arg(long, value_name = "FORMAT", global = true, help_heading = LOOK)]
    formatter: Option<Format>,
    /// Print JSON: --formatter json
    #[arg(long, global = true, conflicts_with = "formatter", help_heading = LOOK)]
    json: bool,
    /// Print no progress and no remarks
    #[arg(short, long, global = true, help_heading = LOOK)]
    quiet: bool,
    /// As --quiet, and no names of columns, nor that something is well
    #[arg(short, long, global = true, help_heading = LOOK)]
    silent: bool,
    /// Print no names of columns
    #[arg(long, global = true, help_heading = LOOK)]
    no_table_headers: bool,
    #[command(flatten)]
    erlang: OfErlang,
}

/// What scripts tell RabbitMQ's tools of how Erlang finds a node, which makes no difference here.
#[derive(Args)]
struct OfErlang {
    /// Names of nodes have whole host names
    #[arg(short, long, global = true, hide = true)]
    longnames: bool,
    /// What lets one node of Erlang speak with another
    #[arg(long, value_name = "TEXT", global = true, hide = true)]
    erlang_cookie: Option<String>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("url", &self.url).finish_non_exhaustive()
    }
}

/// How lists are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum Format {
    /// Columns with tabs between them
    #[default]
    Table,
    /// Columns with lines between them
    PrettyTable,
    /// Columns with commas between them
    Csv,
    /// An array of objects
    Json,
}

/// A variable that is set and not empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Options {
    /// Where the broker's configuration comes from.
    pub(super) fn place(&self) -> Place {
        Place {
            sources: SourceArguments { config: self.config.clone(), set: self.set.clone() },
            directory: DirectoryArgument { data_dir: self.data_dir.clone() },
        }
    }

    /// The node that the broker has to be.
    pub(super) fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    /// Where the broker is: an address that was given, or one of the environment unless a directory was given.
    pub(super) fn target(&self) -> Result<Target, Failure> {
        let is_said = self.data_dir.is_some() || self.config.is_some() || !self.set.is_empty();
        let url = self.url.clone().or_else(|| variable("LEVERET_URL").filter(|_| !is_said));
        let Some(url) = url else {
            if self.login_user.is_some() || self.login_password.is_some() || self.ca.is_some() {
                let text =
                    "--username, --password and --ca belong to --url: a broker on this machine asks nobody";
                return Err(Failure::RefusedAs { code: super::USAGE, text: text.to_owned() });
            }
            return Ok(Target::Local(self.place().path()?));
        };
        let user = self.login_user.clone().or_else(|| variable("LEVERET_USER"));
        let login = user.map(|user| self.login(user)).transpose()?;
        let remote = Remote::new(&url, login, self.ca.as_deref());
        let code = if self.ca.is_some() { CONFIG } else { DATA };
        remote
            .map(|remote| Target::Remote(Box::new(remote)))
            .map_err(|text| Failure::RefusedAs { code, text })
    }

    fn login(&self, user: String) -> Result<Login, Failure> {
        let given = self.login_password.clone().or_else(|| variable("LEVERET_PASSWORD"));
        let password = match given {
            Some(password) => Zeroizing::new(password),
            None => password::asked(&format!("Password of {user} at the broker: "))?,
        };
        Ok(Login { user, password })
    }

    /// How long an answer may take.
    pub(super) fn patience(&self, usual: u64) -> Duration {
        Duration::from_secs(self.timeout.unwrap_or(usual))
    }

    /// How lists are printed.
    pub(super) fn format(&self) -> Format {
        if self.json { Format::Json } else { self.formatter.unwrap_or_default() }
    }

    /// Whether names of columns are printed.
    pub(super) fn has_headers(&self) -> bool {
        !self.silent && !self.no_table_headers
    }

    /// Whether progress and remarks are printed.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet || self.silent
    }

    /// Whether nothing is printed that was not asked for.
    pub(super) fn is_silent(&self) -> bool {
        self.silent
    }
}
