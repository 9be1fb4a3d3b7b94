//! Options whose values are regular expressions.

use super::Setting;
use crate::config::value::Value;
use crate::identity::access::{Permissions, Right};

impl Setting for Permissions {
    fn expected() -> String {
        "a list of three regular expressions, to configure, write and read, such as [\".*\", \".*\", \"\"]"
            .to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        let items = value.list()?;
        let texts: Vec<&str> = items.iter().map(Value::text).collect::<Option<_>>()?;
        let [configure, write, read] = &texts[..] else { return None };
        Self::new(configure, write, read).ok()
    }

    fn show(&self) -> toml::Value {
        let rights = [Right::Configure, Right::Write, Right::Read];
        let texts = rights.map(|right| toml::Value::String(self.pattern(right).to_owned()));
        toml::Value::Array(texts.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_three_patterns() {
        let raw = |text: &str| Permissions::read(&Value::Raw(text.to_owned()));
        let read = raw(r#"["^a", "", ".*"]"#).unwrap();
        assert_eq!(read, Permissions::new("^a", "", ".*").unwrap());
        assert_eq!(raw(&read.show().to_string()), Some(read));
        assert_eq!(raw(".*,.*,.*"), Some(Permissions::everything()));
        for wrong in [".*", "a,b", "a,b,c,d", "(,a,b", ""] {
            assert_eq!(raw(wrong), None, "{wrong}");
        }
    }
}
