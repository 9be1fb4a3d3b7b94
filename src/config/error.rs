//! What can be wrong with a configuration. Every message is one line and names its place.

use std::fmt;
use std::path::PathBuf;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of the configuration file, counted from 1.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// A variable of the environment.
    Variable(String),
    /// A flag of the command line, such as `--listen`.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", Printable(&path.to_string_lossy())),
            Self::Variable(name) => write!(f, "variable {}", Printable(name)),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// Text from outside with its control characters escaped, so that a message stays one line.
pub(super) struct Printable<'a>(pub(super) &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() { write!(f, "{}", c.escape_debug())? } else { fmt::Write::write_char(f, c)? }
        }
        Ok(())
    }
}

/// The place before a message, if there is one.
struct At<'a>(Option<&'a Origin>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |origin| write!(f, "{origin}: "))
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {error}", Printable(&path.to_string_lossy()))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason the operating system gave.
        error: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{origin}: {}", Printable(message))]
    Syntax {
        /// The line where the parser gave up.
        origin: Origin,
        /// What it said.
        message: String,
    },
    /// The file is RabbitMQ's.
    #[error(
        "{origin}: this looks like RabbitMQ's own configuration format, which Leveret does not read; write the \
         settings as TOML, as in the example file config/leveret.toml"
    )]
    RabbitFormat {
        /// The line that was not understood.
        origin: Origin,
    },
    /// Access tokens would be taken, or asked for, and something they need is missing or wrong.
    #[error("{}`{}`: {why}", At(origin.as_ref()), Printable(key))]
    BadTokens {
        /// Where it was written, if it was.
        origin: Option<Origin>,
        /// The option.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// No option has this name.
    #[error("{origin}: unknown key `{}`; the nearest valid key is `{nearest}`", Printable(key))]
    UnknownKey {
        /// Where it was written.
        origin: Origin,
        /// The name.
        key: String,
        /// The option whose name looks most like it.
        nearest: String,
    },
    /// RabbitMQ has an option like this, and there is something in its place here.
    #[error("{origin}: there is no `{}` here: {instead}", Printable(key))]
    Foreign {
        /// Where it was written.
        origin: Origin,
        /// The name.
        key: String,
        /// What to do.
        instead: &'static str,
    },
    /// No option is set by this variable.
    #[error("unknown variable {}; the nearest valid one is {nearest}", Printable(name))]
    UnknownVariable {
        /// The variable.
        name: String,
        /// The variable whose name looks most like it.
        nearest: String,
    },
    /// A value is not what its option takes. Secrets are not quoted.
    #[error("{origin}: `{}`: expected {expected}, found {found}", Printable(key))]
    BadValue {
        /// Where it was written.
        origin: Origin,
        /// The option.
        key: String,
        /// What the option takes.
        expected: String,
        /// The value, quoted.
        found: String,
    },
    /// An option does not go with others.
    #[error("{origin}: `{}`: {why}", Printable(key))]
    Conflict {
        /// Where it was written.
        origin: Origin,
        /// The option.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// An operator policy cannot be.
    #[error("{origin}: `policies.operator.{}`: {}", Printable(policy), Printable(why))]
    BadPolicy {
        /// Where it was first named.
        origin: Origin,
        /// The policy.
        policy: String,
        /// What is wrong with it.
        why: String,
    },
    /// A user has no password from any source.
    #[error(
        "{origin}: user `{}` has no password; set `auth.users.{}.password`",
        Printable(user),
        Printable(user)
    )]
    NoPassword {
        /// Where the user was first named.
        origin: Origin,
        /// The user.
        user: String,
    },
}
