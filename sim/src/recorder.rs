//! Hears what every client sees: feeds the judge and the journal, and knows when all have
//! everything.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use seriatim_client::ClientEvent;
use seriatim_engine::entry::{Asked, Entry, Wish};
use seriatim_engine::frame::{ChannelStatus, PresenceState};
use seriatim_engine::history_bound::HistoryBound::{self, Since};
use seriatim_engine::ids::{ChannelId, ChannelKey, SeqNo, UserId, UserKey, WorkspaceId};
use seriatim_engine::time::WallTime;
use seriatim_scenarios::history::{ClientIndex, Event, Roster, What};
use seriatim_scenarios::judge::{Judge, Verdict};

use crate::journal::{Field, Journal};
use crate::shared::Shared;
use crate::time::SimTime;

/// The history of one run, as it grows. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    state: Shared<State>,
    journal: Journal,
}

struct State {
    /// Gone once it has concluded.
    judge: Option<Judge>,
    /// Each channel's newest position that any client has heard of.
    heads: BTreeMap<ChannelKey, SeqNo>,
    roster: Roster,
    /// Of each user, the channels that they are in and those that they were in, by the newest entry
    /// that any client has heard of.
    standings: BTreeMap<UserKey, BTreeMap<ChannelKey, Standing>>,
    clients: BTreeMap<ClientIndex, ClientState>,
}

/// What the recorder keeps of a client.
#[derive(Default)]
struct ClientState {
    /// Sends and joins without a final answer.
    unanswered: u64,
    session: Option<Arc<str>>,
    /// The last position delivered of each of its channels.
    positions: BTreeMap<ChannelKey, SeqNo>,
    /// When the entries there were numbered.
    newest: BTreeMap<ChannelKey, WallTime>,
    /// How far it has read each.
    reads: BTreeMap<ChannelKey, ReadUpto>,
}

/// Whether a user is in a channel.
struct Standing {
    /// The entry that says so.
    seq: SeqNo,
    is_member: bool,
}

/// What a client marked, and what it was told last.
#[derive(Default)]
struct ReadUpto {
    marked: SeqNo,
    told: SeqNo,
}

impl ClientState {
    fn open(&mut self, session: Arc<str>, channels: &[(ChannelKey, SeqNo)]) {
        self.session = Some(session);
        for (channel, after) in channels {
            self.serve(channel, *after);
        }
    }

    fn serve(&mut self, channel: &ChannelKey, after: SeqNo) {
        self.positions.entry(channel.clone()).or_insert(after);
    }

    /// The client has nothing of the channel.
    fn forget(&mut self, channel: &ChannelKey) {
        self.positions.remove(channel);
        self.newest.remove(channel);
    }

    fn read(&mut self, channel: &ChannelKey) -> &mut ReadUpto {
        self.reads.entry(channel.clone()).or_default()
    }
}

impl Recorder {
    pub fn new(judge: Judge, roster: Roster, journal: Journal) -> Self {
        let state = State {
            judge: Some(judge),
            heads: BTreeMap::new(),
            roster,
            standings: BTreeMap::new(),
            clients: BTreeMap::new(),
        };
        Self { state: Shared::new(state), journal }
    }

    /// Something happened at `at`.
    pub fn record(&self, at: SimTime, what: What) {
        self.write_journal(at, &what);
        let mut state = self.state.lock();
        state.follow(&what);
        if let Some(judge) = &mut state.judge {
            judge.observe(&Event { at: at.since(SimTime::ZERO), what });
        }
    }

    /// Every client that started has a session, an answer to all it asked for, the channels that
    /// its user is in and no others, and everything that anybody has heard of in them.
    pub fn has_converged(&self) -> bool {
        let state = self.state.lock();
        state.clients.iter().all(|(index, client)| {
            client.unanswered == 0
                && state.standings(*index).all(|(channel, standing)| {
                    client.positions.contains_key(channel) == standing.is_member
                })
                && client.session.is_some()
                && client
                    .positions
                    .iter()
                    .all(|(channel, position)| state.heads.get(channel) <= Some(position))
                && client.reads.values().all(|read| read.marked <= read.told)
        })
    }

    /// The last position of the channel that the client was delivered, in its current stay.
    pub fn delivered(&self, client: ClientIndex, channel: &ChannelKey) -> Option<SeqNo> {
        self.state.lock().clients.get(&client)?.positions.get(channel).copied()
    }

    /// When the entry was numbered that the client was delivered last, in its current stay.
    pub fn newest(&self, client: ClientIndex, channel: &ChannelKey) -> Option<WallTime> {
        self.state.lock().clients.get(&client)?.newest.get(channel).copied()
    }

    /// The run is over: the judge's word. Later events are not judged.
    ///
    /// # Panics
    /// It was asked before.
    pub fn conclude(&self) -> Verdict {
        let judge = self.state.lock().judge.take();
        judge.expect("a run is concluded once").conclude()
    }

    /// Clients' events go to the journal too, so that two runs with the same journal were judged
    /// on the same history.
    fn write_journal(&self, at: SimTime, what: &What) {
        let shown = JournalLine::of(what);
        let mut fields = Vec::with_capacity(5);
        if let Some(client) = shown.client {
            fields.push(Field::Number("client", u64::from(client.0)));
        }
        let channel = what.channel().map(ToString::to_string);
        if let Some(channel) = &channel {
            fields.push(Field::Text("channel", channel));
        }
        if let Some(seq) = shown.seq {
            fields.push(Field::Number("seq", seq.0));
        }
        if let Some(text) = &shown.text {
            fields.push(Field::Text("text", text));
        }
        self.journal.record(at, "history", shown.kind, &fields);
    }
}

impl State {
    fn follow(&mut self, what: &What) {
        match what {
            What::Invoked { client, .. } | What::ChangeInvoked { client, .. } => {
                self.clients.entry(*client).or_default().unanswered += 1;
            }
            What::Accepted { client, channel, asked, seq, .. } => {
                self.answered(*client);
                self.accepted(*client, channel, &asked.wish, *seq);
            }
            What::Rejected { client, .. } => self.answered(*client),
            What::SessionOpened { client, session, channels, .. } => {
                self.clients.entry(*client).or_default().open(session.clone(), channels);
            }
            What::SessionChannel { client, channel, after, .. } => {
                self.clients.entry(*client).or_default().serve(channel, *after);
            }
            What::SessionLeft { client, channel, .. } => {
                let state = self.clients.entry(*client).or_default();
                state.forget(channel);
                state.reads.remove(channel);
            }
            What::Forgot { client, channel, .. } => {
                self.clients.entry(*client).or_default().forget(channel);
            }
            What::Received { channel, entry, .. } | What::PageRead { channel, entry, .. } => {
                self.heard(channel, entry.seq);
                self.entered(channel, entry);
            }
            What::Delivered { client, channel, entry } => {
                let state = self.clients.entry(*client).or_default();
                state.positions.insert(channel.clone(), entry.seq);
                state.newest.insert(channel.clone(), entry.at);
                self.heard(channel, entry.seq);
            }
            What::ReadMarked { client, channel, seq } => {
                let read = self.clients.entry(*client).or_default().read(channel);
                read.marked = read.marked.max(*seq);
            }
            What::ReadTold { client, channel, seq } => {
                self.clients.entry(*client).or_default().read(channel).told = *seq;
            }
            What::SessionClosed { client, .. } => {
                self.clients.entry(*client).or_default().session = None;
            }
            What::ClientDown { client } | What::ClientStopped { client } => {
                self.clients.remove(client);
            }
            What::Sent { .. }
            | What::PageAsked { .. }
            | What::PageEnded { .. }
            | What::PageRefused { .. }
            | What::Stored { .. }
            | What::AuditDone
            | What::FaultBegan { .. }
            | What::FaultHealed { .. }
            | What::FaultsOver
            | What::Converged
            | What::RunEnded
            | What::Heartbeat { .. }
            | What::Watching { .. }
            | What::PresenceTold { .. }
            | What::Typed { .. }
            | What::TypingTold { .. }
            | What::NodeEnded { .. }
            | What::NodeRevived { .. }
            | What::ReadStored { .. }
            | What::Panicked { .. }
            | What::ErrorLogged { .. }
            | What::Peak { .. }
            | What::TaskLeaked { .. } => {}
        }
    }

    /// Where the client's user is in, or was.
    fn standings(&self, client: ClientIndex) -> impl Iterator<Item = (&ChannelKey, &Standing)> {
        let user = self.roster.user(client);
        user.and_then(|user| self.standings.get(user)).into_iter().flatten()
    }

    fn entered(&mut self, channel: &ChannelKey, entry: &Entry) {
        let ends = entry.content.ends().map(|user| (user, false));
        let begins = entry.content.begins().iter().map(|user| (user, true));
        for (user, is_member) in begins.chain(ends) {
            self.stands(user, channel, Standing { seq: entry.seq, is_member });
        }
    }

    /// Nobody is sent the entry of a change if all who are in the channel come back after it: then
    /// only who asked for it hears of it.
    fn accepted(&mut self, client: ClientIndex, channel: &ChannelKey, wish: &Wish, seq: SeqNo) {
        self.heard(channel, seq);
        let Some(own) = self.roster.user(client).map(|key| key.user.clone()) else { return };
        let (user, is_member) = match wish {
            Wish::Send => return,
            Wish::Create | Wish::Join => (&own, true),
            Wish::Add(user) => (user, true),
            Wish::Leave => (&own, false),
            Wish::Remove(user) => (user, false),
        };
        self.stands(user, channel, Standing { seq, is_member });
    }

    fn stands(&mut self, user: &UserId, channel: &ChannelKey, standing: Standing) {
        let key = UserKey { workspace: channel.workspace.clone(), user: user.clone() };
        let channels = self.standings.entry(key).or_default();
        if channels.get(channel).is_none_or(|known| known.seq < standing.seq) {
            channels.insert(channel.clone(), standing);
        }
    }

    fn answered(&mut self, client: ClientIndex) {
        let state = self.clients.entry(client).or_default();
        state.unanswered = state.unanswered.saturating_sub(1);
    }

    fn heard(&mut self, channel: &ChannelKey, seq: SeqNo) {
        match self.heads.get_mut(channel) {
            Some(head) => *head = seq.max(*head),
            None => {
                self.heads.insert(channel.clone(), seq);
            }
        }
    }
}

/// What the journal shows of an event.
struct JournalLine<'a> {
    kind: &'static str,
    client: Option<ClientIndex>,
    seq: Option<SeqNo>,
    text: Option<Cow<'a, str>>,
}

impl<'a> JournalLine<'a> {
    fn new(
        kind: &'static str,
        client: Option<ClientIndex>,
        seq: Option<SeqNo>,
        text: Option<&'a str>,
    ) -> Self {
        Self { kind, client, seq, text: text.map(Cow::Borrowed) }
    }

    fn asked(
        kind: &'static str,
        client: ClientIndex,
        seq: Option<SeqNo>,
        asked: &'a Asked,
    ) -> Self {
        Self { kind, client: Some(client), seq, text: Some(name_of(asked)) }
    }

    /// A client and a position.
    fn at(kind: &'static str, client: ClientIndex, seq: SeqNo) -> Self {
        Self::new(kind, Some(client), Some(seq), None)
    }

    fn page(kind: &'static str, client: ClientIndex, bound: HistoryBound) -> Self {
        let text = Some(Cow::Owned(bound.to_string()));
        Self { kind, client: Some(client), seq: None, text }
    }

    fn of(what: &'a What) -> Self {
        let (line, asked_line) = (Self::new, Self::asked);
        match what {
            What::Invoked { client, nonce, .. } => {
                line("invoked", Some(*client), None, Some(nonce.as_str()))
            }
            What::ChangeInvoked { client, asked, .. } => {
                asked_line("change-invoked", *client, None, asked)
            }
            What::Sent { client, nonce, .. } => {
                line("sent", Some(*client), None, Some(nonce.as_str()))
            }
            What::Accepted { client, seq, asked, .. } => {
                asked_line("accepted", *client, Some(*seq), asked)
            }
            What::Rejected { client, code, .. } => {
                line("rejected", Some(*client), None, Some(code.as_str()))
            }
            What::SessionOpened { client, session, .. } => {
                line("session-opened", Some(*client), None, Some(session))
            }
            What::SessionChannel { client, after, .. } => {
                line("session-channel", Some(*client), Some(*after), None)
            }
            What::SessionLeft { client, until, .. } => {
                line("session-left", Some(*client), Some(*until), None)
            }
            What::Received { client, entry, .. } => Self::at("received", *client, entry.seq),
            What::Delivered { client, entry, .. } => Self::at("delivered", *client, entry.seq),
            What::PageRead { client, entry, .. } => Self::at("page-read", *client, entry.seq),
            What::PageAsked { client, bound, .. } => Self::page("page-asked", *client, *bound),
            What::PageEnded { client, bound, .. } => Self::page("page-ended", *client, *bound),
            What::PageRefused { client, bound, .. } => Self::page("page-refused", *client, *bound),
            What::Forgot { client, since, .. } => Self::page("forgot", *client, Since(*since)),
            What::SessionClosed { client, session } => {
                line("session-closed", Some(*client), None, Some(session))
            }
            What::ClientDown { client } => line("client-down", Some(*client), None, None),
            What::ClientStopped { client } => line("client-stopped", Some(*client), None, None),
            What::Stored { node, entry, .. } => line("stored", None, Some(entry.seq), Some(node)),
            What::AuditDone => line("audit-done", None, None, None),
            What::Heartbeat { client, state, background, .. } => {
                line(said(*background), Some(*client), None, Some(state.as_str()))
            }
            What::Watching { client, session, .. } => {
                line("watching", Some(*client), None, Some(session))
            }
            What::PresenceTold { client, user, state, .. } => {
                line(told(*state), Some(*client), None, Some(user.as_str()))
            }
            What::Typed { client, .. } => line("typed", Some(*client), None, None),
            What::TypingTold { client, user, .. } => {
                line("typing-told", Some(*client), None, Some(user.as_str()))
            }
            What::NodeEnded { node } => line("node-ended", None, None, Some(node)),
            What::NodeRevived { node } => line("node-revived", None, None, Some(node)),
            What::FaultBegan { name, .. } => line("fault-began", None, None, Some(name)),
            What::ReadMarked { client, seq, .. } => Self::at("read-marked", *client, *seq),
            What::ReadTold { client, seq, .. } => Self::at("read-told", *client, *seq),
            What::ReadStored { user, seq, .. } => {
                Self::new("read-stored", None, Some(*seq), Some(user.as_str()))
            }
            What::FaultHealed { name } => line("fault-healed", None, None, Some(name)),
            What::FaultsOver => line("faults-over", None, None, None),
            What::Converged => line("converged", None, None, None),
            What::RunEnded => line("run-ended", None, None, None),
            What::Panicked { message, .. } => line("panicked", None, None, Some(message)),
            What::ErrorLogged { message, .. } => line("error-logged", None, None, Some(message)),
            What::Peak { level, .. } => line("peak", None, None, Some(level.what)),
            What::TaskLeaked { name, .. } => line("task-leaked", None, None, Some(name)),
        }
    }
}

fn said(background: bool) -> &'static str {
    if background { "heartbeat-hidden" } else { "heartbeat" }
}

fn told(state: PresenceState) -> &'static str {
    match state {
        PresenceState::Offline => "told-offline",
        PresenceState::Away => "told-away",
        PresenceState::Active => "told-active",
    }
}

/// A send by its nonce, anything else with what it is, too.
fn name_of(asked: &Asked) -> Cow<'_, str> {
    if asked.wish == Wish::Send {
        Cow::Borrowed(asked.nonce.as_str())
    } else {
        Cow::Owned(asked.to_string())
    }
}

/// Turns one client's events into history.
pub struct Listener {
    pub recorder: Recorder,
    pub client: ClientIndex,
    pub workspace: WorkspaceId,
    /// The gateways' names, by the client's index of them.
    pub gateways: Vec<Arc<str>>,
    session: Arc<str>,
}

impl Listener {
    pub fn new(
        recorder: Recorder,
        client: ClientIndex,
        workspace: WorkspaceId,
        gateways: Vec<Arc<str>>,
    ) -> Self {
        Self { recorder, client, workspace, gateways, session: "".into() }
    }

    /// `client` saw `event` at `at`.
    pub fn heard(&mut self, at: SimTime, event: ClientEvent) {
        let reads = self.reads(&event);
        if let ClientEvent::LogPage { channel, entries, .. } = &event {
            for entry in entries {
                let (client, channel) = (self.client, self.key(channel.clone()));
                self.recorder.record(at, What::PageRead { client, channel, entry: entry.clone() });
            }
        }
        if let Some(what) = self.translate(event) {
            self.recorder.record(at, what);
        }
        for what in reads {
            self.recorder.record(at, what);
        }
    }

    /// How far the user has read, where the event tells it by the way.
    fn reads(&self, event: &ClientEvent) -> Vec<What> {
        let told = |status: &ChannelStatus| {
            let (client, channel) = (self.client, self.key(status.channel.clone()));
            status.until.is_none().then_some(What::ReadTold { client, channel, seq: status.read })
        };
        if let ClientEvent::Opened { channels, .. } = event {
            channels.iter().filter_map(told).collect()
        } else if let ClientEvent::Channel(status) = event {
            told(status).into_iter().collect()
        } else {
            Vec::new()
        }
    }

    fn translate(&mut self, event: ClientEvent) -> Option<What> {
        let (client, session) = (self.client, self.session.clone());
        Some(match event {
            ClientEvent::Opened { session, gateway, channels } => {
                self.session = session.into();
                let gateway = self.gateways.get(gateway).cloned().unwrap_or_else(|| "?".into());
                let channels = channels
                    .into_iter()
                    .map(|status| (self.key(status.channel), status.after))
                    .collect();
                let session = self.session.clone();
                What::SessionOpened { client, session, gateway, channels }
            }
            ClientEvent::Sent { channel, nonce } => {
                What::Sent { client, session, channel: self.key(channel), nonce }
            }
            ClientEvent::Channel(status) => What::SessionChannel {
                client,
                session,
                channel: self.key(status.channel),
                after: status.after,
            },
            ClientEvent::Left { channel, until } => {
                What::SessionLeft { client, session, channel: self.key(channel), until }
            }
            ClientEvent::Received { channel, entry } => {
                What::Received { client, session, channel: self.key(channel), entry }
            }
            ClientEvent::Delivered { channel, entry } => {
                What::Delivered { client, channel: self.key(channel), entry }
            }
            ClientEvent::Accepted { channel, asked, seq, duplicate, at: _ } => {
                What::Accepted { client, channel: self.key(channel), asked, seq, duplicate }
            }
            ClientEvent::Rejected { channel, asked, code, message: _ } => {
                let (channel, code) = (self.key(channel), code.as_str().to_owned());
                What::Rejected { client, channel, asked, code }
            }
            ClientEvent::Closed { session } => {
                What::SessionClosed { client, session: session.into() }
            }
            ClientEvent::Ended { .. } => What::ClientDown { client },
            ClientEvent::Heartbeat { state, background } => {
                What::Heartbeat { client, session, state, background }
            }
            ClientEvent::Watching { users } => {
                What::Watching { client, session, users: users.into() }
            }
            ClientEvent::Presence { user, state } => {
                What::PresenceTold { client, session, user, state }
            }
            ClientEvent::Typing { channel, user } => {
                What::TypingTold { client, channel: self.key(channel), user }
            }
            ClientEvent::Read { channel, seq } => {
                What::ReadTold { client, channel: self.key(channel), seq }
            }
            ClientEvent::LogPage { channel, bound, more, entries: _, trimmed_upto: _ } => {
                What::PageEnded { client, channel: self.key(channel), bound, more }
            }
            ClientEvent::LogRefused { channel, bound, code, message: _ } => {
                let code = code.as_str().to_owned();
                What::PageRefused { client, channel: self.key(channel), bound, code }
            }
            ClientEvent::CaughtUp { .. }
            | ClientEvent::Trimmed { .. }
            | ClientEvent::HeartbeatAnswered => return None,
        })
    }

    fn key(&self, channel: ChannelId) -> ChannelKey {
        ChannelKey { workspace: self.workspace.clone(), channel }
    }
}
