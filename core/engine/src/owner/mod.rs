//! The owner of a shard: the single writer of its channels.
//!
//! An [`Owner`] validates, deduplicates and numbers what gateways submit, hands it to the store,
//! and answers and publishes once the store holds it. It performs no I/O: feed it an [`Input`],
//! then carry out the [`Effect`]s it appended, in order. `node/src/messages.rs` is its driver, in
//! production and in simulation alike.
//!
//! # Invariants
//!
//! - **Durable first**: no reply and no publication of an entry precedes the [`Input::Stored`]
//!   that covers it.
//! - **Once**: one (channel, user, nonce) is numbered at most once within the window, whatever
//!   the wall clock does: ages are told by the log's clock. A change of members that had been made
//!   already is not numbered, but its nonce is logged all the same.
//! - **One copy per gateway**: an entry is published once per subscribed link.

mod changes;
mod confirming;
mod counts;
mod listing;
mod locating;
mod presence;
mod read_cursors;
mod reads;
mod refusal;
mod report;
mod trace;
mod trimmed;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::entry::{ChannelEntry, Confirmation, Content, Entry, ReadCursor};
use crate::fanout::Interest;
use crate::history_bound::{HistoryBound, HistoryPage};
use crate::ids::{ChannelId, ChannelKey, Nonce, SeqNo, UserId, UserKey};
use crate::limits::{BODY_BYTES_MAX, LINK_BATCH_BYTES_MAX};
use crate::link::{EndedChannel, FromOwner, LinkId, OpenedChannel, Ticket, ToOwner};
use crate::membership::{Membership, Origin, Roster, Standing};
use crate::nonces::{NonceKey, Nonces};
use crate::presence::{self as users, Presence};
use crate::read_cursors::ReadCursors;
use crate::refusals::{Full, Refusals};
use crate::sequencer::Sequencer;
use crate::time::{LogClock, LogTime, MonoTime, WallTime};

use changes::{Changing, Wanted};
use confirming::Confirming;
use reads::{Read, ReadRequest};
use refusal::Refusal;

pub use counts::OwnerCounts;
pub use report::{ChannelReport, ChannelRow, MemberRow, UserRow, WorkspaceRow};
pub use trace::{OwnerTimes, OwnerTrace};

/// What happens to an owner.
#[derive(Debug)]
pub enum Input {
    LinkDown {
        link: LinkId,
    },
    Frame {
        link: LinkId,
        frame: ToOwner,
    },
    /// The store holds the `count` oldest entries of those appended.
    Stored {
        count: usize,
    },
    /// The store holds the `count` oldest of what [`Effect::Confirm`] gave it.
    Confirmed {
        count: usize,
    },
    /// The store answered [`Effect::Read`].
    Read {
        read: ReadId,
        page: HistoryPage,
    },
    /// The store can't give what [`Effect::Read`] asked for.
    ReadFailed {
        read: ReadId,
        why: Unreadable,
    },
    /// The store answered [`Effect::Seek`]: of each channel the first entry that is as late.
    Sought {
        read: ReadId,
        firsts: Vec<Option<SeqNo>>,
    },
    /// The store can't look for what [`Effect::Seek`] asked for in this channel.
    SeekFailed {
        read: ReadId,
        channel: ChannelKey,
        why: Unreadable,
    },
    /// The store holds the positions of [`Effect::NoteReads`].
    ReadsNoted,
    /// The store let entries go: of each channel all up to a position.
    Trimmed {
        channels: Vec<(ChannelKey, SeqNo)>,
    },
    /// [`Owner::next_deadline`] has passed.
    Tick,
}

/// What the shell must do.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make it durable, in the order of these effects, then feed [`Input::Stored`].
    Append(ChannelEntry),
    /// Make it durable, not before what was to be appended before it, then feed
    /// [`Input::Confirmed`].
    Confirm(Confirmation),
    /// Read a page of up to `entries_max` entries, then feed [`Input::Read`] or
    /// [`Input::ReadFailed`].
    Read { read: ReadId, channel: ChannelKey, bound: HistoryBound, entries_max: usize },
    /// Find the first entry of each channel that was numbered at its time or later, then feed
    /// [`Input::Sought`] or [`Input::SeekFailed`]. One at a time.
    Seek { read: ReadId, points: Vec<(ChannelKey, WallTime)> },
    /// Make it durable how far users have read, then feed [`Input::ReadsNoted`]. One at a time.
    NoteReads(Vec<ReadCursor>),
    /// Send the same frame on each of the links.
    Send { links: Vec<LinkId>, frame: FromOwner },
}

/// Why the store can't give what it holds. Its readers are refused, and nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not what was written.
    Damaged,
    /// The disk failed.
    Failed,
}

/// One read of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadId(pub u64);

/// One channel's state as the store recovered it.
#[derive(Debug, Clone)]
pub struct ChannelSeed {
    pub channel: ChannelKey,
    pub head: SeqNo,
    /// Entries up to here are gone.
    pub trimmed_upto: SeqNo,
    pub roster: Roster,
}

/// The machine.
#[derive(Debug, Default)]
pub struct Owner {
    channels: BTreeMap<ChannelKey, Channel>,
    clock: LogClock,
    nonces: Nonces,
    refusals: Refusals,
    membership: Membership,
    changing: Changing,
    confirming: Confirming,
    interest: Interest,
    /// Which links have the user open; most have one.
    open: BTreeMap<UserKey, Vec<LinkId>>,
    /// The channel of every entry that the store was given and does not hold, oldest first, and
    /// when its request was handled.
    appending: VecDeque<(ChannelKey, MonoTime)>,
    reads: BTreeMap<ReadId, Read>,
    /// How many of them each link waits for.
    reads_of: BTreeMap<LinkId, usize>,
    last_read: u64,
    /// When the input came that is being handled.
    now: MonoTime,
    counts: OwnerCounts,
    presence: Presence,
    read_cursors: ReadCursors,
    locating: locating::Locating,
    trace: trace::Trace,
    listing: listing::Listing,
}

#[derive(Debug)]
struct Channel {
    sequencer: Sequencer,
    /// Entries up to here are gone.
    trimmed_upto: SeqNo,
    origin: Origin,
    /// Who waits for an entry to be durable.
    waiting: BTreeMap<SeqNo, Vec<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    link: LinkId,
    ticket: Ticket,
    duplicate: bool,
}

impl Channel {
    fn new(head: SeqNo, origin: Origin) -> Self {
        let (sequencer, waiting) = (Sequencer::new(head), BTreeMap::new());
        Self { sequencer, trimmed_upto: SeqNo::ZERO, origin, waiting }
    }
}

impl Owner {
    /// Goes on from what the store holds.
    pub fn new(seeds: impl IntoIterator<Item = ChannelSeed>, nonces: Nonces) -> Self {
        let mut owner = Self { nonces, ..Self::default() };
        for ChannelSeed { channel, head, trimmed_upto, roster } in seeds {
            for (user, stay) in roster.stays {
                owner.membership.set(&channel, &user, Standing::from(stay));
            }
            owner.listing.made(&channel, roster.origin.kind);
            let origin = roster.origin;
            owner.channels.insert(channel, Channel { trimmed_upto, ..Channel::new(head, origin) });
        }
        owner
    }

    /// Ages of nonces are told by `clock`, which goes on from what the store holds.
    #[must_use]
    pub fn with_clock(self, clock: LogClock) -> Self {
        Self { clock, ..self }
    }

    /// The log's time at `now`. What is appended carries it.
    pub fn log_time(&self, now: MonoTime) -> LogTime {
        self.clock.at(now)
    }

    /// What happened since the start, and how full the machine's tables are.
    pub fn counts(&self) -> &OwnerCounts {
        &self.counts
    }

    pub fn handle(
        &mut self,
        now: MonoTime,
        wall: WallTime,
        input: Input,
        effects: &mut Vec<Effect>,
    ) {
        self.now = now;
        match input {
            Input::LinkDown { link } => {
                self.link_down(link);
                self.stop_locating(link, effects);
                self.presence(now, users::Input::LinkDown { link }, effects);
            }
            Input::Frame { link, frame } => self.frame(now, wall, link, frame, effects),
            Input::Stored { count } => self.stored(now, count, effects),
            Input::Confirmed { count } => self.confirmed(count, effects),
            Input::Read { read, page } => self.read_done(read, page, effects),
            Input::ReadFailed { read, why } => self.read_failed(read, why, effects),
            Input::SeekFailed { read, channel, why } => {
                self.seek_failed(read, &channel.channel, why, effects);
            }
            Input::Sought { read, firsts } => self.sought(read, &firsts, effects),
            Input::ReadsNoted => self.reads_noted(now, effects),
            Input::Trimmed { channels } => self.trimmed(channels),
            Input::Tick => {
                self.presence(now, users::Input::Tick, effects);
                self.note_reads(now, effects);
            }
        }
        self.counts.channels = self.channels.len();
        self.counts.trace_rows.set(self.trace.rows());
    }

    fn frame(
        &mut self,
        now: MonoTime,
        wall: WallTime,
        link: LinkId,
        frame: ToOwner,
        effects: &mut Vec<Effect>,
    ) {
        match frame {
            ToOwner::Open { ticket, user, resumed } => {
                let channels = self.channels_of(&user);
                let ended = self.ended_of(&user, resumed);
                let links = self.open.entry(user).or_insert_with(|| Vec::with_capacity(1));
                if !links.contains(&link) {
                    links.push(link);
                }
                reply(link, FromOwner::Opened { ticket, channels, ended }, effects);
            }
            ToOwner::Locate { ticket, user, points } => {
                self.locate(link, ticket, user, points, effects);
            }
            ToOwner::Close { user } => self.close(link, &user),
            ToOwner::Subscribe { channel } => {
                self.interest.subscribe(link, &channel);
                let head = self.head(&channel);
                reply(link, FromOwner::Head { channel, head }, effects);
            }
            ToOwner::Unsubscribe { channel } => self.interest.unsubscribe(link, &channel),
            ToOwner::Submit { ticket, channel, sender, nonce, body } => {
                let submission = Submission { channel, sender, nonce, body };
                if let Err(refusal) = self.submit(wall, link, ticket, submission, effects) {
                    self.refuse(link, ticket, refusal, effects);
                }
            }
            ToOwner::Change { ticket, channel, by, nonce, change } => {
                let wanted = Wanted { channel, by, nonce, change };
                if let Err(refusal) = self.change(wall, link, ticket, wanted, effects) {
                    self.refuse(link, ticket, refusal, effects);
                }
            }
            ToOwner::Read { ticket, channel, reader, bound, entries_max } => {
                let request = ReadRequest { channel, reader, bound, entries_max };
                if let Err(refusal) = self.read(link, ticket, request, effects) {
                    self.refuse(link, ticket, refusal, effects);
                }
            }
            ToOwner::List { ticket, user, after, channels_max } => {
                let (channels, more) = self.list(&user, after.as_ref(), channels_max);
                reply(link, FromOwner::Listed { ticket, channels, more }, effects);
            }
            ToOwner::Beats { beats } => {
                self.presence(now, users::Input::Beats { beats }, effects);
            }
            ToOwner::Watch { connection, watcher: user, users: watched } => {
                let watcher = users::Watcher { link, connection };
                self.presence(now, users::Input::Watch { watcher, user, watched }, effects);
            }
            ToOwner::MarkRead { channel, user, seq } => {
                self.mark_read(now, link, ReadCursor { channel, user, seq }, effects);
            }
            ToOwner::Typing { channel, user } => self.typing(channel, user, effects),
            ToOwner::Ping => reply(link, FromOwner::Pong, effects),
        }
    }

    fn submit(
        &mut self,
        wall: WallTime,
        link: LinkId,
        ticket: Ticket,
        submission: Submission,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let Submission { channel: key, sender, nonce, body } = submission;
        let nonce_key = NonceKey::new(&key, &sender, &nonce);
        if self.answer_again(&key, nonce_key, (link, ticket), effects)? {
            return Ok(());
        }
        if !self.is_member(&key, &sender) {
            return Err(self.refuse_for_good(nonce_key, Refusal::not_member(&key)));
        }
        if body.is_empty() || body.len() > BODY_BYTES_MAX {
            return Err(Refusal::bad_body(body.len()));
        }
        let channel = self.channels.get_mut(&key).expect("a member's channel exists");
        let content = Content::Message { sender, nonce, body };
        let entry = channel.sequencer.assign(wall, content).map_err(Refusal::busy)?;
        self.counts.in_flight.set(channel.sequencer.in_flight());
        let logged = self.clock.at(self.now);
        self.nonces.record(nonce_key, entry.seq, wall, logged);
        channel.wait(entry.seq, Waiting { link, ticket, duplicate: false });
        self.append(key, entry, effects);
        Ok(())
    }

    fn refuse(
        &mut self,
        link: LinkId,
        ticket: Ticket,
        refusal: Refusal,
        effects: &mut Vec<Effect>,
    ) {
        let Refusal { code, message, limit } = refusal;
        if let Some(limit) = limit {
            self.counts.hits.hit(limit);
        }
        reply(link, FromOwner::Rejected { ticket, code, message }, effects);
    }

    /// What happened stays, and so does what was refused for good: gives whether the request was
    /// made before, and then answers as the first time.
    fn answer_again(
        &mut self,
        key: &ChannelKey,
        nonce: NonceKey,
        (link, ticket): (LinkId, Ticket),
        effects: &mut Vec<Effect>,
    ) -> Result<bool, Refusal> {
        if let Some((seq, at)) = self.nonces.find(nonce) {
            self.counts.duplicates += 1;
            if !self.confirming.joins(nonce, (link, ticket)) {
                let channel =
                    self.channels.get_mut(key).expect("a numbered entry's channel exists");
                channel.accept_again(at, link, ticket, seq, effects);
            }
            return Ok(true);
        }
        self.refusals.find(nonce).map_or(Ok(false), |code| Err(Refusal::refused_before(code)))
    }

    /// What is refused doesn't happen, whatever becomes of the user: an earlier attempt of it that
    /// is on its way must not either.
    fn refuse_for_good(&mut self, nonce: NonceKey, refusal: Refusal) -> Refusal {
        let recorded = self.refusals.record(self.now, nonce, refusal.code);
        self.counts.refusals.set(self.refusals.count());
        match recorded {
            Ok(()) => refusal,
            Err(Full) => Refusal::no_room_to_refuse(),
        }
    }

    fn append(&mut self, channel: ChannelKey, entry: Entry, effects: &mut Vec<Effect>) {
        self.counts.numbered += 1;
        self.appending.push_back((channel.clone(), self.now));
        effects.push(Effect::Append(ChannelEntry { channel, entry }));
    }

    fn stored(&mut self, now: MonoTime, count: usize, effects: &mut Vec<Effect>) {
        let mut published: BTreeMap<ChannelKey, (Vec<Entry>, Vec<MonoTime>)> = BTreeMap::new();
        for _ in 0..count {
            let (key, handled_at) =
                self.appending.pop_front().expect("the store holds more than was appended");
            let channel = self.channels.get_mut(&key).expect("an appended channel exists");
            let entry = channel.sequencer.durable();
            self.counts.durable += 1;
            self.counts.durable_time.record_time(now - handled_at);
            for waiting in channel.waiting.remove(&entry.seq).unwrap_or_default() {
                let Waiting { link, ticket, duplicate } = waiting;
                let accepted =
                    FromOwner::Accepted { ticket, seq: entry.seq, at: entry.at, duplicate };
                reply(link, accepted, effects);
            }
            self.changed(now, &key, &entry, effects);
            let (entries, numbered_at) = published.entry(key).or_default();
            entries.push(entry);
            numbered_at.push(handled_at);
        }
        for (channel, (entries, numbered_at)) in published {
            let links = self.interest.of(&channel);
            let first = entries.first().map_or(SeqNo::ZERO, |entry| entry.seq);
            // The table's own name: a row that kept the request's would keep its memory.
            let name = self.channels.get_key_value(&channel).map_or(&channel, |(name, _)| name);
            self.trace.published((name.clone(), first), numbered_at, now, links.clone());
            if links.is_empty() {
                continue;
            }
            for entries in in_frames(entries) {
                let frame = FromOwner::Entries { channel: channel.clone(), entries };
                effects.push(Effect::Send { links: links.clone(), frame });
            }
        }
    }

    fn channels_of(&self, user: &UserKey) -> Vec<OpenedChannel> {
        self.membership
            .of(user)
            .map(|(channel, joined)| {
                let key =
                    ChannelKey { workspace: user.workspace.clone(), channel: channel.clone() };
                let read = self.read_upto(&key, &user.user, joined);
                let (head, trimmed_upto) = (self.head(&key), self.trimmed_upto(&key));
                OpenedChannel { channel: channel.clone(), joined, read, head, trimmed_upto }
            })
            .collect()
    }

    /// Where the user's memberships of these channels have ended.
    fn ended_of(&self, user: &UserKey, channels: Vec<ChannelId>) -> Vec<EndedChannel> {
        let ended = |channel: ChannelId| {
            let key = ChannelKey { workspace: user.workspace.clone(), channel };
            match self.membership.standing(&key, &user.user) {
                Standing::Former { until } => Some(EndedChannel { channel: key.channel, until }),
                Standing::Stranger | Standing::Member { .. } => None,
            }
        };
        channels.into_iter().filter_map(ended).collect()
    }

    fn head(&self, channel: &ChannelKey) -> SeqNo {
        self.channels.get(channel).map_or(SeqNo::ZERO, |channel| channel.sequencer.head())
    }

    fn close(&mut self, link: LinkId, user: &UserKey) {
        if let Some(links) = self.open.get_mut(user) {
            links.retain(|one| *one != link);
            if links.is_empty() {
                self.open.remove(user);
            }
        }
    }

    fn link_down(&mut self, link: LinkId) {
        self.interest.drop_link(link);
        self.open.retain(|_, links| {
            links.retain(|one| *one != link);
            !links.is_empty()
        });
        self.reads.retain(|_, read| read.link != link);
        self.reads_of.remove(&link);
    }
}

impl Channel {
    /// The request was numbered before: answer with that position once it is durable.
    fn accept_again(
        &mut self,
        at: WallTime,
        link: LinkId,
        ticket: Ticket,
        seq: SeqNo,
        effects: &mut Vec<Effect>,
    ) {
        if seq <= self.sequencer.head() {
            let accepted = FromOwner::Accepted { ticket, seq, at, duplicate: true };
            reply(link, accepted, effects);
        } else {
            self.wait(seq, Waiting { link, ticket, duplicate: true });
        }
    }

    fn wait(&mut self, seq: SeqNo, waiting: Waiting) {
        self.waiting.entry(seq).or_default().push(waiting);
    }
}

struct Submission {
    channel: ChannelKey,
    sender: UserId,
    nonce: Nonce,
    body: Arc<str>,
}

/// Cut so that no frame holds more than [`LINK_BATCH_BYTES_MAX`], but for its last entry.
fn in_frames(entries: Vec<Entry>) -> Vec<Vec<Entry>> {
    let mut frames = Vec::new();
    let (mut frame, mut bytes) = (Vec::new(), 0);
    for entry in entries {
        bytes += entry.link_bytes();
        frame.push(entry);
        if bytes >= LINK_BATCH_BYTES_MAX {
            frames.push(std::mem::take(&mut frame));
            bytes = 0;
        }
    }
    if !frame.is_empty() {
        frames.push(frame);
    }
    frames
}

fn reply(link: LinkId, frame: FromOwner, effects: &mut Vec<Effect>) {
    effects.push(Effect::Send { links: vec![link], frame });
}

#[cfg(test)]
mod tests;
