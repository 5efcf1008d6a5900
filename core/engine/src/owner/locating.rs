//! The owner's part in resuming by time: which positions a session's last-seen times stand for.
//!
//! The store looks for the times of one session after the other, so that thousands that come back
//! at once do not take it from everybody else. Those that wait are no more than
//! [`crate::limits::SHARD_LOCATES_MAX`] of each gateway, and are forgotten with its link.

use std::collections::VecDeque;

use super::{Effect, Owner, ReadId, Refusal, Unreadable, reply};
use crate::history_bound::HistoryBound;
use crate::ids::{ChannelId, ChannelKey, SeqNo, UserKey};
use crate::link::{FromOwner, LinkId, Ticket};
use crate::membership::Standing;
use crate::time::WallTime;

/// Sessions that wait for their positions, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Locating {
    /// The first one's read, if the store was asked.
    asked: Option<ReadId>,
    queue: VecDeque<Wanted>,
}

#[derive(Debug)]
struct Wanted {
    link: LinkId,
    ticket: Ticket,
    user: UserKey,
    points: Vec<Point>,
}

#[derive(Debug)]
struct Point {
    channel: ChannelId,
    at: WallTime,
    /// The channel's head before the store was asked: an entry beyond it may be as late as `at`
    /// though the store found none that is.
    head: SeqNo,
}

impl Owner {
    /// A session of the user wants to go on where its channels were at these times. Channels that
    /// the user never was in are passed over.
    pub(super) fn locate(
        &mut self,
        link: LinkId,
        ticket: Ticket,
        user: UserKey,
        points: Vec<(ChannelId, WallTime)>,
        effects: &mut Vec<Effect>,
    ) {
        let known = |(channel, at)| {
            let key = ChannelKey { workspace: user.workspace.clone(), channel };
            let standing = self.membership.standing(&key, &user.user);
            let head = self.head(&key);
            (standing != Standing::Stranger).then_some(Point { channel: key.channel, at, head })
        };
        let points = points.into_iter().filter_map(known).collect();
        self.locating.queue.push_back(Wanted { link, ticket, user, points });
        self.seek_next(effects);
    }

    /// The store answered [`Effect::Seek`]: of each channel the first entry that is as late.
    pub(super) fn sought(
        &mut self,
        read: ReadId,
        firsts: &[Option<SeqNo>],
        effects: &mut Vec<Effect>,
    ) {
        let Some(Wanted { link, ticket, user, points }) = self.take_wanted(read) else { return };
        assert!(firsts.len() == points.len(), "the store answers for each channel");
        let located = |(point, first): (Point, &Option<SeqNo>)| {
            let Point { channel, at: _, head } = point;
            let key = ChannelKey { workspace: user.workspace.clone(), channel };
            let end = match self.membership.standing(&key, &user.user) {
                Standing::Former { until } => until,
                Standing::Member { .. } | Standing::Stranger => self.head(&key),
            };
            let after = first.map_or(head, SeqNo::before).min(end);
            (key.channel, after)
        };
        let points = points.into_iter().zip(firsts).map(located).collect();
        reply(link, FromOwner::Located { ticket, points }, effects);
        self.seek_next(effects);
    }

    /// The store can't look into one of the session's channels.
    pub(super) fn seek_failed(
        &mut self,
        read: ReadId,
        channel: &ChannelId,
        why: Unreadable,
        effects: &mut Vec<Effect>,
    ) {
        self.count_unreadable(why);
        let Some(Wanted { link, ticket, user: _, points }) = self.take_wanted(read) else { return };
        let point = points.iter().find(|point| point.channel == *channel);
        let point = point.expect("the store looked for what it was asked");
        let refusal = Refusal::unreadable(channel, &HistoryBound::Since(point.at), why);
        self.refuse(link, ticket, refusal, effects);
        self.seek_next(effects);
    }

    /// None: the link of the session that it was for went down.
    fn take_wanted(&mut self, read: ReadId) -> Option<Wanted> {
        self.locating.asked.take_if(|asked| *asked == read)?;
        self.locating.queue.pop_front()
    }

    fn seek_next(&mut self, effects: &mut Vec<Effect>) {
        if self.locating.asked.is_some() {
            return;
        }
        let Some(wanted) = self.locating.queue.front() else { return };
        let key = |point: &Point| {
            let (workspace, channel) = (wanted.user.workspace.clone(), point.channel.clone());
            (ChannelKey { workspace, channel }, point.at)
        };
        let points = wanted.points.iter().map(key).collect();
        self.last_read += 1;
        let read = ReadId(self.last_read);
        self.locating.asked = Some(read);
        effects.push(Effect::Seek { read, points });
    }

    pub(super) fn stop_locating(&mut self, link: LinkId, effects: &mut Vec<Effect>) {
        if self.locating.queue.front().is_some_and(|first| first.link == link) {
            self.locating.asked = None;
        }
        self.locating.queue.retain(|wanted| wanted.link != link);
        self.seek_next(effects);
    }
}
