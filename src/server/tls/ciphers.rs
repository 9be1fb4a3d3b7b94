//! Cipher suites by name.

use rustls::crypto::aws_lc_rs::cipher_suite as suites;
use rustls::{CipherSuite, SupportedCipherSuite};

/// A cipher suite that can be enabled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cipher {
    /// Its IANA name.
    pub name: &'static str,
    /// What OpenSSL and RabbitMQ's documentation call it.
    openssl: &'static str,
    suite: SupportedCipherSuite,
}

/// All there are: each has forward secrecy and authenticated encryption.
static KNOWN: [Cipher; 9] = [
    cipher("TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", suites::TLS13_AES_256_GCM_SHA384),
    cipher("TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", suites::TLS13_AES_128_GCM_SHA256),
    cipher(
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_CHACHA20_POLY1305_SHA256",
        suites::TLS13_CHACHA20_POLY1305_SHA256,
    ),
    cipher(
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    cipher(
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    cipher(
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    cipher(
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    cipher(
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    cipher(
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-RSA-CHACHA20-POLY1305",
        suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

const fn cipher(name: &'static str, openssl: &'static str, suite: SupportedCipherSuite) -> Cipher {
    Cipher { name, openssl, suite }
}

impl Cipher {
    /// The suite of this name, IANA's or OpenSSL's.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        KNOWN.iter().find(|known| known.name == name || known.openssl == name).copied()
    }

    /// The IANA names of all suites.
    pub fn names() -> impl Iterator<Item = &'static str> {
        KNOWN.iter().map(|known| known.name)
    }

    pub(super) const fn suite(self) -> SupportedCipherSuite {
        self.suite
    }
}

/// The IANA name of a suite that was agreed on.
pub(super) fn name_of(suite: CipherSuite) -> &'static str {
    KNOWN.iter().find(|known| known.suite.suite() == suite).map_or("unknown", |known| known.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_that_can_be_agreed_on_has_a_name() {
        for suite in rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES {
            let name = name_of(suite.suite());
            assert_eq!(Cipher::parse(name).map(Cipher::suite), Some(*suite), "{name}");
        }
        assert_eq!(
            Cipher::parse("ECDHE-RSA-AES256-GCM-SHA384").unwrap().name,
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
        );
        assert_eq!(Cipher::parse("AES256-SHA"), None);
    }
}
