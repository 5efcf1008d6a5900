//! What a gateway counts of itself.

use crate::histogram::Durations;
use crate::levels::{Hits, Level};
use crate::limits::{SESSION_PAGES_MAX, SESSION_REQUESTS_MAX, SESSIONS_MAX};

/// Since the start. Small, so that a copy of it may be published after every turn.
#[derive(Debug, Clone, Copy)]
pub struct GatewayCounts {
    /// Text frames from clients.
    pub frames: u64,
    pub rejected: Tally,
    pub goodbyes: Tally,
    /// From a request to its `accepted`.
    pub accept: Durations,
    /// Entries that owners announced.
    pub published: u64,
    /// Pages that were read out of the log for sessions that were behind.
    pub pages: u64,
    pub channels: usize,
    pub sessions: Level,
    /// The requests of the session that made one last; its peak is that of all sessions.
    pub session_requests: Level,
    /// As above, for pages of history.
    pub session_pages: Level,
    /// What owners have been asked and have not answered.
    pub tickets: Level,
    pub hits: Hits,
}

/// Every session with all its requests, its opening, and a read for each channel of a session that
/// is behind: more asks would be asks that nobody waits for.
const TICKETS_MAX: usize = SESSIONS_MAX * (SESSION_REQUESTS_MAX + 2);

impl Default for GatewayCounts {
    fn default() -> Self {
        Self {
            frames: 0,
            rejected: Tally::default(),
            goodbyes: Tally::default(),
            accept: Durations::default(),
            published: 0,
            pages: 0,
            channels: 0,
            sessions: Level::new("sessions", SESSIONS_MAX),
            session_requests: Level::new("session_requests", SESSION_REQUESTS_MAX),
            session_pages: Level::new("session_pages", SESSION_PAGES_MAX),
            tickets: Level::new("tickets", TICKETS_MAX),
            hits: Hits::default(),
        }
    }
}

impl GatewayCounts {
    pub fn levels(&self) -> [Level; 4] {
        [self.sessions, self.session_requests, self.session_pages, self.tickets]
    }
}

/// As many codes as a frame may name.
const CODES_MAX: usize = 24;

/// How often each code of an enumeration was used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally([(&'static str, u64); CODES_MAX]);

impl Tally {
    /// `index` is the code's place in its enumeration.
    pub fn count(&mut self, index: usize, name: &'static str) {
        let (known, count) = self.0.get_mut(index).expect("there are fewer codes");
        (*known, *count) = (name, *count + 1);
    }

    /// The codes that were used.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().copied().filter(|(_, count)| *count > 0)
    }
}
