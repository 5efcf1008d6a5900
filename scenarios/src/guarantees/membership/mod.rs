//! `membership`: joins and leaves are numbered in the channel's own log; nobody reads or posts
//! outside their membership.
//!
//! The channel's log, put together from what clients saw and the audit, tells every stay of every
//! user ([`log`]). By it are judged
//!
//! - the log itself: who posts is a member at that position, and each change is one that may be
//!   made there, by who may make it, while somebody asks for it;
//! - what clients are given: nothing after the end of a membership, and nothing before it has begun,
//!   neither entries nor word that there is such a channel. A member reads what was before, so that
//!   what a user is given too early is excused by a stay that may have been numbered by then;
//! - answers: an accepted change is at its position and still holds, or is the user's own; a member
//!   is not refused as a stranger ([`answers`]);
//! - the end: whoever is there is served what they are a member of, and was told what they are not.
//!
//! What can't be explained yet waits for the entries that may explain it. Memory grows with changes
//! of membership and with what waits, not with messages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use seriatim_engine::entry::Asked;
use seriatim_engine::ids::{ChannelKey, SeqNo, UserId};

use crate::history::{ClientIndex, Event, OfLog, Roster, What};

use super::attendance::Attendance;
use super::{ChannelNumber, Findings, Guarantee, Seen, slot, user_of};

mod answers;
mod log;
mod requests;
#[cfg(test)]
mod tests;

use log::{Log, Wrong};
use requests::{Answer, Requests, Told};

/// Judges `membership`.
#[derive(Debug)]
pub struct Membership {
    roster: Roster,
    channels: Vec<Channel>,
    /// The channels that each client's newest session serves.
    served: Vec<BTreeSet<ChannelNumber>>,
    attendance: Attendance,
    are_faults_over: bool,
    last_at: Duration,
    findings: Findings,
}

#[derive(Debug, Default)]
struct Channel {
    key: Option<ChannelKey>,
    log: Log,
    requests: Requests,
    views: BTreeMap<ClientIndex, View>,
    /// What was given and the log, as far as it is known, doesn't allow.
    unexplained: BTreeMap<(UserId, ClientIndex, SeqNo), Arc<Event>>,
    /// What was given of positions that are not known yet.
    early: BTreeMap<SeqNo, Vec<(ClientIndex, Arc<Event>)>>,
    answers: Vec<Answer>,
    /// Ends that clients were told.
    ends: Vec<(UserId, SeqNo, Arc<Event>)>,
}

/// A client and a channel.
#[derive(Debug, Default, Clone, Copy)]
struct View {
    /// It was served and not told that this is over.
    is_open: bool,
    /// Its user is a member from this entry on, when the log had so many changes.
    lasts: Option<(SeqNo, usize)>,
}

impl Membership {
    pub const NAME: &'static str = "membership";

    pub fn new(roster: Roster) -> Self {
        Self {
            roster,
            channels: Vec::new(),
            served: Vec::new(),
            attendance: Attendance::default(),
            are_faults_over: false,
            last_at: Duration::ZERO,
            findings: Findings::new(Self::NAME),
        }
    }

    /// The client was given the entry at `seq`, or told to have everything up to it.
    fn given(&mut self, number: ChannelNumber, client: ClientIndex, seq: SeqNo, seen: &Seen<'_>) {
        let channel = slot(&mut self.channels, number.0);
        if seq > channel.log.upto() {
            channel.early.entry(seq).or_default().push((client, seen.keep()));
            return;
        }
        let version = channel.log.version();
        let view = channel.views.entry(client).or_default();
        if view.lasts.is_some_and(|(from, then)| from <= seq && then == version) {
            return;
        }
        let at = seen.event.at;
        if let Some(user) = user_in(&self.roster, client, channel.key.as_ref()) {
            let stay = channel.log.stays(user).last().filter(|stay| stay.until.is_none());
            view.lasts = stay.map(|stay| (stay.from.seq, version));
            if channel.log.allows(user, seq, at) {
                return;
            }
        }
        let user = user_of(&self.roster, client).user.clone();
        channel.unexplained.entry((user, client, seq)).or_insert_with(|| seen.keep());
    }

    /// Somebody has an entry that nobody was seen to have before.
    fn entry(&mut self, number: ChannelNumber, seq: SeqNo, seen: &Seen<'_>) {
        let channel = slot(&mut self.channels, number.0);
        let version = channel.log.version();
        for wrong in channel.log.take(seq, seen.keep(), &channel.requests) {
            let Wrong { entry, message, because } = wrong;
            let because = because.and_then(|seq| channel.log.change(seq)).map(|change| &**change);
            self.findings.report(entry.at, || message, because.into_iter().chain([&*entry]));
        }
        if version != channel.log.version() {
            let log = &channel.log;
            let (roster, key) = (&self.roster, channel.key.as_ref());
            channel.unexplained.retain(|(user, client, seq), event| {
                user_in(roster, *client, key).is_none() || !log.allows(user, *seq, event.at)
            });
        }
        let later = channel.early.split_off(&channel.log.upto().next());
        for (seq, given) in std::mem::replace(&mut channel.early, later) {
            for (client, event) in given {
                let allowed = user_in(&self.roster, client, channel.key.as_ref())
                    .is_some_and(|user| channel.log.allows(user, seq, event.at));
                if !allowed {
                    let user = user_of(&self.roster, client).user.clone();
                    channel.unexplained.entry((user, client, seq)).or_insert(event);
                }
            }
        }
    }

    fn serves(
        &mut self,
        number: ChannelNumber,
        client: ClientIndex,
        after: SeqNo,
        seen: &Seen<'_>,
    ) {
        slot(&mut self.served, client.0).insert(number);
        let channel = slot(&mut self.channels, number.0);
        channel.views.entry(client).or_default().is_open = true;
        self.given(number, client, after, seen);
    }

    fn left(&mut self, number: ChannelNumber, client: ClientIndex, until: SeqNo, seen: &Seen<'_>) {
        slot(&mut self.served, client.0).remove(&number);
        let channel = slot(&mut self.channels, number.0);
        channel.views.entry(client).or_default().is_open = false;
        let user = user_of(&self.roster, client).user.clone();
        channel.ends.push((user, until, seen.keep()));
    }

    fn answered(
        &mut self,
        number: ChannelNumber,
        client: ClientIndex,
        asked: &Asked,
        told: Told,
        seen: &Seen<'_>,
    ) {
        let user = user_of(&self.roster, client).user.clone();
        let channel = slot(&mut self.channels, number.0);
        let answered = channel.requests.answered(seen.event.at, client, &user, asked);
        let Some(invoked_at) = answered else { return };
        let asked = requests::plain(&user, asked);
        let answer = Answer { user, asked, invoked_at, told, event: seen.keep() };
        // Accepted sends are judged by their entries.
        if answer.is_of_membership() {
            channel.answers.push(answer);
        }
    }

    fn requests(&mut self, number: ChannelNumber, seen: &Seen<'_>) {
        let at = seen.event.at;
        if let What::Invoked { client, nonce, .. } = &seen.event.what {
            slot(&mut self.channels, number.0).requests.sends(at, *client, nonce);
        } else if let What::ChangeInvoked { client, asked, .. } = &seen.event.what {
            let user = &user_of(&self.roster, *client).user;
            slot(&mut self.channels, number.0).requests.asks(at, user, &asked.nonce);
        } else if let What::Accepted { client, asked, seq, duplicate, .. } = &seen.event.what {
            let told = Told::Accepted { seq: *seq, duplicate: *duplicate };
            self.answered(number, *client, asked, told, seen);
        } else if let What::Rejected { client, asked, code, .. } = &seen.event.what {
            self.answered(number, *client, asked, Told::Refused(code.clone()), seen);
        }
    }

    /// Whether every client that is there follows what its user is in, and nothing else.
    fn judge_the_end(&mut self) {
        for (number, channel) in (0..).map(ChannelNumber).zip(&self.channels) {
            let key = channel.key.as_ref();
            for (client, _) in self.roster.iter() {
                let Some(user) = user_in(&self.roster, client, key) else { continue };
                if !self.attendance.is_present(client) {
                    continue;
                }
                let Some(stay) = channel.log.stays(user).last() else { continue };
                let is_open = channel.views.get(&client).is_some_and(|view| view.is_open);
                let index = usize::try_from(client.0).expect("a u32 fits");
                let served = self.served.get(index).is_some_and(|all| all.contains(&number));
                let (seq, message) = match stay.until {
                    None if !served => {
                        let seq = stay.from.seq;
                        (seq, format!("{client} is not served though {user} is in since #{seq}"))
                    }
                    Some(until) if is_open => {
                        let seq = until.seq;
                        (seq, format!("{client} was not told that {user} is out since #{seq}"))
                    }
                    None | Some(_) => continue,
                };
                let change = channel.log.change(seq).map(|change| &**change);
                self.findings.report(self.last_at, || message, change);
            }
        }
    }
}

impl Guarantee for Membership {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn observe(&mut self, seen: &Seen<'_>) {
        let event = seen.event;
        self.last_at = event.at;
        self.attendance.observe(&event.what);
        if let What::SessionOpened { client, channels, .. } = &event.what {
            slot(&mut self.served, client.0).clear();
            for (number, (key, after)) in seen.session_channels.iter().zip(channels) {
                let channel = slot(&mut self.channels, number.0);
                channel.key.get_or_insert_with(|| key.clone());
                self.serves(*number, *client, *after, seen);
            }
        } else if event.what == What::FaultsOver {
            self.are_faults_over = true;
        }
        let (Some(number), Some(key)) = (seen.channel, event.what.channel()) else { return };
        slot(&mut self.channels, number.0).key.get_or_insert_with(|| key.clone());
        if let Some(OfLog::Entry(entry)) = event.what.of_log()
            && seen.first.is_none()
        {
            self.entry(number, entry.seq, seen);
        }
        if let What::Received { client, entry, .. }
        | What::Delivered { client, entry, .. }
        | What::PageRead { client, entry, .. } = &event.what
        {
            self.given(number, *client, entry.seq, seen);
        } else if let What::SessionChannel { client, after, .. } = &event.what {
            self.serves(number, *client, *after, seen);
        } else if let What::SessionLeft { client, until, .. } = &event.what {
            self.left(number, *client, *until, seen);
        } else {
            self.requests(number, seen);
        }
    }

    fn conclude(&mut self) {
        for channel in &self.channels {
            let log = &channel.log;
            for ((user, client, seq), event) in &channel.unexplained {
                let ended = log.ended(user).filter(|until| until < seq);
                let message = match ended {
                    Some(until) => format!("{client} is given #{seq}, {user} is in up to #{until}"),
                    None => format!("{client} is given #{seq} before {user} is in"),
                };
                let end = ended.and_then(|until| log.change(until)).map(|change| &**change);
                self.findings.report(event.at, || message, end.into_iter().chain([&**event]));
            }
            for (user, until, event) in &channel.ends {
                let ends = log.stays(user).iter().filter_map(|stay| stay.until);
                if *until <= log.upto() && !ends.map(|end| end.seq).any(|end| end == *until) {
                    let message = || format!("{user} is told to be out since #{until} and isn't");
                    self.findings.report(event.at, message, [&**event]);
                }
            }
            for answer in &channel.answers {
                if let Some((message, change)) = answer.judge(log) {
                    let change = change.map(|change| &**change);
                    let witness = change.into_iter().chain([&*answer.event]);
                    self.findings.report(answer.event.at, || message, witness);
                }
            }
        }
        if self.are_faults_over {
            self.judge_the_end();
        }
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }
}

/// For whom the client acts, if the channel is of that user's workspace.
fn user_in<'a>(
    roster: &'a Roster,
    client: ClientIndex,
    channel: Option<&ChannelKey>,
) -> Option<&'a UserId> {
    let user = user_of(roster, client);
    channel.filter(|key| key.workspace == user.workspace).map(|_| &user.user)
}
