//! Random input with a seed: printed when a test begins, so that a failure's output has it, and taken from
//! `KAFKALAB_TEST_SEED` to see the same again.

use std::time::{SystemTime, UNIX_EPOCH};

/// SplitMix64: enough to vary input, and short enough to stand here.
#[derive(Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The seed of the environment, or a new one.
    pub fn from_seed_or_new() -> Self {
        let new = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
        let seed = std::env::var("KAFKALAB_TEST_SEED").map_or_else(|_| new(), |seed| seed.parse().expect("a seed"));
        println!("KAFKALAB_TEST_SEED={seed}");
        Self { state: seed }
    }

    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Numbers of its own for one part of a test, so that threads do not take each other's.
    pub fn fork(&mut self) -> Self {
        Self { state: self.next() }
    }

    pub fn within(&mut self, range: std::ops::Range<usize>) -> usize {
        range.start + self.below(range.end - range.start)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// Letters and digits: what any delimiter leaves whole.
    pub fn letters(&mut self, length: usize) -> Vec<u8> {
        const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz012345";
        (0..length).map(|_| LETTERS[self.below(LETTERS.len())]).collect()
    }
}
