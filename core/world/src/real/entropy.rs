//! The operating system's randomness.

use crate::Entropy;

/// Random numbers from the operating system, fit for keys and tokens.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn next_u64(&self) -> u64 {
        // Linux gives 8 bytes whole once the machine has booted; without them nobody can be
        // authenticated, so there is nothing to go on with.
        getrandom::u64().expect("the operating system has randomness")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_do_not_repeat() {
        let numbers: BTreeSet<u64> = (0..1_000).map(|_| OsEntropy.next_u64()).collect();

        assert_eq!(numbers.len(), 1_000);
    }
}
