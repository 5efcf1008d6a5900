//! How full what is bounded is, and how often each limit was hit.
//!
//! Machines and shells keep these as plain numbers beside what they count; whoever watches a node
//! reads copies.

/// How full one bounded thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// What is bounded, in `snake_case`: a label of the metrics.
    pub what: &'static str,
    pub now: usize,
    /// The most it has been. The limit holds if this does not exceed it.
    pub peak: usize,
    pub limit: usize,
}

impl Level {
    pub fn new(what: &'static str, limit: usize) -> Self {
        Self { what, now: 0, peak: 0, limit }
    }

    pub fn set(&mut self, now: usize) {
        self.now = now;
        self.peak = self.peak.max(now);
    }
}

/// Declares the limits whose hits are counted, each by the name of its constant in
/// [`crate::limits`].
macro_rules! limits {
    ($($variant:ident $name:ident),+ $(,)?) => {
        /// A limit that can be hit.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Limit {
            $($variant),+
        }

        impl Limit {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name of the constant.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => {
                        let _ = crate::limits::$name;
                        stringify!($name)
                    }),+
                }
            }
        }
    };
}

limits! {
    AdminAnswerTime ADMIN_ANSWER_TIMEOUT,
    AdminRequests ADMIN_REQUESTS_MAX,
    AdmissionWait ADMISSION_WAIT_MAX,
    ChannelsOfUser CHANNELS_OF_USER_MAX,
    ClientFrameBytes CLIENT_FRAME_BYTES_MAX,
    CreatedMembers CREATED_MEMBERS_MAX,
    HandshakeBytes HANDSHAKE_BYTES_MAX,
    HandshakeTime HANDSHAKE_TIMEOUT,
    Handshakes HANDSHAKES_MAX,
    Headers HEADERS_MAX,
    HelloTime HELLO_TIMEOUT,
    HttpAnswerTime HTTP_ANSWER_TIMEOUT,
    HttpBodyBytes HTTP_BODY_BYTES_MAX,
    HttpConnections HTTP_CONNECTIONS_MAX,
    HttpIdleTime HTTP_IDLE_TIMEOUT,
    InFlight IN_FLIGHT_MAX,
    LinkConnectTime LINK_CONNECT_TIMEOUT,
    LinkFrameBytes LINK_FRAME_BYTES_MAX,
    LinkQueueBytes LINK_QUEUE_BYTES_MAX,
    LinkReads LINK_READS_MAX,
    LinkTime LINK_TIMEOUT,
    PollIdleTime POLL_IDLE_TIMEOUT,
    PollSessions POLL_SESSIONS_MAX,
    Refusals REFUSALS_MAX,
    ResumeChannels RESUME_CHANNELS_MAX,
    SessionBacklogBytes SESSION_BACKLOG_BYTES_MAX,
    SessionIdleTime SESSION_IDLE_TIMEOUT,
    SessionPages SESSION_PAGES_MAX,
    SessionQueueBytes SESSION_QUEUE_BYTES_MAX,
    SessionRequests SESSION_REQUESTS_MAX,
    SessionStallTime SESSION_STALL_TIMEOUT,
    Sessions SESSIONS_MAX,
    ShardLocates SHARD_LOCATES_MAX,
    ShardPages SHARD_PAGES_MAX,
    ShardRequestBytes SHARD_REQUEST_BYTES_MAX,
    ShardRequests SHARD_REQUESTS_MAX,
    UserRate USER_RATE_MAX,
    WorkspaceRate WORKSPACE_RATE_MAX,
}

/// How often each limit was hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hits([u64; Limit::ALL.len()]);

impl Default for Hits {
    fn default() -> Self {
        Self([0; Limit::ALL.len()])
    }
}

impl Hits {
    pub fn hit(&mut self, limit: Limit) {
        if let Some(count) = self.0.get_mut(limit as usize) {
            *count += 1;
        }
    }

    pub fn of(&self, limit: Limit) -> u64 {
        self.0.get(limit as usize).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_remembers_its_peak() {
        let mut level = Level::new("sessions", 3);
        level.set(4);
        level.set(1);
        assert_eq!((level.now, level.peak, level.limit), (1, 4, 3));
    }

    #[test]
    fn hits_are_counted_for_each_limit() {
        let mut hits = Hits::default();
        hits.hit(Limit::Sessions);
        hits.hit(Limit::Sessions);
        hits.hit(Limit::ClientFrameBytes);
        let counted: Vec<(&str, u64)> = Limit::ALL
            .iter()
            .map(|limit| (limit.name(), hits.of(*limit)))
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(counted, [("CLIENT_FRAME_BYTES_MAX", 1), ("SESSIONS_MAX", 2)]);
    }
}
