//! Many runs: scenarios times seeds, on as many threads as there are cores.
//!
//! Results are taken in the order of scenarios and seeds, however the threads finish, so that a
//! report doesn't depend on them.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use seriatim_reports::report::ScenarioReport;
use seriatim_reports::tally::{Run, Tally};
use seriatim_scenarios::judge::Outcome;
use seriatim_scenarios::plan::Plan;
use seriatim_scenarios::scenario::Scenario;
use xxhash_rust::xxh3::Xxh3;

use crate::run::{RunOptions, RunResult, run};

/// What to run.
#[derive(Debug, Clone)]
pub struct Campaign {
    pub scenarios: Vec<Entry>,
    pub first_seed: u64,
    pub seeds: u64,
    /// Runs at a time.
    pub jobs: usize,
    pub options: RunOptions,
}

/// A scenario and how to name it on a command line.
#[derive(Debug, Clone)]
pub struct Entry {
    pub scenario: Scenario,
    /// A path, or the name of a scenario of the catalog.
    pub argument: String,
}

/// What a campaign came to.
#[derive(Debug, Clone)]
pub struct Outcomes {
    pub reports: Vec<ScenarioReport>,
    /// For each scenario and seed, in order.
    pub hashes: Vec<(String, u64, u128)>,
    pub worst: Outcome,
}

impl Campaign {
    /// Runs everything. `done` is called with each result, as it comes, on this thread.
    ///
    /// # Errors
    /// A journal can't be written, or no thread can be had.
    pub fn run(&self, mut done: impl FnMut(&Entry, &RunResult)) -> io::Result<Outcomes> {
        let tasks = self.tasks();
        let next = AtomicUsize::new(0);
        let mut results: BTreeMap<usize, RunResult> = BTreeMap::new();
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::sync_channel(self.jobs);
            for _ in 0..self.jobs.max(1) {
                let (sender, next, tasks) = (sender.clone(), &next, &tasks);
                scope.spawn(move || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some((entry, seed)) = tasks.get(index) else { return };
                        let plan = Arc::new(Plan::draw(&entry.scenario, *seed));
                        let result = run(&plan, &self.options);
                        if sender.send((index, result)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            for (index, result) in receiver {
                let result = result?;
                if let Some((entry, _)) = tasks.get(index) {
                    done(entry, &result);
                }
                results.insert(index, result);
            }
            Ok(())
        })
        .map(|()| self.sum_up(&results.into_values().collect::<Vec<_>>()))
    }

    fn tasks(&self) -> Vec<(&Entry, u64)> {
        let seeds = self.first_seed..self.first_seed + self.seeds;
        self.scenarios
            .iter()
            .flat_map(|entry| seeds.clone().map(move |seed| (entry, seed)))
            .collect()
    }

    fn sum_up(&self, results: &[RunResult]) -> Outcomes {
        let seeds = usize::try_from(self.seeds).unwrap_or(usize::MAX).max(1);
        let mut outcomes =
            Outcomes { reports: Vec::new(), hashes: Vec::new(), worst: Outcome::Held };
        for (entry, results) in self.scenarios.iter().zip(results.chunks(seeds)) {
            let mut tally = Tally::new(&entry.scenario);
            let mut hash = Xxh3::new();
            for result in results {
                tally.add(&run_of(entry, result), &result.verdict);
                hash.update(&result.journal_hash.to_le_bytes());
                let name = entry.scenario.name.clone();
                outcomes.hashes.push((name, result.seed, result.journal_hash));
                outcomes.worst = worse(outcomes.worst, result.verdict.outcome());
            }
            outcomes.reports.push(tally.finish(format!("{:032x}", hash.digest128())));
        }
        outcomes
    }
}

fn run_of(entry: &Entry, result: &RunResult) -> Run {
    let bit = result.faults.iter().map(|(kind, count)| ((*kind).to_owned(), count.bit));
    let begun = result.faults.iter().map(|(kind, count)| ((*kind).to_owned(), count.begun));
    let effects = result.effects.iter().map(|(what, count)| ((*what).to_owned(), *count));
    Run {
        seed: result.seed,
        repro: repro(&entry.argument, result.seed),
        faults_that_bit: bit.collect(),
        faults_begun: begun.collect(),
        effects: effects.collect(),
        simulated_s: result.simulated.as_secs_f64(),
        cpu_s: result.cpu.as_secs_f64(),
    }
}

/// The command that runs one seed of a scenario again.
pub fn repro(argument: &str, seed: u64) -> String {
    format!("cargo sim run {argument} --seed {seed} --seeds 1")
}

fn worse(one: Outcome, other: Outcome) -> Outcome {
    match (one, other) {
        (Outcome::Broken, _) | (_, Outcome::Broken) => Outcome::Broken,
        (Outcome::NotConverged, _) | (_, Outcome::NotConverged) => Outcome::NotConverged,
        (Outcome::Held, Outcome::Held) => Outcome::Held,
    }
}
