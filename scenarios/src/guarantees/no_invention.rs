//! `no-invention`: what is delivered was sent, byte for byte, by that sender; and what the sender
//! was told is refused for good, is not in the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use seriatim_engine::entry::{Asked, Content, Entry, Wish};
use seriatim_engine::ids::{Nonce, UserId};

use crate::history::{Event, OfLog, Roster, What};

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
    requests: BTreeMap<(UserId, Nonce), Request>,
}

#[derive(Debug)]
struct Request {
    invoked: Arc<Event>,
    asked: Asked,
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
        let (user, asked) = entry.content.asked();
        let request = channel.requests.get(&(user.clone(), asked.nonce.clone()));
        let Some(request) = request.filter(|request| request.asked == asked) else {
            let message = || format!("{user} never asked this channel for {asked}");
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
        let (user, nonce) = entry.content.author();
        let request = channel.requests.get(&(user.clone(), nonce.clone()));
        if let Some(rejected) = request.and_then(|request| request.rejected.as_ref()) {
            let message = || "the log holds what its author was told is refused".to_owned();
            self.findings.report(event.at, message, [&**rejected, event]);
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
        } else if let What::Rejected { client, asked, .. } = &event.what {
            let user = user_of(&self.roster, *client).user.clone();
            let channel = slot(&mut self.channels, number.0);
            if let Some(request) = channel.requests.get_mut(&(user, asked.nonce.clone())) {
                request.rejected = Some(seen.keep());
            }
        } else if let Some(OfLog::Asked { client, asked }) = event.what.of_log() {
            let user = user_of(&self.roster, client).user.clone();
            // To remove oneself is to leave.
            let leaves = asked.wish == Wish::Remove(user.clone());
            let asked = if leaves { Asked { wish: Wish::Leave, ..asked } } else { asked };
            let key = (user, asked.nonce.clone());
            let request = Request { invoked: seen.keep(), asked, rejected: None };
            slot(&mut self.channels, number.0).requests.entry(key).or_insert(request);
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
    use crate::history::ClientIndex;

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
        assert_eq!(found(history), ["u1 never asked this channel for message, nonce n2"]);
    }

    #[test]
    fn a_member_that_never_asked_to_join_breaks_it() {
        let history = healthy().before(&What::AuditDone, [stored(joined(5, 2))]);
        assert_eq!(found(history), ["u2 never asked this channel for join, nonce c5"]);
    }

    #[test]
    fn a_message_that_arrives_before_it_was_sent_breaks_it() {
        let early = received(1, "b", more());
        let history = healthy().before(&invoked(0, "n1", "hello"), [early]);
        assert_eq!(found(history), ["u0 never asked this channel for message, nonce n2"]);
    }

    #[test]
    fn a_refused_send_in_the_log_breaks_it_and_one_that_is_not_there_does_not() {
        let refused = healthy().before(&What::FaultsOver, [rejected(1, Some("n3"))]);
        assert_eq!(found(refused), [""; 0]);
        let stored_too = healthy()
            .before(&What::FaultsOver, [rejected(1, Some("n3"))])
            .before(&What::AuditDone, [stored(message(5, 1, "n3", "lost"))]);
        assert_eq!(found(stored_too), ["the log holds what its author was told is refused"]);
    }

    #[test]
    fn a_join_that_was_refused_and_asked_for_again_is_no_invention() {
        let first = Asked { nonce: Nonce::new("first").unwrap(), wish: Wish::Join };
        let (client, channel, code) = (ClientIndex(1), channel(), "busy".to_owned());
        let refusal = What::Rejected { client, channel, asked: first.clone(), code };
        let before = [change_invoked(1, first), refusal];
        assert_eq!(found(healthy().before(&join_invoked(1), before)), [""; 0]);
        let refused = healthy().before(&join_accepted(1, 2), [rejected(1, None)]);
        assert_eq!(found(refused), ["the log holds what its author was told is refused"]);
    }

    #[test]
    fn another_change_than_was_asked_for_with_the_nonce_breaks_it() {
        let nonce = Nonce::new("c2").unwrap();
        let left = entry(5, Content::Left { user: user(1), nonce: nonce.clone() });
        let left = Entry { content: Content::Left { user: user(1), nonce }, ..left };
        let history = healthy().before(&What::AuditDone, [stored(left)]);
        assert_eq!(found(history), ["u1 never asked this channel for leave, nonce c2"]);
    }
}
