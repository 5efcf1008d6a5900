//! Counts durations and sizes in fixed buckets, in the place where they are known.
//!
//! Recording is a search among few bounds and two additions, without a lock; a copy is a snapshot.

use std::time::Duration;

/// Upper bounds of the buckets for durations, in microseconds: from what a memory copy takes to
/// what nobody waits for.
pub const BOUNDS_US: [u64; 17] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// Upper bounds of the buckets for counts of entries.
pub const BOUNDS_COUNT: [u64; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];

/// How often values fell into each bucket: the one at an index holds those that exceed the bound
/// before and not its own; one more holds those above all bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Histogram<const BOUNDS: usize> {
    bounds: &'static [u64; BOUNDS],
    counts: [u64; BOUNDS],
    above: u64,
    sum: u64,
}

/// Durations, in microseconds.
pub type Durations = Histogram<17>;

/// Numbers of entries.
pub type Sizes = Histogram<11>;

impl Default for Durations {
    fn default() -> Self {
        Self::new(&BOUNDS_US)
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Self::new(&BOUNDS_COUNT)
    }
}

impl<const BOUNDS: usize> Histogram<BOUNDS> {
    fn new(bounds: &'static [u64; BOUNDS]) -> Self {
        Self { bounds, counts: [0; BOUNDS], above: 0, sum: 0 }
    }

    pub fn record(&mut self, value: u64) {
        self.record_many(value, 1);
    }

    /// The same value, `times` times.
    pub fn record_many(&mut self, value: u64, times: u64) {
        let index = self.bounds.partition_point(|bound| *bound < value);
        *self.counts.get_mut(index).unwrap_or(&mut self.above) += times;
        self.sum = self.sum.saturating_add(value.saturating_mul(times));
    }

    /// Each bound with the number of values up to it.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut upto = 0;
        self.bounds.iter().zip(self.counts).map(move |(bound, count)| {
            upto += count;
            (*bound, upto)
        })
    }

    /// All values together.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    pub fn count(&self) -> u64 {
        self.above + self.counts.iter().sum::<u64>()
    }
}

impl Durations {
    pub fn record_time(&mut self, duration: Duration) {
        self.record_times(duration, 1);
    }

    pub fn record_times(&mut self, duration: Duration, times: u64) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.record_many(us, times);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_its_bucket_and_in_all_above() {
        let mut sizes = Sizes::default();
        for value in [1, 2, 3, 1_025] {
            sizes.record(value);
        }
        sizes.record_many(1_024, 2);
        let upto = |bound| sizes.cumulative().find(|(at, _)| *at == bound).unwrap().1;
        assert_eq!((upto(1), upto(2), upto(4), upto(512), upto(1_024)), (1, 2, 3, 3, 5));
        assert_eq!((sizes.count(), sizes.sum()), (6, 3_079));
    }

    #[test]
    fn durations_of_any_length_are_counted() {
        let mut durations = Durations::default();
        durations.record_time(Duration::from_micros(50));
        durations.record_time(Duration::MAX);
        durations.record_time(Duration::MAX);
        assert_eq!(durations.cumulative().next(), Some((50, 1)));
        assert_eq!(durations.cumulative().last(), Some((10_000_000, 1)));
        assert_eq!((durations.count(), durations.sum()), (3, u64::MAX));
    }
}
