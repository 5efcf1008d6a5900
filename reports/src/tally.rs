//! Sums up the verdicts of one scenario's runs.

use std::collections::BTreeMap;

use seriatim_scenarios::guarantees::Hygiene;
use seriatim_scenarios::judge::Verdict;
use seriatim_scenarios::latency::Latencies;
use seriatim_scenarios::scenario::Scenario;

use crate::report::{Count, Failure, ScenarioReport};

/// Takes the runs of one scenario, in the order of their seeds: reports are the same then, however
/// many ran at once.
#[derive(Debug)]
pub struct Tally {
    report: ScenarioReport,
    accept: Latencies,
    deliver: Latencies,
}

/// What a world knows of a run besides its verdict.
#[derive(Debug, Clone, Default)]
pub struct Run {
    pub seed: u64,
    /// The command that runs it again.
    pub repro: String,
    /// How often each fault was seen to have an effect.
    pub faults_that_bit: BTreeMap<String, u64>,
    /// How often each fault was carried out.
    pub faults_begun: BTreeMap<String, u64>,
    /// What the faults did, by what is counted.
    pub effects: BTreeMap<String, u64>,
    pub simulated_s: f64,
    pub cpu_s: f64,
}

impl Tally {
    pub fn new(scenario: &Scenario) -> Self {
        let report = ScenarioReport {
            name: scenario.name.clone(),
            question: scenario.question.clone(),
            ..ScenarioReport::default()
        };
        Self { report, accept: Latencies::default(), deliver: Latencies::default() }
    }

    pub fn add(&mut self, run: &Run, verdict: &Verdict) {
        let report = &mut self.report;
        report.seeds += 1;
        for guarantee in &verdict.guarantees {
            let judged = (!guarantee.given_up).then_some(guarantee.held);
            count(&mut report.guarantees, guarantee.name, judged);
        }
        for expectation in &verdict.expectations {
            count(&mut report.expectations, expectation.name, Some(expectation.held));
        }
        if report.first_failure.is_none() {
            report.first_failure = failure(run, verdict);
        }
        for (name, times) in &run.faults_that_bit {
            *report.faults_that_bit.entry(name.clone()).or_default() += times;
        }
        for (name, times) in &run.faults_begun {
            *report.faults_begun.entry(name.clone()).or_default() += times;
        }
        for (name, times) in &run.effects {
            *report.effects.entry(name.clone()).or_default() += times;
        }
        report.simulated_s += run.simulated_s;
        report.cpu_s += run.cpu_s;
        let stats = &verdict.stats;
        report.sends += stats.sends;
        report.accepted += stats.accepted;
        report.rejected += stats.rejected;
        report.unknown += stats.unknown;
        report.deliveries += stats.deliveries;
        report.sessions += stats.sessions;
        self.accept.merge(&stats.accept);
        self.deliver.merge(&stats.deliver);
    }

    /// `journal_hash` is of the journals of all runs; empty when there are none.
    pub fn finish(self, journal_hash: String) -> ScenarioReport {
        ScenarioReport {
            accept: self.accept.summary(),
            deliver: self.deliver.summary(),
            journal_hash,
            ..self.report
        }
    }
}

/// `None`: the scenario gave it up, or asks nothing of it, so that it is neither.
fn count(counts: &mut Vec<Count>, name: &str, held: Option<bool>) {
    let index = counts.iter().position(|count| count.name == name).unwrap_or_else(|| {
        counts.push(Count { name: name.to_owned(), held: 0, broken: 0 });
        counts.len() - 1
    });
    if let Some(count) = counts.get_mut(index) {
        count.held += u64::from(held == Some(true));
        count.broken += u64::from(held == Some(false));
    }
}

fn failure(run: &Run, verdict: &Verdict) -> Option<Failure> {
    let base = Failure {
        seed: run.seed,
        broken: String::new(),
        at_ms: 0,
        message: String::new(),
        witness: Vec::new(),
        repro: run.repro.clone(),
    };
    // A panic ends the run, and much else is then missing: it is the one to be told.
    let first = verdict
        .violations()
        .min_by_key(|violation| (violation.guarantee != Hygiene::NAME, violation.at));
    if let Some(violation) = first {
        return Some(Failure {
            broken: violation.guarantee.to_owned(),
            at_ms: u64::try_from(violation.at.as_millis()).unwrap_or(u64::MAX),
            message: violation.message.clone(),
            witness: violation.witness.clone(),
            ..base
        });
    }
    let missed = verdict.expectations.iter().find(|expectation| !expectation.held)?;
    Some(Failure {
        broken: missed.name.to_owned(),
        message: format!("expected {}, found {}", missed.expected, missed.found),
        ..base
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use seriatim_scenarios::history::{Event, Level, Roster, What};
    use seriatim_scenarios::judge::Judge;
    use seriatim_scenarios::parse;
    use seriatim_scenarios::plan::PlannedNoise;

    use super::*;

    fn scenario() -> Scenario {
        parse::scenario("small.toml", "question = \"?\"\n[expect]\naccepted_min = 0\n").unwrap()
    }

    fn verdict(events: &[What]) -> Verdict {
        let (roster, noise) = (Roster::default(), PlannedNoise::default());
        let mut judge = Judge::new(&roster, &scenario().expect, Duration::ZERO, &noise);
        for what in events {
            judge.observe(&Event { at: Duration::from_secs(1), what: what.clone() });
        }
        judge.conclude()
    }

    #[test]
    fn runs_are_counted_and_the_first_failure_is_kept() {
        let level = Level::new("sessions", 10);
        let watched = What::Peak { node: "gateway-1".into(), level };
        let well = verdict(&[watched.clone(), What::FaultsOver, What::Converged]);
        let panic = What::Panicked { node: "gateway-1".into(), message: "oh".into() };
        let ill = verdict(&[watched, What::FaultsOver, panic, What::Converged]);
        let run = |seed| Run {
            seed,
            repro: format!("cargo sim run small --seed {seed}"),
            faults_that_bit: [("reset".to_owned(), 2)].into(),
            faults_begun: [("reset".to_owned(), 3)].into(),
            effects: BTreeMap::new(),
            simulated_s: 30.0,
            cpu_s: 0.5,
        };
        let mut tally = Tally::new(&scenario());
        tally.add(&run(1), &well);
        tally.add(&run(2), &ill);
        tally.add(&run(3), &ill);
        let report = tally.finish("abc".to_owned());
        let hygiene = report.guarantees.last().unwrap();
        assert_eq!((hygiene.name.as_str(), hygiene.held, hygiene.broken), ("hygiene", 1, 2));
        assert_eq!(report.expectations[0].held, 3);
        let failure = report.first_failure.as_ref().unwrap();
        assert_eq!((failure.seed, failure.broken.as_str(), failure.at_ms), (2, "hygiene", 1_000));
        assert_eq!(failure.message, "gateway-1 panics: oh");
        assert_eq!(report.faults_that_bit["reset"], 6);
        assert_eq!(report.faults_begun["reset"], 9);
        assert_eq!(report.simulated_s_per_cpu_s(), Some(60.0));
    }

    #[test]
    fn a_panic_is_told_before_what_it_kept_from_happening() {
        let panic = What::Panicked { node: "gateway-1".into(), message: "oh".into() };
        let mut tally = Tally::new(&scenario());
        tally.add(&Run::default(), &verdict(&[panic, What::RunEnded]));
        let report = tally.finish(String::new());
        let convergence = report.guarantees.iter().find(|count| count.name == "convergence");
        assert_eq!(convergence.map(|count| count.broken), Some(1));
        let failure = report.first_failure.as_ref().unwrap();
        assert_eq!(failure.message, "gateway-1 panics: oh");
    }
}
