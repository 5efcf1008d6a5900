//! `once`: one (channel, user, nonce) makes at most one entry, a message or a change of members; a
//! retry gets the same seq. A change that had been made already makes none: it is answered with the
//! position of what made it so, and none with its nonce may come later.

use std::collections::BTreeMap;
use std::sync::Arc;

use seriatim_engine::ids::{Nonce, SeqNo, UserId};

use crate::history::{Event, OfLog, Roster};

use super::{ChannelNumber, Findings, Guarantee, Seen, slot, user_of};

/// Judges `once`.
#[derive(Debug)]
pub struct Once {
    roster: Roster,
    channels: Vec<Channel>,
    findings: Findings,
}

#[derive(Debug, Default)]
struct Channel {
    /// The position that each nonce led to, and the event that told it first.
    positions: BTreeMap<(UserId, Nonce), (SeqNo, Arc<Event>)>,
}

impl Once {
    pub const NAME: &'static str = "once";

    pub fn new(roster: Roster) -> Self {
        Self { roster, channels: Vec::new(), findings: Findings::new(Self::NAME) }
    }

    fn position(
        &mut self,
        number: ChannelNumber,
        (user, nonce): (&UserId, &Nonce),
        seq: SeqNo,
        seen: &Seen<'_>,
    ) {
        let channel = slot(&mut self.channels, number.0);
        let key = (user.clone(), nonce.clone());
        match channel.positions.get(&key) {
            None => {
                channel.positions.insert(key, (seq, seen.keep()));
            }
            Some((first, witness)) if *first != seq => {
                let first = *first;
                let message =
                    || format!("nonce {nonce} of {user} has two positions: {first} and {seq}");
                self.findings.report(seen.event.at, message, [&**witness, seen.event]);
            }
            Some(_) => {}
        }
    }
}

impl Guarantee for Once {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn observe(&mut self, seen: &Seen<'_>) {
        let Some(number) = seen.channel else { return };
        match seen.event.what.of_log() {
            Some(OfLog::Accepted { client, asked, seq, .. }) => {
                let user = user_of(&self.roster, client).user.clone();
                self.position(number, (&user, &asked.nonce), seq, seen);
            }
            // A copy of what was seen before tells nothing new.
            Some(OfLog::Entry(entry)) if !seen.repeats => {
                self.position(number, entry.content.author(), entry.seq, seen);
            }
            Some(OfLog::Asked { .. } | OfLog::Entry(_)) | None => {}
        }
    }

    fn conclude(&mut self) {}

    fn findings(&self) -> &Findings {
        &self.findings
    }
}

#[cfg(test)]
mod tests {
    use seriatim_engine::entry::{Asked, Content, Entry, Wish};

    use super::super::fixture::*;
    use super::*;
    use crate::history::What;

    fn found(history: History) -> Vec<String> {
        judged(Once::new(roster()), history)
    }

    #[test]
    fn a_healthy_history_with_a_retry_holds() {
        assert_eq!(found(healthy()), [""; 0]);
    }

    #[test]
    fn a_message_that_is_stored_twice_breaks_it() {
        let history = healthy().before(&What::AuditDone, [stored(message(5, 0, "n1", "hello"))]);
        assert_eq!(found(history), ["nonce n1 of u0 has two positions: 3 and 5"]);
    }

    #[test]
    fn a_retry_that_gets_another_seq_breaks_it() {
        let history = healthy().with(&duplicate(0, "n2", 4), duplicate(0, "n2", 5));
        assert_eq!(found(history), ["nonce n2 of u0 has two positions: 4 and 5"]);
    }

    #[test]
    fn a_message_that_arrives_twice_breaks_it_without_an_audit() {
        let again = received(1, "c", message(5, 0, "n2", "more"));
        let history = healthy().before(&What::FaultsOver, [again]);
        assert_eq!(found(history), ["nonce n2 of u0 has two positions: 4 and 5"]);
    }

    /// #5, with the nonce that client 1's join at #2 had.
    fn joined_again() -> Entry {
        let mut again = joined(2, 1);
        again.seq = SeqNo(5);
        again
    }

    #[test]
    fn a_change_that_is_made_twice_breaks_it() {
        let expected = ["nonce c2 of u1 has two positions: 2 and 5"];
        let stored = healthy().before(&What::AuditDone, [stored(joined_again())]);
        assert_eq!(found(stored), expected);
        let seen = healthy().before(&What::FaultsOver, [received(0, "a", joined_again())]);
        assert_eq!(found(seen), expected);
    }

    #[test]
    fn a_change_that_altered_nothing_and_is_made_later_breaks_it() {
        let again = Asked { nonce: Nonce::new("again").unwrap(), wish: Wish::Join };
        let confirmed =
            || [change_invoked(1, again.clone()), acceptance(1, again.clone(), 2, true)];
        assert_eq!(found(healthy().before(&What::FaultsOver, confirmed())), [""; 0]);
        let content = Content::Joined { user: user(1), nonce: again.nonce.clone() };
        let late = Entry { content, ..joined_again() };
        let history = healthy()
            .before(&What::FaultsOver, confirmed())
            .before(&What::AuditDone, [stored(late)]);
        assert_eq!(found(history), ["nonce again of u1 has two positions: 2 and 5"]);
    }

    #[test]
    fn one_nonce_of_two_senders_is_two_messages() {
        let history = healthy().before(&What::AuditDone, [stored(message(5, 1, "n1", "hello"))]);
        assert_eq!(found(history), [""; 0]);
    }
}
