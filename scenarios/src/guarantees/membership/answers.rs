//! What clients were told about their requests, against the log.

use std::sync::Arc;

use seriatim_engine::entry::{ChannelKind, Wish};
use seriatim_engine::frame::RejectCode;
use seriatim_engine::ids::{SeqNo, UserId};

use crate::history::Event;

use super::log::Log;
use super::requests::{Answer, Told};

/// What is wrong with an answer, and the change that shows it.
type Wrong<'a> = (String, Option<&'a Arc<Event>>);

impl Answer {
    /// Whether the log's changes of membership tell if it is right.
    pub(super) fn is_of_membership(&self) -> bool {
        match &self.told {
            Told::Accepted { .. } => self.asked.wish != Wish::Send,
            Told::Refused(code) => [RejectCode::NotMember.as_str(), RejectCode::Forbidden.as_str()]
                .contains(&code.as_str()),
        }
    }

    pub(super) fn judge<'a>(&self, log: &'a Log) -> Option<Wrong<'a>> {
        match &self.told {
            Told::Accepted { seq, duplicate } => self.accepted(*seq, *duplicate, log),
            Told::Refused(code) if code == RejectCode::NotMember.as_str() => self.strange(log),
            Told::Refused(_) => self.forbidden(log),
        }
    }

    /// That there is such an entry is `dense-order`'s to tell, and `no-lost-ack`'s.
    fn accepted<'a>(&self, seq: SeqNo, duplicate: bool, log: &'a Log) -> Option<Wrong<'a>> {
        let change = log.change(seq)?;
        let content = &change.what.entry()?.content;
        let (user, wish) = (&self.user, &self.asked.wish);
        if !duplicate {
            let own = content.asked() == (user, self.asked.clone());
            let message = || format!("{user} is told that #{seq} is its own {wish}");
            return (!own).then(|| (message(), Some(change)));
        }
        let whom = match wish {
            Wish::Join | Wish::Leave => user,
            Wish::Add(user) | Wish::Remove(user) => user,
            Wish::Create | Wish::Send => return None,
        };
        let undone = self.undone(whom, seq, log)?;
        let message = format!("{user} is told that its {wish} is done since #{seq}: it was undone");
        Some((message, log.change(undone)))
    }

    /// The change at `seq` was undone by this entry, which had been seen before this was asked for.
    fn undone(&self, whom: &UserId, seq: SeqNo, log: &Log) -> Option<SeqNo> {
        let edges = log.stays(whom).iter().flat_map(|stay| [Some(stay.from), stay.until]);
        let mut edges = edges.flatten().skip_while(|edge| edge.seq != seq);
        edges.next()?;
        edges.next().filter(|next| next.seen_at < self.invoked_at).map(|next| next.seq)
    }

    /// A member all the while is told to be none.
    fn strange<'a>(&self, log: &'a Log) -> Option<Wrong<'a>> {
        let stay = log.stays(&self.user).iter().find(|stay| {
            stay.from.seen_at <= self.invoked_at
                && stay.until.is_none_or(|until| until.asked_at > self.event.at)
        })?;
        let seq = stay.from.seq;
        let message = format!("{} is refused as a stranger, a member since #{seq}", self.user);
        Some((message, log.change(seq)))
    }

    /// Everybody may join what is public.
    fn forbidden<'a>(&self, log: &'a Log) -> Option<Wrong<'a>> {
        let is_public = log.kind() == Some(ChannelKind::Public);
        let message = || format!("{} may not join a public channel", self.user);
        (is_public && self.asked.wish == Wish::Join)
            .then(|| (message(), log.change(SeqNo::ZERO.next())))
    }
}
