//! The types an option can have: how each is read, written back and described.

mod patterns;
mod places;
mod tls;
mod words;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use self::places::FileMode;
pub use self::tls::{Addresses, Verify};
pub use self::words::PathPrefix;
use super::units::{parse_duration, parse_size, show_duration, show_size};
use super::value::Value;
use crate::server::options::{FreeLimit, Keepalive};
use crate::session::limits::Mechanism;
use crate::storage::options::Sync;

/// A type of an option.
pub trait Setting: Sized {
    /// Whether values are masked wherever they are shown.
    const SECRET: bool = false;

    /// Ends the sentence "expected ...".
    fn expected() -> String;

    /// Reads a value; `None` if it is not one of this type or out of its range.
    fn read(value: &Value) -> Option<Self>;

    /// The value as TOML, such that [`Setting::read`] gives it back.
    fn show(&self) -> toml::Value;
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Within<T, const MIN: u64, const MAX: u64>(
    /// The number.
    pub T,
);

impl<T: TryFrom<u64> + Copy + Into<u64>, const MIN: u64, const MAX: u64> Setting for Within<T, MIN, MAX> {
    fn expected() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }

    fn read(value: &Value) -> Option<Self> {
        let number = value.whole().filter(|number| (MIN..=MAX).contains(number))?;
        T::try_from(number).ok().map(Self)
    }

    fn show(&self) -> toml::Value {
        show_whole(self.0.into())
    }
}

/// A number of things that may be, or -1 for any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrNone(
    /// The number; `None` is any.
    pub Option<u32>,
);

impl Setting for OrNone {
    fn expected() -> String {
        format!("a whole number from -1 to {}", u32::MAX)
    }

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(-1) => Some(Self(None)),
            Value::Raw(text) if text.trim() == "-1" => Some(Self(None)),
            other => u32::try_from(other.whole()?).ok().map(|number| Self(Some(number))),
        }
    }

    fn show(&self) -> toml::Value {
        toml::Value::Integer(self.0.map_or(-1, i64::from))
    }
}

/// Whole seconds, as AMQP counts heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(
    /// The seconds.
    pub u16,
);

impl Setting for Seconds {
    fn expected() -> String {
        format!("whole seconds from 0 to {}, such as 60 or \"60s\"", u16::MAX)
    }

    fn read(value: &Value) -> Option<Self> {
        let duration = parse_duration(&value.quantity()?).filter(|duration| duration.subsec_nanos() == 0)?;
        u16::try_from(duration.as_secs()).ok().map(Self)
    }

    fn show(&self) -> toml::Value {
        toml::Value::Integer(self.0.into())
    }
}

/// The frame size offered to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameMax(
    /// Bytes; 0 is no limit.
    pub u32,
);

/// The smallest frame size every AMQP peer must accept (frame-min-size in the specification).
pub const FRAME_MIN: u32 = 4096;

impl Setting for FrameMax {
    fn expected() -> String {
        format!("0 or a size from {FRAME_MIN} to {} bytes", u32::MAX)
    }

    fn read(value: &Value) -> Option<Self> {
        let bytes = u32::try_from(parse_size(&value.quantity()?)?).ok()?;
        (bytes == 0 || bytes >= FRAME_MIN).then_some(Self(bytes))
    }

    fn show(&self) -> toml::Value {
        toml::Value::Integer(self.0.into())
    }
}

/// The frame size before connection.open-ok.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitialFrameMax(
    /// Bytes.
    pub u32,
);

/// The longest frame an unknown peer may be allowed to send.
const INITIAL_FRAME_MAX: u32 = 1 << 20;

impl Setting for InitialFrameMax {
    fn expected() -> String {
        format!("a size from {FRAME_MIN} to {INITIAL_FRAME_MAX} bytes")
    }

    fn read(value: &Value) -> Option<Self> {
        let bytes = u32::try_from(parse_size(&value.quantity()?)?).ok()?;
        (FRAME_MIN..=INITIAL_FRAME_MAX).contains(&bytes).then_some(Self(bytes))
    }

    fn show(&self) -> toml::Value {
        toml::Value::Integer(self.0.into())
    }
}

/// A duration of at least `MIN` milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span<const MIN: u64>(
    /// The duration.
    pub Duration,
);

/// No timeout is longer, so that every deadline stays far from the end of the clock.
const LONGEST_SPAN: Duration = Duration::from_secs(24 * 3600);

impl<const MIN: u64> Setting for Span<MIN> {
    fn expected() -> String {
        let (least, most) = (show_duration(Duration::from_millis(MIN)), show_duration(LONGEST_SPAN));
        format!(
            "a duration from {least} to {most}, such as \"30s\", \"500ms\", \"10min\" or a number of seconds"
        )
    }

    fn read(value: &Value) -> Option<Self> {
        let duration = parse_duration(&value.quantity()?)?;
        (Duration::from_millis(MIN)..=LONGEST_SPAN).contains(&duration).then_some(Self(duration))
    }

    fn show(&self) -> toml::Value {
        toml::Value::String(show_duration(self.0))
    }
}

/// A size of 1 to `MAX` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size<const MAX: u64>(
    /// Bytes.
    pub u64,
);

impl<const MAX: u64> Setting for Size<MAX> {
    fn expected() -> String {
        format!("a size from 1 byte to {}, such as \"16 MiB\" or a number of bytes", show_size(MAX))
    }

    fn read(value: &Value) -> Option<Self> {
        parse_size(&value.quantity()?).filter(|bytes| (1..=MAX).contains(bytes)).map(Self)
    }

    fn show(&self) -> toml::Value {
        toml::Value::String(show_size(self.0))
    }
}

/// How much memory is too much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Watermark {
    /// This part of the memory there is, from 0 to 1. 0 is never.
    Fraction(f64),
    /// Bytes.
    Absolute(u64),
}

impl Setting for Watermark {
    fn expected() -> String {
        "a fraction of the memory from 0 to 1, such as 0.6, or a size such as \"2 GiB\"".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        let text = value.quantity()?;
        match text.parse::<f64>() {
            Ok(number) if (0.0..=1.0).contains(&number) => Some(Self::Fraction(number)),
            _ => parse_size(&text).map(Self::Absolute),
        }
    }

    fn show(&self) -> toml::Value {
        match self {
            Self::Fraction(part) => toml::Value::Float(*part),
            Self::Absolute(bytes) => toml::Value::String(show_size(*bytes)),
        }
    }
}

impl Setting for FreeLimit {
    fn expected() -> String {
        "\"auto\", a fraction of the disk from 0 to 1, such as 0.1, or a size such as \"2 GiB\"".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        if value.text() == Some("auto") {
            return Some(Self::Auto);
        }
        Some(match Watermark::read(value)? {
            Watermark::Fraction(part) => Self::Fraction(part),
            Watermark::Absolute(bytes) => Self::Bytes(bytes),
        })
    }

    fn show(&self) -> toml::Value {
        match *self {
            Self::Auto => toml::Value::String("auto".to_owned()),
            Self::Fraction(part) => Watermark::Fraction(part).show(),
            Self::Bytes(bytes) => Watermark::Absolute(bytes).show(),
        }
    }
}

/// A text that must not be seen: a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(
    /// The text in clear.
    pub String,
);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl Setting for Secret {
    const SECRET: bool = true;

    fn expected() -> String {
        "a text".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        value.text().map(|text| Self(text.to_owned()))
    }

    fn show(&self) -> toml::Value {
        // That there is none is no secret.
        toml::Value::String(if self.0.is_empty() { String::new() } else { "***".to_owned() })
    }
}

impl Setting for bool {
    fn expected() -> String {
        "true or false".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        value.boolean()
    }

    fn show(&self) -> toml::Value {
        toml::Value::Boolean(*self)
    }
}

/// The longest name AMQP can carry (a short string).
const LONGEST_NAME: usize = 255;

impl Setting for String {
    fn expected() -> String {
        format!("a text of at most {LONGEST_NAME} bytes")
    }

    fn read(value: &Value) -> Option<Self> {
        value.text().filter(|text| text.len() <= LONGEST_NAME).map(str::to_owned)
    }

    fn show(&self) -> toml::Value {
        toml::Value::String(self.clone())
    }
}

/// A name that cannot be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(
    /// The name.
    pub String,
);

impl Setting for Name {
    fn expected() -> String {
        format!("a name of 1 to {LONGEST_NAME} bytes")
    }

    fn read(value: &Value) -> Option<Self> {
        String::read(value).filter(|name| !name.is_empty()).map(Self)
    }

    fn show(&self) -> toml::Value {
        self.0.show()
    }
}

impl Setting for Vec<Name> {
    fn expected() -> String {
        format!("a list of names of 1 to {LONGEST_NAME} bytes")
    }

    fn read(value: &Value) -> Option<Self> {
        value.list()?.iter().map(Name::read).collect()
    }

    fn show(&self) -> toml::Value {
        toml::Value::Array(self.iter().map(Name::show).collect())
    }
}

impl Setting for PathBuf {
    fn expected() -> String {
        "a path".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        value.text().filter(|text| !text.is_empty() && !text.contains('\0')).map(Self::from)
    }

    fn show(&self) -> toml::Value {
        toml::Value::String(self.to_string_lossy().into_owned())
    }
}

impl Setting for Option<PathBuf> {
    fn expected() -> String {
        "a path, or an empty text for none".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        if value.text()?.is_empty() { Some(None) } else { PathBuf::read(value).map(Some) }
    }

    fn show(&self) -> toml::Value {
        self.as_ref().map_or_else(|| toml::Value::String(String::new()), PathBuf::show)
    }
}

impl Setting for Vec<SocketAddr> {
    fn expected() -> String {
        "one or more addresses with ports, such as \"127.0.0.1:5672\", \"[::1]:5672\" or, for every interface, \
         \"0.0.0.0:5672\""
            .to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        let addresses: Self =
            value.list()?.iter().map(|item| parse_address(item.text()?)).collect::<Option<_>>()?;
        (!addresses.is_empty()).then_some(addresses)
    }

    fn show(&self) -> toml::Value {
        toml::Value::Array(self.iter().map(|address| toml::Value::String(address.to_string())).collect())
    }
}

/// An address with its port. Names are not looked up, but "localhost" is what it always is.
fn parse_address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().ok()?))),
        None => text.parse().ok(),
    }
}

impl Setting for Vec<Mechanism> {
    fn expected() -> String {
        "one or more of \"PLAIN\", \"AMQPLAIN\", \"EXTERNAL\", each once".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        let mut mechanisms = Self::new();
        for item in value.list()? {
            let known = [Mechanism::Plain, Mechanism::AmqPlain, Mechanism::External];
            let name = item.text()?;
            let mechanism = known.into_iter().find(|known| known.name().eq_ignore_ascii_case(name))?;
            if mechanisms.contains(&mechanism) {
                return None;
            }
            mechanisms.push(mechanism);
        }
        (!mechanisms.is_empty()).then_some(mechanisms)
    }

    fn show(&self) -> toml::Value {
        toml::Value::Array(self.iter().map(|one| toml::Value::String(one.name().to_owned())).collect())
    }
}

impl Setting for Sync {
    fn expected() -> String {
        "\"always\", \"never\" or an interval such as \"100ms\"".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        match value.text() {
            Some("always") => Some(Self::Always),
            Some("never") => Some(Self::Never),
            _ => parse_duration(&value.quantity()?).filter(|interval| !interval.is_zero()).map(Self::Every),
        }
    }

    fn show(&self) -> toml::Value {
        let text = match self {
            Self::Always => "always".to_owned(),
            Self::Never => "never".to_owned(),
            Self::Every(interval) => format!("{}ms", interval.as_millis()),
        };
        toml::Value::String(text)
    }
}

impl Setting for Option<Keepalive> {
    fn expected() -> String {
        "\"off\" or \"idle:interval:probes\" with seconds from 1 to 32767 and 1 to 127 probes, such as \"60:10:3\""
            .to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        let text = value.text()?;
        if text.eq_ignore_ascii_case("off") {
            return Some(None);
        }
        let mut parts = text.split(':');
        // The bounds are those of Linux.
        let mut next =
            |most: u32| parts.next()?.parse::<u32>().ok().filter(|number| (1..=most).contains(number));
        let (idle, interval, probes) = (next(32_767)?, next(32_767)?, next(127)?);
        if parts.next().is_some() {
            return None;
        }
        let seconds = |number: u32| Duration::from_secs(number.into());
        Some(Some(Keepalive { idle: seconds(idle), interval: seconds(interval), probes }))
    }

    fn show(&self) -> toml::Value {
        toml::Value::String(self.map_or_else(
            || "off".to_owned(),
            |on| format!("{}:{}:{}", on.idle.as_secs(), on.interval.as_secs(), on.probes),
        ))
    }
}

/// A number that TOML can hold; the table has none beyond 63 bits.
fn show_whole(number: u64) -> toml::Value {
    toml::Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}
