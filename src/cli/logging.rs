//! The log: `tracing` events to standard error or a file, as text or JSON, one event a line.
//!
//! The level can be changed and the file opened anew while the server runs. Nothing that a client sends can break a
//! line or steer a terminal: control characters in values are escaped.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::field::Field;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::reload;

use super::log_tail::{self, TailLayer};
use crate::config::{LogFormat, LogOptions};
use crate::management::log_control::LogControl;
use crate::management::log_tail::LogTail;

/// The handle to the log of this process.
#[derive(Clone)]
pub struct Logging {
    level: reload::Handle<LevelFilter, Registry>,
    sink: Sink,
    tail: Arc<LogTail>,
}

impl Logging {
    /// Opens the log and makes it that of the whole process, panics included.
    ///
    /// # Errors
    /// The file cannot be opened, or the process has a log already.
    pub fn start(options: &LogOptions) -> io::Result<Self> {
        let sink = Sink::open(options.file.as_deref())?;
        let (filter, level) = reload::Layer::new(options.level);
        let lines = lines(options.format, sink.clone(), sink.is_terminal());
        let tail = log_tail::begin();
        let subscriber =
            tracing_subscriber::registry().with(filter).with(lines).with(TailLayer(Arc::clone(&tail)));
        tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
        std::panic::set_hook(Box::new(log_panic));
        Ok(Self { level, sink, tail })
    }
}

impl LogControl for Logging {
    fn reopen(&self) -> io::Result<()> {
        self.sink.reopen()
    }

    fn level(&self) -> LevelFilter {
        // As below.
        self.level.with_current(|level| *level).unwrap_or(LevelFilter::OFF)
    }

    fn set_level(&self, level: LevelFilter) {
        // This fails only once the subscriber is gone, which lives as long as the process.
        let _ = self.level.reload(level);
    }

    fn tail(&self) -> &LogTail {
        &self.tail
    }
}

/// The layer that turns events into lines.
fn lines<S>(format: LogFormat, sink: Sink, colours: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(sink);
    match format {
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
        LogFormat::Text => {
            let fields = debug_fn(|writer: &mut Writer<'_>, field, value| write_field(writer, field, value));
            layer.with_ansi(colours).fmt_fields(fields.delimited(" ")).boxed()
        }
    }
}

/// Writes a field of an event as lines have it: the message as it is, others with their names.
///
/// # Errors
/// Those of the writer and of the value.
pub(super) fn write_field(
    writer: &mut impl fmt::Write,
    field: &Field,
    value: &dyn fmt::Debug,
) -> fmt::Result {
    match field.name() {
        "message" => write!(Escaping(writer), "{value:?}"),
        name => write!(Escaping(writer), "{name}={value:?}"),
    }
}

/// Replaces control characters, the line break among them, by their escapes.
struct Escaping<'a, W>(&'a mut W);

impl<W: fmt::Write> fmt::Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(char::is_control) {
            let (plain, special) = rest.split_at(at);
            self.0.write_str(plain)?;
            let mut characters = special.chars();
            if let Some(control) = characters.next() {
                write!(self.0, "{}", control.escape_debug())?;
            }
            rest = characters.as_str();
        }
        self.0.write_str(rest)
    }
}

/// Where lines go. A line that cannot be written is lost: a full disk or a closed pipe must not stop the broker.
#[derive(Clone)]
struct Sink {
    target: Arc<Target>,
}

enum Target {
    Console,
    /// The lock is held for one `write` call, so that lines do not mix, or for the exchange of the file.
    File {
        path: PathBuf,
        file: Mutex<File>,
    },
}

impl Sink {
    fn open(path: Option<&Path>) -> io::Result<Self> {
        let target = match path {
            None => Target::Console,
            Some(path) => Target::File { path: path.to_path_buf(), file: Mutex::new(open(path)?) },
        };
        Ok(Self { target: Arc::new(target) })
    }

    fn reopen(&self) -> io::Result<()> {
        if let Target::File { path, file } = &*self.target {
            let new = open(path)?;
            *file.lock() = new;
        }
        Ok(())
    }

    /// Whether a person is watching who did not ask to be spared colours (no-color.org).
    fn is_terminal(&self) -> bool {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        matches!(*self.target, Target::Console) && wanted && io::stderr().is_terminal()
    }
}

/// Opens a log file for appending. It may hold names and addresses, so others cannot read it.
fn open(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).mode(0o640).open(path)
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = match &*self.target {
            Target::Console => io::stderr().lock().write_all(line),
            Target::File { file, .. } => file.lock().write_all(line),
        };
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A panic is an error of this program. It is logged like any other error, with the way that led to it.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("unknown reason");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = std::backtrace::Backtrace::force_capture();
    tracing::error!(target: "leveret::panic", location, %backtrace, "panic: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written to a file in `format` while `log` runs.
    fn written(format: LogFormat, log: impl FnOnce(&Sink)) -> String {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let sink = Sink::open(Some(&path)).expect("a file");
        let subscriber = tracing_subscriber::registry().with(lines(format, sink.clone(), false));
        tracing::subscriber::with_default(subscriber, || log(&sink));
        std::fs::read_to_string(&path).expect("the log")
    }

    #[test]
    fn text_is_one_line_for_each_event() {
        let text = written(LogFormat::Text, |_| {
            let user = "eve\nINFO forged\x1b[2J";
            tracing::info!(%user, debug = ?user, plain = user, number = 7, "login\r\nrefused");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.bytes().all(|byte| byte == b'\n' || !byte.is_ascii_control()), "{text:?}");
        assert!(text.contains(r"login\r\nrefused user=eve\nINFO forged"), "{text}");
        assert!(text.contains(r#"plain="eve\nINFO"#) && text.contains("number=7"), "{text}");
        assert!(text.contains(" INFO ") && text.contains("leveret::cli::logging"), "{text}");
    }

    #[test]
    fn json_is_one_flat_object_for_each_event() {
        let text = written(LogFormat::Json, |_| {
            tracing::warn!(user = %"eve\n\"forged\"", number = 7, "login refused");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        for part in [
            r#""level":"WARN""#,
            r#""message":"login refused""#,
            r#""user":"eve\n\"forged\"""#,
            r#""number":7"#,
            r#""target":"leveret::cli::logging"#,
            r#"{"timestamp":"2"#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, old) = (directory.path().join("log"), directory.path().join("log.1"));
        let sink = Sink::open(Some(&path)).expect("a file");
        (&sink).write_all(b"one\n").expect("written");
        std::fs::rename(&path, &old).expect("moved");
        (&sink).write_all(b"two\n").expect("written");
        sink.reopen().expect("opened");
        (&sink).write_all(b"three\n").expect("written");
        assert_eq!(std::fs::read_to_string(old).expect("the old file"), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(path).expect("the new file"), "three\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error() {
        assert!(Sink::open(Some(Path::new("/nowhere/at/all"))).is_err());
    }
}
