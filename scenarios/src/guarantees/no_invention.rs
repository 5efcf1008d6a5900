//! `no-invention`: what is delivered was sent, byte for byte, by that sender; and what the sender
//! was told is refused for good, is not in the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use seriatim_engine::entry::{Asked, Content, Entry};
use seriatim_engine::ids::{Nonce, UserId};

use crate::history::{Event, Roster, What};

use super::{ChannelNumber, Findings, Guarantee, Seen, slot, user_of};

/// Judges `no-invention`.
#[derive(Debug)]
pub struct NoInvention {
    roster: Roster,
    channels: Vec<Channel>,
    findings: Findings,
}

#[derive(Debug, Default)]
struct Channel {
    sends: BTreeMap<(UserId, Nonce), Request>,
    changes: BTreeMap<(UserId, Asked), Change>,
}

/// Changes of membership that are asked for in the same words.
#[derive(Debug, Default)]
struct Change {
    asked: usize,
    rejected: usize,
    rejection: Option<Arc<Event>>,
}

#[derive(Debug)]
struct Request {
    invoked: Arc<Event>,
    /// The refusal.
    rejected: Option<Arc<Event>>,
}

impl NoInvention {
    pub const NAME: &'static str = "no-invention";

    pub fn new(roster: Roster) -> Self {
        Self { roster, channels: Vec::new(), findings: Findings::new(Self::NAME) }
    }

    fn entry(&mut self, number: ChannelNumber, entry: &Entry, event: &Event) {
        let channel = slot(&mut self.channels, number.0);
        let Content::Message { .. } = &entry.content else {
            let (user, asked) = entry.content.asked();
            if !channel.changes.contains_key(&(user.clone(), asked.clone())) {
                let message = || format!("{user} never asked this channel for {asked}");
                self.findings.report(event.at, message, [event]);
            }
            return;
        };
        let Some(request) = channel.request(&entry.content) else {
            let (sender, asked) = entry.content.asked();
            let message = || format!("{sender} never sent {asked} to this channel");
            self.findings.report(event.at, message, [event]);
            return;
        };
        if let Content::Message { body, .. } = &entry.content
            && let What::Invoked { body: sent, .. } = &request.invoked.what
            && body != sent
        {
            let message = || difference(sent, body);
            self.findings.report(event.at, message, [&*request.invoked, event]);
        }
    }

    fn stored(&mut self, number: ChannelNumber, entry: &Entry, event: &Event) {
        let channel = slot(&mut self.channels, number.0);
        let rejected = if let Content::Message { .. } = &entry.content {
            channel.request(&entry.content).and_then(|request| request.rejected.as_ref())
        } else {
            let (user, asked) = entry.content.asked();
            let change = channel.changes.get(&(user.clone(), asked));
            // One of them may be this entry, if not all were refused.
            let change = change.filter(|change| change.rejected == change.asked);
            change.and_then(|change| change.rejection.as_ref())
        };
        if let Some(rejected) = rejected {
            let message = || "the log holds what its sender was told is refused".to_owned();
            self.findings.report(event.at, message, [&**rejected, event]);
        }
    }
}

impl Channel {
    fn request(&self, content: &Content) -> Option<&Request> {
        match content {
            Content::Message { sender, nonce, .. } => {
                self.sends.get(&(sender.clone(), nonce.clone()))
            }
            Content::Created { .. }
            | Content::Joined { .. }
            | Content::Added { .. }
            | Content::Left { .. }
            | Content::Removed { .. } => None,
        }
    }
}

impl Guarantee for NoInvention {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn observe(&mut self, seen: &Seen<'_>) {
        let Some(number) = seen.channel else { return };
        let event = seen.event;
        // A copy of what was judged before tells nothing new.
        if let Some(entry) = event.what.entry()
            && !seen.repeats
        {
            self.entry(number, entry, event);
        }
        if let What::Stored { entry, .. } = &event.what {
            self.stored(number, entry, event);
        } else if let What::Invoked { client, nonce, .. } = &event.what {
            let user = user_of(&self.roster, *client).user.clone();
            let request = Request { invoked: seen.keep(), rejected: None };
            let channel = slot(&mut self.channels, number.0);
            channel.sends.entry((user, nonce.clone())).or_insert(request);
        } else if let What::ChangeInvoked { client, asked, .. } = &event.what {
            let user = user_of(&self.roster, *client).user.clone();
            let channel = slot(&mut self.channels, number.0);
            channel.changes.entry((user, asked.clone())).or_default().asked += 1;
        } else if let What::Rejected { client, asked, is_final: true, .. } = &event.what {
            let user = user_of(&self.roster, *client).user.clone();
            let channel = slot(&mut self.channels, number.0);
            if let Asked::Send(nonce) = asked {
                if let Some(request) = channel.sends.get_mut(&(user, nonce.clone())) {
                    request.rejected = Some(seen.keep());
                }
            } else if let Some(change) = channel.changes.get_mut(&(user, asked.clone())) {
                change.rejected += 1;
                change.rejection = Some(seen.keep());
            }
        }
    }

    fn conclude(&mut self) {}

    fn findings(&self) -> &Findings {
        &self.findings
    }
}

fn difference(sent: &str, found: &str) -> String {
    let same = sent.bytes().zip(found.bytes()).take_while(|(a, b)| a == b).count();
    let (sent, found) = (sent.len(), found.len());
    format!("a body of {sent} bytes became one of {found}; they differ from byte {same} on")
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;

    fn found(history: History) -> Vec<String> {
        judged(NoInvention::new(roster()), history)
    }

    #[test]
    fn a_healthy_history_holds() {
        assert_eq!(found(healthy()), [""; 0]);
    }

    #[test]
    fn a_changed_body_breaks_it_wherever_it_shows() {
        let changed = message(3, 0, "n1", "hellO");
        let expected = ["a body of 5 bytes became one of 5; they differ from byte 4 on"];
        let wire = healthy().with(&received(1, "b", hello()), received(1, "b", changed.clone()));
        assert_eq!(found(wire), expected);
        let app = healthy().with(&delivered(1, hello()), delivered(1, changed.clone()));
        assert_eq!(found(app), expected);
        assert_eq!(found(healthy().with(&stored(hello()), stored(changed))), expected);
    }

    #[test]
    fn a_message_from_nobody_or_in_anothers_name_breaks_it() {
        let forged = message(4, 1, "n2", "more");
        let history = healthy().with(&received(1, "c", more()), received(1, "c", forged));
        assert_eq!(found(history), ["u1 never sent nonce n2 to this channel"]);
    }

    #[test]
    fn a_member_that_never_asked_to_join_breaks_it() {
        let history = healthy().before(&What::AuditDone, [stored(joined(5, 2))]);
        assert_eq!(found(history), ["u2 never asked this channel for join"]);
    }

    #[test]
    fn a_message_that_arrives_before_it_was_sent_breaks_it() {
        let early = received(1, "b", more());
        let history = healthy().before(&invoked(0, "n1", "hello"), [early]);
        assert_eq!(found(history), ["u0 never sent nonce n2 to this channel"]);
    }

    #[test]
    fn a_refused_send_in_the_log_breaks_it_and_one_that_is_not_there_does_not() {
        let refused = healthy().before(&What::FaultsOver, [rejected(1, Some("n3"))]);
        assert_eq!(found(refused), [""; 0]);
        let stored_too = healthy()
            .before(&What::FaultsOver, [rejected(1, Some("n3"))])
            .before(&What::AuditDone, [stored(message(5, 1, "n3", "lost"))]);
        assert_eq!(found(stored_too), ["the log holds what its sender was told is refused"]);
    }

    #[test]
    fn a_join_that_was_refused_and_asked_for_again_is_no_invention() {
        let again = [rejected(1, None), join_invoked(1)];
        assert_eq!(found(healthy().before(&join_accepted(1, 2), again)), [""; 0]);
        let refused = healthy().before(&join_accepted(1, 2), [rejected(1, None)]);
        assert_eq!(found(refused), ["the log holds what its sender was told is refused"]);
        let mut unknown = rejected(1, None);
        if let What::Rejected { is_final, .. } = &mut unknown {
            *is_final = false;
        }
        assert_eq!(found(healthy().before(&join_accepted(1, 2), [unknown])), [""; 0]);
    }
}
