//! `contiguous-delivery`: each client sees each channel's seqs +1 each, with no gap and no repeat,
//! across reconnects and gateway changes, from its last-seen on.
//!
//! Judged twice: on the wire, where each session serves from a position on; and at the application,
//! which knows no sessions. The two meet when a session opens: it must serve from what the
//! application has, or, when it has nothing yet, from where the client was first served.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use seriatim_engine::ids::SeqNo;

use crate::history::{ClientIndex, Event, What};

use super::{ChannelNumber, Findings, Guarantee, Seen, slot};

/// Judges `contiguous-delivery`.
#[derive(Debug)]
pub struct ContiguousDelivery {
    clients: Vec<Client>,
    findings: Findings,
}

#[derive(Debug, Default)]
struct Client {
    /// Open ones, and those closed since the last was opened: a frame may have been on its way.
    sessions: Vec<Session>,
    /// The last position that the application has, or the first that it was served from.
    seen_upto: BTreeMap<ChannelNumber, Mark>,
}

#[derive(Debug)]
struct Session {
    name: Arc<str>,
    closed: bool,
    served_upto: BTreeMap<ChannelNumber, Mark>,
}

/// A position and when it was reached.
#[derive(Debug, Clone, Copy)]
struct Mark {
    seq: SeqNo,
    at: Duration,
}

impl ContiguousDelivery {
    pub const NAME: &'static str = "contiguous-delivery";

    /// The session serves the channel from `after` on.
    fn serve(
        &mut self,
        client_index: ClientIndex,
        session: &str,
        channel: ChannelNumber,
        after: SeqNo,
        event: &Event,
    ) {
        let mark = Mark { seq: after, at: event.at };
        let client = slot(&mut self.clients, client_index.0);
        let seen = *client.seen_upto.entry(channel).or_insert(mark);
        if seen.seq != after {
            let message = || {
                format!(
                    "{session} serves {client_index} after #{after}, but it has seen up to #{}",
                    seen.seq
                )
            };
            let witness = [seen.line(client_index, "has seen up to"), event.to_string()];
            self.findings.report_lines(event.at, message, witness);
        }
        let client = slot(&mut self.clients, client_index.0);
        let Some(session) = client.sessions.iter_mut().find(|open| *open.name == *session) else {
            let message = || format!("{session} serves {client_index} but was never opened");
            self.findings.report(event.at, message, [event]);
            return;
        };
        session.served_upto.insert(channel, mark);
    }

    fn received(
        &mut self,
        client_index: ClientIndex,
        session: &Arc<str>,
        channel: ChannelNumber,
        seq: SeqNo,
        event: &Event,
    ) {
        let client = slot(&mut self.clients, client_index.0);
        let served = client
            .sessions
            .iter_mut()
            .find(|open| Arc::ptr_eq(&open.name, session) || open.name == *session)
            .and_then(|session| session.served_upto.get_mut(&channel));
        let Some(served) = served else {
            let message = || format!("{session} sent #{seq} of a channel that it doesn't serve");
            self.findings.report(event.at, message, [event]);
            return;
        };
        let before = served.advance(seq, event.at);
        if seq != before.seq.next() {
            let message = || format!("{session} sent #{seq} {}", broken_step(before.seq, seq));
            let witness = [before.line(client_index, "was served up to"), event.to_string()];
            self.findings.report_lines(event.at, message, witness);
        }
    }

    /// The session serves the channel no longer, and the client forgets it. If it is in the channel
    /// again, it begins anew.
    fn left(&mut self, client: ClientIndex, session: &str, channel: ChannelNumber) {
        let client = slot(&mut self.clients, client.0);
        client.seen_upto.remove(&channel);
        for open in client.sessions.iter_mut().filter(|open| *open.name == *session) {
            open.served_upto.remove(&channel);
        }
    }

    fn delivered(
        &mut self,
        client_index: ClientIndex,
        channel: ChannelNumber,
        seq: SeqNo,
        event: &Event,
    ) {
        let client = slot(&mut self.clients, client_index.0);
        let Some(seen) = client.seen_upto.get_mut(&channel) else {
            let message = || format!("#{seq} was delivered from a channel that nothing serves");
            self.findings.report(event.at, message, [event]);
            return;
        };
        let before = seen.advance(seq, event.at);
        if seq != before.seq.next() {
            let message =
                || format!("{client_index} was delivered #{seq} {}", broken_step(before.seq, seq));
            let witness = [before.line(client_index, "has seen up to"), event.to_string()];
            self.findings.report_lines(event.at, message, witness);
        }
    }
}

impl Default for ContiguousDelivery {
    fn default() -> Self {
        Self { clients: Vec::new(), findings: Findings::new(Self::NAME) }
    }
}

impl Mark {
    /// Goes on from the furthest position, so that one mistake is told once. Returns what it was.
    fn advance(&mut self, seq: SeqNo, at: Duration) -> Self {
        let before = *self;
        if seq > self.seq {
            *self = Self { seq, at };
        }
        before
    }

    fn line(self, client: ClientIndex, what: &str) -> String {
        format!("{:>9.3} s  {client} {what} #{}", self.at.as_secs_f64(), self.seq)
    }
}

fn broken_step(before: SeqNo, seq: SeqNo) -> String {
    if seq > before {
        format!("after #{before}: {} missing", seq.0 - before.0 - 1)
    } else {
        format!("again: it was at #{before}")
    }
}

impl Guarantee for ContiguousDelivery {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn observe(&mut self, seen: &Seen<'_>) {
        let event = seen.event;
        if let What::Received { client, session, entry, .. } = &event.what {
            let Some(number) = seen.channel else { return };
            self.received(*client, session, number, entry.seq, event);
        } else if let What::Delivered { client, entry, .. } = &event.what {
            let Some(number) = seen.channel else { return };
            self.delivered(*client, number, entry.seq, event);
        } else if let What::SessionOpened { client, session, channels, .. } = &event.what {
            let sessions = &mut slot(&mut self.clients, client.0).sessions;
            sessions.retain(|session| !session.closed);
            let name = session.clone();
            sessions.push(Session { name, closed: false, served_upto: BTreeMap::new() });
            for (number, (_, after)) in seen.session_channels.iter().zip(channels) {
                self.serve(*client, session, *number, *after, event);
            }
        } else if let What::SessionChannel { client, session, after, .. } = &event.what {
            let Some(number) = seen.channel else { return };
            self.serve(*client, session, number, *after, event);
        } else if let What::SessionLeft { client, session, .. } = &event.what {
            let Some(number) = seen.channel else { return };
            self.left(*client, session, number);
        } else if let What::Forgot { client, .. } = &event.what {
            let Some(number) = seen.channel else { return };
            slot(&mut self.clients, client.0).seen_upto.remove(&number);
        } else if let What::SessionClosed { client, session } = &event.what {
            let sessions = &mut slot(&mut self.clients, client.0).sessions;
            for open in sessions.iter_mut().filter(|open| open.name == *session) {
                open.closed = true;
            }
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

    fn found(history: History) -> Vec<String> {
        judged(ContiguousDelivery::default(), history)
    }

    #[test]
    fn a_healthy_history_holds() {
        assert_eq!(found(healthy()), [""; 0]);
    }

    #[test]
    fn a_gap_on_the_wire_breaks_it() {
        let history = healthy().without(&received(0, "a", hello()));
        assert_eq!(found(history), ["a sent #4 after #2: 1 missing"]);
    }

    #[test]
    fn a_repeat_on_the_wire_breaks_it() {
        let history = healthy().before(&closed(1, "b"), [received(1, "b", hello())]);
        assert_eq!(found(history), ["b sent #3 again: it was at #3"]);
    }

    #[test]
    fn one_repeat_is_told_once_and_what_follows_goes_on_from_the_furthest() {
        let next = message(5, 1, "n3", "lost");
        let again = [received(1, "c", hello()), received(1, "c", next)];
        let history = healthy().before(&What::FaultsOver, again);
        assert_eq!(found(history), ["c sent #3 again: it was at #4"]);
    }

    #[test]
    fn a_frame_of_the_last_session_after_the_next_has_opened_breaks_it() {
        let history = healthy().with(&received(1, "c", more()), received(1, "b", more()));
        assert_eq!(found(history), ["b sent #4 of a channel that it doesn't serve"]);
    }

    #[test]
    fn a_gap_or_a_repeat_at_the_application_breaks_it() {
        let gap = found(healthy().without(&delivered(0, hello())));
        assert_eq!(gap, ["client 0 was delivered #4 after #2: 1 missing"]);
        let repeat = found(healthy().before(&What::FaultsOver, [delivered(1, hello())]));
        assert_eq!(repeat, ["client 1 was delivered #3 again: it was at #4"]);
    }

    #[test]
    fn a_session_that_resumes_elsewhere_breaks_it() {
        let expected = ["c serves client 1 after #4, but it has seen up to #3"];
        let history = healthy()
            .with(&opened(1, "c", &[3]), opened(1, "c", &[4]))
            .without(&received(1, "c", more()))
            .without(&delivered(1, more()));
        assert_eq!(found(history), expected);
        let early = healthy()
            .with(&opened(1, "c", &[3]), opened(1, "c", &[2]))
            .before(&received(1, "c", more()), [received(1, "c", hello())]);
        assert_eq!(found(early), ["c serves client 1 after #2, but it has seen up to #3"]);
    }

    #[test]
    fn a_client_that_was_delivered_nothing_resumes_where_it_was_first_served() {
        let first = [opened(2, "x", &[2]), closed(2, "x")];
        let well = healthy()
            .before(&What::FaultsOver, first.clone())
            .before(&What::Converged, [opened(2, "y", &[2])]);
        assert_eq!(found(well), [""; 0]);
        let skipped = healthy()
            .before(&What::FaultsOver, first)
            .before(&What::Converged, [opened(2, "y", &[4])]);
        assert_eq!(found(skipped), ["y serves client 2 after #4, but it has seen up to #2"]);
    }

    #[test]
    fn an_entry_of_a_channel_that_the_session_does_not_serve_breaks_it() {
        let stray = [received(2, "z", hello()), delivered(2, hello())];
        let expected = [
            "z sent #3 of a channel that it doesn't serve",
            "#3 was delivered from a channel that nothing serves",
        ];
        assert_eq!(found(healthy().before(&What::FaultsOver, stray)), expected);
        let unopened = healthy().before(&What::FaultsOver, [served(2, "q", 0)]);
        assert_eq!(found(unopened), ["q serves client 2 but was never opened"]);
    }

    #[test]
    fn a_frame_that_was_on_its_way_when_the_session_closed_is_judged_like_any_other() {
        let well = healthy().with(&closed(1, "b"), closed(1, "b"));
        let late = received(1, "b", more());
        let history = well.before(&What::FaultHealed { name: "sigkill gateway-1".into() }, [late]);
        assert_eq!(found(history), [""; 0]);
    }
}
