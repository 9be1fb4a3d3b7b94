//! Who somebody is and what they may do: pure rules, without the places where they are kept.

pub mod access;
pub mod oauth;
pub mod operation;
pub mod password;
pub mod tags;
