//! Judges a whole run: the guarantees, what the scenario expects, and figures.
//!
//! Feed a [`Judge`] every event of the history, then take its [`Verdict`].

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use seriatim_engine::entry::{Asked, Content, Wish};
use seriatim_engine::ids::{Nonce, UserId};

use crate::guarantees::{
    self, ChannelNumber, Convergence, Guarantee, Isolation, Positions, Recognizer, Seen, Violation,
};
use crate::history::{ClientIndex, Event, Roster, What};
use crate::latency::Latencies;
use crate::plan::PlannedNoise;
use crate::scenario::Expect;

/// Reads one history.
pub struct Judge {
    guarantees: Vec<Box<dyn Guarantee>>,
    recognizer: Recognizer,
    figures: Figures,
    expect: Expect,
}

/// What came of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every guarantee and expectation.
    Held,
    /// A guarantee or an expectation is broken.
    Broken,
    /// Every guarantee but `convergence` held.
    NotConverged,
}

impl Outcome {
    /// What a command that judges one run exits with.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Held => 0,
            Self::Broken => 1,
            Self::NotConverged => 2,
        }
    }
}

/// The judgement of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// In the order of [`guarantees::NAMES`].
    pub guarantees: Vec<GuaranteeVerdict>,
    pub expectations: Vec<ExpectationVerdict>,
    pub stats: Stats,
}

/// The judgement of one guarantee.
#[derive(Debug, Clone, Serialize)]
pub struct GuaranteeVerdict {
    pub name: &'static str,
    pub held: bool,
    /// The scenario gave it up, or asks nothing of it: it doesn't count.
    pub given_up: bool,
    /// The first few.
    pub violations: Vec<Violation>,
    /// All.
    pub violation_count: u64,
}

/// The judgement of one expectation of the scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExpectationVerdict {
    /// As the scenario file has it, such as "accepted_min".
    pub name: &'static str,
    pub held: bool,
    pub expected: String,
    pub found: String,
}

/// Figures of one run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Stats {
    /// Messages that clients were asked to send.
    pub sends: u64,
    /// Those whose sender was told that they are in the log.
    pub accepted: u64,
    /// Those that were refused for good.
    pub rejected: u64,
    /// Those without an answer.
    pub unknown: u64,
    /// Entries handed to applications, each recipient counted.
    pub deliveries: u64,
    pub sessions: u64,
    /// Whether the logs were read at the end; without it, what they lost was not judged.
    pub audited: bool,
    /// From the end of the faults until everyone had everything.
    pub converged_after_ms: Option<u64>,
    /// From the request to the client's knowing that it is in the log.
    pub accept: Latencies,
    /// From the request to each recipient's application.
    pub deliver: Latencies,
}

impl Verdict {
    pub fn outcome(&self) -> Outcome {
        let broken = |verdict: &GuaranteeVerdict| !verdict.held && !verdict.given_up;
        let converged = self
            .guarantees
            .iter()
            .all(|verdict| !broken(verdict) || verdict.name != Convergence::NAME);
        if self
            .guarantees
            .iter()
            .any(|verdict| broken(verdict) && verdict.name != Convergence::NAME)
        {
            Outcome::Broken
        } else if !converged {
            Outcome::NotConverged
        } else if self.expectations.iter().all(|verdict| verdict.held) {
            Outcome::Held
        } else {
            Outcome::Broken
        }
    }

    /// The violations that are told and count, in the order of the guarantees.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        let counted = self.guarantees.iter().filter(|verdict| !verdict.given_up);
        counted.flat_map(|verdict| &verdict.violations)
    }
}

impl Judge {
    /// Word of a user's presence takes `presence_lag` at most while nothing is wrong. `noise` is
    /// what the others must not notice.
    pub fn new(
        roster: &Roster,
        expect: &Expect,
        presence_lag: Duration,
        noise: &PlannedNoise,
    ) -> Self {
        Self {
            guarantees: guarantees::all(roster, expect, presence_lag, noise),
            recognizer: Recognizer::default(),
            figures: Figures::new(roster.clone()),
            expect: expect.clone(),
        }
    }

    /// Takes the next event of the history.
    pub fn observe(&mut self, event: &Event) {
        let seen = self.recognizer.see(event);
        for guarantee in &mut self.guarantees {
            guarantee.observe(&seen);
        }
        self.figures.observe(&seen);
    }

    pub fn conclude(mut self) -> Verdict {
        let stats = self.figures.conclude();
        let verdicts = self.guarantees.iter_mut().map(|guarantee| {
            guarantee.conclude();
            let findings = guarantee.findings();
            GuaranteeVerdict {
                name: guarantee.name(),
                held: findings.count() == 0,
                given_up: is_not_judged(&self.expect, guarantee.name()),
                violations: findings.violations().to_vec(),
                violation_count: findings.count(),
            }
        });
        Verdict {
            guarantees: verdicts.collect(),
            expectations: expectations(&self.expect, &stats),
            stats,
        }
    }
}

/// Whether the scenario gives the guarantee up, or states no bound for it.
fn is_not_judged(expect: &Expect, name: &str) -> bool {
    let without_bound = name == Isolation::NAME && expect.isolation.is_none();
    without_bound || expect.gives_up.contains(&name)
}

fn expectations(expect: &Expect, stats: &Stats) -> Vec<ExpectationVerdict> {
    let accepted = expect.accepted_min.map(|min| ExpectationVerdict {
        name: "accepted_min",
        held: stats.accepted >= min,
        expected: format!("at least {min}"),
        found: stats.accepted.to_string(),
    });
    let p99 = expect.delivery_p99.map(|bound| {
        let found = stats.deliver.percentile(99.0);
        ExpectationVerdict {
            name: "delivery_ms.p99",
            // Nothing delivered is no latency to be proud of.
            held: stats.deliver.count() > 0 && found <= bound,
            expected: format!("at most {} ms", bound.as_millis()),
            found: format!("{:.1} ms", found.as_secs_f64() * 1_000.0),
        }
    });
    accepted.into_iter().chain(p99).collect()
}

/// Counts and measures.
struct Figures {
    roster: Roster,
    channels: Vec<Sends>,
    faults_over_at: Option<Duration>,
    /// When clients forgot what they had: what was there then is no news to them.
    forgot: BTreeMap<(ClientIndex, ChannelNumber), Duration>,
    stats: Stats,
}

#[derive(Default)]
struct Sends {
    /// When each was asked for, and whether it has been answered.
    invoked: BTreeMap<(UserId, Nonce), (Duration, bool)>,
    /// The same by position, once one was delivered.
    invoked_at: Positions<Duration>,
}

impl Figures {
    fn new(roster: Roster) -> Self {
        let stats = Stats::default();
        let (channels, forgot) = (Vec::new(), BTreeMap::new());
        Self { roster, channels, faults_over_at: None, forgot, stats }
    }

    fn sends(&mut self, number: Option<ChannelNumber>) -> &mut Sends {
        let number = number.expect("the event has a channel");
        guarantees::slot(&mut self.channels, number.0)
    }

    fn observe(&mut self, seen: &Seen<'_>) {
        let at = seen.event.at;
        let what = &seen.event.what;
        if let What::Invoked { client, nonce, .. } = what {
            self.stats.sends += 1;
            let key = (guarantees::user_of(&self.roster, *client).user.clone(), nonce.clone());
            self.sends(seen.channel).invoked.entry(key).or_insert((at, false));
        } else if let What::Accepted { client, asked: Asked { nonce, wish: Wish::Send }, .. } = what
        {
            if let Some(invoked_at) = self.answered(seen, *client, nonce) {
                self.stats.accepted += 1;
                self.stats.accept.record(at.saturating_sub(invoked_at));
            }
        } else if let What::Rejected { client, asked: Asked { nonce, wish: Wish::Send }, .. } = what
        {
            if self.answered(seen, *client, nonce).is_some() {
                self.stats.rejected += 1;
            }
        } else if let What::Forgot { client, .. } = what {
            self.forgot.extend(seen.channel.map(|number| ((*client, number), at)));
        } else if let What::Delivered { client, entry, .. } = what {
            self.stats.deliveries += 1;
            if self.had(seen, *client) {
                return;
            }
            let sends = self.sends(seen.channel);
            let mut invoked_at = sends.invoked_at.at(entry.seq).copied();
            if invoked_at.is_none()
                && let Content::Message { sender, nonce, .. } = &entry.content
                && let Some((at, _)) = sends.invoked.get(&(sender.clone(), nonce.clone()))
            {
                sends.invoked_at.insert(entry.seq, *at);
                invoked_at = Some(*at);
            }
            if let Some(invoked_at) = invoked_at {
                self.stats.deliver.record(at.saturating_sub(invoked_at));
            }
        } else if let What::SessionOpened { .. } = what {
            self.stats.sessions += 1;
        } else if *what == What::FaultsOver {
            self.faults_over_at = Some(at);
        } else if *what == What::Converged {
            let took = self.faults_over_at.map(|over| at.saturating_sub(over).as_millis());
            self.stats.converged_after_ms = took.and_then(|took| u64::try_from(took).ok());
        } else if *what == What::AuditDone {
            self.stats.audited = true;
        }
    }

    /// The client forgot the entry, or it was there by then.
    fn had(&self, seen: &Seen<'_>, client: ClientIndex) -> bool {
        let forgot_at = seen.channel.and_then(|number| self.forgot.get(&(client, number))).copied();
        forgot_at.is_some_and(|at| seen.first.is_some_and(|first| first.at < at))
    }

    /// When the send was asked for, at its first answer.
    fn answered(
        &mut self,
        seen: &Seen<'_>,
        client: ClientIndex,
        nonce: &Nonce,
    ) -> Option<Duration> {
        let key = (guarantees::user_of(&self.roster, client).user.clone(), nonce.clone());
        let (at, answered) = self.sends(seen.channel).invoked.get_mut(&key)?;
        if std::mem::replace(answered, true) { None } else { Some(*at) }
    }

    fn conclude(&mut self) -> Stats {
        let mut stats = std::mem::take(&mut self.stats);
        stats.unknown = stats.sends - stats.accepted - stats.rejected;
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guarantees::NAMES;
    use crate::guarantees::fixture::*;
    use crate::scenario::IsolationBound;
    use seriatim_engine::history_bound::HistoryBound;
    use seriatim_engine::ids::SeqNo;

    fn expect() -> Expect {
        Expect {
            converge_within: Duration::from_secs(1),
            accepted_min: Some(2),
            delivery_p99: Some(Duration::from_millis(200)),
            isolation: Some(IsolationBound {
                p99: Duration::from_millis(200),
                max: None,
                p99_percent: None,
            }),
            gives_up: Vec::new(),
        }
    }

    fn verdict(history: History, expect: &Expect) -> Verdict {
        // After `n3`, which nobody ever answers, and before `n2` is delivered.
        let at = Some(Duration::from_millis(275));
        let noise = PlannedNoise { at, ..PlannedNoise::default() };
        let mut judge = Judge::new(&roster(), expect, Duration::from_secs(2), &noise);
        for event in history.events() {
            judge.observe(&event);
        }
        judge.conclude()
    }

    #[test]
    fn a_healthy_history_passes_every_guarantee_and_is_counted_right() {
        let verdict = verdict(healthy(), &expect());
        let names: Vec<&str> = verdict.guarantees.iter().map(|verdict| verdict.name).collect();
        assert_eq!(names, NAMES);
        assert_eq!(verdict.violations().next(), None);
        assert_eq!(verdict.outcome(), Outcome::Held);
        let stats = &verdict.stats;
        assert_eq!((stats.sends, stats.accepted, stats.rejected, stats.unknown), (3, 2, 0, 1));
        assert_eq!((stats.deliveries, stats.sessions, stats.audited), (7, 4, true));
        assert_eq!((stats.accept.count(), stats.deliver.count()), (2, 4));
        assert_eq!(stats.converged_after_ms, Some(10));
        // "more" is delivered to its sender 30 ms after it was asked for, and so on.
        assert_eq!(stats.deliver.percentile(1.0).as_millis(), 30);
    }

    /// A mistake that only one guarantee sees, for each of them.
    fn planted(name: &str) -> History {
        let over = &What::FaultsOver;
        let hello_again = || message(5, 0, "n1", "hello");
        let forged = || message(3, 0, "n1", "hellO");
        match name {
            "dense-order" => {
                let mut renumbered = more();
                renumbered.at.0 += 1;
                healthy().with(&received(1, "c", more()), received(1, "c", renumbered))
            }
            // Message 4 was accepted before message 3 was asked for.
            "real-time-order" => healthy().before(
                &invoked(0, "n1", "hello"),
                [invoked(0, "n2", "more"), accepted(0, "n2", 4)],
            ),
            // Message 4 went out, once, before message 3 did.
            "sender-order" => healthy()
                .without(&sent(0, "a", "n2"))
                .without(&sent(0, "a", "n2"))
                .before(&sent(0, "a", "n1"), [invoked(0, "n2", "more"), sent(0, "a", "n2")]),
            "no-lost-ack" => healthy().before(over, [accepted(1, "n3", 5)]),
            "once" => healthy()
                .before(over, [received(0, "a", hello_again()), delivered(0, hello_again())])
                .before(over, [received(1, "c", hello_again()), delivered(1, hello_again())])
                .before(&What::AuditDone, [stored(hello_again())]),
            "no-invention" => healthy()
                .with(&received(0, "a", hello()), received(0, "a", forged()))
                .with(&delivered(0, hello()), delivered(0, forged()))
                .with(&received(1, "b", hello()), received(1, "b", forged()))
                .with(&delivered(1, hello()), delivered(1, forged()))
                .with(&stored(hello()), stored(forged())),
            "contiguous-delivery" => healthy().before(over, [received(1, "c", more())]),
            // Entry 2 is left out.
            "log-reads" => {
                let bound = HistoryBound::After(SeqNo::ZERO);
                healthy()
                    .before(over, [page_asked(0, bound), page_read(0, joined(1, 0))])
                    .before(over, [page_read(0, hello()), page_ended(0, bound, true)])
            }
            // Who was never in posts, and everybody has it.
            "membership" => {
                let stray = || message(5, 2, "n9", "x");
                healthy()
                    .before(over, [invoked(2, "n9", "x")])
                    .before(over, [received(0, "a", stray()), delivered(0, stray())])
                    .before(over, [received(1, "c", stray()), delivered(1, stray())])
                    .before(over, [accepted(2, "n9", 5)])
                    .before(&What::AuditDone, [stored(stray())])
            }
            "read-cursors" => healthy().before(over, [read_told(0, 3)]),
            // Message 4 is on its way to client 1 for 300 ms more, while there is noise.
            "isolation" => healthy().before(&received(1, "c", more()), vec![peak(3, 10); 30]),
            "bounded" => healthy().before(over, [peak(11, 10)]),
            "presence" => healthy().before(over, [told_active(0, "a", 1)]),
            "convergence" => healthy().without(&What::Converged),
            "hygiene" => {
                let leak = What::TaskLeaked { node: "gateway-1".into(), name: "reader".into() };
                healthy().before(over, [leak])
            }
            other => panic!("nothing is planted for {other}"),
        }
    }

    #[test]
    fn each_guarantee_sees_a_mistake_that_no_other_sees() {
        for name in NAMES {
            let verdict = verdict(planted(name), &expect());
            let broken = verdict.guarantees.iter().filter(|verdict| !verdict.held);
            assert_eq!(broken.map(|verdict| verdict.name).collect::<Vec<_>>(), [name]);
        }
    }

    #[test]
    fn expectations_are_judged_too() {
        let strict = Expect {
            accepted_min: Some(3),
            delivery_p99: Some(Duration::from_millis(1)),
            ..expect()
        };
        let verdict = verdict(healthy(), &strict);
        assert_eq!(verdict.outcome(), Outcome::Broken);
        assert_eq!(verdict.outcome().exit_code(), 1);
        let found: Vec<(&str, bool)> =
            verdict.expectations.iter().map(|verdict| (verdict.name, verdict.held)).collect();
        assert_eq!(found, [("accepted_min", false), ("delivery_ms.p99", false)]);
    }

    #[test]
    fn a_run_that_only_fails_to_converge_has_an_outcome_of_its_own() {
        let history = healthy().without(&What::Converged);
        assert_eq!(verdict(history, &expect()).outcome().exit_code(), 2);
        let broken = healthy().without(&What::Converged).without(&stored(more()));
        assert_eq!(verdict(broken, &expect()).outcome().exit_code(), 1);
    }

    #[test]
    fn a_second_answer_is_not_counted() {
        let history = healthy().before(&What::FaultsOver, [duplicate(0, "n1", 3)]);
        assert_eq!(verdict(history, &expect()).stats.accepted, 2);
    }
}
