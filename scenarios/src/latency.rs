//! Latencies of a run, or of many runs together.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Microseconds of an hour; what takes longer is counted there.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// How many latencies there were of each size, to three digits.
#[derive(Clone)]
pub struct Latencies {
    microseconds: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        let microseconds = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3);
        Self { microseconds: microseconds.expect("sound bounds") }
    }
}

impl Latencies {
    pub fn record(&mut self, latency: Duration) {
        let microseconds = u64::try_from(latency.as_micros()).unwrap_or(LATENCY_US_MAX);
        self.microseconds.saturating_record(microseconds);
    }

    /// Adds every latency of `other`; exact.
    pub fn merge(&mut self, other: &Self) {
        self.microseconds.add(&other.microseconds).expect("all have the same bounds");
    }

    pub fn count(&self) -> u64 {
        self.microseconds.len()
    }

    /// The latency that `percent` of 100 do not exceed; zero when there are none.
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_micros(self.microseconds.value_at_percentile(percent))
    }

    pub fn summary(&self) -> LatencySummary {
        let ms = |percent| self.percentile(percent).as_secs_f64() * 1_000.0;
        LatencySummary {
            count: self.count(),
            p50_ms: ms(50.0),
            p90_ms: ms(90.0),
            p99_ms: ms(99.0),
            p999_ms: ms(99.9),
            max_ms: ms(100.0),
        }
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.summary(), f)
    }
}

impl Serialize for Latencies {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.summary().serialize(serializer)
    }
}

/// The percentiles that reports show, in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    pub count: u64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded_in_both_parts() {
        let (mut low, mut high) = (Latencies::default(), Latencies::default());
        for ms in 1..=50 {
            low.record(Duration::from_millis(ms));
            high.record(Duration::from_millis(50 + ms));
        }
        low.merge(&high);
        let summary = low.summary();
        assert_eq!(summary.count, 100);
        assert!((summary.p50_ms - 50.0).abs() < 0.1 && (summary.p99_ms - 99.0).abs() < 0.1);
        assert_eq!(Latencies::default().summary(), LatencySummary::default());
    }

    #[test]
    fn more_than_an_hour_counts_as_an_hour() {
        let mut latencies = Latencies::default();
        latencies.record(Duration::MAX);
        latencies.record(Duration::ZERO);
        assert_eq!(latencies.count(), 2);
        assert!(latencies.percentile(100.0) >= Duration::from_secs(3_600));
    }
}
