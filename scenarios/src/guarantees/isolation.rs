//! `isolation`: a hot channel, a busy workspace or a slow reader doesn't delay others beyond the
//! scenario's bound.
//!
//! The scenario names who makes noise, and when it begins. What is judged is the messages of the
//! others: how long until their senders know that they are in the log, and until each recipient has
//! them, beside the noise. The same messages before the noise are the yardstick, so that a system
//! that is slow for everyone at any time can't meet a bound by it. One that never came is late. What
//! was under way while a fault held, or soon after, is slow for another reason and doesn't count.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use seriatim_engine::entry::{Asked, Content, Entry, Wish};
use seriatim_engine::ids::{Nonce, SeqNo, UserId};

use crate::history::{ClientIndex, Event, Roster, What};
use crate::latency::Latencies;
use crate::plan::PlannedNoise;
use crate::scenario::IsolationBound;

use super::{ChannelNumber, Findings, Guarantee, Positions, Seen, slot, user_of};

/// The slowest that a violation shows.
const WORST_MAX: usize = 5;

/// Judges `isolation`.
#[derive(Debug)]
pub struct Isolation {
    roster: Roster,
    bound: Option<IsolationBound>,
    noise: PlannedNoise,
    channels: Vec<Channel>,
    /// What the noise-makers have done so far.
    made: Made,
    accepts: Waits,
    deliveries: Waits,
    ended_at: Duration,
    findings: Findings,
}

/// How long others have waited for one thing.
#[derive(Debug)]
struct Waits {
    /// "deliveries", for people.
    what: &'static str,
    /// Before the noise.
    quiet: Latencies,
    /// Beside it.
    noisy: Latencies,
    /// The longest of `noisy`, the longest first.
    worst: Vec<Wait>,
}

#[derive(Debug)]
struct Wait {
    took: Took,
    /// What ended it; for one that never ended, what began it.
    event: Arc<Event>,
    /// What the noise-makers did meanwhile.
    made: Made,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Took {
    Time(Duration),
    Forever,
}

/// What noise-makers did.
#[derive(Debug, Clone, Copy, Default)]
struct Made {
    sends: u64,
    deliveries: u64,
}

#[derive(Debug, Default)]
struct Channel {
    /// Whether it is one of the noise-makers; known once it is seen.
    is_noisy: Option<bool>,
    sends: BTreeMap<(UserId, Nonce), Send>,
    /// The same by position, once one was delivered.
    begun: Positions<Arc<Begun>>,
    head: SeqNo,
    /// The last position that each client has.
    upto: BTreeMap<ClientIndex, SeqNo>,
}

/// A message that was asked for.
#[derive(Debug)]
struct Send {
    begun: Arc<Begun>,
    is_answered: bool,
    /// It has a position. In another one, it is another guarantee's affair.
    is_numbered: bool,
}

/// That a message was asked for, and what the noise-makers had done by then.
#[derive(Debug)]
struct Begun {
    event: Arc<Event>,
    made: Made,
}

impl Isolation {
    pub const NAME: &'static str = "isolation";

    /// Without a bound, nothing is judged.
    pub fn new(roster: Roster, bound: Option<IsolationBound>, noise: PlannedNoise) -> Self {
        Self {
            roster,
            bound,
            noise,
            channels: Vec::new(),
            made: Made::default(),
            accepts: Waits::of("acceptances"),
            deliveries: Waits::of("deliveries"),
            ended_at: Duration::ZERO,
            findings: Findings::new(Self::NAME),
        }
    }

    fn channel(&mut self, number: ChannelNumber, what: &What) -> &mut Channel {
        let channel = slot(&mut self.channels, number.0);
        channel.is_noisy.get_or_insert_with(|| {
            what.channel().is_some_and(|key| self.noise.channels.contains(key))
        });
        channel
    }

    /// What a slow reader sends comes late by itself: while much is queued for it, nothing more is
    /// read from it.
    fn is_of_slow_reader(&self, what: &What) -> bool {
        if self.noise.slow_readers.is_empty() {
            return false;
        }
        if let What::Invoked { client, .. }
        | What::Accepted { client, .. }
        | What::Rejected { client, .. }
        | What::Delivered { client, .. } = what
        {
            self.noise.slow_readers.contains(client)
        } else {
            false
        }
    }

    /// What noise-makers do is counted, not judged.
    fn count_noise(&mut self, what: &What) {
        if matches!(what, What::Invoked { .. }) {
            self.made.sends += 1;
        } else if matches!(what, What::Delivered { .. }) {
            self.made.deliveries += 1;
        }
    }

    fn invoked(&mut self, number: ChannelNumber, key: (UserId, Nonce), seen: &Seen<'_>) {
        let begun = Arc::new(Begun { event: seen.keep(), made: self.made });
        let sends = &mut slot(&mut self.channels, number.0).sends;
        sends.entry(key).or_insert(Send { begun, is_answered: false, is_numbered: false });
    }

    /// The first answer to a send. One that is refused for good never gets into the log.
    fn answered(&mut self, number: ChannelNumber, key: &(UserId, Nonce), seen: &Seen<'_>) {
        let Some(send) = slot(&mut self.channels, number.0).sends.get_mut(key) else { return };
        if std::mem::replace(&mut send.is_answered, true) {
            return;
        }
        let (begun, at) = (send.begun.clone(), seen.event.at);
        let took = if matches!(seen.event.what, What::Accepted { .. }) {
            Took::Time(at.saturating_sub(begun.event.at))
        } else {
            Took::Forever
        };
        self.waited(At::Acceptance, &begun, at, took, || seen.keep());
    }

    fn delivered(
        &mut self,
        number: ChannelNumber,
        client: ClientIndex,
        entry: &Entry,
        seen: &Seen<'_>,
    ) {
        let channel = slot(&mut self.channels, number.0);
        if channel.upto.get(&client).is_some_and(|upto| *upto >= entry.seq) {
            // The client forgot what it had.
            return;
        }
        channel.upto.insert(client, entry.seq);
        channel.head = channel.head.max(entry.seq);
        if channel.begun.at(entry.seq).is_none()
            && let Content::Message { sender, nonce, .. } = &entry.content
            && let Some(send) = channel.sends.get_mut(&(sender.clone(), nonce.clone()))
            && !std::mem::replace(&mut send.is_numbered, true)
        {
            channel.begun.insert(entry.seq, send.begun.clone());
        }
        let Some(begun) = channel.begun.at(entry.seq).cloned() else { return };
        let at = seen.event.at;
        let took = Took::Time(at.saturating_sub(begun.event.at));
        self.waited(At::Delivery, &begun, at, took, || seen.keep());
    }

    /// Somebody waited until `until`, if no fault disturbed what was under way.
    fn waited(
        &mut self,
        what: At,
        begun: &Begun,
        until: Duration,
        took: Took,
        event: impl FnOnce() -> Arc<Event>,
    ) {
        let from = begun.event.at;
        if self.noise.disturbances.iter().any(|held| from <= held.max && held.min <= until) {
            return;
        }
        let is_quiet = self.noise.at.is_none_or(|noise_at| until < noise_at);
        let made = self.made.since(begun.made);
        let waits = match what {
            At::Acceptance => &mut self.accepts,
            At::Delivery => &mut self.deliveries,
        };
        if is_quiet {
            waits.quiet.record(took.at_least());
        } else {
            waits.record_noisy(took, made, event);
        }
    }

    /// What has not come until the end. Its wait began beside the noise, or it is not counted.
    fn missing(&mut self) {
        let mut missing = Vec::new();
        for channel in self.channels.iter().filter(|channel| channel.is_noisy == Some(false)) {
            let unanswered = channel.sends.values().filter(|send| !send.is_answered);
            missing.extend(unanswered.map(|send| (At::Acceptance, send.begun.clone())));
            // Dense, or another guarantee is broken: a wild number must not be counted up to.
            let entries_max = channel.sends.len() + channel.upto.len();
            for upto in channel.upto.values() {
                let rest = (upto.0..channel.head.0).map(|seq| SeqNo(seq).next()).take(entries_max);
                let begun = rest.filter_map(|seq| channel.begun.at(seq));
                missing.extend(begun.map(|begun| (At::Delivery, begun.clone())));
            }
        }
        for (what, begun) in missing {
            let at = begun.event.at;
            if self.noise.at.is_some_and(|noise_at| noise_at <= at) {
                self.waited(what, &begun, at, Took::Forever, || begun.event.clone());
            }
        }
    }
}

/// What is waited for.
#[derive(Debug, Clone, Copy)]
enum At {
    Acceptance,
    Delivery,
}

impl Took {
    /// What the histogram has for it; its greatest value for what never came.
    fn at_least(self) -> Duration {
        match self {
            Self::Time(time) => time,
            Self::Forever => Duration::MAX,
        }
    }
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => write!(f, "{:.1} ms after it was asked for", ms(*time)),
            Self::Forever => f.write_str("and it never came"),
        }
    }
}

impl Made {
    fn since(self, earlier: Self) -> Self {
        Self { sends: self.sends - earlier.sends, deliveries: self.deliveries - earlier.deliveries }
    }
}

impl Waits {
    fn of(what: &'static str) -> Self {
        let (quiet, noisy) = (Latencies::default(), Latencies::default());
        Self { what, quiet, noisy, worst: Vec::new() }
    }

    fn record_noisy(&mut self, took: Took, made: Made, event: impl FnOnce() -> Arc<Event>) {
        self.noisy.record(took.at_least());
        let at = self.worst.partition_point(|worse| worse.took >= took);
        if at < WORST_MAX {
            self.worst.insert(at, Wait { took, event: event(), made });
            self.worst.truncate(WORST_MAX);
        }
    }

    /// What is beyond `bound`, for people.
    fn beyond(&self, bound: &IsolationBound) -> Vec<String> {
        let what = self.what;
        let (p99, quiet) = (self.noisy.percentile(99.0), self.quiet.percentile(99.0));
        let mut beyond = Vec::new();
        if p99 > bound.p99 {
            beyond.push(format!(
                "{what} of others take {:.1} ms (p99) beside the noise, beyond the bound of {:.1} \
                 ms",
                ms(p99),
                ms(bound.p99)
            ));
        }
        if let Some(max) = bound.max
            && self.noisy.percentile(100.0) > max
        {
            beyond.push(format!(
                "the slowest of the {what} of others beside the noise takes {:.1} ms, beyond the \
                 bound of {:.1} ms",
                ms(self.noisy.percentile(100.0)),
                ms(max)
            ));
        }
        if let Some(percent) = bound.p99_percent
            && p99 * 100 > quiet * percent
        {
            beyond.push(format!(
                "{what} of others take {:.1} ms (p99) beside the noise and {:.1} ms before it, \
                     beyond {percent} %",
                ms(p99),
                ms(quiet)
            ));
        }
        beyond
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

impl Guarantee for Isolation {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn observe(&mut self, seen: &Seen<'_>) {
        self.ended_at = seen.event.at;
        if self.bound.is_none() {
            return;
        }
        let what = &seen.event.what;
        if let What::ClientDown { client } | What::ClientStopped { client } = what {
            for channel in &mut self.channels {
                channel.upto.remove(client);
            }
        }
        let Some(number) = seen.channel else { return };
        if self.is_of_slow_reader(what) {
            self.count_noise(what);
            return;
        }
        if self.channel(number, what).is_noisy == Some(true) {
            self.count_noise(what);
        } else if let What::Invoked { client, nonce, .. } = what {
            let user = user_of(&self.roster, *client).user.clone();
            self.invoked(number, (user, nonce.clone()), seen);
        } else if let What::Accepted { client, asked: Asked { nonce, wish: Wish::Send }, .. }
        | What::Rejected { client, asked: Asked { nonce, wish: Wish::Send }, .. } = what
        {
            let user = user_of(&self.roster, *client).user.clone();
            self.answered(number, &(user, nonce.clone()), seen);
        } else if let What::Delivered { client, entry, .. } = what {
            self.delivered(number, *client, entry, seen);
        } else if let What::SessionLeft { client, .. } = what {
            self.channel(number, what).upto.remove(client);
        }
    }

    fn conclude(&mut self) {
        let Some(bound) = self.bound else { return };
        self.missing();
        for waits in [&self.accepts, &self.deliveries] {
            for message in waits.beyond(&bound) {
                let tell = |wait: &Wait| {
                    let Wait { took, event, made: Made { sends, deliveries } } = wait;
                    format!(
                        "{event}, {took}; meanwhile the noise-makers sent {sends} messages and were \
                         delivered {deliveries}"
                    )
                };
                let witness = waits.worst.iter().map(tell);
                self.findings.report_lines(self.ended_at, || message, witness);
            }
        }
        if self.deliveries.noisy.count() == 0 {
            // The promise would hold of nothing.
            let message = || "nothing of others was delivered beside the noise".to_owned();
            let witness = ["from the noise's start to the run's end, there is none".to_owned()];
            self.findings.report_lines(self.ended_at, message, witness);
        }
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;

    const BOUND: IsolationBound =
        IsolationBound { p99: Duration::from_millis(200), max: None, p99_percent: None };

    /// In the fixture, `n1` is sent before it, and `n2` from 10 ms after it on.
    const NOISE_AT: Duration = Duration::from_millis(255);

    fn noise() -> PlannedNoise {
        PlannedNoise { at: Some(NOISE_AT), ..PlannedNoise::default() }
    }

    fn found(bound: IsolationBound, noise: PlannedNoise, history: History) -> Vec<String> {
        judged(Isolation::new(roster(), Some(bound), noise), history)
    }

    /// Message 4 reaches client 1 so many events of 10 ms later.
    fn late(events: usize) -> History {
        healthy().before(&received(1, "c", more()), vec![peak(3, 10); events])
    }

    /// What is found then: the answer to message 4 comes after it. To three digits.
    const LATE: [&str; 2] = [
        "acceptances of others take 390.1 ms (p99) beside the noise, beyond the bound of 200.0 ms",
        "deliveries of others take 370.2 ms (p99) beside the noise, beyond the bound of 200.0 ms",
    ];

    #[test]
    fn others_may_wait_as_long_as_the_bound() {
        assert_eq!(found(BOUND, noise(), healthy()), [""; 0]);
        assert_eq!(found(BOUND, noise(), late(30)), LATE);
    }

    #[test]
    fn noise_makers_may_wait_for_ever() {
        let channels = [channel()].into();
        let noise = PlannedNoise { channels, ..noise() };
        let nothing = ["nothing of others was delivered beside the noise"];
        assert_eq!(found(BOUND, noise, late(30)), nothing);
    }

    #[test]
    fn slow_readers_may_wait_for_ever_and_what_they_send_too() {
        let slow = |client| {
            let slow_readers = [ClientIndex(client)].into();
            PlannedNoise { slow_readers, ..noise() }
        };
        // Client 1 has message 4 late, which client 0 is told of later still.
        assert_eq!(found(BOUND, slow(1), late(30)), LATE[..1]);
        let nothing = ["nothing of others was delivered beside the noise"];
        assert_eq!(found(BOUND, slow(0), late(30)), nothing);
    }

    #[test]
    fn what_a_fault_disturbs_is_not_counted() {
        let held = |from_ms, until_ms| PlannedNoise {
            disturbances: vec![crate::scenario::Range {
                min: Duration::from_millis(from_ms),
                max: Duration::from_millis(until_ms),
            }],
            ..noise()
        };
        // The slow ones are under way from 260 ms to 630 and 650 ms.
        assert_eq!(found(BOUND, held(661, 700), late(30)), LATE);
        // The quick one, to client 0, ended before.
        assert_eq!(found(BOUND, held(300, 310), late(30)), [""; 0]);
    }

    #[test]
    fn what_never_comes_is_late() {
        let lost = || healthy().without(&delivered(1, more()));
        let max = Some(Duration::from_secs(3_000));
        let long = IsolationBound { p99: Duration::from_secs(3_000), max, p99_percent: None };
        assert_eq!(found(long, noise(), healthy()), [""; 0]);
        assert_eq!(found(long, noise(), lost()).len(), 2, "p99 and max");
        let gone = lost().before(&What::FaultsOver, [What::ClientDown { client: ClientIndex(1) }]);
        assert_eq!(found(long, noise(), gone), [""; 0]);
        let unanswered = healthy().without(&duplicate(0, "n2", 4));
        assert_eq!(found(long, noise(), unanswered).len(), 2, "p99 and max");
    }

    #[test]
    fn who_is_slow_at_any_time_is_judged_by_the_quiet_before() {
        let compared = IsolationBound { p99_percent: Some(110), ..BOUND };
        // Before the noise a delivery takes 60 ms and an acceptance 30 ms.
        let expected = [
            "acceptances of others take 90.0 ms (p99) beside the noise and 30.0 ms before it, beyond \
             110 %",
            "deliveries of others take 70.0 ms (p99) beside the noise and 60.0 ms before it, beyond \
             110 %",
        ];
        assert_eq!(found(compared, noise(), healthy()), expected);
        let lenient = IsolationBound { p99_percent: Some(310), ..BOUND };
        assert_eq!(found(lenient, noise(), healthy()), [""; 0]);
    }

    #[test]
    fn without_a_bound_nothing_is_judged() {
        assert_eq!(judged(Isolation::new(roster(), None, noise()), late(30)), [""; 0]);
    }
}
