//! The figures of a run, ready to be shown.
//!
//! Plain data with units in the names, as it leaves in `results.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use seriatim_scenarios::latency::LatencySummary;

/// Everything that one command ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// As it was typed.
    pub command: String,
    pub commit: String,
    pub seeds: SeedRange,
    pub machine: Machine,
    /// In the order in which they ran.
    pub scenarios: Vec<ScenarioReport>,
}

/// Which seeds each scenario ran with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedRange {
    pub first: u64,
    pub count: u64,
}

/// What it ran on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub cores: u32,
}

/// One scenario over all its seeds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ScenarioReport {
    pub name: String,
    pub question: String,
    /// Runs: one for each seed.
    pub seeds: u64,
    /// Every guarantee, in the order of `seriatim_scenarios::guarantees::NAMES`.
    pub guarantees: Vec<Count>,
    /// What the scenario expects besides; may be empty.
    pub expectations: Vec<Count>,
    /// The first run that broke something.
    pub first_failure: Option<Failure>,
    /// How often each fault was seen to have an effect.
    pub faults_that_bit: BTreeMap<String, u64>,
    /// How often each fault was carried out.
    #[serde(default)]
    pub faults_begun: BTreeMap<String, u64>,
    /// What the faults did: bytes held back, writes torn, processes started again, …
    #[serde(default)]
    pub effects: BTreeMap<String, u64>,
    pub simulated_s: f64,
    pub cpu_s: f64,
    pub sends: u64,
    pub accepted: u64,
    pub rejected: u64,
    /// Sends without an answer.
    pub unknown: u64,
    pub deliveries: u64,
    pub sessions: u64,
    /// From the request to the sender's knowing; in simulated time when simulated.
    pub accept: LatencySummary,
    /// From the request to each recipient's application.
    pub deliver: LatencySummary,
    /// Of the journals of all its runs; empty when there are none.
    pub journal_hash: String,
}

/// In how many runs a promise was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub name: String,
    pub held: u64,
    pub broken: u64,
}

/// A run that broke something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub seed: u64,
    /// The name of the guarantee or expectation.
    pub broken: String,
    /// Since the run's start.
    pub at_ms: u64,
    pub message: String,
    /// The events that prove it.
    pub witness: Vec<String>,
    /// The command that runs it again.
    pub repro: String,
}

impl Count {
    pub fn is_held(&self) -> bool {
        self.broken == 0
    }
}

impl ScenarioReport {
    /// Guarantees, then expectations.
    pub fn counts(&self) -> impl Iterator<Item = &Count> {
        self.guarantees.iter().chain(&self.expectations)
    }

    pub fn is_held(&self) -> bool {
        self.counts().all(Count::is_held)
    }

    /// `None` when the time of the processor wasn't measured.
    pub fn simulated_s_per_cpu_s(&self) -> Option<f64> {
        (self.cpu_s > 0.0).then(|| self.simulated_s / self.cpu_s)
    }
}

impl RunReport {
    pub fn is_held(&self) -> bool {
        self.scenarios.iter().all(ScenarioReport::is_held)
    }

    /// The verdict in one line.
    pub fn headline(&self) -> String {
        let scenarios = counted(self.scenarios.len() as u64, "scenario");
        let runs = counted(self.scenarios.iter().map(|scenario| scenario.seeds).sum(), "run");
        if self.scenarios.is_empty() {
            return "Nothing was run.".to_owned();
        }
        if self.is_held() {
            return format!("Everything held: {scenarios}, {runs}.");
        }
        let broken: Vec<&str> = self
            .scenarios
            .iter()
            .filter(|scenario| !scenario.is_held())
            .map(|scenario| scenario.name.as_str())
            .collect();
        format!("Broken in {} of {scenarios} ({runs}): {}.", broken.len(), broken.join(", "))
    }

    /// Simulated and processor seconds of all scenarios.
    pub(crate) fn seconds(&self) -> (f64, f64) {
        self.scenarios.iter().fold((0.0, 0.0), |(simulated, cpu), scenario| {
            (simulated + scenario.simulated_s, cpu + scenario.cpu_s)
        })
    }

    /// The names of the guarantees, as the columns of a table.
    pub(crate) fn guarantee_names(&self) -> Vec<&str> {
        let first = self.scenarios.first();
        first.into_iter().flat_map(|first| &first.guarantees).map(|count| &*count.name).collect()
    }
}

fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
pub(crate) mod fixture {
    use super::*;

    /// Some of them: what is shown must not depend on which there are.
    const GUARANTEES: [&str; 4] = ["dense-order", "no-lost-ack", "contiguous-delivery", "hygiene"];

    fn summary(scale: f64) -> LatencySummary {
        LatencySummary {
            count: 5_000,
            p50_ms: 31.0 * scale,
            p90_ms: 52.5 * scale,
            p99_ms: 80.0 * scale,
            p999_ms: 140.0 * scale,
            max_ms: 200.0 * scale,
        }
    }

    fn scenario(name: &str, question: &str, scale: f64) -> ScenarioReport {
        ScenarioReport {
            name: name.to_owned(),
            question: question.to_owned(),
            seeds: 20,
            guarantees: GUARANTEES
                .map(|name| Count { name: name.to_owned(), held: 20, broken: 0 })
                .to_vec(),
            expectations: vec![Count { name: "accepted_min".to_owned(), held: 20, broken: 0 }],
            first_failure: None,
            faults_that_bit: BTreeMap::new(),
            faults_begun: BTreeMap::new(),
            effects: BTreeMap::new(),
            simulated_s: 1_440.0,
            cpu_s: 4.8,
            sends: 12_000,
            accepted: 11_990,
            rejected: 0,
            unknown: 10,
            deliveries: 130_000,
            sessions: 2_020,
            accept: summary(scale / 2.0),
            deliver: summary(scale),
            journal_hash: "9f86d081884c7d659a2feaa0c55ad015".to_owned(),
        }
    }

    /// One scenario that held and one that did not, with texts that need escaping.
    pub(crate) fn report() -> RunReport {
        let mut broken = scenario("owner-sigkill", "Is it <still> there & \"once\"?", 30.0);
        broken.guarantees[1] = Count { name: "no-lost-ack".to_owned(), held: 17, broken: 3 };
        broken.faults_that_bit =
            [("sigkill messages-1".to_owned(), 31), ("reset".to_owned(), 9)].into();
        broken.faults_begun = [
            ("sigkill messages-1".to_owned(), 31),
            ("reset".to_owned(), 12),
            ("pause".to_owned(), 2),
        ]
        .into();
        broken.effects = [("connections reset".to_owned(), 47)].into();
        broken.first_failure = Some(Failure {
            seed: 7,
            broken: "no-lost-ack".to_owned(),
            at_ms: 41_250,
            message: "accepted as #5, but the log has nothing there".to_owned(),
            witness: vec![
                "   12.345 s  client 3 told: w1/c2 #5 is its nonce u3-1 <\u{1}>".to_owned(),
            ],
            repro: "cargo sim run owner-sigkill --seed 7".to_owned(),
        });
        RunReport {
            command: "cargo sim".to_owned(),
            commit: "0123abc".to_owned(),
            seeds: SeedRange { first: 1, count: 20 },
            machine: Machine { cores: 2 },
            scenarios: vec![scenario("steady", "Does everyone get it?", 1.0), broken],
        }
    }

    /// All held.
    pub(crate) fn held() -> RunReport {
        let mut report = report();
        report.scenarios.truncate(1);
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headline_tells_what_broke() {
        let broken = fixture::report().headline();
        assert_eq!(broken, "Broken in 1 of 2 scenarios (40 runs): owner-sigkill.");
        assert_eq!(fixture::held().headline(), "Everything held: 1 scenario, 20 runs.");
    }

    #[test]
    fn a_broken_expectation_is_broken() {
        let mut report = fixture::held();
        report.scenarios[0].expectations[0].broken = 1;
        assert!(!report.is_held());
    }
}
