//! The keys that tokens are signed with, by their ids.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{AlgorithmFamily, DecodingKey};
use serde_json::Value;
use zeroize::Zeroizing;

use super::algorithm::Algorithm;
use super::p521;

/// Why there is no key, or no set of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A file of a configured key.
    #[error("it is not a public key or certificate in PEM, of RSA, of P-256, P-384, P-521 or Ed25519")]
    Pem,
    /// The wrong half.
    #[error("it is a private key, which has no business here: the public one is needed")]
    Private,
    /// A secret anybody could guess.
    #[error("it is shorter than {LEAST_SECRET} bytes")]
    ShortSecret,
    /// A key set.
    #[error("it is not a JSON Web Key Set")]
    Set,
    /// A key set with nothing in it that could sign tokens.
    #[error("it has no key that can be used")]
    Empty,
}

/// The shortest secret that is a key, in bytes: what HS256 asks for (RFC 7518, 3.2).
const LEAST_SECRET: usize = 32;

/// A key that signatures are checked with.
#[derive(Clone, Debug)]
pub struct SigningKey {
    key: Key,
    /// The one algorithm it is for, if that is known.
    only_for: Option<Algorithm>,
}

#[derive(Clone, Debug)]
enum Key {
    Common(DecodingKey),
    P521(p521::PublicKey),
}

impl SigningKey {
    /// A public key from PEM.
    ///
    /// # Errors
    /// If it is none of a kind that is known.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        if pem.windows(b"PRIVATE KEY".len()).any(|window| window == b"PRIVATE KEY") {
            return Err(KeyError::Private);
        }
        if let Some(key) = p521::PublicKey::from_pem(pem) {
            return Ok(Self { key: Key::P521(key), only_for: None });
        }
        let key = DecodingKey::from_rsa_pem(pem)
            .or_else(|_| DecodingKey::from_ec_pem(pem))
            .or_else(|_| DecodingKey::from_ed_pem(pem));
        key.map(|key| Self { key: Key::Common(key), only_for: None }).map_err(|_| KeyError::Pem)
    }

    /// A secret that the authorization server has too.
    ///
    /// # Errors
    /// If it is too short to be one.
    pub fn from_secret(secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < LEAST_SECRET {
            return Err(KeyError::ShortSecret);
        }
        Ok(Self { key: Key::Common(DecodingKey::from_secret(secret)), only_for: None })
    }

    /// A key of a key set; `None` if it is not for signatures, or of a kind that is not known. Secrets are not taken from
    /// sets: whoever can read a set could sign.
    fn from_jwk(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if text("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let key = match (text("kty")?, text("crv")) {
            ("RSA", _) => Key::Common(DecodingKey::from_rsa_components(text("n")?, text("e")?).ok()?),
            ("EC", Some("P-256" | "P-384")) => {
                Key::Common(DecodingKey::from_ec_components(text("x")?, text("y")?).ok()?)
            }
            ("EC", Some("P-521")) => Key::P521(p521::PublicKey::from_coordinates(text("x")?, text("y")?)?),
            ("OKP", Some("Ed25519")) => Key::Common(DecodingKey::from_ed_components(text("x")?).ok()?),
            _ => return None,
        };
        // A key for something else, such as "RSA-OAEP", says so by its algorithm.
        let only_for = match text("alg") {
            Some(algorithm) => Some(algorithm.parse().ok()?),
            None => None,
        };
        Some(Self { key, only_for })
    }

    /// Whether this kind of key goes with an algorithm. Were it not asked, a public key could be used as a secret.
    #[must_use]
    pub fn is_for(&self, algorithm: Algorithm) -> bool {
        let is_its_kind = match (&self.key, algorithm) {
            (Key::Common(key), Algorithm::Common(algorithm)) => key.family() == algorithm.family(),
            (Key::P521(_), Algorithm::Es512) => true,
            _ => false,
        };
        is_its_kind && self.only_for.is_none_or(|only| only == algorithm)
    }

    /// Whether it is a secret.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        matches!(&self.key, Key::Common(key) if key.family() == AlgorithmFamily::Hmac)
    }

    /// Whether `signature`, in base64url, is one of this key.
    #[must_use]
    pub fn verifies(&self, algorithm: Algorithm, signed: &str, signature: &str) -> bool {
        // Decoded here in any case, because padding and the like would pass in the library.
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(signature) else { return false };
        match (&self.key, algorithm) {
            (Key::Common(key), Algorithm::Common(algorithm)) => {
                jsonwebtoken::crypto::verify(signature, signed.as_bytes(), key, algorithm).unwrap_or(false)
            }
            (Key::P521(key), Algorithm::Es512) => key.verifies(signed.as_bytes(), &bytes),
            _ => false,
        }
    }
}

/// A key as the configuration has it.
#[derive(Clone, PartialEq)]
pub enum ConfiguredKey {
    /// A public key in PEM.
    Pem(Vec<u8>),
    /// A secret.
    Secret(Zeroizing<Vec<u8>>),
}

impl ConfiguredKey {
    /// A secret from its text.
    #[must_use]
    pub fn secret(text: &str) -> Self {
        Self::Secret(Zeroizing::new(text.as_bytes().to_vec()))
    }

    /// The key itself.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(&self) -> Result<SigningKey, KeyError> {
        match self {
            Self::Pem(pem) => SigningKey::from_pem(pem),
            Self::Secret(secret) => SigningKey::from_secret(secret),
        }
    }
}

impl fmt::Debug for ConfiguredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Pem(_)) { "Pem" } else { "Secret(***)" })
    }
}

/// Keys by id.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    named: BTreeMap<String, SigningKey>,
    /// Those without an id (RFC 7517, 4.5). One of them can be used if it is the only key.
    unnamed: Vec<SigningKey>,
}

impl KeySet {
    /// The keys of a JSON Web Key Set that can be used.
    ///
    /// # Errors
    /// If it is no set, or has no such key.
    pub fn from_jwks(text: &[u8]) -> Result<Self, KeyError> {
        let set: Value = serde_json::from_slice(text).map_err(|_| KeyError::Set)?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or(KeyError::Set)?;
        let mut set = Self::default();
        for jwk in keys {
            let Some(key) = SigningKey::from_jwk(jwk) else { continue };
            match jwk.get("kid").and_then(Value::as_str) {
                Some(id) => set.insert(id.to_owned(), key),
                None => set.unnamed.push(key),
            }
        }
        if set.is_empty() { Err(KeyError::Empty) } else { Ok(set) }
    }

    /// Adds a key, in the place of one with the same id.
    pub fn insert(&mut self, id: String, key: SigningKey) {
        self.named.insert(id, key);
    }

    /// The key of this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&SigningKey> {
        self.named.get(id)
    }

    /// The ids of all keys that have one.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(String::as_str)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.named.len() + self.unnamed.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key, if there is exactly one.
    #[must_use]
    pub fn only(&self) -> Option<&SigningKey> {
        self.named.values().chain(&self.unnamed).next().filter(|_| self.len() == 1)
    }
}

/// The keys there are at the moment: those of the configuration, which come first, and those that were fetched.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    /// From the configuration.
    pub configured: &'a KeySet,
    /// From a key server.
    pub fetched: &'a KeySet,
}

impl<'a> Keys<'a> {
    /// The key of this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&'a SigningKey> {
        self.configured.get(id).or_else(|| self.fetched.get(id))
    }

    /// The key, if there is exactly one.
    #[must_use]
    pub fn only(&self) -> Option<&'a SigningKey> {
        match (self.configured.is_empty(), self.fetched.is_empty()) {
            (false, true) => self.configured.only(),
            (true, false) => self.fetched.only(),
            _ => None,
        }
    }
}
