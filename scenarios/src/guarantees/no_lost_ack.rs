//! `no-lost-ack`: an accepted message is in the log after any crash, and reaches every member.
//! Nothing is announced before it is durable: what any client received is in the log too.
//!
//! That it reached everyone is judged only when the run converged; what is late when it did not is
//! `convergence`'s to tell. The log is judged only when it was audited.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use seriatim_engine::entry::{Content, Wish};
use seriatim_engine::ids::SeqNo;

use crate::history::{ClientIndex, Event, Roster, What};

use super::attendance::Attendance;
use super::ranges::Ranges;
use super::{ChannelNumber, Findings, Guarantee, Seen, slot, user_of};

/// Judges `no-lost-ack`.
#[derive(Debug)]
pub struct NoLostAck {
    roster: Roster,
    attendance: Attendance,
    channels: Vec<Channel>,
    /// By channel.
    clients: Vec<BTreeMap<ChannelNumber, Member>>,
    audited: bool,
    converged: bool,
    last_at: Duration,
    findings: Findings,
}

#[derive(Debug, Default)]
struct Channel {
    accepted: BTreeMap<SeqNo, Arc<Event>>,
    /// The first client that received each position, and what.
    announced: BTreeMap<SeqNo, Arc<Event>>,
    stored: BTreeMap<SeqNo, Content>,
}

/// What a client had of a channel that it is a member of.
#[derive(Debug, Default)]
struct Member {
    /// Everything after it is owed.
    after: Option<SeqNo>,
    /// No session serves it yet: `after` is what the acceptance of a join told.
    is_unserved: bool,
    /// Nothing after it is owed: the membership has ended there.
    until: Option<SeqNo>,
    delivered: Ranges,
}

impl NoLostAck {
    pub const NAME: &'static str = "no-lost-ack";

    pub fn new(roster: Roster) -> Self {
        Self {
            roster,
            attendance: Attendance::default(),
            channels: Vec::new(),
            clients: Vec::new(),
            audited: false,
            converged: false,
            last_at: Duration::ZERO,
            findings: Findings::new(Self::NAME),
        }
    }

    fn member(&mut self, client: ClientIndex, channel: ChannelNumber) -> &mut Member {
        slot(&mut self.clients, client.0).entry(channel).or_default()
    }

    /// A client is owed what follows the position from which it was served first, or its own join
    /// when it was told of that first.
    fn owed_after(&mut self, client: ClientIndex, channel: ChannelNumber, after: SeqNo) {
        let member = self.member(client, channel);
        match member.until {
            // A reply that comes after the membership that it is about has ended.
            Some(until) if after < until => {}
            Some(_) => (member.after, member.until) = (Some(after), None),
            None => {
                member.after.get_or_insert(after);
            }
        }
    }

    fn judge_log(&mut self) {
        for channel in &self.channels {
            for (seq, event) in &channel.accepted {
                let What::Accepted { client, asked, .. } = &event.what else { continue };
                let found = channel.stored.get(seq);
                let own = &user_of(&self.roster, *client).user;
                if !found.is_some_and(|found| found.answers(own, asked)) {
                    let message = || format!("accepted as #{seq}, but {}", instead(found));
                    self.findings.report(self.last_at, message, [&**event]);
                }
            }
            for (seq, event) in &channel.announced {
                let Some(entry) = event.what.entry() else { continue };
                let found = channel.stored.get(seq);
                if found.map(Content::asked) != Some(entry.content.asked()) {
                    let message = || format!("announced as #{seq}, but {}", instead(found));
                    self.findings.report(self.last_at, message, [&**event]);
                }
            }
        }
    }

    fn judge_deliveries(&mut self) {
        for (client, channels) in (0..).map(ClientIndex).zip(&self.clients) {
            if !self.attendance.is_present(client) {
                continue;
            }
            for (number, member) in channels {
                let Some(after) = member.after else { continue };
                let channel = slot(&mut self.channels, number.0);
                let missing = channel
                    .accepted
                    .range(after.next()..)
                    .filter(|(seq, _)| member.until.is_none_or(|until| **seq <= until))
                    .filter(|(seq, _)| !member.delivered.contains(seq.0));
                for (seq, event) in missing {
                    let message = || format!("accepted #{seq} never reached {client}, a member");
                    self.findings.report(self.last_at, message, [&**event]);
                }
            }
        }
    }
}

impl Guarantee for NoLostAck {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn observe(&mut self, seen: &Seen<'_>) {
        let event = seen.event;
        self.last_at = event.at;
        self.attendance.observe(&event.what);
        self.audited |= event.what == What::AuditDone;
        self.converged |= event.what == What::Converged;
        if let What::SessionOpened { client, channels, .. } = &event.what {
            for (number, (_, after)) in seen.session_channels.iter().zip(channels) {
                // The session that told of the join has ended: the next one begins at its head.
                let member = self.member(*client, *number);
                member.after.take_if(|_| member.is_unserved);
                self.owed_after(*client, *number, *after);
                self.member(*client, *number).is_unserved = false;
            }
        }
        let Some(number) = seen.channel else { return };
        if let What::Accepted { client, asked, seq, duplicate, .. } = &event.what {
            let accepted = &mut slot(&mut self.channels, number.0).accepted;
            accepted.entry(*seq).or_insert_with(|| seen.keep());
            if asked.wish == Wish::Join && !duplicate {
                self.owed_after(*client, number, *seq);
                let member = self.member(*client, number);
                member.is_unserved = member.after == Some(*seq);
            }
        } else if let What::SessionChannel { client, after, .. } = &event.what {
            self.owed_after(*client, number, *after);
            self.member(*client, number).is_unserved = false;
        } else if let What::SessionLeft { client, until, .. } = &event.what {
            self.member(*client, number).until = Some(*until);
        } else if let What::Received { entry, .. } = &event.what
            && !seen.repeats
        {
            let announced = &mut slot(&mut self.channels, number.0).announced;
            announced.entry(entry.seq).or_insert_with(|| seen.keep());
        } else if let What::Delivered { client, entry, .. } = &event.what {
            self.member(*client, number).delivered.insert(entry.seq.0);
        } else if let What::Stored { entry, .. } = &event.what {
            let stored = &mut slot(&mut self.channels, number.0).stored;
            stored.entry(entry.seq).or_insert_with(|| entry.content.clone());
        }
    }

    fn conclude(&mut self) {
        if self.audited {
            self.judge_log();
        }
        if self.converged {
            self.judge_deliveries();
        }
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }
}

fn instead(found: Option<&Content>) -> String {
    match found.map(Content::asked) {
        None => "the log has nothing there".to_owned(),
        Some((user, asked)) => format!("the log has the {asked} of {user} there"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;

    fn found(history: History) -> Vec<String> {
        judged(NoLostAck::new(roster()), history)
    }

    #[test]
    fn a_healthy_history_holds() {
        assert_eq!(found(healthy()), [""; 0]);
    }

    #[test]
    fn an_accepted_message_that_the_log_lost_breaks_it() {
        let history = healthy()
            .before(&began(), [invoked(1, "n5", "x")])
            .before(&What::FaultsOver, [accepted(1, "n5", 5)])
            .without(&What::Converged);
        assert_eq!(found(history), ["accepted as #5, but the log has nothing there"]);
    }

    #[test]
    fn an_accepted_message_whose_place_another_took_breaks_it() {
        let history = healthy().with(&stored(hello()), stored(message(3, 1, "n8", "mine")));
        let expected = [
            "accepted as #3, but the log has the message, nonce n8 of u1 there",
            "announced as #3, but the log has the message, nonce n8 of u1 there",
        ];
        assert_eq!(found(history), expected);
    }

    #[test]
    fn a_message_that_was_announced_before_it_was_durable_breaks_it() {
        // Nobody was told that it is accepted, but client 1 has seen it.
        let history =
            healthy().before(&What::FaultsOver, [received(1, "c", message(5, 1, "n3", "lost"))]);
        assert_eq!(found(history), ["announced as #5, but the log has nothing there"]);
    }

    #[test]
    fn an_accepted_message_that_misses_a_member_breaks_it() {
        let history = healthy().without(&delivered(1, more()));
        assert_eq!(found(history), ["accepted #4 never reached client 1, a member"]);
    }

    #[test]
    fn what_is_late_in_a_run_that_did_not_converge_is_not_lost() {
        let history = healthy().without(&delivered(1, more())).without(&What::Converged);
        assert_eq!(found(history), [""; 0]);
    }

    #[test]
    fn a_client_that_died_is_owed_nothing() {
        let died = What::ClientDown { client: ClientIndex(1) };
        let history = healthy().without(&delivered(1, more())).before(&What::FaultsOver, [died]);
        assert_eq!(found(history), [""; 0]);
    }

    #[test]
    fn a_member_is_owed_everything_after_its_join_wherever_it_is_served_from() {
        let history = healthy()
            .with(&served(1, "b", 1), served(1, "b", 3))
            .without(&received(1, "b", hello()))
            .without(&delivered(1, hello()));
        assert_eq!(found(history), ["accepted #3 never reached client 1, a member"]);
    }

    #[test]
    fn what_came_before_a_session_that_begins_at_its_head_is_not_owed_though_a_join_was_told() {
        let cut = [closed(1, "b"), opened(1, "c", &[3])];
        let history = || {
            healthy()
                .without(&served(1, "b", 1))
                .without(&received(1, "b", joined(2, 1)))
                .without(&delivered(1, joined(2, 1)))
                .without(&received(1, "b", hello()))
                .without(&delivered(1, hello()))
                .without(&closed(1, "b"))
                .without(&opened(1, "c", &[3]))
        };
        let later = history().before(&began(), cut.clone());
        assert_eq!(found(later), [""; 0]);
        let lost = history().before(&began(), cut).without(&delivered(1, more()));
        assert_eq!(found(lost), ["accepted #4 never reached client 1, a member"]);
    }

    #[test]
    fn without_an_audit_the_log_is_not_judged() {
        let history = healthy().without(&stored(more())).without(&What::AuditDone);
        assert_eq!(found(history), [""; 0]);
    }
}
