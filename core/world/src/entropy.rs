//! The only source of randomness.

/// Gives random numbers: from the operating system in the real world, from the seed in a
/// simulated one.
pub trait Entropy: Send + Sync + 'static {
    fn next_u64(&self) -> u64;
}
