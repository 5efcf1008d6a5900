//! `read-cursors`: how far a user has read never falls, is never invented, and outlives any crash.
//!
//! A position that a client is told is one that a client of that user marked, or lies before the
//! user's own entry into the channel. What a client is told never falls, and what any client was told
//! is in the store at the end, after a last power cut.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use seriatim_engine::ids::{SeqNo, UserId};

use crate::history::{ClientIndex, Event, Roster, What};

use super::{ChannelNumber, Findings, Guarantee, Seen, slot, user_of};

/// Judges `read-cursors`.
#[derive(Debug)]
pub struct ReadCursors {
    roster: Roster,
    channels: Vec<Channel>,
    is_audited: bool,
    ended_at: Duration,
    findings: Findings,
}

#[derive(Debug, Default)]
struct Channel {
    users: BTreeMap<UserId, User>,
    /// What each client was told last.
    told: BTreeMap<ClientIndex, (SeqNo, Arc<Event>)>,
}

/// What is known of one user in one channel.
#[derive(Debug, Default)]
struct User {
    /// The greatest that was marked.
    marked: SeqNo,
    /// The entries that made the user a member.
    entered: BTreeSet<SeqNo>,
    /// What was told and nobody had marked, once each.
    unmarked: BTreeMap<SeqNo, Arc<Event>>,
    /// The greatest that was told of what was marked.
    told: Option<(SeqNo, Arc<Event>)>,
    stored: SeqNo,
}

impl ReadCursors {
    pub const NAME: &'static str = "read-cursors";

    pub fn new(roster: Roster) -> Self {
        Self {
            roster,
            channels: Vec::new(),
            is_audited: false,
            ended_at: Duration::ZERO,
            findings: Findings::new(Self::NAME),
        }
    }

    fn told(&mut self, number: ChannelNumber, client: ClientIndex, seq: SeqNo, seen: &Seen<'_>) {
        let channel = slot(&mut self.channels, number.0);
        let user = channel.users.entry(user_of(&self.roster, client).user.clone()).or_default();
        if seq > user.marked {
            // The entry after it may be seen later.
            user.unmarked.entry(seq).or_insert_with(|| seen.keep());
        }
        if let Some((earlier, witness)) = channel.told.get(&client)
            && seq < *earlier
        {
            let message = || format!("{client} is told #{seq} after #{earlier}: it fell");
            self.findings.report(seen.event.at, message, [&**witness, seen.event]);
        }
        channel.told.insert(client, (seq, seen.keep()));
        let greatest = user.told.as_ref().map_or(SeqNo::ZERO, |(told, _)| *told);
        if seq > greatest && seq <= user.marked {
            user.told = Some((seq, seen.keep()));
        }
    }
}

impl Guarantee for ReadCursors {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn observe(&mut self, seen: &Seen<'_>) {
        self.ended_at = seen.event.at;
        let what = &seen.event.what;
        if *what == What::AuditDone {
            self.is_audited = true;
        }
        let Some(number) = seen.channel else { return };
        if let What::ReadMarked { client, seq, .. } = what {
            let user = user_of(&self.roster, *client).user.clone();
            let user = slot(&mut self.channels, number.0).users.entry(user).or_default();
            user.marked = user.marked.max(*seq);
        } else if let What::ReadTold { client, seq, .. } = what {
            self.told(number, *client, *seq, seen);
        } else if let What::ReadStored { user, seq, .. } = what {
            let user = slot(&mut self.channels, number.0).users.entry(user.clone()).or_default();
            user.stored = user.stored.max(*seq);
        } else if let Some(entry) = what.entry().filter(|_| !seen.repeats) {
            for user in entry.content.begins() {
                let users = &mut slot(&mut self.channels, number.0).users;
                let user = users.entry(user.clone()).or_default();
                user.entered.insert(entry.seq);
            }
        }
    }

    fn conclude(&mut self) {
        let users = self.channels.iter().flat_map(|channel| &channel.users);
        for (name, user) in users {
            for (seq, witness) in &user.unmarked {
                if !user.entered.contains(&seq.next()) {
                    let message = || format!("{name} was told #{seq}, which nobody had marked");
                    self.findings.report(witness.at, message, [&**witness]);
                }
            }
            if !self.is_audited {
                continue;
            }
            let Some((told, witness)) = &user.told else { continue };
            if *told > user.stored {
                let stored = user.stored;
                let message = || format!("{name} was told #{told}, but the store has #{stored}");
                self.findings.report(self.ended_at, message, [&**witness]);
            }
        }
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;

    fn marked(client: u32, seq: u64) -> What {
        What::ReadMarked { client: ClientIndex(client), channel: channel(), seq: SeqNo(seq) }
    }

    fn kept(index: u32, seq: u64) -> What {
        let (node, channel) = ("messages-1".into(), channel());
        What::ReadStored { node, channel, user: user(index), seq: SeqNo(seq) }
    }

    /// Client 0 marks 3 and is told; client 1 is told that what came before its join is read.
    fn read(before_end: Vec<What>) -> History {
        healthy()
            .before(&What::FaultsOver, [marked(0, 3), read_told(0, 3), read_told(1, 1)])
            .before(&What::AuditDone, before_end)
    }

    fn found(history: History) -> Vec<String> {
        judged(ReadCursors::new(roster()), history)
    }

    #[test]
    fn what_was_marked_told_and_kept_is_in_order() {
        assert_eq!(found(healthy()), [""; 0]);
        assert_eq!(found(read(vec![kept(0, 3)])), [""; 0]);
    }

    #[test]
    fn a_position_that_nobody_marked_is_invented() {
        let history = read(vec![kept(0, 3)]).before(&What::FaultsOver, [read_told(1, 3)]);
        let expected = "u1 was told #3, which nobody had marked";
        assert_eq!(found(history), [expected]);
    }

    #[test]
    fn a_position_that_falls_is_told() {
        let history = read(vec![kept(0, 3)]).before(&What::FaultsOver, [read_told(0, 2)]);
        assert_eq!(found(history), ["client 0 is told #2 after #3: it fell"]);
    }

    #[test]
    fn a_position_that_was_told_and_is_not_in_the_store_is_lost() {
        assert_eq!(found(read(vec![kept(0, 2)])), ["u0 was told #3, but the store has #2"]);
    }
}
