//! Options whose values are a few words.

use tracing::level_filters::LevelFilter;

use super::Setting;
use crate::broker::options::Tag;
use crate::config::LogFormat;
use crate::config::value::Value;
use crate::session::limits::Stamp;

impl Setting for LevelFilter {
    fn expected() -> String {
        "\"off\", \"error\", \"warn\", \"info\", \"debug\" or \"trace\"".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        match value.text()?.to_ascii_lowercase().as_str() {
            "off" | "none" => Some(Self::OFF),
            "error" => Some(Self::ERROR),
            "warn" | "warning" => Some(Self::WARN),
            "info" => Some(Self::INFO),
            "debug" => Some(Self::DEBUG),
            "trace" => Some(Self::TRACE),
            _ => None,
        }
    }

    fn show(&self) -> toml::Value {
        toml::Value::String(self.to_string())
    }
}

impl Setting for LogFormat {
    fn expected() -> String {
        "\"text\" or \"json\"".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        match value.text()?.to_ascii_lowercase().as_str() {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    fn show(&self) -> toml::Value {
        let name = match self {
            Self::Text => "text",
            Self::Json => "json",
        };
        toml::Value::String(name.to_owned())
    }
}

impl Setting for Stamp {
    fn expected() -> String {
        "\"off\", \"keep\" or \"overwrite\"".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        match value.text()?.to_ascii_lowercase().as_str() {
            "off" => Some(Self::Off),
            "keep" => Some(Self::Keep),
            "overwrite" => Some(Self::Overwrite),
            _ => None,
        }
    }

    fn show(&self) -> toml::Value {
        let name = match self {
            Self::Off => "off",
            Self::Keep => "keep",
            Self::Overwrite => "overwrite",
        };
        toml::Value::String(name.to_owned())
    }
}

impl Setting for Vec<Tag> {
    fn expected() -> String {
        "a list of tags, of which there is \"impersonator\"".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        let tag = |item: &Value| Tag::parse(item.text()?);
        value.list()?.iter().map(tag).collect()
    }

    fn show(&self) -> toml::Value {
        toml::Value::Array(self.iter().map(|tag| toml::Value::String(tag.name().to_owned())).collect())
    }
}
