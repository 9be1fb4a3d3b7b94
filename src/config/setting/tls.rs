//! Options of TLS and of what follows from certificates.

use std::net::SocketAddr;

use super::{Setting, parse_address};
use crate::config::value::Value;
use crate::server::tls::{Cipher, TlsVersion};
use crate::session::limits::CertificateLogin;
use crate::session::peer::AlternativeNameKind;

/// Addresses to listen on, of which there may be none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses(
    /// The addresses.
    pub Vec<SocketAddr>,
);

impl Setting for Addresses {
    fn expected() -> String {
        "a list of addresses with ports, such as \"0.0.0.0:5671\", which may be empty".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        value.list()?.iter().map(|item| parse_address(item.text()?)).collect::<Option<_>>().map(Self)
    }

    fn show(&self) -> toml::Value {
        self.0.show()
    }
}

/// Whether clients are asked for certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// They are not.
    None,
    /// They are, and what they show is verified.
    Peer,
}

impl Setting for Verify {
    fn expected() -> String {
        "\"none\" or \"peer\"".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        match value.text()?.to_ascii_lowercase().as_str() {
            "none" | "verify_none" => Some(Self::None),
            "peer" | "verify_peer" => Some(Self::Peer),
            _ => None,
        }
    }

    fn show(&self) -> toml::Value {
        let name = match self {
            Self::None => "none",
            Self::Peer => "peer",
        };
        toml::Value::String(name.to_owned())
    }
}

impl Setting for Vec<TlsVersion> {
    fn expected() -> String {
        "one or both of \"1.3\" and \"1.2\"".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        let mut versions = Self::new();
        for item in value.list()? {
            let version = match item.quantity()?.as_str() {
                "1.3" | "tlsv1.3" => TlsVersion::V13,
                "1.2" | "tlsv1.2" => TlsVersion::V12,
                _ => return None,
            };
            if versions.contains(&version) {
                return None;
            }
            versions.push(version);
        }
        (!versions.is_empty()).then_some(versions)
    }

    fn show(&self) -> toml::Value {
        let name = |version: &TlsVersion| match version {
            TlsVersion::V13 => "1.3",
            TlsVersion::V12 => "1.2",
        };
        toml::Value::Array(self.iter().map(|version| toml::Value::String(name(version).to_owned())).collect())
    }
}

impl Setting for Vec<Cipher> {
    fn expected() -> String {
        format!(
            "a list of cipher suites, which may be empty, from {}",
            Cipher::names().collect::<Vec<_>>().join(", ")
        )
    }

    fn read(value: &Value) -> Option<Self> {
        value.list()?.iter().map(|item| Cipher::parse(item.text()?)).collect()
    }

    fn show(&self) -> toml::Value {
        toml::Value::Array(self.iter().map(|cipher| toml::Value::String(cipher.name.to_owned())).collect())
    }
}

impl Setting for CertificateLogin {
    fn expected() -> String {
        "\"distinguished_name\", \"common_name\" or \"subject_alternative_name\"".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        match value.text()?.to_ascii_lowercase().as_str() {
            "distinguished_name" => Some(Self::DistinguishedName),
            "common_name" => Some(Self::CommonName),
            "subject_alternative_name" | "subject_alt_name" => Some(Self::AlternativeName),
            _ => None,
        }
    }

    fn show(&self) -> toml::Value {
        let name = match self {
            Self::DistinguishedName => "distinguished_name",
            Self::CommonName => "common_name",
            Self::AlternativeName => "subject_alternative_name",
        };
        toml::Value::String(name.to_owned())
    }
}

impl Setting for AlternativeNameKind {
    fn expected() -> String {
        "\"dns\", \"email\", \"ip\" or \"uri\"".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        match value.text()?.to_ascii_lowercase().as_str() {
            "dns" => Some(Self::Dns),
            "email" => Some(Self::Email),
            "ip" => Some(Self::Ip),
            "uri" => Some(Self::Uri),
            _ => None,
        }
    }

    fn show(&self) -> toml::Value {
        let name = match self {
            Self::Dns => "dns",
            Self::Email => "email",
            Self::Ip => "ip",
            Self::Uri => "uri",
        };
        toml::Value::String(name.to_owned())
    }
}
