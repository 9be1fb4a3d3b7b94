//! Options about where connections come from, and who may open a file.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Setting;
use crate::config::value::Value;

impl Setting for Vec<IpNet> {
    fn expected() -> String {
        "addresses and networks, such as \"10.0.0.0/8\", \"192.0.2.7\" or \"2001:db8::/32\"".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        value.list()?.iter().map(|item| parse_network(item.text()?.trim())).collect()
    }

    fn show(&self) -> toml::Value {
        toml::Value::Array(self.iter().map(|network| toml::Value::String(network.to_string())).collect())
    }
}

/// A network, or an address, which is a network of one.
fn parse_network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
        .map(|network| network.trunc())
}

/// The permissions of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(
    /// The bits.
    pub u32,
);

impl Setting for FileMode {
    fn expected() -> String {
        "permissions in octal digits from \"0000\" to \"0777\", such as \"0660\"".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        let text = value.text()?.trim();
        let is_octal =
            (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        let mode = is_octal.then(|| u32::from_str_radix(text, 8).ok())??;
        (mode <= 0o777).then_some(Self(mode))
    }

    fn show(&self) -> toml::Value {
        toml::Value::String(format!("{:04o}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Value {
        Value::Raw(text.to_owned())
    }

    #[test]
    fn networks_are_written_as_people_do() {
        let shown = |text: &str| Vec::<IpNet>::read(&raw(text)).map(|networks| networks.show().to_string());
        assert_eq!(shown("10.1.2.3/8, ::1").as_deref(), Some("[\"10.0.0.0/8\", \"::1/128\"]"));
        assert_eq!(shown("").as_deref(), Some("[]"));
        for wrong in ["10.0.0.0/33", "10.0.0", "true", "localhost"] {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_mode_is_octal() {
        assert_eq!(FileMode::read(&raw("0660")), Some(FileMode(0o660)));
        assert_eq!(
            FileMode::read(&raw("600")).map(|mode| mode.show().to_string()).as_deref(),
            Some("\"0600\"")
        );
        for wrong in ["66", "0o660", "1660", "0680", "rw", ""] {
            assert_eq!(FileMode::read(&raw(wrong)), None, "{wrong}");
        }
    }
}
