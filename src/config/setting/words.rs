//! Options whose values are a few words.

use tracing::level_filters::LevelFilter;

use super::Setting;
use crate::broker::options::BackendKind;
use crate::config::LogFormat;
use crate::config::value::Value;
use crate::identity::password::Scheme;
use crate::identity::tags::{MOST_TAGS, Tags};
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

impl Setting for Tags {
    fn expected() -> String {
        format!("a list of at most {MOST_TAGS} tags, such as \"administrator\"")
    }

    fn read(value: &Value) -> Option<Self> {
        let items = value.list()?;
        let names: Vec<&str> = items.iter().map(Value::text).collect::<Option<_>>()?;
        Self::parse(names).ok()
    }

    fn show(&self) -> toml::Value {
        toml::Value::Array(self.iter().map(|tag| toml::Value::String(tag.name().to_owned())).collect())
    }
}

impl Setting for Scheme {
    fn expected() -> String {
        "\"argon2id\", \"rabbit_sha256\" or \"rabbit_sha512\"".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        let name = value.text()?.to_ascii_lowercase();
        Self::ALL.into_iter().find(|scheme| scheme.name() == name)
    }

    fn show(&self) -> toml::Value {
        toml::Value::String(self.name().to_owned())
    }
}

impl Setting for Vec<BackendKind> {
    fn expected() -> String {
        "a list of backends, each once, of which there are \"internal\" and \"oauth2\"".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        let mut kinds = Self::new();
        for item in value.list()? {
            let name = item.text()?.to_ascii_lowercase();
            let kind = BackendKind::ALL.into_iter().find(|kind| kind.name() == name)?;
            if kinds.contains(&kind) {
                return None;
            }
            kinds.push(kind);
        }
        (!kinds.is_empty()).then_some(kinds)
    }

    fn show(&self) -> toml::Value {
        toml::Value::Array(self.iter().map(|kind| toml::Value::String(kind.name().to_owned())).collect())
    }
}

/// What paths of the management API begin with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathPrefix(
    /// Empty, or with a slash at its front and none at its end.
    pub String,
);

impl Setting for PathPrefix {
    fn expected() -> String {
        "a path such as \"/leveret\", or nothing".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        let text = value.text()?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let is_part = |part: &str| !part.is_empty() && part.chars().all(is_plain);
        let is_path = text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_part));
        (text.is_empty() || is_path).then(|| Self(text.to_owned()))
    }

    fn show(&self) -> toml::Value {
        toml::Value::String(self.0.clone())
    }
}
