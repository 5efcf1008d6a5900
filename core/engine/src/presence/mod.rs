//! Who is there: merges a user's sessions and tells those who watch and may know.
//!
//! A [`Presence`] performs no I/O: feed it an [`Input`], then carry out the [`Tell`]s it appended.
//! `owner/presence.rs` is its driver; it lives beside the owner, which knows who shares a channel.
//!
//! A user is as present as their most present session (active, then away), and offline without
//! one. A session counts from its first heartbeat until it has been silent for its time to live,
//! however its connection ended: a reconnect, a hop to another gateway or a dead gateway within
//! that time changes nothing. Only a heartbeat that says `offline` ends it at once.
//!
//! # After a restart
//!
//! All of this is memory. A new owner hears from each gateway which sessions it has, when each was
//! last heard, and what each watcher was last told. Until it has run for [`PRESENCE_GRACE`] there
//! may be sessions that it hasn't heard of, so it **raises** what watchers were told and lowers
//! nothing; of a user without a session it says nothing at all. Then it tells what is left to tell.
//!
//! # Behind another registry
//!
//! [`sessions::Sessions`] is all that would move out of the process (Redis, say). What stands in
//! for it must take a beat once however often it comes, ignore one that is older than what it has
//! or has run out, tell a user's merged state, and on each sweep take out what has run out and
//! name the users concerned, each to one owner only.
//!
//! # Invariants
//!
//! - **Merged**: a watcher is told of users, never of sessions.
//! - **Changes only**: nobody is told the same state of a user twice, unless they ask anew.
//! - **Shared**: nothing is told of a user with whom the watcher shares no channel at that moment.
//! - **In proportion**: a change costs as much as there are sessions that watch the user.

pub mod sessions;
#[cfg(test)]
mod tests;
mod watches;

use serde::{Deserialize, Serialize};

use crate::frame::PresenceState;
use crate::ids::{ConnectionId, UserId, UserKey};
use crate::limits::{PRESENCE_GRACE, PRESENCE_SWEEP};
use crate::link::LinkId;
use crate::membership::Membership;
use crate::time::MonoTime;

use sessions::Sessions;
use watches::Watches;

/// One session, by a number that no other of the deployment has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub u64);

/// A sign of life of a session, and what its last heartbeat said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    pub user: UserKey,
    pub session: SessionId,
    /// Rises with each beat of the session; one that was sent again keeps it.
    pub number: u64,
    pub state: PresenceState,
    pub background: bool,
    /// How long ago the session was heard.
    pub age_ms: u64,
}

/// A user whom a session watches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    pub user: UserId,
    /// What the session was told last; none when it is owed an answer.
    pub told: Option<PresenceState>,
}

/// A session that watches, as the owner knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watcher {
    pub link: LinkId,
    pub connection: ConnectionId,
}

/// What happens.
#[derive(Debug)]
pub enum Input {
    Beats {
        beats: Vec<Beat>,
    },
    /// The session of `user` watches these from now on, and nobody else.
    Watch {
        watcher: Watcher,
        user: UserKey,
        watched: Vec<Watched>,
    },
    /// A gateway is gone. Its watchers will ask again; its sessions keep their time to live.
    LinkDown {
        link: LinkId,
    },
    /// The user became a member of a channel: they may know, and be known to, more people.
    Joined {
        user: UserKey,
    },
    /// [`Presence::next_deadline`] has passed.
    Tick,
}

/// Tell a watcher how a user is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tell {
    pub watcher: Watcher,
    pub user: UserKey,
    pub state: PresenceState,
}

/// The machine.
#[derive(Debug, Default)]
pub struct Presence {
    sessions: Sessions,
    watches: Watches,
    /// Unknown before the first input: nothing can have been heard before it.
    grace: Option<Grace>,
    swept_at: MonoTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grace {
    Until(MonoTime),
    Over,
}

impl Presence {
    pub fn handle(
        &mut self,
        now: MonoTime,
        input: Input,
        membership: &Membership,
        tells: &mut Vec<Tell>,
    ) {
        let ended = self.end_grace(now);
        let mut visit = Visit { membership, lowers: self.grace == Some(Grace::Over), tells };
        match input {
            Input::Beats { beats } => {
                for beat in beats {
                    if self.sessions.beat(now, &beat) {
                        visit.user(&mut self.watches, &self.sessions, &beat.user);
                    }
                }
            }
            Input::Watch { watcher, user, watched } => {
                self.watches.replace(watcher, user, watched);
                visit.watcher(&mut self.watches, &self.sessions, watcher);
            }
            Input::LinkDown { link } => self.watches.drop_link(link),
            Input::Joined { user } => {
                visit.user(&mut self.watches, &self.sessions, &user);
                for watcher in self.watches.of_watching_user(&user) {
                    visit.watcher(&mut self.watches, &self.sessions, watcher);
                }
            }
            Input::Tick if self.swept_at + PRESENCE_SWEEP <= now => {
                self.swept_at = now;
                for user in self.sessions.sweep(now) {
                    visit.user(&mut self.watches, &self.sessions, &user);
                }
            }
            Input::Tick => {}
        }
        if ended {
            for watcher in self.watches.all() {
                visit.watcher(&mut self.watches, &self.sessions, watcher);
            }
        }
    }

    /// How the user is.
    pub fn state(&self, user: &UserKey) -> PresenceState {
        self.sessions.state(user)
    }

    /// When to feed [`Input::Tick`], if nothing else happens before. Sessions run out one by one;
    /// a sweep takes all that did within its interval.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        let sweep = self.sessions.next_deadline().map(|at| at.max(self.swept_at + PRESENCE_SWEEP));
        let grace = match self.grace {
            Some(Grace::Until(at)) if !self.watches.is_empty() => Some(at),
            Some(Grace::Until(_) | Grace::Over) | None => None,
        };
        sweep.into_iter().chain(grace).min()
    }

    /// True once, when the grace is over.
    fn end_grace(&mut self, now: MonoTime) -> bool {
        let grace = self.grace.get_or_insert(Grace::Until(now + PRESENCE_GRACE));
        let ends = matches!(grace, Grace::Until(at) if *at <= now);
        if ends {
            *grace = Grace::Over;
        }
        ends
    }
}

/// Compares what watchers were told with how users are.
struct Visit<'a> {
    membership: &'a Membership,
    /// The grace is over: states may be lowered, and offline is known.
    lowers: bool,
    tells: &'a mut Vec<Tell>,
}

impl Visit<'_> {
    /// Everybody who watches `user`.
    fn user(&mut self, watches: &mut Watches, sessions: &Sessions, user: &UserKey) {
        for watcher in watches.of_user(user) {
            self.one(watches, sessions, watcher, user);
        }
    }

    /// Everybody whom `watcher` watches.
    fn watcher(&mut self, watches: &mut Watches, sessions: &Sessions, watcher: Watcher) {
        for user in watches.watched_by(watcher) {
            self.one(watches, sessions, watcher, &user);
        }
    }

    fn one(
        &mut self,
        watches: &mut Watches,
        sessions: &Sessions,
        watcher: Watcher,
        user: &UserKey,
    ) {
        let state = sessions.state(user);
        let Some((watching_user, told)) = watches.told_mut(watcher, user) else { return };
        let rises = state > PresenceState::Offline && told.is_none_or(|told| told < state);
        let due = if self.lowers { *told != Some(state) } else { rises };
        if due && self.membership.share_a_channel(watching_user, user) {
            *told = Some(state);
            self.tells.push(Tell { watcher, user: user.clone(), state });
        }
    }
}
