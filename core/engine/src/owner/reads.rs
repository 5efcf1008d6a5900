//! Pages that gateways ask for, on their way out of the store.

use super::{Effect, Owner, ReadId, Refusal, Unreadable, reply};
use crate::history_bound::{HistoryBound, HistoryPage};
use crate::ids::{ChannelKey, UserId};
use crate::limits::{LINK_READS_MAX, PAGE_ENTRIES_MAX};
use crate::link::{FromOwner, LinkId, Ticket};

pub(super) struct ReadRequest {
    pub(super) channel: ChannelKey,
    pub(super) reader: Option<UserId>,
    pub(super) bound: HistoryBound,
    pub(super) entries_max: u32,
}

/// A page that the store was asked for.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) link: LinkId,
    ticket: Ticket,
    channel: ChannelKey,
    bound: HistoryBound,
    /// Who may see it only if they are a member; none: the gateway knows who may.
    reader: Option<UserId>,
}

impl Owner {
    pub(super) fn read(
        &mut self,
        link: LinkId,
        ticket: Ticket,
        request: ReadRequest,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let ReadRequest { channel, reader, bound, entries_max } = request;
        if !self.may_read(&channel, reader.as_ref()) {
            return Err(Refusal::not_member(&channel));
        }
        let of_link = self.reads_of.entry(link).or_default();
        if *of_link >= LINK_READS_MAX {
            return Err(Refusal::link_reads());
        }
        *of_link += 1;
        self.counts.link_reads.set(*of_link);
        let entries_max =
            usize::try_from(entries_max).unwrap_or(PAGE_ENTRIES_MAX).clamp(1, PAGE_ENTRIES_MAX);
        self.last_read += 1;
        let read = ReadId(self.last_read);
        self.counts.reads += 1;
        self.reads.insert(read, Read { link, ticket, channel: channel.clone(), bound, reader });
        let bound = match bound {
            // What the store holds beyond the head is not told of, and so no part of the page.
            HistoryBound::Before(before) => {
                HistoryBound::Before(before.min(self.head(&channel).next()))
            }
            HistoryBound::After(_) | HistoryBound::Since(_) => bound,
        };
        effects.push(Effect::Read { read, channel, bound, entries_max });
        Ok(())
    }

    pub(super) fn read_done(&mut self, read: ReadId, page: HistoryPage, effects: &mut Vec<Effect>) {
        let Some(Read { link, ticket, channel, bound: _, reader }) = self.take_read(read) else {
            return;
        };
        if !self.may_read(&channel, reader.as_ref()) {
            self.refuse(link, ticket, Refusal::not_member(&channel), effects);
            return;
        }
        let HistoryPage { mut entries, trimmed_upto } = page;
        let head = self.head(&channel);
        // What the store holds already and was not published: whoever may not see it any more has
        // not been told to be gone.
        entries.truncate(entries.partition_point(|entry| entry.seq <= head));
        let trimmed_upto = trimmed_upto.map(|upto| upto.min(head));
        reply(link, FromOwner::Page { ticket, entries, trimmed_upto, head }, effects);
    }

    /// Only who asked is refused: everything else goes on.
    pub(super) fn read_failed(&mut self, read: ReadId, why: Unreadable, effects: &mut Vec<Effect>) {
        self.count_unreadable(why);
        let Some(Read { link, ticket, channel, bound, reader }) = self.take_read(read) else {
            return;
        };
        let refusal = if self.may_read(&channel, reader.as_ref()) {
            Refusal::unreadable(&channel.channel, &bound, why)
        } else {
            Refusal::not_member(&channel)
        };
        self.refuse(link, ticket, refusal, effects);
    }

    pub(super) fn count_unreadable(&mut self, why: Unreadable) {
        match why {
            Unreadable::Damaged => self.counts.reads_damaged += 1,
            Unreadable::Failed => self.counts.reads_failed += 1,
        }
    }

    /// None: its link went down, and has taken its reads with it.
    fn take_read(&mut self, read: ReadId) -> Option<Read> {
        let taken = self.reads.remove(&read)?;
        let of_link = self.reads_of.get_mut(&taken.link).expect("a link that reads is counted");
        *of_link -= 1;
        Some(taken)
    }

    /// Members read all of their channel's log, others nothing.
    fn may_read(&self, channel: &ChannelKey, reader: Option<&UserId>) -> bool {
        reader.is_none_or(|reader| self.membership.joined(channel, reader).is_some())
    }
}
