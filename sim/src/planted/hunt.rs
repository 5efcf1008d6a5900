//! Runs everything with one bug planted until a guarantee falls.
//!
//! Nothing is told to the hunt but the bug: it takes the scenarios that `cargo sim` takes, in their
//! order, with the first seed, then all of them with the second, and so on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use serde::Serialize;
use seriatim_scenarios::guarantees::Hygiene;
use seriatim_scenarios::judge::Verdict;
use seriatim_scenarios::plan::Plan;

use super::Bug;
use crate::campaign::Entry;
use crate::run::{RunOptions, run};

/// What to hunt in, and for how long.
#[derive(Debug, Clone)]
pub struct Hunt {
    pub scenarios: Vec<Entry>,
    pub first_seed: u64,
    /// CPU time after which a bug is given up.
    pub budget: Duration,
    /// Bugs at a time.
    pub jobs: usize,
}

/// How one bug fared.
#[derive(Debug, Clone, Serialize)]
pub struct Trail {
    pub bug: String,
    pub title: String,
    pub part: String,
    pub breaks: String,
    /// `None` if it was not found.
    pub caught: Option<Caught>,
    /// Runs until it was found, the one that found it included, or until it was given up.
    pub runs: u64,
    pub simulated_s: f64,
    pub cpu_s: f64,
    /// Runs that broke nothing but `hygiene`, which isn't counted as a find.
    pub only_hygiene: u64,
}

/// The run that gave a bug away.
#[derive(Debug, Clone, Serialize)]
pub struct Caught {
    /// The guarantees that fell, `hygiene` left out, in the order of all.
    pub guarantees: Vec<&'static str>,
    pub scenario: String,
    pub seed: u64,
    /// The first violation of the first of them.
    pub message: String,
}

impl Hunt {
    /// Hunts each bug; `done` is called with each, as it comes, on this thread.
    pub fn run(&self, bugs: &'static [Bug], mut done: impl FnMut(&Trail)) -> Vec<Trail> {
        let next = AtomicUsize::new(0);
        let mut trails: Vec<Option<Trail>> = vec![None; bugs.len()];
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::sync_channel(self.jobs.max(1));
            for _ in 0..self.jobs.max(1) {
                let (sender, next) = (sender.clone(), &next);
                scope.spawn(move || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(bug) = bugs.get(index) else { return };
                        if sender.send((index, self.hunt(bug))).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            for (index, trail) in receiver {
                done(&trail);
                if let Some(place) = trails.get_mut(index) {
                    *place = Some(trail);
                }
            }
        });
        trails.into_iter().flatten().collect()
    }

    fn hunt(&self, bug: &'static Bug) -> Trail {
        let mut trail = Trail {
            bug: bug.id.clone(),
            title: bug.title.clone(),
            part: bug.part.clone(),
            breaks: bug.breaks.clone(),
            caught: None,
            runs: 0,
            simulated_s: 0.0,
            cpu_s: 0.0,
            only_hygiene: 0,
        };
        let options = RunOptions { bug: Some(&bug.id), ..RunOptions::default() };
        for seed in self.first_seed.. {
            for entry in &self.scenarios {
                if trail.cpu_s >= self.budget.as_secs_f64() {
                    return trail;
                }
                self.look(entry, seed, &options, &mut trail);
                if trail.caught.is_some() {
                    return trail;
                }
            }
        }
        trail
    }

    fn look(&self, entry: &Entry, seed: u64, options: &RunOptions, trail: &mut Trail) {
        let plan = Arc::new(Plan::draw(&entry.scenario, seed));
        trail.runs += 1;
        // A bug may make the audit itself panic. The run's own thread has told of it.
        let Ok(Ok(result)) = catch_unwind(AssertUnwindSafe(|| run(&plan, options))) else {
            trail.only_hygiene += 1;
            return;
        };
        trail.simulated_s += result.simulated.as_secs_f64();
        trail.cpu_s += result.cpu.as_secs_f64();
        let fallen = fallen(&result.verdict);
        if fallen.is_empty() {
            trail.only_hygiene += u64::from(!hygiene_held(&result.verdict));
            return;
        }
        let first = result.verdict.violations().find(|one| one.guarantee != Hygiene::NAME);
        trail.caught = Some(Caught {
            guarantees: fallen,
            scenario: entry.scenario.name.clone(),
            seed,
            message: first.map(|violation| violation.message.clone()).unwrap_or_default(),
        });
    }
}

/// The guarantees that fell and count.
pub fn fallen(verdict: &Verdict) -> Vec<&'static str> {
    let counted = verdict.guarantees.iter().filter(|one| !one.held && !one.given_up);
    counted.map(|one| one.name).filter(|name| *name != Hygiene::NAME).collect()
}

fn hygiene_held(verdict: &Verdict) -> bool {
    verdict.guarantees.iter().all(|one| one.held || one.name != Hygiene::NAME)
}
