//! Histories of ada (client 0), with a second device (client 1), whom bob (client 2) watches; eve
//! (client 3) shares no channel with anybody.

use std::time::Duration;

use seriatim_engine::entry::{Content, Entry};
use seriatim_engine::ids::{ChannelId, ChannelKey, Nonce, SeqNo, WorkspaceId};
use seriatim_engine::time::WallTime;

use super::super::Recognizer;
use super::*;
use PresenceState::{Active, Away, Offline};

const ADA: u32 = 0;
const TABLET: u32 = 1;
const BOB: u32 = 2;
const EVE: u32 = 3;

/// In the middle of a calm run, long after every owner's grace.
const START: u64 = 1_000;

fn name(text: &str) -> UserId {
    UserId::new(text).unwrap()
}

fn channel() -> ChannelKey {
    ChannelKey { workspace: WorkspaceId::new("w").unwrap(), channel: ChannelId::new("c").unwrap() }
}

/// A presence and the time, in tenths of a second since [`START`].
struct Lab {
    presence: Presence,
    recognizer: Recognizer,
    beating: BTreeMap<u32, (PresenceState, bool)>,
    now: Duration,
}

impl Lab {
    /// Ada and bob share a channel; bob watches ada.
    fn new() -> Self {
        let user = |text| UserKey { workspace: channel().workspace, user: name(text) };
        let roster = Roster::new(vec![user("ada"), user("ada"), user("bob"), user("eve")]);
        let presence = Presence::new(&roster, Duration::from_secs(2));
        let mut lab = Self {
            presence,
            recognizer: Recognizer::default(),
            beating: BTreeMap::new(),
            now: Duration::from_secs(START - 100),
        };
        for (seq, text) in [(1, "ada"), (2, "bob")] {
            let nonce = Nonce::new("j").unwrap();
            let content = Content::Joined { user: name(text), nonce };
            let entry = Entry { seq: SeqNo(seq), at: WallTime(seq), content };
            lab.see(What::Delivered { client: ClientIndex(BOB), channel: channel(), entry });
        }
        for client in [BOB, EVE] {
            lab.open(client, Active, false);
            let users = [name("ada")].into();
            let client = ClientIndex(client);
            lab.see(What::Watching { client, session: "s".into(), users });
        }
        lab.tell(BOB, Offline);
        lab.until(0.0);
        lab
    }

    fn see(&mut self, what: What) {
        let event = Event { at: self.now, what };
        self.presence.observe(&self.recognizer.see(&event));
    }

    fn open(&mut self, client: u32, state: PresenceState, background: bool) {
        self.see(What::SessionOpened {
            client: ClientIndex(client),
            session: "s".into(),
            gateway: "gateway-1".into(),
            channels: Vec::new(),
        });
        self.beat(client, state, background);
    }

    fn beat(&mut self, client: u32, state: PresenceState, background: bool) {
        self.beating.insert(client, (state, background));
        let client = ClientIndex(client);
        self.see(What::Heartbeat { client, session: "s".into(), state, background });
    }

    fn close(&mut self, client: u32) {
        self.beating.remove(&client);
        self.see(What::SessionClosed { client: ClientIndex(client), session: "s".into() });
    }

    fn tell(&mut self, client: u32, state: PresenceState) {
        let (client, user) = (ClientIndex(client), name("ada"));
        self.see(What::PresenceTold { client, session: "s".into(), user, state });
    }

    fn fault(&mut self, behind_gateways: bool) {
        self.see(What::FaultBegan { name: "x".into(), behind_gateways });
    }

    fn heal(&mut self) {
        self.see(What::FaultHealed { name: "x".into() });
    }

    /// Lets the time come; open sessions go on with their heartbeats, hidden ones once a minute.
    fn until(&mut self, seconds: f64) {
        let end = Duration::from_secs(START) + Duration::from_secs_f64(seconds);
        while self.now < end {
            let second = self.now.as_secs();
            self.now = end.min(Duration::from_secs(second + 1));
            if self.now < end || self.now.subsec_nanos() == 0 {
                for (client, (state, background)) in self.beating.clone() {
                    if self.now.as_secs().is_multiple_of(if background { 60 } else { 15 }) {
                        self.beat(client, state, background);
                    }
                }
            }
            let at = self.now;
            self.presence.check_due(at);
        }
    }

    fn found(&self) -> Vec<String> {
        let violations = self.presence.findings().violations();
        assert!(violations.iter().all(|one| !one.witness.is_empty()), "{violations:?}");
        violations.iter().map(|violation| violation.message.clone()).collect()
    }
}

/// Bob knows that ada is offline; she comes at 0 and he is told.
fn online() -> Lab {
    let mut lab = Lab::new();
    lab.open(ADA, Active, false);
    lab.until(1.0);
    lab.tell(BOB, Active);
    lab
}

#[test]
fn a_day_in_order_holds() {
    let mut lab = online();
    lab.until(100.0);
    lab.beat(ADA, Away, false);
    lab.until(101.5);
    lab.tell(BOB, Away);
    lab.until(150.0);
    lab.close(ADA);
    lab.until(181.0);
    lab.tell(BOB, Offline);
    lab.until(500.0);
    assert_eq!(lab.found(), [""; 0]);
}

#[test]
fn offline_within_the_time_to_live_of_a_reconnect_is_a_flap() {
    let mut lab = online();
    lab.until(100.0);
    lab.close(ADA);
    lab.until(105.0);
    lab.open(ADA, Active, false);
    lab.until(106.0);
    lab.tell(BOB, Offline);
    assert_eq!(lab.found(), ["told offline while client 0 is active"]);
}

#[test]
fn offline_while_heartbeats_arrive_is_a_flap_even_amid_a_fault() {
    let mut lab = online();
    lab.until(100.0);
    lab.fault(true);
    lab.until(103.0);
    lab.tell(BOB, Offline);
    assert_eq!(lab.found(), ["told offline while client 0 is active"]);
    let mut lab = online();
    lab.until(100.0);
    lab.fault(false);
    lab.close(ADA);
    lab.until(126.0);
    lab.tell(BOB, Offline);
    assert_eq!(lab.found(), [""; 0], "its last heartbeat, at 95 s, had 30 s to live");
}

#[test]
fn the_most_present_of_several_devices_counts() {
    let mut lab = online();
    lab.open(TABLET, Away, false);
    lab.until(50.0);
    lab.tell(BOB, Away);
    assert_eq!(lab.found(), ["told away while client 0 is active"]);
    let mut lab = online();
    lab.open(TABLET, Away, false);
    lab.until(50.0);
    lab.close(ADA);
    lab.until(78.0);
    lab.tell(BOB, Away);
    lab.until(200.0);
    assert_eq!(lab.found(), [""; 0]);
    lab.tell(BOB, Offline);
    assert_eq!(lab.found(), ["told offline while client 1 is away"]);
}

#[test]
fn a_hidden_tab_has_longer_to_live_until_it_is_shown() {
    let mut lab = online();
    lab.until(10.0);
    lab.beat(ADA, Active, true);
    lab.until(70.0);
    lab.tell(BOB, Offline);
    assert_eq!(lab.found(), ["told offline while client 0 is active"]);
    let mut lab = online();
    lab.until(10.0);
    lab.beat(ADA, Active, true);
    lab.until(60.0);
    lab.beat(ADA, Active, false);
    lab.close(ADA);
    lab.until(95.0);
    lab.tell(BOB, Offline);
    assert_eq!(lab.found(), [""; 0]);
}

#[test]
fn a_state_that_no_session_has_is_false() {
    let mut lab = online();
    lab.until(50.0);
    lab.beat(ADA, Away, false);
    lab.until(51.0);
    lab.tell(BOB, Away);
    lab.until(60.0);
    lab.tell(BOB, Active);
    assert_eq!(lab.found(), ["told active but no session can be"]);
}

#[test]
fn what_was_said_amid_a_fault_may_have_arrived_or_not() {
    for state in [Away, Active] {
        let mut lab = online();
        lab.until(50.0);
        lab.tell(BOB, Active);
        lab.fault(false);
        lab.until(51.0);
        lab.beat(ADA, Away, false);
        lab.until(54.0);
        lab.tell(BOB, state);
        lab.heal();
        assert_eq!(lab.found(), [""; 0]);
    }
}

#[test]
fn whoever_went_and_is_not_told_to_have_gone_is_a_ghost() {
    let mut lab = online();
    lab.until(50.0);
    lab.close(ADA);
    lab.until(83.0);
    assert_eq!(lab.found(), [""; 0]);
    lab.until(87.0);
    assert_eq!(lab.found(), ["client 2 still sees ada active, which is over"]);
}

#[test]
fn a_ghost_is_found_after_a_fault_once_a_new_owner_has_had_its_time() {
    let mut lab = online();
    lab.until(50.0);
    lab.fault(false);
    lab.close(ADA);
    lab.until(55.0);
    lab.heal();
    lab.until(170.0);
    assert_eq!(lab.found(), [""; 0]);
    lab.until(190.0);
    assert_eq!(lab.found(), ["client 2 still sees ada active, which is over"]);
}

#[test]
fn a_watcher_whose_gateway_died_is_told_nothing_until_it_finds_out() {
    let mut lab = Lab::new();
    lab.fault(false);
    lab.until(1.0);
    lab.heal();
    lab.until(9.0);
    lab.open(ADA, Active, false);
    lab.until(26.0);
    assert_eq!(lab.found(), [""; 0]);
    lab.until(34.0);
    assert_eq!(lab.found(), ["client 2 still sees ada offline, which is over"]);
}

#[test]
fn an_arrival_that_is_not_told_is_found_soon_even_in_a_new_owners_grace() {
    let mut lab = Lab::new();
    lab.fault(true);
    lab.until(5.0);
    lab.heal();
    lab.until(20.0);
    lab.open(ADA, Active, false);
    lab.until(30.0);
    assert_eq!(lab.found(), ["client 2 still sees ada offline, which is over"]);
}

#[test]
fn a_session_that_a_new_owner_is_not_told_of_is_found_before_its_next_heartbeat() {
    let mut lab = Lab::new();
    lab.open(ADA, Active, true);
    lab.until(1.0);
    lab.tell(BOB, Active);
    lab.until(25.0);
    lab.fault(true);
    lab.until(26.0);
    lab.heal();
    lab.until(34.0);
    let (client, users) = (ClientIndex(BOB), [name("ada")].into());
    lab.see(What::Watching { client, session: "s".into(), users });
    lab.until(41.0);
    assert_eq!(lab.found(), ["client 2 was never told how ada is"]);
}

#[test]
fn of_a_session_that_closed_before_a_new_owner_came_nobody_need_be_told() {
    let mut lab = Lab::new();
    lab.open(ADA, Active, false);
    lab.until(1.0);
    lab.tell(BOB, Active);
    lab.until(25.0);
    lab.fault(true);
    lab.close(ADA);
    lab.until(26.0);
    lab.heal();
    lab.until(34.0);
    let (client, users) = (ClientIndex(BOB), [name("ada")].into());
    lab.see(What::Watching { client, session: "s".into(), users });
    lab.until(60.0);
    assert_eq!(lab.found(), [""; 0]);
}

#[test]
fn strangers_are_told_nothing_and_nobody_of_whom_they_did_not_ask_for() {
    let mut lab = online();
    lab.until(10.0);
    lab.tell(EVE, Active);
    assert_eq!(lab.found(), ["client 3 was told of ada, with whom eve shares no channel"]);
    let mut lab = online();
    lab.until(10.0);
    let users = [name("eve")].into();
    lab.see(What::Watching { client: ClientIndex(BOB), session: "s".into(), users });
    lab.until(11.0);
    lab.tell(BOB, Active);
    assert_eq!(lab.found(), [""; 0], "it was on its way");
    lab.until(15.0);
    lab.tell(BOB, Active);
    assert_eq!(lab.found(), ["client 2 was told of ada, whom it does not watch"]);
}

#[test]
fn typing_is_told_soon_and_to_members() {
    let told = |client| What::TypingTold {
        client: ClientIndex(client),
        channel: channel(),
        user: name("ada"),
    };
    let mut lab = online();
    lab.see(What::Typed { client: ClientIndex(ADA), channel: channel() });
    lab.until(2.0);
    lab.see(told(BOB));
    assert_eq!(lab.found(), [""; 0]);
    lab.see(told(EVE));
    assert_eq!(lab.found(), ["client 3 was told who is writing where it is no member"]);
    lab.until(9.0);
    lab.see(told(BOB));
    assert_eq!(lab.found().last().unwrap(), "client 2 was told that ada is writing, who is not");
}
