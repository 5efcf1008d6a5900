//! How often users and workspaces may ask for something: token buckets, one for each.
//!
//! A bucket starts full, fills at its rate and is emptied by one for each request. The gateway asks
//! before it forwards a request. Each gateway counts for itself: a user who spreads over several
//! gets the rate at each.
//!
//! # Invariants
//!
//! - **Fair**: what one user or workspace does takes nothing from another's bucket.
//! - **Bounded**: a bucket that is full again is as good as none and forgotten; at most
//!   [`RATE_BUCKETS_MAX`] are kept.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::{UserKey, WorkspaceId};
use crate::limits::{
    RATE_BUCKETS_MAX, USER_BURST_MAX, USER_RATE_MAX, WORKSPACE_BURST_MAX, WORKSPACE_RATE_MAX,
};
use crate::time::MonoTime;

/// How many requests, how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In the long run. Not 0.
    pub per_s: u32,
    /// At once, by who has been quiet. Not 0.
    pub burst: u32,
}

/// What a gateway lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    pub user: Rate,
    pub workspace: Rate,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            user: Rate { per_s: USER_RATE_MAX, burst: USER_BURST_MAX },
            workspace: Rate { per_s: WORKSPACE_RATE_MAX, burst: WORKSPACE_BURST_MAX },
        }
    }
}

impl Rate {
    /// In which one request is earned.
    fn step(self) -> Duration {
        Duration::from_secs(1) / self.per_s.max(1)
    }
}

/// Whose bucket was empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    User,
    Workspace,
}

/// Too many requests: the next one is let through after `wait`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limited {
    pub(super) whose: Whose,
    pub(super) wait: Duration,
}

/// The buckets of one gateway.
#[derive(Debug)]
pub(super) struct Rates {
    users: Buckets<UserKey>,
    workspaces: Buckets<WorkspaceId>,
}

impl Rates {
    pub(super) fn new(limits: RateLimits) -> Self {
        Self { users: Buckets::new(limits.user), workspaces: Buckets::new(limits.workspace) }
    }

    /// Lets a request of `user` through, or says when to come again. A refused request costs
    /// nothing.
    ///
    /// # Errors
    /// [`Limited`]
    pub(super) fn admit(&mut self, now: MonoTime, user: &UserKey) -> Result<(), Limited> {
        let limited = |whose| move |wait| Limited { whose, wait };
        self.users.check(now, user).map_err(limited(Whose::User))?;
        self.workspaces.check(now, &user.workspace).map_err(limited(Whose::Workspace))?;
        self.users.take(now, user);
        self.workspaces.take(now, &user.workspace);
        Ok(())
    }

    /// Buckets that are kept, of both kinds.
    pub(super) fn count(&self) -> usize {
        self.users.full_at.len() + self.workspaces.full_at.len()
    }
}

#[derive(Debug)]
struct Buckets<K> {
    rate: Rate,
    /// When each bucket will be full again: all that there is to know of it. One that is not here
    /// is full.
    full_at: BTreeMap<K, MonoTime>,
}

impl<K: Ord + Clone> Buckets<K> {
    fn new(rate: Rate) -> Self {
        Self { rate, full_at: BTreeMap::new() }
    }

    /// `Err`: the time until a request has been earned.
    fn check(&self, now: MonoTime, key: &K) -> Result<(), Duration> {
        let Some(full_at) = self.full_at.get(key) else { return Ok(()) };
        let missing = *full_at - now;
        // A bucket that lacks all but one request has just one to give.
        let most = self.rate.step() * (self.rate.burst - 1);
        if missing <= most { Ok(()) } else { Err(missing - most) }
    }

    fn take(&mut self, now: MonoTime, key: &K) {
        let step = self.rate.step();
        if let Some(full_at) = self.full_at.get_mut(key) {
            *full_at = now.max(*full_at) + step;
            return;
        }
        if self.full_at.len() >= RATE_BUCKETS_MAX {
            self.forget(now);
        }
        self.full_at.insert(key.clone(), now + step);
    }

    /// Makes room: the full ones, and if there is none, the fullest: who is least limited.
    fn forget(&mut self, now: MonoTime) {
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() >= RATE_BUCKETS_MAX
            && let Some(fullest) =
                self.full_at.iter().min_by_key(|(_, full_at)| **full_at).map(|(key, _)| key.clone())
        {
            self.full_at.remove(&fullest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;

    const LIMITS: RateLimits =
        RateLimits { user: Rate { per_s: 10, burst: 5 }, workspace: Rate { per_s: 10, burst: 8 } };

    fn user(workspace: &str, name: &str) -> UserKey {
        UserKey {
            workspace: WorkspaceId::new(workspace).unwrap(),
            user: UserId::new(name).unwrap(),
        }
    }

    fn at_ms(ms: u64) -> MonoTime {
        MonoTime(Duration::from_millis(ms))
    }

    /// How many of many requests at once are let through.
    fn admitted(rates: &mut Rates, now: MonoTime, user: &UserKey) -> usize {
        (0..100).filter(|_| rates.admit(now, user).is_ok()).count()
    }

    #[test]
    fn a_user_gets_the_burst_and_then_the_rate() {
        let mut rates = Rates::new(LIMITS);
        let ada = user("w", "ada");
        assert_eq!(admitted(&mut rates, at_ms(0), &ada), 5);
        let limited = rates.admit(at_ms(30), &ada).unwrap_err();
        assert_eq!(limited, Limited { whose: Whose::User, wait: Duration::from_millis(70) });
        assert_eq!(admitted(&mut rates, at_ms(99), &ada), 0);
        assert_eq!(admitted(&mut rates, at_ms(100), &ada), 1, "who waits as told is let through");
        assert_eq!(admitted(&mut rates, at_ms(400), &ada), 3);
        assert_eq!(admitted(&mut rates, at_ms(60_000), &ada), 5, "quiet for long earns a burst");
    }

    #[test]
    fn one_user_takes_nothing_from_another_but_their_workspace_has_a_limit() {
        let mut rates = Rates::new(LIMITS);
        assert_eq!(admitted(&mut rates, at_ms(0), &user("w", "ada")), 5);
        assert_eq!(admitted(&mut rates, at_ms(0), &user("w", "bob")), 3);
        let limited = rates.admit(at_ms(0), &user("w", "eve")).unwrap_err();
        assert_eq!(limited.whose, Whose::Workspace);
        assert_eq!(admitted(&mut rates, at_ms(0), &user("v", "ada")), 5);
    }

    #[test]
    fn a_refused_request_costs_nothing() {
        let mut rates = Rates::new(LIMITS);
        assert_eq!(admitted(&mut rates, at_ms(0), &user("w", "ada")), 5);
        assert_eq!(admitted(&mut rates, at_ms(0), &user("w", "bob")), 3);
        // Refused a hundred times for the workspace, bob still has two of his own.
        assert_eq!(admitted(&mut rates, at_ms(200), &user("w", "bob")), 2);
    }

    #[test]
    fn buckets_are_bounded_and_the_emptiest_are_kept() {
        let mut rates = Rates::new(RateLimits {
            user: Rate { per_s: 1, burst: 2 },
            workspace: Rate { per_s: 1_000_000, burst: 1_000_000 },
        });
        let greedy = user("w", "greedy");
        assert_eq!(admitted(&mut rates, at_ms(0), &greedy), 2);
        for number in 0..RATE_BUCKETS_MAX + 10 {
            rates.admit(at_ms(0), &user("w", &format!("u{number}"))).unwrap();
        }
        assert_eq!(rates.users.full_at.len(), RATE_BUCKETS_MAX);
        assert!(rates.admit(at_ms(0), &greedy).is_err(), "forgotten while it was empty");

        rates.admit(at_ms(1_500), &user("w", "late")).unwrap();
        assert_eq!(rates.users.full_at.len(), 2, "only the greedy one is not full again");
    }
}
