//! Names the server makes: `amq.gen-…` queues, `amq.ctag-…` consumers and `amq.rabbitmq.reply-to.…`.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::lock::{Rank, RankedMutex};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Letters of a generated name: 132 bits, so that nobody guesses one.
const LETTERS: usize = 22;

/// A source of names that nobody else has.
#[derive(Debug)]
pub struct Names(RankedMutex<StdRng>);

impl Names {
    /// Seeded by the operating system, or by `seed` where a run is to repeat.
    #[must_use]
    pub fn new(seed: Option<u64>) -> Self {
        let rng = match seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => rand::make_rng(),
        };
        Self(RankedMutex::new(Rank::Outlet, rng))
    }

    /// `prefix` and 22 letters of the URL-safe alphabet.
    #[must_use]
    pub fn generate(&self, prefix: &str) -> String {
        let mut rng = self.0.lock();
        let mut name = String::with_capacity(prefix.len() + LETTERS);
        name.push_str(prefix);
        name.extend((0..LETTERS).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])));
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_a_seed_repeats_them() {
        let (names, again) = (Names::new(Some(1)), Names::new(Some(1)));
        let first = names.generate("amq.gen-");
        assert!(first.starts_with("amq.gen-") && first.len() == 30);
        assert_eq!(first, again.generate("amq.gen-"));
        assert_ne!(first, names.generate("amq.gen-"));
    }
}
