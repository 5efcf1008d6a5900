//! The owners that a fuzzed gateway asks: mostly honest, sometimes late, in some rounds hostile.

use std::collections::BTreeMap;

use seriatim_engine::entry::{Content, Entry};
use seriatim_engine::frame::{PresenceState, RejectCode};
use seriatim_engine::history_bound::HistoryBound;
use seriatim_engine::ids::{ChannelId, ChannelKey, ConnectionId, Nonce, SeqNo, UserId, UserKey};
use seriatim_engine::link::{EndedChannel, FromOwner, OpenedChannel, Ticket, ToOwner, Told};
use seriatim_engine::membership::Change;
use seriatim_engine::presence::Watched;
use seriatim_engine::time::WallTime;

use crate::client_text::CHANNELS;
use crate::random::Random;

/// Fewer than a page may have: large pages only make the fuzzer slow.
const PAGE_ENTRIES_MAX: u64 = 12;

pub(crate) struct Owners {
    heads: BTreeMap<ChannelKey, u64>,
    /// They also answer what was not asked.
    hostile: bool,
}

/// The entry at `seq`: the same in every channel. Some are large, to fill queues.
pub(crate) fn entry(seq: u64) -> Entry {
    let nonce = Nonce::new(&format!("n{seq}")).unwrap();
    let content = if seq.is_multiple_of(5) {
        Content::Joined { user: UserId::new("bob").unwrap(), nonce }
    } else {
        let body = if seq.is_multiple_of(16) { "x".repeat(12_000) } else { format!("\u{0}{seq}") };
        Content::Message { sender: UserId::new("bob").unwrap(), nonce, body: body.into() }
    };
    Entry { seq: SeqNo(seq), at: WallTime(seq), content }
}

fn entries(after: u64, upto: u64) -> Vec<Entry> {
    (after.saturating_add(1)..=upto.min(after.saturating_add(PAGE_ENTRIES_MAX)))
        .map(entry)
        .collect()
}

pub(crate) fn ticket(frame: &ToOwner) -> Option<Ticket> {
    match frame {
        ToOwner::Open { ticket, .. }
        | ToOwner::Locate { ticket, .. }
        | ToOwner::Submit { ticket, .. }
        | ToOwner::Change { ticket, .. }
        | ToOwner::Read { ticket, .. }
        | ToOwner::List { ticket, .. } => Some(*ticket),
        ToOwner::Close { .. }
        | ToOwner::Subscribe { .. }
        | ToOwner::Unsubscribe { .. }
        | ToOwner::Beats { .. }
        | ToOwner::Watch { .. }
        | ToOwner::Typing { .. }
        | ToOwner::MarkRead { .. }
        | ToOwner::Ping => None,
    }
}

/// What `frame` answers.
pub(crate) fn answered(frame: &FromOwner) -> Option<Ticket> {
    match frame {
        FromOwner::Opened { ticket, .. }
        | FromOwner::Located { ticket, .. }
        | FromOwner::Accepted { ticket, .. }
        | FromOwner::Rejected { ticket, .. }
        | FromOwner::Page { ticket, .. }
        | FromOwner::Listed { ticket, .. } => Some(*ticket),
        FromOwner::Head { .. }
        | FromOwner::Entries { .. }
        | FromOwner::Joined { .. }
        | FromOwner::Left { .. }
        | FromOwner::Presence { .. }
        | FromOwner::Read { .. }
        | FromOwner::Typing { .. }
        | FromOwner::Pong => None,
    }
}

impl Owners {
    pub(crate) fn new(hostile: bool) -> Self {
        Self { heads: BTreeMap::new(), hostile }
    }

    fn head(&mut self, channel: &ChannelKey) -> &mut u64 {
        self.heads.entry(channel.clone()).or_insert(3)
    }

    /// New entries of `channel`.
    pub(crate) fn publish(&mut self, random: &mut Random, channel: ChannelKey) -> FromOwner {
        let head = self.head(&channel);
        let from = *head;
        *head += 1 + random.below(4) as u64;
        let mut entries = entries(from, *head);
        if self.hostile && random.one_in(3) {
            let at = random.below(entries.len());
            match random.below(3) {
                0 => entries.truncate(at),
                1 => entries.reverse(),
                _ => drop(entries.remove(at)),
            }
        }
        FromOwner::Entries { channel, entries }
    }

    /// Somewhere below the head.
    fn located(
        &mut self,
        ticket: Ticket,
        user: &UserKey,
        points: &[(ChannelId, WallTime)],
    ) -> FromOwner {
        let mut located = Vec::new();
        for (channel, at) in points {
            let key = ChannelKey { workspace: user.workspace.clone(), channel: channel.clone() };
            located.push((channel.clone(), SeqNo(at.0.min(*self.head(&key)))));
        }
        FromOwner::Located { ticket, points: located }
    }

    pub(crate) fn answer(&mut self, random: &mut Random, asked: &ToOwner) -> Vec<FromOwner> {
        if let Some(ticket) = ticket(asked)
            && (random.one_in(12) || self.hostile && random.one_in(4))
        {
            return vec![self.refuse(random, ticket)];
        }
        match asked {
            ToOwner::Open { ticket, user, resumed } => {
                let (mut channels, mut ended) = (Vec::new(), Vec::new());
                for name in CHANNELS {
                    let channel = ChannelId::new(name).unwrap();
                    let key = ChannelKey { workspace: user.workspace.clone(), channel };
                    let mut head = *self.head(&key);
                    if random.one_in(4) {
                        if resumed.contains(&key.channel) && random.one_in(2) {
                            ended.push(EndedChannel { channel: key.channel, until: SeqNo(head) });
                        }
                        continue;
                    }
                    if self.hostile && random.one_in(8) {
                        head = u64::MAX;
                    }
                    let joined = SeqNo(1 + random.below(3) as u64);
                    let (read, head) = (SeqNo(random.below(4) as u64), SeqNo(head));
                    let (channel, trimmed_upto) = (key.channel, None);
                    channels.push(OpenedChannel { channel, joined, read, head, trimmed_upto });
                }
                vec![FromOwner::Opened { ticket: *ticket, channels, ended }]
            }
            ToOwner::Locate { ticket, user, points } => vec![self.located(*ticket, user, points)],
            ToOwner::Subscribe { channel } => {
                let head = SeqNo(*self.head(channel));
                vec![FromOwner::Head { channel: channel.clone(), head }]
            }
            ToOwner::Submit { ticket, channel, .. } => self.submit(random, *ticket, channel),
            ToOwner::Change { ticket, channel, by, change, .. } => {
                self.change(random, *ticket, channel, by, change)
            }
            ToOwner::Read { ticket, channel, bound, .. } => {
                let head = *self.head(channel);
                let mut after = start(*bound, head);
                if self.hostile && random.one_in(3) {
                    after = after.saturating_add(random.below(3) as u64).saturating_sub(1);
                }
                let entries = entries(after, head);
                vec![page(*ticket, entries, head)]
            }
            ToOwner::List { ticket, .. } => {
                let channels = Vec::new();
                vec![FromOwner::Listed { ticket: *ticket, channels, more: random.one_in(2) }]
            }
            ToOwner::Watch { connection, watcher, users } => {
                vec![self.presence(random, *connection, watcher, users)]
            }
            ToOwner::Typing { channel, user } => {
                vec![FromOwner::Typing { channel: channel.clone(), user: user.clone() }]
            }
            ToOwner::MarkRead { channel, user, seq } => {
                let user = UserKey { workspace: channel.workspace.clone(), user: user.clone() };
                vec![FromOwner::Read { user, channel: channel.channel.clone(), seq: *seq }]
            }
            ToOwner::Close { .. } | ToOwner::Unsubscribe { .. } | ToOwner::Beats { .. } => {
                Vec::new()
            }
            ToOwner::Ping => vec![FromOwner::Pong],
        }
    }

    fn submit(
        &mut self,
        random: &mut Random,
        ticket: Ticket,
        channel: &ChannelKey,
    ) -> Vec<FromOwner> {
        let published = self.publish(random, channel.clone());
        let (seq, duplicate) = (SeqNo(*self.head(channel)), random.one_in(9));
        let accepted = FromOwner::Accepted { ticket, seq, at: WallTime(5), duplicate };
        if random.one_in(2) { vec![accepted, published] } else { vec![published, accepted] }
    }

    fn change(
        &mut self,
        random: &mut Random,
        ticket: Ticket,
        key: &ChannelKey,
        by: &UserId,
        change: &Change,
    ) -> Vec<FromOwner> {
        let accepted = |seq| FromOwner::Accepted { ticket, seq, at: WallTime(5), duplicate: false };
        let (user, ends) = match change {
            Change::Create { .. } | Change::Join => (by, false),
            Change::Leave => (by, true),
            Change::Add { user } => (user, false),
            Change::Remove { user } => (user, true),
        };
        let user = UserKey { workspace: key.workspace.clone(), user: user.clone() };
        let channel = key.channel.clone();
        let head = *self.head(key);
        if ends {
            let until = SeqNo(head + 1);
            let left = FromOwner::Left { user, channel, until };
            vec![accepted(until), left, self.publish(random, key.clone())]
        } else {
            let seq = SeqNo(head);
            vec![accepted(seq), FromOwner::Joined { user, channel, seq }]
        }
    }

    /// An honest owner answers about those who were asked for, a hostile one about anybody, to
    /// anybody.
    fn presence(
        &self,
        random: &mut Random,
        connection: ConnectionId,
        watcher: &UserKey,
        users: &[Watched],
    ) -> FromOwner {
        let states = [PresenceState::Offline, PresenceState::Away, PresenceState::Active];
        let mut told = Vec::new();
        for watched in users.iter().take(3) {
            let mut user = UserKey { user: watched.user.clone(), ..watcher.clone() };
            let mut connection = connection;
            if self.hostile && random.one_in(3) {
                user.user = UserId::new(random.pick(&["bob", "nobody"])).unwrap();
                connection = ConnectionId(random.below(9) as u64);
            }
            let state = states[random.below(3)];
            told.push(Told { user, state, connections: vec![connection] });
        }
        FromOwner::Presence { told }
    }

    /// Says no, or something that answers no such question.
    fn refuse(&self, random: &mut Random, ticket: Ticket) -> FromOwner {
        let (seq, at) = (SeqNo(1), WallTime(5));
        match random.below(if self.hostile { 5 } else { 1 }) {
            1 => FromOwner::Page {
                ticket,
                entries: Vec::new(),
                trimmed_upto: Some(SeqNo(u64::MAX / 2)),
                head: SeqNo(u64::MAX),
            },
            2 => FromOwner::Opened { ticket, channels: Vec::new(), ended: Vec::new() },
            3 => FromOwner::Accepted { ticket: Ticket(ticket.0 + 9), seq, at, duplicate: false },
            4 => FromOwner::Accepted { ticket, seq, at, duplicate: false },
            _ => {
                let codes = [
                    RejectCode::NotMember,
                    RejectCode::BadBody,
                    RejectCode::Busy,
                    RejectCode::Unreadable,
                ];
                let code = codes[random.below(codes.len())];
                FromOwner::Rejected { ticket, code, message: "no".to_owned() }
            }
        }
    }
}

/// The position after which a page begins.
fn start(bound: HistoryBound, head: u64) -> u64 {
    match bound {
        HistoryBound::After(after) => after.0,
        HistoryBound::Before(before) => before.0.min(head).saturating_sub(3),
        HistoryBound::Since(at) => at.0.min(head),
    }
}

fn page(ticket: Ticket, entries: Vec<Entry>, head: u64) -> FromOwner {
    FromOwner::Page { ticket, entries, trimmed_upto: None, head: SeqNo(head) }
}
