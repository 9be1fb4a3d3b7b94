//! What was written for an option, before its type is known.

use toml::de::DeValue;

/// A value as its source wrote it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// From the environment or the command line, where everything is text: "60" may become a number, "a, b" a list.
    Raw(String),
    /// A string in the file.
    Text(String),
    /// A whole number in the file.
    Integer(i64),
    /// A number with a fraction in the file.
    Float(f64),
    /// `true` or `false` in the file.
    Boolean(bool),
    /// An array in the file.
    List(Vec<Self>),
    /// Anything no option takes: a date, a table inside an array.
    Other(&'static str),
}

impl Value {
    /// Takes over what the TOML parser found.
    #[must_use]
    pub fn from_toml(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.clone().into_owned()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Self::Other("a number beyond 64 bits"), Self::Integer),
            DeValue::Float(number) => number.as_str().parse().map_or(Self::Other("a number"), Self::Float),
            DeValue::Boolean(yes) => Self::Boolean(*yes),
            DeValue::Array(items) => {
                // One level is enough for every option; deeper arrays are refused without looking into them.
                let item = |item: &DeValue<'_>| match item {
                    DeValue::Array(_) => Self::Other("an array in an array"),
                    other => Self::from_toml(other),
                };
                Self::List(items.iter().map(|inner| item(inner.get_ref())).collect())
            }
            DeValue::Table(_) => Self::Other("a table"),
            DeValue::Datetime(_) => Self::Other("a date or time"),
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Raw(text) | Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text of something with a unit, where a bare number is as good as a text: `30` and `"30s"`.
    #[must_use]
    pub fn quantity(&self) -> Option<String> {
        match self {
            Self::Raw(text) | Self::Text(text) => Some(text.trim().to_owned()),
            Self::Integer(number) => Some(number.to_string()),
            Self::Float(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// The whole number, if it is one and not negative.
    #[must_use]
    pub fn whole(&self) -> Option<u64> {
        match self {
            Self::Raw(text) => text.trim().replace('_', "").parse().ok(),
            Self::Integer(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// Yes or no. Text from the environment may say it the way people do.
    #[must_use]
    pub fn boolean(&self) -> Option<bool> {
        match self {
            Self::Boolean(yes) => Some(*yes),
            Self::Raw(text) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Some(true),
                "false" | "no" | "off" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// The items of a list. Raw text is split at its commas, unless it is written as a TOML array; a single text in
    /// the file stands for a list of one.
    #[must_use]
    pub fn list(&self) -> Option<Vec<Self>> {
        match self {
            Self::List(items) => Some(items.clone()),
            Self::Text(_) => Some(vec![self.clone()]),
            Self::Raw(text) => {
                if text.trim_start().starts_with('[')
                    && let Ok(parsed) = DeValue::parse(text.trim())
                    && let Self::List(items) = Self::from_toml(parsed.get_ref())
                {
                    return Some(items);
                }
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Some(items.map(|item| Self::Raw(item.to_owned())).collect())
            }
            _ => None,
        }
    }

    /// How an error message quotes the value. Line breaks and other control characters are escaped, and a long
    /// value is cut.
    #[must_use]
    pub fn quoted(&self) -> String {
        let text = match self {
            Self::Raw(text) | Self::Text(text) => format!("{text:?}"),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Boolean(yes) => yes.to_string(),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(Self::quoted).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Other(what) => (*what).to_owned(),
        };
        if text.chars().count() > 80 {
            format!("{}...", text.chars().take(77).collect::<String>())
        } else {
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Value {
        Value::Raw(text.to_owned())
    }

    #[test]
    fn raw_lists_are_split_at_commas_or_read_as_toml() {
        assert_eq!(raw("a, b").list(), Some(vec![raw("a"), raw("b")]));
        assert_eq!(raw("").list(), Some(vec![]));
        assert_eq!(raw(r#"["a", "b,c"]"#).list().map(|items| items.len()), Some(2));
        // An address in brackets is no array.
        assert_eq!(raw("[::1]:5672").list(), Some(vec![raw("[::1]:5672")]));
    }

    #[test]
    fn the_file_is_taken_at_its_word() {
        assert_eq!(Value::Text("60".to_owned()).whole(), None);
        assert_eq!(raw("60").whole(), Some(60));
        assert_eq!(Value::Integer(-1).whole(), None);
        assert_eq!(Value::Text("true".to_owned()).boolean(), None);
        assert_eq!(raw("off").boolean(), Some(false));
    }

    #[test]
    fn quotes_keep_to_one_short_line() {
        assert_eq!(raw("a\nb").quoted(), r#""a\nb""#);
        assert!(raw(&"x".repeat(500)).quoted().len() < 90);
    }
}
