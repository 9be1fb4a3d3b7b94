//! Numbers and texts as they stand in records: little-endian base-128 integers, and bytes behind their length.

/// Appends an integer, seven bits an octet, the lowest first.
pub(super) fn put_int(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends bytes behind their length.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_int(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads what the functions above wrote. Every method gives `None` past the end or for what they never write.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn octet(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    #[inline]
    pub(super) fn int(&mut self) -> Option<u64> {
        // Nearly all have four octets at most: these are put together without a loop.
        if let Some(&octets) = self.0.first_chunk::<4>() {
            let octets = u32::from_le_bytes(octets);
            let ends = !octets & 0x8080_8080;
            if ends != 0 {
                let len = ends.trailing_zeros() / 8 + 1;
                let kept = octets & (u32::MAX >> (32 - 8 * len));
                let value = (kept & 0x7F)
                    | ((kept >> 1) & 0x3F80)
                    | ((kept >> 2) & 0x1F_C000)
                    | ((kept >> 3) & 0xFE0_0000);
                self.0 = self.0.get(len as usize..)?;
                return Some(u64::from(value));
            }
        }
        self.long_int()
    }

    /// An integer of any length.
    fn long_int(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let octet = self.octet()?;
            let bits = u64::from(octet & 0x7F);
            if bits << shift >> shift != bits {
                return None;
            }
            value |= bits << shift;
            if octet & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        match self.octet()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.int()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_put_is_read(numbers in prop::collection::vec(any::<u64>(), 0..20), bytes in any::<Vec<u8>>()) {
            let mut out = Vec::new();
            for &number in &numbers {
                put_int(&mut out, number);
            }
            put_bytes(&mut out, &bytes);
            let mut reader = Reader(&out);
            for number in numbers {
                prop_assert_eq!(reader.int(), Some(number));
            }
            prop_assert_eq!(reader.bytes(), Some(&bytes[..]));
            prop_assert!(reader.0.is_empty());
        }

        #[test]
        fn anything_else_is_refused_without_a_panic(bytes in any::<Vec<u8>>()) {
            let mut reader = Reader(&bytes);
            while reader.int().is_some() {}
            let _ = (reader.bytes(), reader.text(), reader.flag());
        }
    }

    #[test]
    fn an_integer_of_more_than_64_bits_is_none() {
        assert_eq!(Reader(&[0xFF; 10]).int(), None);
        let mut largest = Vec::new();
        put_int(&mut largest, u64::MAX);
        assert_eq!(Reader(&largest).int(), Some(u64::MAX));
        largest[9] = 2;
        assert_eq!(Reader(&largest).int(), None);
    }
}
