//! `once`: one (channel, sender, nonce) makes at most one message; a retry gets the same seq.

use std::collections::BTreeMap;
use std::sync::Arc;

use seriatim_engine::entry::{Asked, Content, Entry};
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
    /// The position of each message, and the event that told it first.
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
        (sender, nonce): (&UserId, &Nonce),
        seq: SeqNo,
        seen: &Seen<'_>,
    ) {
        let channel = slot(&mut self.channels, number.0);
        let key = (sender.clone(), nonce.clone());
        match channel.positions.get(&key) {
            None => {
                channel.positions.insert(key, (seq, seen.keep()));
            }
            Some((first, witness)) if *first != seq => {
                let first = *first;
                let message =
                    || format!("nonce {nonce} of {sender} has two positions: {first} and {seq}");
                self.findings.report(seen.event.at, message, [&**witness, seen.event]);
            }
            Some(_) => {}
        }
    }

    fn entry(&mut self, number: ChannelNumber, entry: &Entry, seen: &Seen<'_>) {
        if let Content::Message { sender, nonce, .. } = &entry.content {
            self.position(number, (sender, nonce), entry.seq, seen);
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
            Some(OfLog::Accepted { client, asked: Asked::Send(nonce), seq, .. }) => {
                let sender = user_of(&self.roster, client).user.clone();
                self.position(number, (&sender, nonce), seq, seen);
            }
            // A copy of what was seen before tells nothing new.
            Some(OfLog::Entry(entry)) if !seen.repeats => self.entry(number, entry, seen),
            Some(OfLog::Accepted { .. } | OfLog::Asked { .. } | OfLog::Entry(_)) | None => {}
        }
    }

    fn conclude(&mut self) {}

    fn findings(&self) -> &Findings {
        &self.findings
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn one_nonce_of_two_senders_is_two_messages() {
        let history = healthy().before(&What::AuditDone, [stored(message(5, 1, "n1", "hello"))]);
        assert_eq!(found(history), [""; 0]);
    }
}
