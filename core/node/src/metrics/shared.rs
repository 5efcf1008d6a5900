//! Numbers that many tasks change.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use seriatim_engine::levels::Level;

/// Only goes up.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicUsize);

impl Gauge {
    pub(crate) fn set(&self, now: usize) {
        self.0.store(now, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// How full something is that many tasks fill.
#[derive(Debug)]
pub(crate) struct SharedLevel {
    what: &'static str,
    limit: usize,
    now: AtomicUsize,
    peak: AtomicUsize,
}

impl SharedLevel {
    pub(crate) fn new(what: &'static str, limit: usize) -> Self {
        Self { what, limit, now: AtomicUsize::new(0), peak: AtomicUsize::new(0) }
    }

    /// One more, until the guard is dropped.
    pub(crate) fn enter(&self) -> Inside<'_> {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(now, Ordering::Relaxed);
        Inside(self)
    }

    pub(crate) fn set(&self, now: usize) {
        self.now.store(now, Ordering::Relaxed);
        self.peak.fetch_max(now, Ordering::Relaxed);
    }

    pub(crate) fn level(&self) -> Level {
        Level {
            what: self.what,
            now: self.now.load(Ordering::Relaxed),
            peak: self.peak.load(Ordering::Relaxed),
            limit: self.limit,
        }
    }
}

/// Counts for one as long as it lives.
pub(crate) struct Inside<'a>(&'a SharedLevel);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}
