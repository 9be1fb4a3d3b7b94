//! The signals this program listens to.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// To end.
    Stop(Stop),
    /// To read the configuration again (SIGHUP).
    Reload,
}

/// A signal that asks for the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// SIGINT, from the keyboard.
    Interrupt,
    /// SIGTERM, from whoever supervises the process.
    Terminate,
}

impl Stop {
    /// The exit code of a program that such a signal ended: 128 and its number.
    pub(super) fn exit_code(self) -> i32 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }
}

/// Receives the signals. From its making on none of them ends the process by itself.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    /// Beyond a limit on file sizes, writing is to fail like on a full disk instead of ending the process.
    _file_too_large: Signal,
}

/// SIGXFSZ.
#[cfg(any(target_os = "linux", target_os = "macos"))]
const FILE_TOO_LARGE: i32 = 25;

impl Signals {
    /// Needs the runtime's context.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            _file_too_large: signal(SignalKind::from_raw(FILE_TOO_LARGE))?,
        })
    }

    /// The next signal. One that arrives again before it is taken counts once.
    pub(super) async fn next(&mut self) -> Wish {
        poll_fn(|context| {
            if self.terminate.poll_recv(context).is_ready() {
                return Poll::Ready(Wish::Stop(Stop::Terminate));
            }
            if self.interrupt.poll_recv(context).is_ready() {
                return Poll::Ready(Wish::Stop(Stop::Interrupt));
            }
            self.hangup.poll_recv(context).map(|_| Wish::Reload)
        })
        .await
    }
}
