//! `convergence`: within the scenario's bound after the last fault heals, every live client has
//! every message of its channels.
//!
//! The world says when it believes so (`Converged`); whether that is true is judged against what
//! was delivered and, when there was an audit, the log.

use std::collections::BTreeMap;
use std::time::Duration;

use seriatim_engine::ids::{ChannelKey, SeqNo};

use crate::history::{ClientIndex, Roster, What};

use super::attendance::Attendance;
use super::{ChannelNumber, Findings, Guarantee, Seen, slot};

/// Judges `convergence`.
#[derive(Debug)]
pub struct Convergence {
    within: Duration,
    attendance: Attendance,
    /// As many as the roster has.
    client_count: usize,
    channels: Vec<Channel>,
    /// The last position that each client has of each channel.
    clients: Vec<BTreeMap<ChannelNumber, SeqNo>>,
    faults_over_at: Option<Duration>,
    converged_at: Option<Duration>,
    audited: bool,
    last_at: Duration,
    findings: Findings,
}

#[derive(Debug, Default)]
struct Channel {
    key: Option<ChannelKey>,
    stored_upto: SeqNo,
    /// The last position that anybody has seen.
    seen_upto: SeqNo,
}

impl Convergence {
    pub const NAME: &'static str = "convergence";

    pub fn new(roster: &Roster, within: Duration) -> Self {
        Self {
            within,
            attendance: Attendance::default(),
            client_count: roster.len(),
            channels: Vec::new(),
            clients: Vec::new(),
            faults_over_at: None,
            converged_at: None,
            audited: false,
            last_at: Duration::ZERO,
            findings: Findings::new(Self::NAME),
        }
    }

    fn has(&mut self, client: ClientIndex, channel: ChannelNumber, seq: SeqNo) {
        let upto = slot(&mut self.clients, client.0).entry(channel).or_default();
        *upto = seq.max(*upto);
    }

    /// What each live client lacks, a line each.
    fn lacks(&self) -> Vec<String> {
        let mut lacks = Vec::new();
        let clients = (0..).map(ClientIndex).take(self.client_count);
        for client in clients.filter(|client| !self.attendance.is_gone(*client)) {
            if !self.attendance.is_present(client) {
                lacks.push(format!("{client} has no session"));
            }
            let index = usize::try_from(client.0).expect("a u32 fits");
            for (number, upto) in self.clients.get(index).into_iter().flatten() {
                let index = usize::try_from(number.0).expect("a u32 fits");
                let Some(channel) = self.channels.get(index) else { continue };
                let head = if self.audited { channel.stored_upto } else { channel.seen_upto };
                if *upto < head
                    && let Some(key) = &channel.key
                {
                    lacks.push(format!("{client} has {key} up to #{upto} of #{head}"));
                }
            }
        }
        lacks
    }
}

impl Guarantee for Convergence {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn observe(&mut self, seen: &Seen<'_>) {
        let event = seen.event;
        self.last_at = event.at;
        self.attendance.observe(&event.what);
        if let What::SessionOpened { client, channels, .. } = &event.what {
            for (number, (key, after)) in seen.session_channels.iter().zip(channels) {
                slot(&mut self.channels, number.0).key.get_or_insert_with(|| key.clone());
                self.has(*client, *number, *after);
            }
        }
        match &event.what {
            What::FaultsOver => self.faults_over_at = Some(event.at),
            What::Converged => self.converged_at = Some(event.at),
            What::AuditDone => self.audited = true,
            What::Invoked { .. }
            | What::ChangeInvoked { .. }
            | What::Sent { .. }
            | What::Accepted { .. }
            | What::Rejected { .. }
            | What::SessionOpened { .. }
            | What::SessionChannel { .. }
            | What::SessionLeft { .. }
            | What::Received { .. }
            | What::Delivered { .. }
            | What::PageAsked { .. }
            | What::PageRead { .. }
            | What::PageEnded { .. }
            | What::PageRefused { .. }
            | What::Forgot { .. }
            | What::SessionClosed { .. }
            | What::ClientDown { .. }
            | What::ClientStopped { .. }
            | What::Stored { .. }
            | What::FaultBegan { .. }
            | What::FaultHealed { .. }
            | What::RunEnded
            | What::Heartbeat { .. }
            | What::Watching { .. }
            | What::PresenceTold { .. }
            | What::Typed { .. }
            | What::TypingTold { .. }
            | What::NodeEnded { .. }
            | What::NodeRevived { .. }
            | What::ReadMarked { .. }
            | What::ReadTold { .. }
            | What::ReadStored { .. }
            | What::Panicked { .. }
            | What::ErrorLogged { .. }
            | What::Peak { .. }
            | What::TaskLeaked { .. } => {}
        }
        let (Some(number), Some(key)) = (seen.channel, event.what.channel()) else { return };
        let channel = slot(&mut self.channels, number.0);
        if channel.key.is_none() {
            channel.key = Some(key.clone());
        }
        if let What::Delivered { client, entry, .. } = &event.what {
            channel.seen_upto = channel.seen_upto.max(entry.seq);
            self.has(*client, number, entry.seq);
        } else if let What::SessionChannel { client, after, .. } = &event.what {
            self.has(*client, number, *after);
        } else if let What::SessionLeft { client, .. } | What::Forgot { client, .. } = &event.what {
            slot(&mut self.clients, client.0).remove(&number);
        } else if let What::Received { entry, .. } = &event.what {
            channel.seen_upto = channel.seen_upto.max(entry.seq);
        } else if let What::Stored { entry, .. } = &event.what {
            channel.stored_upto = channel.stored_upto.max(entry.seq);
        }
    }

    fn conclude(&mut self) {
        let lacks = self.lacks();
        let message = match (self.faults_over_at, self.converged_at) {
            (None, _) => "the run ended before its faults were over".to_owned(),
            (Some(_), None) => {
                let bound = self.within.as_secs_f64();
                format!("not everyone had everything when the run ended; the bound is {bound} s")
            }
            (Some(over), Some(converged)) if converged.saturating_sub(over) > self.within => {
                format!(
                    "it took {:.3} s from the end of the faults; the bound is {} s",
                    converged.saturating_sub(over).as_secs_f64(),
                    self.within.as_secs_f64()
                )
            }
            (Some(_), Some(_)) if lacks.is_empty() => return,
            (Some(_), Some(_)) => format!("{} places lack entries that the log has", lacks.len()),
        };
        let lines = if lacks.is_empty() { vec!["nobody lacks anything".to_owned()] } else { lacks };
        self.findings.report_lines(self.last_at, || message, lines);
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;

    fn convergence(within_ms: u64) -> Convergence {
        Convergence::new(&roster(), Duration::from_millis(within_ms))
    }

    fn witness(history: History) -> Vec<String> {
        let mut convergence = convergence(50);
        let findings = feed(&mut convergence, history);
        findings.violations().iter().flat_map(|violation| violation.witness.clone()).collect()
    }

    #[test]
    fn a_healthy_history_holds() {
        assert_eq!(judged(convergence(50), healthy()), [""; 0]);
    }

    #[test]
    fn a_run_that_converges_too_late_breaks_it() {
        let found = judged(convergence(5), healthy());
        assert_eq!(found, ["it took 0.010 s from the end of the faults; the bound is 0.005 s"]);
    }

    #[test]
    fn a_run_that_never_converges_breaks_it_and_tells_who_lacks_what() {
        let history = healthy().without(&delivered(1, more())).without(&What::Converged);
        assert_eq!(
            witness(history),
            ["client 0 has no session", "client 1 has w1/c up to #3 of #4",]
        );
    }

    #[test]
    fn a_world_that_claims_convergence_too_early_breaks_it() {
        let history = healthy().without(&delivered(1, more()));
        assert_eq!(witness(history), ["client 1 has w1/c up to #3 of #4"]);
    }

    #[test]
    fn a_client_without_a_session_has_not_converged() {
        let history = healthy().without(&opened(2, "z", &[]));
        assert_eq!(witness(history), ["client 2 has no session"]);
        let stopped = What::ClientStopped { client: ClientIndex(2) };
        let history = healthy().with(&opened(2, "z", &[]), stopped);
        assert_eq!(judged(convergence(50), history), [""; 0]);
    }

    #[test]
    fn a_tail_that_only_the_log_has_is_seen() {
        let tail = stored(message(5, 1, "n3", "lost"));
        let history = healthy().before(&What::AuditDone, [tail]);
        assert_eq!(witness(history).len(), 2);
    }

    #[test]
    fn a_run_whose_faults_never_end_breaks_it() {
        let found = judged(convergence(50), healthy().without(&What::FaultsOver));
        assert_eq!(found, ["the run ended before its faults were over"]);
    }
}
