//! The plain encodings that tables, methods and properties are made of.
//!
//! Readers take from the front of a slice and leave it untouched when it is too short.

use thiserror::Error;

/// The bytes end before the value does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("value is cut short")]
pub(super) struct Truncated;

/// Longest short string in bytes: its length is one octet.
pub(super) const SHORT_STR_MAX: usize = 255;

/// Takes a fixed number of bytes.
#[inline]
pub(super) fn take<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], Truncated> {
    let (head, rest) = input.split_first_chunk::<N>().ok_or(Truncated)?;
    *input = rest;
    Ok(*head)
}

/// Takes one octet.
#[inline]
pub(super) fn take_octet(input: &mut &[u8]) -> Result<u8, Truncated> {
    let (&head, rest) = input.split_first().ok_or(Truncated)?;
    *input = rest;
    Ok(head)
}

/// Takes a short string: one octet of length, then as many bytes. UTF-8 is not checked here.
#[inline]
pub(super) fn take_short_str<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], Truncated> {
    let (&len, rest) = input.split_first().ok_or(Truncated)?;
    let (text, rest) = rest.split_at_checked(usize::from(len)).ok_or(Truncated)?;
    *input = rest;
    Ok(text)
}

/// Takes a long string, or the body of a table or array: four octets of length, then as many bytes.
#[inline]
pub(super) fn take_long_str<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], Truncated> {
    let (len, rest) = input.split_first_chunk::<4>().ok_or(Truncated)?;
    let (text, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize).ok_or(Truncated)?;
    *input = rest;
    Ok(text)
}

/// Appends a short string, cut to 255 bytes on a character boundary.
#[inline]
pub(super) fn put_short_str(out: &mut Vec<u8>, text: &str) {
    let text = &text.as_bytes()[..text.floor_char_boundary(SHORT_STR_MAX)];
    out.push(text.len() as u8);
    out.extend_from_slice(text);
}

/// Appends four octets of length and the bytes, cut to what four octets can count.
#[inline]
pub(super) fn put_long_str(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&bytes[..len as usize]);
}
