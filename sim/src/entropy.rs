//! Randomness that follows from the seed, the host and its boot.

use seriatim_scenarios::choices::{ChoiceStream, Choices};
use seriatim_world::Entropy;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::shared::Shared;

/// The random numbers of one boot of one host.
pub struct SimEntropy(Shared<ChoiceStream>);

impl SimEntropy {
    /// The numbers of `host`'s boot number `boot`.
    pub fn new(choices: &Choices, host: &str, boot: u64) -> Self {
        let entity = xxh3_64_with_seed(host.as_bytes(), boot);
        Self(Shared::new(choices.stream("entropy", entity)))
    }
}

impl Entropy for SimEntropy {
    fn next_u64(&self) -> u64 {
        self.0.lock().next_u64()
    }
}
