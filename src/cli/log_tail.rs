//! The layer that keeps the end of the log in memory: as in the text, control characters are escaped.

use std::fmt::{self, Write};
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::logging::write_field;
use crate::management::log_tail::{LONGEST_LINE, Line, LogTail};
use crate::server::clock;

/// How many lines a process may log in a millisecond, on average, before the numbers of its next start are no larger.
const NUMBERS_A_MS: u64 = 1000;

/// Puts each event into a [`LogTail`].
pub(super) struct TailLayer(pub(super) Arc<LogTail>);

impl<S: Subscriber> Layer<S> for TailLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Cut { text: String::new(), is_cut: false };
        event.record(&mut text);
        let metadata = event.metadata();
        let (level, target) = (*metadata.level(), metadata.target());
        self.0.push(Line { unix_ms: clock::system_unix_ms(), level, target, text: text.text });
    }
}

/// An empty tail, for a process that starts now.
pub(super) fn begin() -> Arc<LogTail> {
    Arc::new(LogTail::starting_at(clock::system_unix_ms().saturating_mul(NUMBERS_A_MS)))
}

/// A text up to a length, with a mark where the rest is missing.
struct Cut {
    text: String,
    is_cut: bool,
}

impl Write for Cut {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if self.is_cut {
            return Ok(());
        }
        let room = (LONGEST_LINE - '…'.len_utf8()).saturating_sub(self.text.len());
        self.text.push_str(&more[..more.floor_char_boundary(room)]);
        if more.len() > room {
            self.text.push('…');
            self.is_cut = true;
        }
        Ok(())
    }
}

impl Visit for Cut {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Text takes everything; a value that cannot be written is left out.
        let space = if self.text.is_empty() { Ok(()) } else { self.write_str(" ") };
        let _ = space.and_then(|()| write_field(self, field, value));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// The lines that are kept of what is logged.
    fn kept(log: impl FnOnce()) -> Vec<String> {
        let tail = begin();
        let subscriber = tracing_subscriber::registry().with(TailLayer(tail.clone()));
        tracing::subscriber::with_default(subscriber, log);
        tail.texts()
    }

    #[test]
    fn a_line_is_the_message_and_its_fields_without_control_characters() {
        let lines = kept(|| {
            let user = "eve\nforged\x1b[2J";
            tracing::warn!(%user, number = 7, plain = user, "login\r\nrefused");
        });
        let wanted = r#"login\r\nrefused user=eve\nforged\u{1b}[2J number=7 plain="eve\nforged\u{1b}[2J""#;
        assert_eq!(lines, [wanted]);
    }

    #[test]
    fn a_line_that_is_too_long_is_cut() {
        let lines = kept(|| tracing::info!(more = 1, "{}", "ü".repeat(LONGEST_LINE)));
        assert!(lines[0].len() <= LONGEST_LINE && lines[0].len() > LONGEST_LINE - 8, "{}", lines[0].len());
        assert!(lines[0].ends_with("ü…"));
        let whole = kept(|| tracing::info!("{}", "x".repeat(LONGEST_LINE - 3)));
        assert!(whole[0].ends_with('x') && whole[0].len() == LONGEST_LINE - 3);
    }
}
