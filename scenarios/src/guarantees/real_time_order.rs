//! `real-time-order`: what was accepted before something else was asked for is in front of it:
//! accepted(a) before send(b) ⇒ seq(a) < seq(b), whoever sent them, before and after any crash.
//!
//! A change of membership is judged when it was made for its own request: what is so already is no
//! new entry. With `dense-order` this makes a channel's log linearizable. A request counts from the first time
//! that its client was asked for it, so that retries and their duplicates need no rule of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use seriatim_engine::entry::{Asked, Entry, Wish};
use seriatim_engine::ids::{Nonce, SeqNo, UserId};

use crate::history::{ClientIndex, Event, OfLog, Roster};

use super::{ChannelNumber, Findings, Guarantee, Seen, slot, user_of};

/// Judges `real-time-order`.
#[derive(Debug)]
pub struct RealTimeOrder {
    roster: Roster,
    channels: Vec<Channel>,
    findings: Findings,
}

#[derive(Debug, Default)]
struct Channel {
    /// The highest position that any client was told is its own.
    accepted_upto: Option<Accepted>,
    /// None once its position has been told. That it stays the same is `once`'s to judge.
    requests: BTreeMap<(UserId, Nonce), Option<Request>>,
}

#[derive(Debug, Clone)]
struct Accepted {
    seq: SeqNo,
    event: Arc<Event>,
}

#[derive(Debug)]
struct Request {
    invoked: Arc<Event>,
    /// What was accepted before it was invoked: its own position is higher.
    floor: Option<Accepted>,
}

impl RealTimeOrder {
    pub const NAME: &'static str = "real-time-order";

    pub fn new(roster: Roster) -> Self {
        Self { roster, channels: Vec::new(), findings: Findings::new(Self::NAME) }
    }

    fn invoked(
        &mut self,
        number: ChannelNumber,
        client: ClientIndex,
        asked: Asked,
        seen: &Seen<'_>,
    ) {
        let user = user_of(&self.roster, client).user.clone();
        let channel = slot(&mut self.channels, number.0);
        let floor = channel.accepted_upto.clone();
        let request = Request { invoked: seen.keep(), floor };
        channel.requests.entry((user, asked.nonce)).or_insert(Some(request));
    }

    fn accepted(
        &mut self,
        number: ChannelNumber,
        (client, asked): (ClientIndex, &Asked),
        (seq, duplicate): (SeqNo, bool),
        seen: &Seen<'_>,
    ) {
        if asked.wish == Wish::Send || !duplicate {
            let author = (user_of(&self.roster, client).user.clone(), asked.nonce.clone());
            self.position(number, &author, seq, seen.event);
        }
        let channel = slot(&mut self.channels, number.0);
        if channel.accepted_upto.as_ref().is_none_or(|highest| highest.seq < seq) {
            channel.accepted_upto = Some(Accepted { seq, event: seen.keep() });
        }
    }

    fn entry(&mut self, number: ChannelNumber, entry: &Entry, event: &Event) {
        let (user, nonce) = entry.content.author();
        self.position(number, &(user.clone(), nonce.clone()), entry.seq, event);
    }

    /// `event` tells that the request has position `seq`.
    fn position(
        &mut self,
        number: ChannelNumber,
        author: &(UserId, Nonce),
        seq: SeqNo,
        event: &Event,
    ) {
        let channel = slot(&mut self.channels, number.0);
        // Without one, the entry is invented, which is another guarantee's to tell.
        let request = channel.requests.get_mut(author).and_then(Option::take);
        if let Some(request) = request {
            self.judge(&request, seq, event);
        }
    }

    fn judge(&mut self, request: &Request, seq: SeqNo, event: &Event) {
        if let Some(floor) = &request.floor
            && seq <= floor.seq
        {
            let message =
                || format!("#{} was accepted before #{seq} was even asked for", floor.seq);
            self.findings.report(event.at, message, [&*floor.event, &*request.invoked, event]);
        }
    }
}

impl Guarantee for RealTimeOrder {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn observe(&mut self, seen: &Seen<'_>) {
        let Some(number) = seen.channel else { return };
        match seen.event.what.of_log() {
            Some(OfLog::Asked { client, asked }) => self.invoked(number, client, asked, seen),
            Some(OfLog::Accepted { client, asked, seq, duplicate }) => {
                self.accepted(number, (client, asked), (seq, duplicate), seen);
            }
            // A copy of what was seen before tells nothing new.
            Some(OfLog::Entry(entry)) if !seen.repeats => {
                self.entry(number, entry, seen.event);
            }
            Some(OfLog::Entry(_)) | None => {}
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
        judged(RealTimeOrder::new(roster()), history)
    }

    /// `inserted` while both clients are there and everything that was asked for is answered.
    fn later(inserted: impl IntoIterator<Item = What>) -> History {
        healthy().before(&What::FaultsOver, inserted)
    }

    #[test]
    fn a_healthy_history_holds() {
        assert_eq!(found(healthy()), [""; 0]);
    }

    #[test]
    fn a_send_that_comes_in_front_of_what_anyone_was_told_is_accepted_breaks_it() {
        let history = later([
            invoked(0, "n6", "first"),
            accepted(0, "n6", 6),
            invoked(1, "n5", "second"),
            accepted(1, "n5", 5),
        ]);
        assert_eq!(found(history), ["#6 was accepted before #5 was even asked for"]);
    }

    #[test]
    fn the_witness_is_the_acceptance_the_request_and_what_told_its_position() {
        let history = later([accepted(0, "n6", 6), invoked(1, "n5", "x"), accepted(1, "n5", 5)]);
        let findings = feed(&mut RealTimeOrder::new(roster()), history);
        let [violation] = findings.violations() else { panic!("{findings:?}") };
        let [first, invoked, second] = violation.witness.as_slice() else {
            panic!("{violation:?}");
        };
        assert!(first.contains("nonce n6"), "{first}");
        assert!(invoked.contains("client 1 sends"), "{invoked}");
        assert!(second.contains("nonce n5"), "{second}");
    }

    #[test]
    fn requests_that_overlap_may_have_any_order() {
        let history = later([
            invoked(0, "n6", "first"),
            invoked(1, "n5", "second"),
            accepted(0, "n6", 6),
            accepted(1, "n5", 5),
        ]);
        assert_eq!(found(history), [""; 0]);
    }

    #[test]
    fn the_answer_to_a_retry_is_measured_by_the_first_request() {
        let history = later([
            invoked(1, "n5", "lost reply"),
            invoked(0, "n6", "x"),
            accepted(0, "n6", 6),
            duplicate(1, "n5", 5),
        ]);
        assert_eq!(found(history), [""; 0]);
    }

    #[test]
    fn a_duplicate_acceptance_is_an_acceptance() {
        // Nobody was told of #4 before its retry was; what is asked for afterwards comes after it.
        let history = later([invoked(1, "n9", "x"), accepted(1, "n9", 2)]);
        assert_eq!(found(history), ["#4 was accepted before #2 was even asked for"]);
    }

    #[test]
    fn an_entry_tells_the_position_of_a_send_whose_reply_was_lost() {
        let taken = message(5, 1, "n5", "x");
        let asked = || [accepted(0, "n6", 6), invoked(1, "n5", "x")];
        let expected = ["#6 was accepted before #5 was even asked for"];
        assert_eq!(
            found(later(asked()).before(&What::FaultsOver, [received(0, "a", taken.clone())])),
            expected
        );
        assert_eq!(found(later(asked()).before(&What::AuditDone, [stored(taken)])), expected);
    }

    #[test]
    fn a_join_is_ordered_as_a_send_is_and_its_repeat_is_not() {
        let early = later([join_invoked(2), join_accepted(2, 3)]);
        assert_eq!(found(early), ["#4 was accepted before #3 was even asked for"]);
        let again = later([join_invoked(1), join_duplicate(1, 2)]);
        assert_eq!(found(again), [""; 0]);
    }

    #[test]
    fn a_send_is_told_once_however_many_see_it() {
        let early = message(1, 1, "n5", "x");
        let history = later([
            invoked(1, "n5", "x"),
            accepted(1, "n5", 1),
            received(0, "a", early.clone()),
            delivered(0, early),
        ]);
        assert_eq!(found(history).len(), 1);
    }
}
