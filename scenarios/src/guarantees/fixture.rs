//! A history in which every promise is kept, and ways to break it.
//!
//! Two users of one workspace share a channel. A third client never joins. Client 1 loses its
//! session and resumes; the reply to `n2` is lost and its retry is told that it is a duplicate;
//! `n3` is never answered and never stored.

use std::sync::Arc;
use std::time::Duration;

use seriatim_engine::entry::{Asked, Content, Entry, Wish};
use seriatim_engine::frame::PresenceState;
use seriatim_engine::history_bound::HistoryBound;
use seriatim_engine::ids::{ChannelId, ChannelKey, Nonce, SeqNo, UserId, UserKey, WorkspaceId};
use seriatim_engine::levels::Level;
use seriatim_engine::time::WallTime;

use super::{Findings, Guarantee, Recognizer};
use crate::history::{ClientIndex, Event, Roster, What};

pub(crate) fn roster() -> Roster {
    let workspace = WorkspaceId::new("w1").unwrap();
    let user = |index| UserKey { workspace: workspace.clone(), user: user(index) };
    Roster::new((0..3).map(user).collect())
}

pub(crate) fn healthy() -> History {
    let mut events = Vec::new();
    for (client, session, seq) in [(0, "a", 1), (1, "b", 2)] {
        events.extend([
            opened(client, session, &[]),
            join_invoked(client),
            join_accepted(client, seq),
            served(client, session, seq - 1),
            received(client, session, joined(seq, client)),
            delivered(client, joined(seq, client)),
        ]);
    }
    events.extend([
        received(0, "a", joined(2, 1)),
        delivered(0, joined(2, 1)),
        opened(2, "z", &[]),
        peak(3, 10),
        invoked(0, "n1", "hello"),
        sent(0, "a", "n1"),
        received(0, "a", hello()),
        accepted(0, "n1", 3),
        delivered(0, hello()),
        received(1, "b", hello()),
        delivered(1, hello()),
        began(),
        closed(1, "b"),
        invoked(1, "n3", "lost"),
        invoked(0, "n2", "more"),
        sent(0, "a", "n2"),
        received(0, "a", more()),
        delivered(0, more()),
        What::FaultHealed { name: "sigkill gateway-1".into() },
        opened(1, "c", &[3]),
        received(1, "c", more()),
        delivered(1, more()),
        sent(0, "a", "n2"),
        duplicate(0, "n2", 4),
        What::FaultsOver,
        What::Converged,
        closed(0, "a"),
        stored(joined(1, 0)),
        stored(joined(2, 1)),
        stored(hello()),
        stored(more()),
        What::AuditDone,
        What::RunEnded,
    ]);
    History(events)
}

/// Events, one every 10 ms.
pub(crate) struct History(pub(crate) Vec<What>);

impl History {
    fn find(&self, what: &What) -> usize {
        self.0.iter().position(|other| other == what).unwrap_or_else(|| panic!("no {what}"))
    }

    /// `what` replaced.
    pub(crate) fn with(mut self, what: &What, replacement: What) -> Self {
        let at = self.find(what);
        self.0[at] = replacement;
        self
    }

    /// `what` left out.
    pub(crate) fn without(mut self, what: &What) -> Self {
        self.0.remove(self.find(what));
        self
    }

    /// `inserted` just before `what`.
    pub(crate) fn before(mut self, what: &What, inserted: impl IntoIterator<Item = What>) -> Self {
        let at = self.find(what);
        self.0.splice(at..at, inserted);
        self
    }

    pub(crate) fn events(self) -> impl Iterator<Item = Event> {
        (0..).zip(self.0).map(|(index, what)| Event { at: Duration::from_millis(10 * index), what })
    }
}

/// The messages of the violations.
pub(crate) fn judged(mut guarantee: impl Guarantee, history: History) -> Vec<String> {
    let findings = feed(&mut guarantee, history);
    for violation in findings.violations() {
        assert_eq!(violation.guarantee, guarantee.name());
        assert!(!violation.witness.is_empty(), "{violation:?} has no witness");
    }
    findings.violations().iter().map(|violation| violation.message.clone()).collect()
}

pub(crate) fn feed(guarantee: &mut impl Guarantee, history: History) -> Findings {
    let mut recognizer = Recognizer::default();
    for event in history.events() {
        guarantee.observe(&recognizer.see(&event));
    }
    guarantee.conclude();
    guarantee.findings().clone()
}

pub(crate) fn channel() -> ChannelKey {
    ChannelKey { workspace: WorkspaceId::new("w1").unwrap(), channel: ChannelId::new("c").unwrap() }
}

pub(crate) fn user(index: u32) -> UserId {
    UserId::new(&format!("u{index}")).unwrap()
}

fn nonce(text: &str) -> Nonce {
    Nonce::new(text).unwrap()
}

/// A change of members has the nonce `c` and its seq.
pub(crate) fn entry(seq: u64, mut content: Content) -> Entry {
    match &mut content {
        Content::Message { .. } => {}
        Content::Created { nonce, .. }
        | Content::Joined { nonce, .. }
        | Content::Added { nonce, .. }
        | Content::Left { nonce, .. }
        | Content::Removed { nonce, .. } => *nonce = self::nonce(&format!("c{seq}")),
    }
    Entry { seq: SeqNo(seq), at: WallTime(1_000 + seq), content }
}

pub(crate) fn message(seq: u64, sender: u32, text: &str, body: &str) -> Entry {
    let content = Content::Message { sender: user(sender), nonce: nonce(text), body: body.into() };
    entry(seq, content)
}

pub(crate) fn joined(seq: u64, index: u32) -> Entry {
    entry(seq, Content::Joined { user: user(index), nonce: nonce("c") })
}

/// Message 3.
pub(crate) fn hello() -> Entry {
    message(3, 0, "n1", "hello")
}

/// Message 4.
pub(crate) fn more() -> Entry {
    message(4, 0, "n2", "more")
}

pub(crate) fn invoked(client: u32, text: &str, body: &str) -> What {
    let (client, channel) = (ClientIndex(client), channel());
    What::Invoked { client, channel, nonce: nonce(text), body: body.into() }
}

/// Clients 0 and 1 join at #1 and #2.
fn join(client: u32) -> Asked {
    Asked { nonce: nonce(&format!("c{}", client + 1)), wish: Wish::Join }
}

fn send(text: &str) -> Asked {
    Asked { nonce: nonce(text), wish: Wish::Send }
}

pub(crate) fn join_invoked(client: u32) -> What {
    change_invoked(client, join(client))
}

pub(crate) fn change_invoked(client: u32, asked: Asked) -> What {
    What::ChangeInvoked { client: ClientIndex(client), channel: channel(), asked }
}

pub(crate) fn sent(client: u32, session: &str, text: &str) -> What {
    let (client, channel) = (ClientIndex(client), channel());
    What::Sent { client, session: session.into(), channel, nonce: nonce(text) }
}

pub(crate) fn accepted(client: u32, text: &str, seq: u64) -> What {
    acceptance(client, send(text), seq, false)
}

pub(crate) fn duplicate(client: u32, text: &str, seq: u64) -> What {
    acceptance(client, send(text), seq, true)
}

pub(crate) fn join_accepted(client: u32, seq: u64) -> What {
    acceptance(client, join(client), seq, false)
}

pub(crate) fn join_duplicate(client: u32, seq: u64) -> What {
    acceptance(client, join(client), seq, true)
}

pub(crate) fn acceptance(client: u32, asked: Asked, seq: u64, duplicate: bool) -> What {
    let (client, channel) = (ClientIndex(client), channel());
    What::Accepted { client, channel, asked, seq: SeqNo(seq), duplicate }
}

pub(crate) fn rejected(client: u32, text: Option<&str>) -> What {
    let (client, channel) = (ClientIndex(client), channel());
    let asked = text.map_or_else(|| join(client.0), send);
    What::Rejected { client, channel, asked, code: "busy".into() }
}

/// With the channel served after each of `after`: none or one.
pub(crate) fn opened(client: u32, session: &str, after: &[u64]) -> What {
    What::SessionOpened {
        client: ClientIndex(client),
        session: session.into(),
        gateway: "gateway-1".into(),
        channels: after.iter().map(|after| (channel(), SeqNo(*after))).collect(),
    }
}

pub(crate) fn served(client: u32, session: &str, after: u64) -> What {
    let (client, channel) = (ClientIndex(client), channel());
    What::SessionChannel { client, session: session.into(), channel, after: SeqNo(after) }
}

pub(crate) fn received(client: u32, session: &str, entry: Entry) -> What {
    let (client, channel) = (ClientIndex(client), channel());
    What::Received { client, session: session.into(), channel, entry }
}

pub(crate) fn delivered(client: u32, entry: Entry) -> What {
    What::Delivered { client: ClientIndex(client), channel: channel(), entry }
}

pub(crate) fn told_active(client: u32, session: &str, index: u32) -> What {
    What::PresenceTold {
        client: ClientIndex(client),
        session: session.into(),
        user: user(index),
        state: PresenceState::Active,
    }
}

pub(crate) fn began() -> What {
    What::FaultBegan { name: "sigkill gateway-1".into(), behind_gateways: false }
}

pub(crate) fn closed(client: u32, session: &str) -> What {
    What::SessionClosed { client: ClientIndex(client), session: session.into() }
}

pub(crate) fn stored(entry: Entry) -> What {
    let node: Arc<str> = "messages-1".into();
    What::Stored { node, channel: channel(), entry }
}

pub(crate) fn peak(peak: usize, limit: usize) -> What {
    let level = Level { what: "sessions", now: 0, peak, limit };
    What::Peak { node: "gateway-1".into(), level }
}

pub(crate) fn page_asked(client: u32, bound: HistoryBound) -> What {
    What::PageAsked { client: ClientIndex(client), channel: channel(), bound }
}

pub(crate) fn page_read(client: u32, entry: Entry) -> What {
    What::PageRead { client: ClientIndex(client), channel: channel(), entry }
}

pub(crate) fn page_ended(client: u32, bound: HistoryBound, more: bool) -> What {
    What::PageEnded { client: ClientIndex(client), channel: channel(), bound, more }
}

pub(crate) fn forgot(client: u32, since_ms: u64) -> What {
    let since = WallTime(since_ms);
    What::Forgot { client: ClientIndex(client), channel: channel(), since }
}

pub(crate) fn read_told(client: u32, seq: u64) -> What {
    What::ReadTold { client: ClientIndex(client), channel: channel(), seq: SeqNo(seq) }
}
