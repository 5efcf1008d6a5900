//! Tests of the presence machine, through `handle` only.

use std::time::Duration;

use super::*;
use crate::ids::{ChannelId, ChannelKey, SeqNo, WorkspaceId};
use crate::limits::{PRESENCE_BACKGROUND_TTL, PRESENCE_TTL};
use crate::membership::Standing;
use PresenceState::{Active, Away, Offline};

const BOB: Watcher = watcher(1);

const fn watcher(connection: u64) -> Watcher {
    Watcher { link: LinkId(1), connection: ConnectionId(connection) }
}

fn at(seconds: u64) -> MonoTime {
    MonoTime(Duration::from_secs(seconds))
}

/// Long after the grace.
const LATER: u64 = 1_000;

fn later(seconds: u64) -> MonoTime {
    at(LATER + seconds)
}

fn key(name: &str) -> UserKey {
    UserKey { workspace: WorkspaceId::new("w").unwrap(), user: UserId::new(name).unwrap() }
}

fn beat(session: u64, number: u64, state: PresenceState) -> Beat {
    let session = SessionId(session);
    Beat { user: key("ada"), session, number, state, background: false, age_ms: 0 }
}

/// A presence and who shares a channel: ada and bob do.
struct Lab {
    presence: Presence,
    membership: Membership,
}

impl Lab {
    /// One that is new.
    fn new() -> Self {
        let mut lab = Self { presence: Presence::default(), membership: Membership::default() };
        lab.join("general", "ada");
        lab.join("general", "bob");
        lab.join("elsewhere", "eve");
        lab
    }

    /// One whose grace is over.
    fn old() -> Self {
        let mut lab = Self::new();
        lab.feed(at(0), Input::Tick);
        lab.feed(at(LATER), Input::Tick);
        lab
    }

    fn join(&mut self, channel: &str, user: &str) {
        let channel = ChannelId::new(channel).unwrap();
        let channel = ChannelKey { workspace: key(user).workspace, channel };
        self.membership.set(&channel, &key(user).user, Standing::Member { from: SeqNo(1) });
    }

    /// Who is told what of ada.
    fn feed(&mut self, now: MonoTime, input: Input) -> Vec<(u64, PresenceState)> {
        let mut tells = Vec::new();
        self.presence.handle(now, input, &self.membership, &mut tells);
        assert!(tells.iter().all(|tell| tell.user == key("ada")), "{tells:?}");
        tells.iter().map(|tell| (tell.watcher.connection.0, tell.state)).collect()
    }

    fn beats(&mut self, now: MonoTime, beats: impl Into<Vec<Beat>>) -> Vec<(u64, PresenceState)> {
        self.feed(now, Input::Beats { beats: beats.into() })
    }

    fn watch(
        &mut self,
        now: MonoTime,
        watcher: Watcher,
        user: &str,
        told: Option<PresenceState>,
    ) -> Vec<(u64, PresenceState)> {
        let watched = vec![Watched { user: key("ada").user, told }];
        self.feed(now, Input::Watch { watcher, user: key(user), watched })
    }

    /// Ticks at each deadline up to `until`; what is told, and when.
    fn pass(&mut self, until: MonoTime) -> Vec<(Duration, u64, PresenceState)> {
        let mut told = Vec::new();
        while let Some(deadline) = self.presence.next_deadline().filter(|at| *at <= until) {
            let tells = self.feed(deadline, Input::Tick);
            told.extend(tells.into_iter().map(|(to, state)| (deadline.0, to, state)));
            assert_ne!(self.presence.next_deadline(), Some(deadline), "a tick changes nothing");
        }
        told
    }
}

#[test]
fn a_subscription_answers_with_the_present_state_and_then_tells_changes() {
    let mut lab = Lab::old();
    assert_eq!(lab.watch(later(0), BOB, "bob", None), [(1, Offline)]);
    assert_eq!(lab.beats(later(1), [beat(7, 1, Active)]), [(1, Active)]);
    assert_eq!(lab.beats(later(2), [beat(7, 2, Active)]), []);
    assert_eq!(lab.watch(later(3), watcher(2), "bob", None), [(2, Active)]);
    assert_eq!(lab.beats(later(4), [beat(7, 3, Away)]), [(1, Away), (2, Away)]);
    let none = Input::Watch { watcher: BOB, user: key("bob"), watched: Vec::new() };
    assert_eq!(lab.feed(later(5), none), []);
    assert_eq!(lab.beats(later(6), [beat(7, 4, Active)]), [(2, Active)]);
}

#[test]
fn a_users_sessions_are_merged() {
    let mut lab = Lab::old();
    lab.watch(later(0), BOB, "bob", None);
    assert_eq!(lab.beats(later(0), [beat(1, 1, Away)]), [(1, Away)]);
    assert_eq!(lab.beats(later(1), [beat(2, 1, Active)]), [(1, Active)]);
    assert_eq!(lab.beats(later(2), [beat(1, 2, Away)]), [], "the other is active");
    assert_eq!(lab.beats(later(3), [beat(2, 2, Offline)]), [(1, Away)]);
    assert_eq!(lab.beats(later(4), [beat(1, 3, Active)]), [(1, Active)]);
    assert_eq!(lab.beats(later(5), [beat(2, 3, Away)]), [], "the other is active");
    assert_eq!(lab.beats(later(6), [beat(1, 4, Offline)]), [(1, Away)]);
    assert_eq!(lab.beats(later(7), [beat(2, 4, Offline)]), [(1, Offline)]);
}

#[test]
fn a_silent_session_counts_for_its_time_to_live_and_not_a_sweep_longer() {
    for (background, ttl) in [(false, PRESENCE_TTL), (true, PRESENCE_BACKGROUND_TTL)] {
        let mut lab = Lab::old();
        lab.watch(later(0), BOB, "bob", None);
        lab.beats(later(0), [Beat { background, ..beat(1, 1, Active) }]);
        lab.beats(later(9), [Beat { background, ..beat(1, 2, Active) }]);
        let told = lab.pass(later(3_600));
        let [(when, 1, Offline)] = told[..] else { panic!("{told:?}") };
        let dead = later(9).0 + ttl;
        assert!((dead..=dead + PRESENCE_SWEEP).contains(&when), "{when:?}");
        assert_eq!((lab.presence.next_deadline(), lab.presence.sessions.count()), (None, 0));
    }
}

#[test]
fn a_session_that_comes_out_of_the_background_runs_out_sooner() {
    let mut lab = Lab::old();
    lab.watch(later(0), BOB, "bob", None);
    lab.beats(later(0), [Beat { background: true, ..beat(1, 1, Active) }]);
    lab.beats(later(1), [beat(1, 2, Active)]);
    assert_eq!(lab.pass(later(33)).len(), 1);
}

#[test]
fn late_beats_revive_nobody() {
    let mut lab = Lab::old();
    lab.watch(later(0), BOB, "bob", None);
    let late = Beat { age_ms: 29_000, ..beat(1, 1, Active) };
    assert_eq!(lab.beats(later(0), [late.clone()]), [(1, Active)]);
    assert_eq!(lab.pass(later(3)).len(), 1, "it had a second left");
    let stale = Beat { age_ms: 30_000, ..late };
    assert_eq!(lab.beats(later(4), [stale]), []);

    lab.beats(later(5), [beat(2, 5, Away)]);
    assert_eq!(lab.beats(later(6), [beat(2, 4, Active)]), [], "an earlier one, overtaken");
}

#[test]
fn nobody_hears_of_people_they_share_no_channel_with() {
    let mut lab = Lab::old();
    lab.beats(later(0), [beat(1, 1, Active)]);
    let eve = watcher(3);
    assert_eq!(lab.watch(later(0), eve, "eve", None), []);
    assert_eq!(lab.beats(later(1), [beat(1, 2, Away)]), []);
    lab.join("general", "eve");
    assert_eq!(lab.feed(later(2), Input::Joined { user: key("eve") }), [(3, Away)]);
    assert_eq!(lab.feed(later(2), Input::Joined { user: key("ada") }), []);
    assert_eq!(lab.beats(later(3), [beat(1, 3, Active)]), [(3, Active)]);
}

#[test]
fn a_new_owner_raises_at_once_and_lowers_after_its_grace() {
    let mut lab = Lab::new();
    let mut told = Vec::new();
    // Bob was told that ada is active, eve's colleague asks anew, a third session knows less.
    told.extend(lab.watch(at(0), BOB, "bob", Some(Active)));
    told.extend(lab.watch(at(0), watcher(2), "bob", None));
    told.extend(lab.watch(at(0), watcher(3), "bob", Some(Offline)));
    assert_eq!(told, []);
    assert_eq!(lab.beats(at(1), [beat(1, 1, Away)]), [(2, Away), (3, Away)]);
    for seconds in (11..90).step_by(10) {
        assert_eq!(lab.beats(at(seconds), [beat(1, seconds, Away)]), []);
    }
    let grace = Duration::from_secs(90);
    assert_eq!(lab.pass(at(95)), [(grace, 1, Away)]);
}

#[test]
fn a_new_owner_says_offline_of_nobody_before_its_grace_is_over() {
    let mut lab = Lab::new();
    lab.watch(at(0), BOB, "bob", Some(Active));
    lab.watch(at(0), watcher(2), "bob", None);
    let grace = Duration::from_secs(90);
    assert_eq!(lab.pass(at(1_000)), [(grace, 1, Offline), (grace, 2, Offline)]);
}

#[test]
fn a_link_takes_its_watchers_with_it_and_leaves_sessions_their_time() {
    let mut lab = Lab::old();
    lab.watch(later(0), BOB, "bob", None);
    lab.beats(later(0), [beat(1, 1, Active)]);
    lab.feed(later(1), Input::LinkDown { link: LinkId(1) });
    assert_eq!(lab.beats(later(2), [beat(1, 2, Away)]), []);
    let back = Watcher { link: LinkId(2), connection: ConnectionId(1) };
    assert_eq!(lab.watch(later(3), back, "bob", Some(Active)), [(1, Away)]);
    assert_eq!(lab.watch(later(3), back, "bob", Some(Away)), [], "it knows");
}
