//! Why a run could not be made, or ended early.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::protocol::reply::AmqpError;

/// A run's failure, in one line for the person who started it.
#[derive(Debug, thiserror::Error)]
pub enum PerfError {
    /// What was asked for cannot be done; nothing was tried.
    #[error("{0}")]
    Plan(String),
    /// Nobody is there.
    #[error("cannot connect to {address}: {error}")]
    Connect {
        /// Host and port.
        address: String,
        /// Why not.
        error: io::Error,
    },
    /// The certificates cannot be read, or the broker's is not trusted.
    #[error("TLS with {address}: {text}")]
    Tls {
        /// Host and port.
        address: String,
        /// What is wrong.
        text: String,
    },
    /// The peer speaks something else.
    #[error("{address} does not speak AMQP 0-9-1: {text}")]
    NotAmqp {
        /// Host and port.
        address: String,
        /// What came instead.
        text: String,
    },
    /// The broker closed the connection and said why.
    #[error("the broker closed the connection: {text} ({code})")]
    ConnectionClosed {
        /// The reply code.
        code: u16,
        /// The broker's words.
        text: String,
    },
    /// The broker closed the channel and said why.
    #[error("the broker closed the channel: {text} ({code})")]
    ChannelClosed {
        /// The reply code.
        code: u16,
        /// The broker's words.
        text: String,
    },
    /// The broker cancelled a consumer, as it does when its queue is deleted.
    #[error("the broker cancelled the consumer '{0}'; was its queue deleted?")]
    Cancelled(String),
    /// The broker has not read from a publisher for too long, and said why.
    #[error("the broker has blocked publishers for {} s: {reason}", patience.as_secs())]
    Blocked {
        /// The broker's words.
        reason: String,
        /// How long it was waited for.
        patience: Duration,
    },
    /// The socket was closed without a word.
    #[error("the broker ended the connection without a reason while {0}")]
    HungUp(&'static str),
    /// No answer.
    #[error("the broker does not answer to {method} within {} s", patience.as_secs())]
    Silent {
        /// What was asked.
        method: &'static str,
        /// How long it was waited for.
        patience: Duration,
    },
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Io(io::Error),
    /// The bytes are no AMQP, or come out of order.
    #[error("the broker sent what should not come: {0}")]
    Protocol(String),
    /// The process given by its pid cannot be watched.
    #[error("cannot read the figures of process {pid}: {error}")]
    Process {
        /// Its pid.
        pid: u32,
        /// Why not.
        error: io::Error,
    },
    /// A file cannot be used.
    #[error("cannot use {}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The relay did not do its part.
    #[error("the relay failed: {0}")]
    Relay(String),
    /// Nothing was found yet when the run was to end.
    #[error("it was interrupted before there was a result")]
    Interrupted,
    /// The broker was killed, and does not come back.
    #[error("the restart failed: {0}")]
    Restart(String),
    /// A soak run has found faults.
    #[error("{0} violations: the broker has not kept its promises")]
    Violations(u64),
    /// A fault of the load generator.
    #[error("a {0} of the load generator has panicked")]
    Panicked(&'static str),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

impl From<io::Error> for PerfError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<AmqpError> for PerfError {
    fn from(error: AmqpError) -> Self {
        Self::Protocol(error.to_string())
    }
}
