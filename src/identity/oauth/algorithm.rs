//! The algorithms of signatures.

use std::fmt;
use std::str::FromStr;

use jsonwebtoken::Algorithm as Common;

/// An algorithm of signatures, by its name in a token's header (RFC 7518, RFC 8037).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// One that the library of tokens has.
    Common(Common),
    /// ECDSA on P-521 with SHA-512, which it has not.
    Es512,
}

/// The name.
impl fmt::Debug for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Common(algorithm) => algorithm.fmt(f),
            Self::Es512 => f.write_str("ES512"),
        }
    }
}

/// It is no algorithm that is known: `none`, for instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownAlgorithm;

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        match name {
            "ES512" => Ok(Self::Es512),
            other => other.parse().map(Self::Common).map_err(|_| UnknownAlgorithm),
        }
    }
}

impl From<Common> for Algorithm {
    fn from(algorithm: Common) -> Self {
        Self::Common(algorithm)
    }
}
