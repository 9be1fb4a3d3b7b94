//! Password hashes: those of our own, and those that definitions of RabbitMQ and LavinMQ bring along.
//!
//! Pure: salts come from the caller. A check takes the same time whatever the difference is, and none of these values
//! shows itself in a log.

use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq as _;

/// Bytes of salt that a new hash is made with. Those of RabbitMQ take the first four.
pub const SALT: usize = 16;

/// Bytes of salt in a hash of RabbitMQ's.
const RABBIT_SALT: usize = 4;

/// Bytes of a hash by Argon2id that is made here.
const ARGON2_OUTPUT: usize = 32;

/// KiB of memory, passes and lanes of a hash by Argon2id that is made here. OWASP has several such pairs that it takes for equally
/// strong; this one takes half the time of 19 MiB with two passes, since it stays in a processor's caches.
const ARGON2_COST: (u32, u32, u32) = (9 * 1024, 4, 1);

/// Bytes that the allocator keeps apart from smaller ones: more than the 32 MiB that it divides its memory into.
const APART: usize = 40 << 20;

/// The most of each that a foreign hash may ask for. Whoever imports one must not stop all logins with it.
const ARGON2_MOST: (u32, u32, u32) = (256 * 1024, 16, 16);

/// The highest cost of a bcrypt hash that is taken: about two seconds.
const BCRYPT_MOST: u32 = 14;

/// The longest text of a hash.
const LONGEST: usize = 512;

/// How new passwords are hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// Argon2id with 9 MiB, four passes and one lane.
    #[default]
    Argon2id,
    /// A salted SHA-256, as RabbitMQ does by default. Definitions with it can be imported there.
    RabbitSha256,
    /// A salted SHA-512, as RabbitMQ can.
    RabbitSha512,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Argon2id, Self::RabbitSha256, Self::RabbitSha512];

    /// The word for it in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Argon2id => "argon2id",
            Self::RabbitSha256 => "rabbit_sha256",
            Self::RabbitSha512 => "rabbit_sha512",
        }
    }
}

/// What a password is compared with.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    kind: Kind,
    text: String,
}

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    /// Nobody comes in by a password.
    None,
    Argon2id {
        memory: u32,
        passes: u32,
        lanes: u32,
        salt: Vec<u8>,
        output: Vec<u8>,
    },
    Sha256 {
        salt: [u8; RABBIT_SALT],
        output: Vec<u8>,
    },
    Sha512 {
        salt: [u8; RABBIT_SALT],
        output: Vec<u8>,
    },
    Bcrypt {
        cost: u32,
        salt: [u8; 16],
        output: Vec<u8>,
    },
}

/// Names of algorithms in definitions.
const ARGON2ID: &str = "argon2id";
const SHA256: &str = "rabbit_password_hashing_sha256";
const SHA512: &str = "rabbit_password_hashing_sha512";
const MD5: &str = "rabbit_password_hashing_md5";
const BCRYPT: &str = "lavinmq_bcrypt";

/// Why a hash is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// MD5 is too weak to be a hash of passwords.
    #[error("MD5 hashes are not accepted: set the password again, or hash it by SHA-256")]
    Md5,
    /// There is no such algorithm.
    #[error("the hashing algorithm is unknown; there are argon2id, {SHA256}, {SHA512} and {BCRYPT}")]
    UnknownAlgorithm,
    /// The text is not what the algorithm makes.
    #[error("the password hash is not one of {0}")]
    Malformed(&'static str),
    /// It asks for too much work.
    #[error("the password hash asks for too much work to be checked")]
    TooCostly,
    /// A hash could not be made.
    #[error("the password cannot be hashed")]
    Unhashable,
}

impl PasswordHash {
    /// That of a user who cannot come in by a password.
    #[must_use]
    pub const fn none() -> Self {
        Self { kind: Kind::None, text: String::new() }
    }

    /// Hashes a password. Takes tens of milliseconds by Argon2id.
    ///
    /// # Errors
    /// If the password is longer than 4 GiB.
    pub fn new(scheme: Scheme, password: &[u8], salt: &[u8; SALT]) -> Result<Self, HashError> {
        let [a, b, c, d, ..] = *salt;
        let short = [a, b, c, d];
        match scheme {
            Scheme::Argon2id => {
                let (memory, passes, lanes) = ARGON2_COST;
                let mut output = vec![0; ARGON2_OUTPUT];
                argon2(ARGON2_COST, password, salt, &mut output).ok_or(HashError::Unhashable)?;
                let encode = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes);
                let text = format!(
                    "$argon2id$v=19$m={memory},t={passes},p={lanes}${}${}",
                    encode(salt),
                    encode(&output)
                );
                let kind = Kind::Argon2id { memory, passes, lanes, salt: salt.to_vec(), output };
                Ok(Self { kind, text })
            }
            Scheme::RabbitSha256 => {
                let output = salted::<Sha256>(short, password);
                Ok(Self { text: rabbit_text(short, &output), kind: Kind::Sha256 { salt: short, output } })
            }
            Scheme::RabbitSha512 => {
                let output = salted::<Sha512>(short, password);
                Ok(Self { text: rabbit_text(short, &output), kind: Kind::Sha512 { salt: short, output } })
            }
        }
    }

    /// A hash that no password has, and that takes as long to check as those of this scheme: for users that do not
    /// exist.
    #[must_use]
    pub fn dummy(scheme: Scheme) -> Self {
        let (salt, short) = ([0; SALT].to_vec(), [0; RABBIT_SALT]);
        let kind = match scheme {
            Scheme::Argon2id => {
                let (memory, passes, lanes) = ARGON2_COST;
                Kind::Argon2id { memory, passes, lanes, salt, output: vec![0; ARGON2_OUTPUT] }
            }
            Scheme::RabbitSha256 => Kind::Sha256 { salt: short, output: vec![0; 32] },
            Scheme::RabbitSha512 => Kind::Sha512 { salt: short, output: vec![0; 64] },
        };
        Self { kind, text: String::new() }
    }

    /// Reads a hash as definitions have it. Without an algorithm the text says which one it is; RabbitMQ's without a
    /// name is SHA-256, or SHA-512 by its length. An empty text is no password at all.
    ///
    /// # Errors
    /// See [`HashError`].
    pub fn parse(text: &str, algorithm: Option<&str>) -> Result<Self, HashError> {
        let algorithm = algorithm.filter(|name| !name.is_empty());
        if text.is_empty() && algorithm != Some(MD5) {
            return Ok(Self::none());
        }
        if text.len() > LONGEST {
            return Err(HashError::Malformed(algorithm.map_or("the known algorithms", |_| "this algorithm")));
        }
        let kind = match algorithm {
            Some(MD5) => return Err(HashError::Md5),
            Some(ARGON2ID) => parse_argon2(text)?,
            Some(SHA256) => sha256(text).ok_or(HashError::Malformed(SHA256))?,
            Some(SHA512) => sha512(text).ok_or(HashError::Malformed(SHA512))?,
            Some(BCRYPT | "bcrypt" | "Bcrypt") => parse_bcrypt(text)?,
            Some(_) => return Err(HashError::UnknownAlgorithm),
            None if text.starts_with("$argon2") => parse_argon2(text)?,
            None if text.starts_with("$2") => parse_bcrypt(text)?,
            None => {
                let known = sha256(text).or_else(|| sha512(text));
                known.ok_or(HashError::Malformed("the known algorithms"))?
            }
        };
        Ok(Self { kind, text: text.to_owned() })
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        matches!(self.kind, Kind::None)
    }

    /// Whether a check takes next to no time: then it shows whom it is about, where others take long.
    #[must_use]
    pub const fn is_cheap(&self) -> bool {
        matches!(self.kind, Kind::Sha256 { .. } | Kind::Sha512 { .. })
    }

    /// The hash as definitions have it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The name of its algorithm in definitions.
    #[must_use]
    pub const fn algorithm(&self) -> &'static str {
        match self.kind {
            Kind::None | Kind::Sha256 { .. } => SHA256,
            Kind::Sha512 { .. } => SHA512,
            Kind::Argon2id { .. } => ARGON2ID,
            Kind::Bcrypt { .. } => BCRYPT,
        }
    }

    /// Whether this is the password. May take tens of milliseconds. An empty password never is.
    #[must_use]
    pub fn verify(&self, password: &[u8]) -> bool {
        let same = match &self.kind {
            Kind::None => false,
            Kind::Argon2id { memory, passes, lanes, salt, output } => {
                let mut found = vec![0; output.len()];
                let done = argon2((*memory, *passes, *lanes), password, salt, &mut found);
                done.is_some() && bool::from(found.ct_eq(output))
            }
            Kind::Sha256 { salt, output } => salted::<Sha256>(*salt, password).ct_eq(output).into(),
            Kind::Sha512 { salt, output } => salted::<Sha512>(*salt, password).ct_eq(output).into(),
            Kind::Bcrypt { cost, salt, output } => {
                // Crystal's bcrypt, which LavinMQ has, takes as many bytes of the password as the others.
                let parts = bcrypt::hash_with_salt(password, *cost, *salt);
                let found = parts
                    .ok()
                    .and_then(|parts| bcrypt_output(&parts.format_for_version(bcrypt::Version::TwoB)));
                found.is_some_and(|found| found.ct_eq(output).into())
            }
        };
        same && !password.is_empty()
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_none() { "none" } else { "***" };
        write!(f, "PasswordHash({what})")
    }
}

fn argon2(cost: (u32, u32, u32), password: &[u8], salt: &[u8], output: &mut [u8]) -> Option<()> {
    let (memory, passes, lanes) = cost;
    let params = Params::new(memory, passes, lanes, Some(output.len())).ok()?;
    let count = params.block_count();
    let mut blocks: Vec<Block> = Vec::new();
    // What is as large as this lies apart from all else, and what is not used of it takes no memory. Without it other parts of the
    // broker come to lie where the password was, before the allocator has given that back, and keep it resident.
    if blocks.try_reserve_exact(count.max(APART / Block::SIZE)).is_err() {
        blocks.try_reserve_exact(count).ok()?;
    }
    blocks.resize(count, Block::new());
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into_with_memory(password, salt, output, &mut blocks).ok()
}

/// Reads `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<output>`.
fn parse_argon2(text: &str) -> Result<Kind, HashError> {
    let malformed = || HashError::Malformed(ARGON2ID);
    let parts: Vec<&str> = text.split('$').collect();
    let &["", ARGON2ID, "v=19", cost, salt, output] = &parts[..] else { return Err(malformed()) };
    let mut numbers = [0; 3];
    let mut fields = cost.split(',');
    for (number, name) in numbers.iter_mut().zip(["m=", "t=", "p="]) {
        let field = fields.next().and_then(|field| field.strip_prefix(name));
        *number = field.and_then(|digits| digits.parse().ok()).ok_or_else(malformed)?;
    }
    let [memory, passes, lanes] = numbers;
    if memory > ARGON2_MOST.0 || passes > ARGON2_MOST.1 || lanes > ARGON2_MOST.2 {
        return Err(HashError::TooCostly);
    }
    let decode = |text: &str| STANDARD_NO_PAD.decode(text).ok();
    let (salt, output) = (decode(salt).ok_or_else(malformed)?, decode(output).ok_or_else(malformed)?);
    let is_sound = fields.next().is_none()
        && (8..=64).contains(&salt.len())
        && (16..=64).contains(&output.len())
        && Params::new(memory, passes, lanes, Some(output.len())).is_ok();
    if !is_sound {
        return Err(malformed());
    }
    Ok(Kind::Argon2id { memory, passes, lanes, salt, output })
}

/// Reads `$2a$04$` with 22 letters of salt and 31 of output.
fn parse_bcrypt(text: &str) -> Result<Kind, HashError> {
    let malformed = || HashError::Malformed(BCRYPT);
    let parts: bcrypt::HashParts = text.parse().map_err(|_| malformed())?;
    let cost = parts.get_cost();
    if cost > BCRYPT_MOST {
        return Err(HashError::TooCostly);
    }
    let output = bcrypt_output(text).ok_or_else(malformed)?;
    Ok(Kind::Bcrypt { cost, salt: parts.get_salt_raw(), output })
}

/// The letters of the output, behind `$2a$04$` and the salt.
fn bcrypt_output(text: &str) -> Option<Vec<u8>> {
    text.as_bytes().get(29..60).map(<[u8]>::to_vec)
}

fn salted<D: sha2::Digest>(salt: [u8; RABBIT_SALT], password: &[u8]) -> Vec<u8> {
    D::new().chain_update(salt).chain_update(password).finalize().to_vec()
}

fn rabbit_text(salt: [u8; RABBIT_SALT], output: &[u8]) -> String {
    STANDARD.encode([&salt[..], output].concat())
}

fn sha256(text: &str) -> Option<Kind> {
    rabbit_parts(text, 32).map(|(salt, output)| Kind::Sha256 { salt, output })
}

fn sha512(text: &str) -> Option<Kind> {
    rabbit_parts(text, 64).map(|(salt, output)| Kind::Sha512 { salt, output })
}

fn rabbit_parts(text: &str, length: usize) -> Option<([u8; RABBIT_SALT], Vec<u8>)> {
    let bytes = STANDARD.decode(text).ok()?;
    let (salt, output) = bytes.split_first_chunk()?;
    (output.len() == length).then(|| (*salt, output.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT_BYTES: [u8; SALT] = [0x90, 0x8D, 0xC6, 0x0A, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

    #[test]
    fn hashes_of_rabbitmq_are_made_and_taken() {
        let hash = PasswordHash::new(Scheme::RabbitSha256, b"test12", &SALT_BYTES).unwrap();
        assert_eq!(hash.text(), "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR");
        let guest = "+pHuxkR9fCyrrwXjOD4BP4XbzO3l8LJr8YkThMgJ0yVHFRE+";
        for algorithm in [None, Some("rabbit_password_hashing_sha256")] {
            let hash = PasswordHash::parse(guest, algorithm).unwrap();
            assert!(hash.verify(b"guest") && !hash.verify(b"Guest") && !hash.verify(b""));
            assert_eq!(hash.algorithm(), "rabbit_password_hashing_sha256");
        }
        assert_eq!(PasswordHash::parse(guest, Some(SHA512)), Err(HashError::Malformed(SHA512)));
    }

    #[test]
    fn every_scheme_reads_what_it_writes() {
        for scheme in Scheme::ALL {
            let hash = PasswordHash::new(scheme, b"secret", &SALT_BYTES).unwrap();
            for algorithm in [None, Some(hash.algorithm())] {
                let again = PasswordHash::parse(hash.text(), algorithm).unwrap();
                assert!(again == hash && again.verify(b"secret"), "{scheme:?}");
            }
            assert!(!hash.verify(b"secreT") && !hash.verify(b""));
            let empty = PasswordHash::new(scheme, b"", &SALT_BYTES).unwrap();
            assert!(!empty.verify(b""), "an empty password never logs in");
            let dummy = PasswordHash::dummy(scheme);
            assert!(!dummy.verify(b"secret"));
            assert_eq!(dummy.algorithm(), hash.algorithm(), "of the same cost");
        }
        let text = PasswordHash::new(Scheme::Argon2id, b"secret", &SALT_BYTES).unwrap().text().to_owned();
        assert!(text.starts_with("$argon2id$v=19$m=9216,t=4,p=1$kI3GCgUGBwgJCgsMDQ4PEA$"), "{text}");
    }

    #[test]
    fn bcrypt_of_other_brokers_is_taken() {
        // From the vectors of OpenBSD and of John the Ripper.
        for (text, password) in [
            ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
            ("$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a", "U*U*U"),
        ] {
            for algorithm in [None, Some("lavinmq_bcrypt"), Some("Bcrypt")] {
                let hash = PasswordHash::parse(text, algorithm).unwrap();
                assert!(hash.verify(password.as_bytes()), "{text}");
                assert!(!hash.verify(b"U*") && !hash.verify(b""));
            }
        }
        let costly = "$2a$15$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        assert_eq!(PasswordHash::parse(costly, None), Err(HashError::TooCostly));
    }

    #[test]
    fn no_hash_lets_nobody_in() {
        for algorithm in [None, Some(SHA256), Some(ARGON2ID)] {
            let none = PasswordHash::parse("", algorithm).unwrap();
            assert!(none.is_none() && !none.verify(b"") && !none.verify(b"x"));
        }
    }

    #[test]
    fn what_is_none_is_refused_with_a_reason() {
        assert_eq!(PasswordHash::parse("AAAA", Some(MD5)), Err(HashError::Md5));
        assert_eq!(PasswordHash::parse("", Some(MD5)), Err(HashError::Md5));
        assert_eq!(PasswordHash::parse("AAAA", Some("crypt")), Err(HashError::UnknownAlgorithm));
        for text in ["AAAA", "secret", "$2a$", "$2a$04$äöü", "$argon2id$", &"A".repeat(4096)] {
            assert!(matches!(PasswordHash::parse(text, None), Err(HashError::Malformed(_))), "{text}");
        }
        for cost in ["m=19456,t=2", "m=19456,t=2,p=1,x=1", "t=2,m=19456,p=1", "m=,t=2,p=1", "m=1,t=2,p=4"] {
            let text = format!("$argon2id$v=19${cost}$kI3GCgUGBwgJCgsMDQ4PEA$kI3GCgUGBwgJCgsMDQ4PEA");
            assert_eq!(PasswordHash::parse(&text, None), Err(HashError::Malformed(ARGON2ID)), "{cost}");
        }
        let huge = "$argon2id$v=19$m=4194304,t=2,p=1$kI3GCgUGBwgJCgsMDQ4PEA$kI3GCgUGBwgJCgsMDQ4PEA";
        assert_eq!(PasswordHash::parse(huge, None), Err(HashError::TooCostly));
    }

    #[test]
    fn nothing_shows_in_debug_output() {
        let hash = PasswordHash::new(Scheme::RabbitSha256, b"secret", &SALT_BYTES).unwrap();
        assert_eq!(format!("{hash:?}"), "PasswordHash(***)");
        assert_eq!(format!("{:?}", PasswordHash::none()), "PasswordHash(none)");
    }
}
