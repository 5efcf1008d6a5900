//! `sender-order`: messages of one connection are numbered in the order in which they were sent.
//!
//! It binds two messages of one channel that went out on one session, each once in the whole run,
//! and that were both accepted. A message that went out again may have its position from either
//! attempt: to whoever cares, a retry is a new send.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use seriatim_engine::entry::{Asked, Wish};
use seriatim_engine::ids::{Nonce, SeqNo};

use crate::history::{ClientIndex, Event, What};

use super::{Findings, Guarantee, Seen, slot};

/// Judges `sender-order`.
#[derive(Debug)]
pub struct SenderOrder {
    channels: Vec<Channel>,
    last_at: Duration,
    findings: Findings,
}

#[derive(Debug, Default)]
struct Channel {
    /// Every transmission, in the order of the history.
    transmissions: Vec<Arc<Event>>,
    messages: BTreeMap<(ClientIndex, Nonce), Message>,
}

#[derive(Debug, Default)]
struct Message {
    transmissions: u32,
    accepted: Option<(SeqNo, Arc<Event>)>,
}

/// A message that was sent once and accepted.
#[derive(Debug, Clone, Copy)]
struct Numbered<'a> {
    seq: SeqNo,
    sent: &'a Event,
    accepted: &'a Event,
}

impl SenderOrder {
    pub const NAME: &'static str = "sender-order";
}

impl Default for SenderOrder {
    fn default() -> Self {
        Self { channels: Vec::new(), last_at: Duration::ZERO, findings: Findings::new(Self::NAME) }
    }
}

impl Guarantee for SenderOrder {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn observe(&mut self, seen: &Seen<'_>) {
        self.last_at = seen.event.at;
        let Some(number) = seen.channel else { return };
        if let What::Sent { client, nonce, .. } = &seen.event.what {
            let channel = slot(&mut self.channels, number.0);
            channel.transmissions.push(seen.keep());
            channel.messages.entry((*client, nonce.clone())).or_default().transmissions += 1;
        } else if let What::Accepted {
            client, asked: Asked { nonce, wish: Wish::Send }, seq, ..
        } = &seen.event.what
        {
            let channel = slot(&mut self.channels, number.0);
            let message = channel.messages.entry((*client, nonce.clone())).or_default();
            message.accepted.get_or_insert_with(|| (*seq, seen.keep()));
        }
    }

    /// Only the end shows that a message didn't go out again.
    fn conclude(&mut self) {
        for channel in &self.channels {
            let mut sessions: BTreeMap<(ClientIndex, &str), Numbered<'_>> = BTreeMap::new();
            for event in &channel.transmissions {
                let What::Sent { client, session, nonce, .. } = &event.what else { continue };
                let Some(next) = channel.numbered(*client, nonce, event) else { continue };
                let highest = sessions.entry((*client, session)).or_insert(next);
                if next.seq < highest.seq {
                    let message =
                        || format!("#{} went out before #{} on {session}", highest.seq, next.seq);
                    let mut witness = [highest.sent, next.sent, highest.accepted, next.accepted];
                    witness.sort_by_key(|event| event.at);
                    self.findings.report(self.last_at, message, witness);
                } else {
                    *highest = next;
                }
            }
        }
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }
}

impl Channel {
    /// `None` for a message that this guarantee doesn't bind.
    fn numbered<'a>(
        &'a self,
        client: ClientIndex,
        nonce: &Nonce,
        sent: &'a Event,
    ) -> Option<Numbered<'a>> {
        let message = self.messages.get(&(client, nonce.clone()))?;
        let (seq, accepted) = message.accepted.as_ref()?;
        (message.transmissions == 1).then_some(Numbered { seq: *seq, sent, accepted })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;

    fn found(history: History) -> Vec<String> {
        judged(SenderOrder::default(), history)
    }

    fn later(inserted: impl IntoIterator<Item = What>) -> History {
        healthy().before(&What::FaultsOver, inserted)
    }

    #[test]
    fn a_healthy_history_with_a_retry_holds() {
        assert_eq!(found(healthy()), [""; 0]);
    }

    #[test]
    fn messages_of_one_session_that_change_places_break_it() {
        let history = later([
            sent(1, "c", "n5"),
            sent(1, "c", "n6"),
            accepted(1, "n6", 5),
            accepted(1, "n5", 6),
        ]);
        assert_eq!(found(history), ["#6 went out before #5 on c"]);
    }

    #[test]
    fn every_message_that_comes_in_front_of_an_earlier_one_is_counted() {
        let history = later([
            sent(1, "c", "n5"),
            sent(1, "c", "n6"),
            sent(1, "c", "n7"),
            sent(1, "c", "n8"),
            accepted(1, "n6", 5),
            accepted(1, "n7", 6),
            accepted(1, "n5", 7),
            accepted(1, "n8", 8),
        ]);
        assert_eq!(found(history), ["#7 went out before #5 on c", "#7 went out before #6 on c"]);
    }

    #[test]
    fn the_witness_is_both_transmissions_and_both_acceptances_in_their_order() {
        let history = later([
            sent(1, "c", "n5"),
            accepted(1, "n5", 6),
            sent(1, "c", "n6"),
            accepted(1, "n6", 5),
        ]);
        let findings = feed(&mut SenderOrder::default(), history);
        let [violation] = findings.violations() else { panic!("{findings:?}") };
        assert_eq!(violation.witness.len(), 4);
        assert!(violation.witness.is_sorted(), "{violation:?}");
    }

    #[test]
    fn a_message_that_went_out_twice_has_no_place() {
        let history = later([
            sent(1, "c", "n5"),
            sent(1, "c", "n6"),
            accepted(1, "n6", 5),
            sent(1, "c", "n5"),
            accepted(1, "n5", 6),
        ]);
        assert_eq!(found(history), [""; 0]);
    }

    #[test]
    fn a_retry_on_another_session_is_one_too() {
        let history = healthy()
            .before(&closed(1, "b"), [sent(1, "b", "n5"), sent(1, "b", "n6"), accepted(1, "n6", 5)])
            .before(&What::FaultsOver, [sent(1, "c", "n5"), accepted(1, "n5", 6)]);
        assert_eq!(found(history), [""; 0]);
    }

    #[test]
    fn sessions_are_not_ordered_among_each_other() {
        let of_one_client = healthy()
            .before(&closed(1, "b"), [sent(1, "b", "n5")])
            .before(&What::FaultsOver, [sent(1, "c", "n6"), accepted(1, "n6", 5)])
            .before(&What::FaultsOver, [accepted(1, "n5", 6)]);
        assert_eq!(found(of_one_client), [""; 0]);
        let of_two = later([
            sent(0, "a", "n5"),
            sent(1, "c", "n6"),
            accepted(1, "n6", 5),
            accepted(0, "n5", 6),
        ]);
        assert_eq!(found(of_two), [""; 0]);
    }

    #[test]
    fn a_message_without_an_answer_has_no_place() {
        let history = later([
            sent(1, "c", "n5"),
            sent(1, "c", "n6"),
            accepted(1, "n6", 5),
            received(1, "c", message(6, 1, "n5", "x")),
        ]);
        assert_eq!(found(history), [""; 0]);
    }
}
