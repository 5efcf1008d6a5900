//! What owners say, and what a link's coming and going means for the sessions.

use std::collections::{BTreeMap, BTreeSet};

use super::{About, Channel, Effect, Gateway, Pending, Request};
use crate::followers::Cursor;
use crate::frame::{ChannelStatus, GoodbyeCode, LogFrame, RejectCode, Resume, ServerFrame};
use crate::history_bound::{HistoryBound, HistoryPage};
use crate::ids::{ChannelId, ChannelKey, ConnectionId, SeqNo, ShardId, UserKey};
use crate::limits::{DRAIN_SPREAD, HEARTBEAT};
use crate::link::{EndedChannel, FromOwner, OpenedChannel, Ticket, ToOwner};
use crate::placement::shard_of;
use crate::session::{Phase, Session};
use crate::time::{MonoTime, WallTime};

impl Gateway {
    pub(super) fn link_up(&mut self, now: MonoTime, shard: ShardId, effects: &mut Vec<Effect>) {
        self.links_up.insert(shard);
        let users: Vec<(UserKey, Vec<ConnectionId>)> = self
            .users
            .iter()
            .filter(|(user, _)| self.shard_of(&user.workspace) == shard)
            .map(|(user, connections)| (user.clone(), connections.clone()))
            .collect();
        for (user, connections) in users {
            let opening: Vec<ConnectionId> =
                connections.iter().copied().filter(|one| self.is_opening(*one)).collect();
            if opening.len() < connections.len() {
                let (pending, again) = (Pending::Reopen { user: user.clone() }, user.clone());
                let resumed = self.channels_of(&connections);
                let frame = |ticket| ToOwner::Open { ticket, user: again, resumed };
                self.ask(shard, pending, frame, effects);
            }
            for connection in opening {
                self.open(connection, user.clone(), effects);
            }
        }
        for channel in self.channels.keys() {
            if self.shard_of(&channel.workspace) == shard {
                let frame = ToOwner::Subscribe { channel: channel.clone() };
                effects.push(Effect::ToOwner { shard, frame });
            }
        }
        self.presence_link_up(now, shard, effects);
    }

    pub(super) fn link_down(&mut self, shard: ShardId, effects: &mut Vec<Effect>) {
        self.links_up.remove(&shard);
        let (lost, kept): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|(_, (pending_shard, _))| *pending_shard == shard);
        self.pending = kept;
        self.admission.link_down(shard);
        self.locates.remove(&shard);
        for (_, pending) in lost.into_values() {
            match pending {
                // Asked again when the link is up.
                Pending::Open { .. } | Pending::Locate { .. } | Pending::Reopen { .. } => {}
                Pending::Request(request) => {
                    self.answered(&request);
                    self.reject_unavailable(&request, effects);
                }
                // Given up below, with those that have not been asked for.
                Pending::CatchUp { .. } => {}
            }
        }
        self.stop_reading_from(shard);
    }

    pub(super) fn link_frame(
        &mut self,
        shard: ShardId,
        frame: FromOwner,
        effects: &mut Vec<Effect>,
    ) {
        match frame {
            FromOwner::Opened { ticket, channels, ended } => match self.take_pending(ticket) {
                Some(Pending::Open { connection }) => {
                    self.opened(connection, channels, &ended, effects);
                }
                Some(Pending::Reopen { user }) => self.reopened(&user, channels, ended, effects),
                Some(Pending::Request(_) | Pending::CatchUp { .. } | Pending::Locate { .. })
                | None => {}
            },
            FromOwner::Located { ticket, points } => {
                if let Some(Pending::Locate { connection }) = self.take_pending(ticket) {
                    self.located(connection, points, effects);
                }
            }
            FromOwner::Head { channel, head } => self.head(&channel, head, effects),
            FromOwner::Entries { channel, entries } => {
                self.counts.published += entries.len() as u64;
                self.publish(&channel, &entries, effects);
            }
            FromOwner::Accepted { ticket, seq, at, duplicate } => {
                self.accepted(ticket, (seq, at), duplicate, effects);
            }
            FromOwner::Rejected { ticket, code, message } => {
                self.rejected(ticket, code, message, effects);
            }
            FromOwner::Page { ticket, entries, trimmed_upto, head } => match self
                .take_pending(ticket)
            {
                Some(Pending::CatchUp { channel, after }) => {
                    self.counts.pages += 1;
                    let page = HistoryPage { entries, trimmed_upto };
                    self.page((channel, after), &page, head, effects);
                }
                Some(Pending::Request(request)) => {
                    let page = HistoryPage { entries, trimmed_upto };
                    self.answer_page(request, &page, head, effects);
                }
                Some(Pending::Open { .. } | Pending::Locate { .. } | Pending::Reopen { .. })
                | None => {}
            },
            FromOwner::Listed { ticket, channels, more } => {
                let Some(request) = self.take_request(ticket) else { return };
                let frame = ServerFrame::ChannelList { reply_to: request.reply_to, channels, more };
                self.send(request.connection, &frame, effects);
            }
            FromOwner::Joined { user, channel, seq } => {
                self.add_channel(&user, &channel, seq, seq, effects);
            }
            FromOwner::Left { user, channel, until } => {
                self.end_channel(&user, &channel, until, effects);
            }
            FromOwner::Read { user, channel, seq } => {
                self.tell_read(&user, channel, seq, effects);
            }
            FromOwner::Presence { told } => self.presence_told(told, effects),
            FromOwner::Typing { channel, user } => self.relay_typing(&channel, &user, effects),
            FromOwner::Pong => debug_assert!(self.links_up.contains(&shard)),
        }
    }

    /// The owner's answer to a session's `history`.
    fn answer_page(
        &mut self,
        request: Request,
        page: &HistoryPage,
        head: SeqNo,
        effects: &mut Vec<Effect>,
    ) {
        self.answered(&request);
        let Request { connection, reply_to, about: About::Page(channel, bound), .. } = request
        else {
            return;
        };
        let HistoryPage { entries, trimmed_upto } = page;
        let more = match bound {
            HistoryBound::Before(_) => {
                let first = entries.first().map_or(SeqNo::ZERO, |first| first.seq);
                first > SeqNo::ZERO.next() && trimmed_upto.is_none()
            }
            HistoryBound::After(_) | HistoryBound::Since(_) => {
                entries.last().is_some_and(|last| last.seq < head)
            }
        };
        let messages = entries.iter().map(|one| LogFrame::new(channel.clone(), one)).collect();
        let trimmed_upto = *trimmed_upto;
        let frame = ServerFrame::Page { reply_to, channel, messages, more, trimmed_upto };
        self.send(connection, &frame, effects);
    }

    fn accepted(
        &mut self,
        ticket: Ticket,
        (seq, at_ms): (SeqNo, WallTime),
        duplicate: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Some(request) = self.take_request(ticket) else { return };
        let Request { connection, reply_to, about: About::Entry(channel), asked_at } = request
        else {
            return;
        };
        self.counts.accept.record_time(self.now - asked_at);
        if let Some(user) = self.sessions.get(&connection).and_then(Session::user) {
            let workspace = user.workspace.clone();
            let key = ChannelKey { workspace, channel: channel.clone() };
            let name = self.channels.get_key_value(&key).map(|(name, _)| name.clone());
            self.trace.answered(name.unwrap_or(key), seq, connection, (asked_at, self.now));
        }
        let frame = ServerFrame::Accepted { reply_to, channel, seq, at_ms, duplicate };
        self.send(connection, &frame, effects);
    }

    /// The owner's answer to a session's `hello`.
    fn opened(
        &mut self,
        connection: ConnectionId,
        opened: Vec<OpenedChannel>,
        ended: &[EndedChannel],
        effects: &mut Vec<Effect>,
    ) {
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        let Phase::Opening { user, resume, .. } = &mut session.phase else { return };
        let (user, resume) = (user.clone(), std::mem::take(resume));
        let statuses = match starting_points(&opened, ended, &resume) {
            Ok(statuses) => statuses,
            Err(message) => {
                self.goodbye(connection, GoodbyeCode::ResumeAhead, message, None, effects);
                return;
            }
        };
        let channels = Vec::with_capacity(statuses.len());
        session.phase = Phase::Live { user: user.clone(), channels };
        let welcome = ServerFrame::Welcome {
            session: self.session_name(connection),
            user: user.user.clone(),
            workspace: user.workspace.clone(),
            heartbeat_ms: u64::try_from(HEARTBEAT.as_millis()).expect("seconds fit"),
            channels: statuses.clone(),
        };
        self.send(connection, &welcome, effects);
        for ChannelStatus { channel, head, after, read: _, until, trimmed_upto: _ } in statuses {
            let owed = resume.iter().any(|point| point.channel == channel);
            let key = ChannelKey { workspace: user.workspace.clone(), channel };
            self.follow(connection, &key, after, owed, effects);
            self.set_end(connection, &key, until);
            self.head(&key, head, effects);
            self.settle(&key, connection, effects);
        }
    }

    /// The user is in `channel`: every session of theirs that doesn't have it yet gets it, from
    /// the join on.
    fn add_channel(
        &mut self,
        user: &UserKey,
        channel: &ChannelId,
        joined: SeqNo,
        head: SeqNo,
        effects: &mut Vec<Effect>,
    ) {
        let key = ChannelKey { workspace: user.workspace.clone(), channel: channel.clone() };
        for connection in self.users.get(user).cloned().unwrap_or_default() {
            let Some(session) = self.sessions.get_mut(&connection) else { continue };
            let Phase::Live { channels, .. } = &session.phase else { continue };
            if channels.contains(&key) {
                // It may be on its way to an end that is none any more.
                self.set_end(connection, &key, None);
                continue;
            }
            let after = joined.before();
            let channel = channel.clone();
            let (read, until, trimmed_upto) = (after, None, None);
            let status = ChannelStatus { channel, head, after, read, until, trimmed_upto };
            self.send(connection, &ServerFrame::Channel(status), effects);
            self.follow(connection, &key, after, false, effects);
        }
        self.head(&key, head, effects);
    }

    /// What has become of the memberships of a user with live sessions while the link was down.
    fn reopened(
        &mut self,
        user: &UserKey,
        channels: Vec<OpenedChannel>,
        ended: Vec<EndedChannel>,
        effects: &mut Vec<Effect>,
    ) {
        for OpenedChannel { channel, joined, read, head, trimmed_upto: _ } in channels {
            self.add_channel(user, &channel, joined, head, effects);
            if read >= joined {
                self.tell_read(user, channel, read, effects);
            }
        }
        for EndedChannel { channel, until } in ended {
            self.end_channel(user, &channel, until, effects);
        }
    }

    /// The user is in `channel` up to `until` only: no session of theirs is sent anything after it.
    fn end_channel(
        &mut self,
        user: &UserKey,
        channel: &ChannelId,
        until: SeqNo,
        effects: &mut Vec<Effect>,
    ) {
        let key = ChannelKey { workspace: user.workspace.clone(), channel: channel.clone() };
        for connection in self.users.get(user).cloned().unwrap_or_default() {
            self.set_end(connection, &key, Some(until));
            self.settle(&key, connection, effects);
        }
    }

    fn set_end(&mut self, connection: ConnectionId, key: &ChannelKey, until: Option<SeqNo>) {
        let channel = self.channels.get_mut(key);
        if let Some(cursor) = channel.and_then(|channel| channel.followers.get_mut(connection)) {
            cursor.end(until);
        }
    }

    /// The session was sent all that it may be sent of the channel.
    pub(super) fn end_following(
        &mut self,
        key: &ChannelKey,
        connection: ConnectionId,
        until: SeqNo,
        effects: &mut Vec<Effect>,
    ) {
        let mut who = None;
        if let Some(Session { phase: Phase::Live { user, channels }, .. }) =
            self.sessions.get_mut(&connection)
        {
            channels.retain(|channel| channel != key);
            who = Some(user.user.clone());
        }
        if let Some(user) = who {
            self.trace_end(connection, user, key);
        }
        let left = ServerFrame::Left { channel: key.channel.clone(), until };
        self.send(connection, &left, effects);
        self.unfollow(self.shard_of(&key.workspace), connection, key.clone(), effects);
    }

    /// The channels that these sessions of one user follow.
    fn channels_of(&self, connections: &[ConnectionId]) -> Vec<ChannelId> {
        let mut names = BTreeSet::new();
        for connection in connections {
            if let Some(Session { phase: Phase::Live { channels, .. }, .. }) =
                self.sessions.get(connection)
            {
                names.extend(channels.iter().map(|key| key.channel.clone()));
            }
        }
        names.into_iter().collect()
    }

    /// From now on the session is sent everything after `after`.
    fn follow(
        &mut self,
        connection: ConnectionId,
        key: &ChannelKey,
        after: SeqNo,
        owes_caught_up: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        let Phase::Live { channels, .. } = &mut session.phase else { return };
        if !self.channels.contains_key(key) {
            let frame = ToOwner::Subscribe { channel: key.clone() };
            self.channels.insert(key.clone(), Channel::default());
            let shard = shard_of(&key.workspace, self.config.shards);
            if self.links_up.contains(&shard) {
                effects.push(Effect::ToOwner { shard, frame });
            }
        }
        // The name that the table has, so that all sessions share its memory.
        let Some((name, _)) = self.channels.get_key_value(key) else { return };
        channels.push(name.clone());
        if let Some(channel) = self.channels.get_mut(key) {
            channel.followers.insert(Cursor::new(connection, after, owes_caught_up), self.now);
        }
    }

    /// The session has left the channel, or ended.
    pub(super) fn unfollow(
        &mut self,
        shard: ShardId,
        connection: ConnectionId,
        key: ChannelKey,
        effects: &mut Vec<Effect>,
    ) {
        let Some(channel) = self.channels.get_mut(&key) else { return };
        let cursor = channel.followers.remove(connection);
        let is_empty = channel.followers.is_empty();
        let page = cursor.and_then(|cursor| cursor.reading).map(|after| (key.clone(), after));
        if let Some(page) = page {
            self.catch_up.leave(shard, &page, connection);
        }
        if is_empty {
            self.channels.remove(&key);
            self.tell(shard, ToOwner::Unsubscribe { channel: key }, effects);
        }
    }

    fn rejected(
        &mut self,
        ticket: Ticket,
        code: RejectCode,
        message: String,
        effects: &mut Vec<Effect>,
    ) {
        match self.take_pending(ticket) {
            Some(Pending::Request(request)) => {
                self.answered(&request);
                self.reject(request.connection, Some(request.reply_to), code, message, effects);
            }
            Some(Pending::CatchUp { channel, after }) => {
                self.page_refused(&(channel, after), (code, &message), effects);
            }
            // The session may have ended meanwhile.
            Some(Pending::Locate { connection }) if self.is_opening(connection) => {
                let again = Some(self.jitter(connection, DRAIN_SPREAD));
                self.goodbye(connection, GoodbyeCode::Unavailable, message, again, effects);
            }
            Some(Pending::Locate { .. } | Pending::Open { .. } | Pending::Reopen { .. }) | None => {
            }
        }
    }

    fn take_request(&mut self, ticket: Ticket) -> Option<Request> {
        let Some(Pending::Request(request)) = self.take_pending(ticket) else { return None };
        self.answered(&request);
        Some(request)
    }

    fn take_pending(&mut self, ticket: Ticket) -> Option<Pending> {
        let (shard, pending) = self.pending.remove(&ticket)?;
        self.admission.settled(shard, ticket);
        if let (Pending::Locate { .. }, Some(open)) = (&pending, self.locates.get_mut(&shard)) {
            *open -= 1;
        }
        Some(pending)
    }

    fn is_opening(&self, connection: ConnectionId) -> bool {
        self.sessions
            .get(&connection)
            .is_some_and(|session| matches!(session.phase, Phase::Opening { .. }))
    }
}

/// Where a session starts in each of its channels: where it asks to resume, else at the head. In
/// one that its user is in no longer, only where it asks to.
fn starting_points(
    opened: &[OpenedChannel],
    ended: &[EndedChannel],
    resume: &[Resume],
) -> Result<Vec<ChannelStatus>, String> {
    let member = opened.iter().cloned().map(|opened| {
        let OpenedChannel { channel, joined: _, read, head, trimmed_upto } = opened;
        let point = resume.iter().find(|point| point.channel == channel);
        let after = point.and_then(|point| point.after).unwrap_or(head);
        ChannelStatus { channel, head, after, read, until: None, trimmed_upto }
    });
    let former = ended.iter().filter_map(|EndedChannel { channel, until }| {
        let after = resume.iter().find(|point| point.channel == *channel)?.after?;
        // Its newest entry is no business of theirs.
        let (channel, head, until) = (channel.clone(), *until, Some(*until));
        Some(ChannelStatus { channel, head, after, read: head, until, trimmed_upto: None })
    });
    let statuses: Vec<ChannelStatus> = member.chain(former).collect();
    match statuses.iter().find(|status| status.after > status.head) {
        Some(ChannelStatus { channel, head, after, .. }) => Err(format!(
            "resume after {after} in channel {channel}, whose head is {head}: the position \
             belongs to another log; connect without it"
        )),
        None => Ok(statuses),
    }
}
