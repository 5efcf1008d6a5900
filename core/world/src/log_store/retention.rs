//! How much of a log is kept, and how finely its files are cut for that.

use std::time::Duration;

use seriatim_engine::time::LogTime;

/// Entries go a file at a time, so no file holds more than this part of what is kept: what is kept
/// longer than its limit is an eighth of it at most.
const PARTS: u32 = 8;

/// Which entries go. Without a limit, none do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Those that are older, by the log's clock.
    pub age: Option<Duration>,
    /// The oldest, while the files of a shard have more bytes in all.
    pub bytes: Option<u64>,
}

impl Retention {
    /// What was written before this is too old.
    pub(super) fn since(&self, now: LogTime) -> LogTime {
        self.age.map_or(LogTime(0), |age| now.before(age))
    }

    /// A file takes no entry after the first one in it is so old.
    pub(super) fn file_age(&self) -> Option<Duration> {
        Some(self.age? / PARTS)
    }

    /// No file needs to be larger.
    pub(super) fn file_bytes(&self) -> Option<u64> {
        Some((self.bytes? / u64::from(PARTS)).max(1))
    }

    /// How often to look whether something is too old.
    pub(super) fn look_every(&self) -> Option<Duration> {
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(60));
        Some((self.file_age()? / PARTS).clamp(least, most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_an_eighth_of_what_is_kept_and_is_looked_at_eight_times_as_often() {
        let day = Duration::from_secs(24 * 60 * 60);
        let kept = Retention { age: Some(day), bytes: Some(80 << 20) };
        assert_eq!(kept.file_age(), Some(Duration::from_secs(3 * 60 * 60)));
        assert_eq!(kept.file_bytes(), Some(10 << 20));
        assert_eq!(kept.look_every(), Some(Duration::from_secs(60)));
        let brief = Retention { age: Some(Duration::from_secs(80)), bytes: None };
        assert_eq!(brief.look_every(), Some(Duration::from_millis(1_250)));
        assert_eq!(
            (brief.since(LogTime(100)), brief.since(LogTime(70))),
            (LogTime(20), LogTime(0))
        );
        assert_eq!(Retention::default().look_every(), None);
    }
}
