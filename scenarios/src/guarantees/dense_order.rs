//! `dense-order`: in a channel, seq = 1, 2, 3, … without a gap or a reuse; (channel, seq) names one
//! entry at every node and client, before and after any crash.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use seriatim_engine::entry::{Entry, Wish};
use seriatim_engine::ids::SeqNo;

use crate::history::{Event, OfLog, Roster, What};

use super::{ChannelNumber, Findings, Guarantee, Positions, Seen, slot, user_of};

/// Judges `dense-order`.
#[derive(Debug)]
pub struct DenseOrder {
    roster: Roster,
    channels: Vec<Channel>,
    audited: bool,
    last_at: Duration,
    findings: Findings,
}

#[derive(Debug, Default)]
struct Channel {
    /// Acceptances of positions whose entry was first seen later.
    accepted: Positions<Arc<Event>>,
    /// The event with the highest position of all.
    highest: Option<Arc<Event>>,
    /// The last position of each node's log.
    stored_upto: BTreeMap<Arc<str>, SeqNo>,
}

impl DenseOrder {
    pub const NAME: &'static str = "dense-order";

    pub fn new(roster: Roster) -> Self {
        Self {
            roster,
            channels: Vec::new(),
            audited: false,
            last_at: Duration::ZERO,
            findings: Findings::new(Self::NAME),
        }
    }

    fn entry(&mut self, number: ChannelNumber, entry: &Entry, seen: &Seen<'_>) {
        let channel = slot(&mut self.channels, number.0);
        let event = seen.event;
        let Some(first) = seen.first else {
            if let Some(accepted) = channel.accepted.at(entry.seq)
                && !accepts(&self.roster, accepted, entry)
            {
                let message = || other_accepted(entry.seq);
                self.findings.report(event.at, message, [&**accepted, event]);
            }
            let highest = channel.highest.as_ref().and_then(|highest| highest.what.entry());
            if highest.is_none_or(|highest| highest.seq < entry.seq) {
                channel.highest = Some(seen.keep());
            }
            return;
        };
        if let Some(named) = first.what.entry()
            && !seen.repeats
        {
            self.findings.report(event.at, || difference(named, entry), [&**first, event]);
        }
    }

    fn accepted(&mut self, number: ChannelNumber, seq: SeqNo, seen: &Seen<'_>) {
        let event = seen.event;
        if let Some(first) = seen.first
            && let Some(entry) = first.what.entry()
        {
            if !accepts(&self.roster, event, entry) {
                self.findings.report(event.at, || other_accepted(seq), [&**first, event]);
            }
            return;
        }
        let channel = slot(&mut self.channels, number.0);
        match channel.accepted.at(seq) {
            None => channel.accepted.insert(seq, seen.keep()),
            Some(first) if !same_acceptance(&self.roster, first, event) => {
                let message = || format!("position {seq} was accepted for two requests");
                self.findings.report(event.at, message, [&**first, event]);
            }
            Some(_) => {}
        }
    }

    fn stored(&mut self, number: ChannelNumber, node: &Arc<str>, seq: SeqNo, event: &Event) {
        let channel = slot(&mut self.channels, number.0);
        let upto = channel.stored_upto.entry(node.clone()).or_default();
        if seq != upto.next() {
            let upto = *upto;
            let kind = if seq > upto { "a gap" } else { "a repeat" };
            let message = || format!("the log has {kind}: #{seq} follows #{upto}");
            self.findings.report(event.at, message, [event]);
        }
        let upto = channel.stored_upto.entry(node.clone()).or_default();
        *upto = seq.max(*upto);
    }
}

impl Guarantee for DenseOrder {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn observe(&mut self, seen: &Seen<'_>) {
        self.last_at = seen.event.at;
        if seen.event.what == What::AuditDone {
            self.audited = true;
        }
        let Some(number) = seen.channel else { return };
        if let What::Stored { node, entry, .. } = &seen.event.what {
            self.stored(number, node, entry.seq, seen.event);
        }
        match seen.event.what.of_log() {
            Some(OfLog::Accepted { seq, .. }) => self.accepted(number, seq, seen),
            Some(OfLog::Entry(entry)) => self.entry(number, entry, seen),
            Some(OfLog::Asked { .. }) | None => {}
        }
    }

    fn conclude(&mut self) {
        if !self.audited {
            return;
        }
        for channel in &self.channels {
            let head = channel.stored_upto.values().max().copied().unwrap_or_default();
            let Some(event) = &channel.highest else { continue };
            let Some(seq) = event.what.entry().map(|entry| entry.seq) else { continue };
            if seq > head {
                let message = || format!("position {seq} was seen, but the log ends at #{head}");
                self.findings.report(self.last_at, message, [&**event]);
            }
        }
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }
}

fn difference(first: &Entry, second: &Entry) -> String {
    let seq = first.seq;
    if first.content != second.content {
        format!("position {seq} names two entries")
    } else {
        format!("position {seq} was numbered twice, at {} and at {}", first.at, second.at)
    }
}

fn other_accepted(seq: SeqNo) -> String {
    format!("position {seq} was accepted for one request and names another's entry")
}

/// `accepted` tells its client that `entry` is its own.
fn accepts(roster: &Roster, accepted: &Event, entry: &Entry) -> bool {
    let What::Accepted { client, asked, .. } = &accepted.what else { return true };
    entry.content.answers(&user_of(roster, *client).user, asked)
}

fn same_acceptance(roster: &Roster, first: &Event, second: &Event) -> bool {
    match (&first.what, &second.what) {
        (
            What::Accepted { client, asked, .. },
            What::Accepted { client: other_client, asked: other_asked, .. },
        ) => {
            let sends = [asked, other_asked].map(|asked| asked.wish == Wish::Send);
            let same =
                asked == other_asked && user_of(roster, *client) == user_of(roster, *other_client);
            // One change of membership may be what several asked for.
            same || sends == [false, false]
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;

    fn found(history: History) -> Vec<String> {
        judged(DenseOrder::new(roster()), history)
    }

    #[test]
    fn a_healthy_history_holds() {
        assert_eq!(found(healthy()), [""; 0]);
    }

    #[test]
    fn two_clients_that_see_different_entries_at_one_position_break_it() {
        let other = message(3, 1, "n9", "hullo");
        let history = healthy().with(&received(1, "b", hello()), received(1, "b", other));
        assert_eq!(found(history), ["position 3 names two entries"]);
    }

    #[test]
    fn a_delivery_that_differs_from_the_wire_breaks_it() {
        let other = message(3, 0, "n1", "hello!");
        let history = healthy().with(&delivered(1, hello()), delivered(1, other));
        assert_eq!(found(history), ["position 3 names two entries"]);
    }

    #[test]
    fn a_log_that_holds_something_else_breaks_it() {
        let other = message(4, 1, "n9", "reused");
        let history = healthy().with(&stored(more()), stored(other));
        let expected = "position 4 names two entries";
        // The late duplicate acceptance came before the audit and agrees with what was delivered.
        assert_eq!(found(history), [expected]);
    }

    #[test]
    fn a_position_that_is_numbered_again_breaks_it_although_the_text_is_the_same() {
        let mut again = more();
        again.at.0 += 1;
        let history = healthy().with(&received(1, "c", more()), received(1, "c", again));
        let found = found(history);
        assert!(found[0].starts_with("position 4 was numbered twice"), "{found:?}");
    }

    #[test]
    fn an_acceptance_of_anothers_position_breaks_it() {
        let history = healthy().with(&accepted(0, "n1", 3), accepted(0, "n1", 2));
        assert_eq!(found(history), [other_accepted(SeqNo(2))]);
    }

    #[test]
    fn an_acceptance_is_remembered_until_its_entry_is_seen() {
        let history = healthy().with(&accepted(0, "n1", 3), accepted(0, "n1", 4));
        assert_eq!(found(history)[0], other_accepted(SeqNo(4)));
    }

    #[test]
    fn two_acceptances_of_one_position_break_it() {
        let history = healthy().before(
            &What::FaultsOver,
            [invoked(0, "n7", "x"), accepted(0, "n7", 9), accepted(1, "n8", 9)],
        );
        assert_eq!(found(history)[0], "position 9 was accepted for two requests");
    }

    #[test]
    fn a_log_with_a_gap_or_a_repeat_breaks_it() {
        assert_eq!(
            found(healthy().without(&stored(hello()))),
            ["the log has a gap: #4 follows #2"]
        );
        let twice = healthy().before(&stored(more()), [stored(hello())]);
        assert_eq!(found(twice), ["the log has a repeat: #3 follows #3"]);
    }

    #[test]
    fn a_position_beyond_the_log_breaks_it() {
        let found = found(healthy().without(&stored(more())));
        assert_eq!(found, ["position 4 was seen, but the log ends at #3"]);
    }
}
