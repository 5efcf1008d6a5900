//! The owner's part in read positions: takes marks of members, and tells a user's sessions what is
//! durable.

use super::{Effect, Owner};
use crate::entry::ReadCursor;
use crate::ids::{ChannelKey, SeqNo, UserId, UserKey};
use crate::link::{FromOwner, LinkId};
use crate::time::MonoTime;

impl Owner {
    /// Goes on from how far users have read, as the store holds it.
    #[must_use]
    pub fn with_reads(mut self, reads: Vec<ReadCursor>) -> Self {
        self.read_cursors = crate::read_cursors::ReadCursors::new(reads);
        self
    }

    /// Nobody has read what is not there: a mark beyond the head counts up to it. One that says
    /// nothing new is answered at once, for whoever did not hear the answer.
    pub(super) fn mark_read(
        &mut self,
        now: MonoTime,
        link: LinkId,
        ReadCursor { channel, user, seq }: ReadCursor,
        effects: &mut Vec<Effect>,
    ) {
        if self.membership.joined(&channel, &user).is_none() {
            return;
        }
        let known = self.read_cursors.of(&channel, &user);
        let seq = seq.min(self.head(&channel));
        if seq > known {
            self.read_cursors.mark(now, ReadCursor { channel, user, seq });
        } else if known > SeqNo::ZERO {
            let user = UserKey { workspace: channel.workspace, user };
            let frame = FromOwner::Read { user, channel: channel.channel, seq: known };
            effects.push(Effect::Send { links: vec![link], frame });
        }
    }

    /// How far a member has read. What was there before they joined does not wait for them.
    pub(super) fn read_upto(&self, channel: &ChannelKey, user: &UserId, joined: SeqNo) -> SeqNo {
        self.read_cursors.of(channel, user).max(joined.before())
    }

    /// Hands the store what is due, if anything is.
    pub(super) fn note_reads(&mut self, now: MonoTime, effects: &mut Vec<Effect>) {
        effects.extend(self.read_cursors.next_note(now).map(Effect::NoteReads));
    }

    /// The note is durable: [`super::Input::ReadsNoted`].
    pub(super) fn reads_noted(&mut self, now: MonoTime, effects: &mut Vec<Effect>) {
        for ReadCursor { channel, user, seq } in self.read_cursors.noted() {
            let user = UserKey { workspace: channel.workspace, user };
            let Some(links) = self.open.get(&user) else { continue };
            let links = links.to_vec();
            let frame = FromOwner::Read { user, channel: channel.channel, seq };
            effects.push(Effect::Send { links, frame });
        }
        self.note_reads(now, effects);
    }
}
