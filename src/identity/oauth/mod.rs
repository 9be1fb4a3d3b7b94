//! Access tokens (OAuth 2, JWT): whether one is to be believed, who it is for, and what it allows.
//!
//! Pure: the keys and the time are the caller's. [`token::verify`] is the way in. What it finds is a [`Token`], whose
//! scopes become an [`Access`](super::access::Access) once the vhost is known.

pub mod algorithm;
mod claims;
pub mod keys;
mod p521;
mod parts;
mod requests;
pub mod rules;
pub mod scope;
pub mod token;
mod wildcard;

#[cfg(test)]
mod tests;

pub use self::algorithm::Algorithm;
pub use self::keys::{KeyError, KeySet, SigningKey};
pub use self::rules::{ResourceServer, TokenRules};
pub use self::token::{Refusal, Token, verify};
