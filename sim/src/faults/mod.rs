//! Carries out a plan's faults, each in one place, and tells whether it really bit.
//!
//! A fault is one or more strikes. A strike begins, holds something until it heals, and is judged
//! by what happened on the very paths and hosts that it held, never by what else went on.

use std::collections::BTreeMap;

use seriatim_scenarios::history::What;
use seriatim_scenarios::plan::{Plan, PlannedTarget};

use crate::cluster::Cluster;
use crate::recorder::Recorder;
use crate::time::SimTime;

mod disks;
mod paths;
mod processes;
mod strike;

use strike::Strike;

/// The faults of one run: what is due when, and what each did.
pub struct Faults {
    strikes: Vec<Strike>,
    /// Begins and ends, by their times; the next one last.
    due: Vec<(SimTime, Change)>,
    /// Strikes that have begun and wait for their moment.
    waiting: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Heal(usize),
    Begin(usize),
}

/// How often a kind of fault was carried out, and how often it changed something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FaultCount {
    pub begun: u64,
    pub bit: u64,
}

impl Faults {
    pub fn new(plan: &Plan) -> Self {
        let mut strikes = Vec::new();
        for (number, fault) in plan.faults.iter().enumerate() {
            let one = |planned| Strike::new(number, fault, planned);
            strikes.extend(fault.strikes.iter().map(one));
        }
        let mut due: Vec<(SimTime, Change)> = Vec::new();
        for (index, strike) in strikes.iter().enumerate() {
            due.push((SimTime::after(strike.planned.at), Change::Begin(index)));
            due.push((SimTime::after(strike.planned.heal_at), Change::Heal(index)));
        }
        // The sort is stable and a begin is pushed before its heal; reversed, for popping.
        due.sort_by_key(|(at, _)| *at);
        due.reverse();
        Self { strikes, due, waiting: Vec::new() }
    }

    /// Carries out what is due at `now`, which every host has reached.
    pub fn advance(&mut self, now: SimTime, cluster: &mut Cluster, recorder: &Recorder) {
        let strikes = &mut self.strikes;
        self.waiting.retain(|index| {
            strikes.get_mut(*index).is_some_and(|strike| !strike.try_now(now, cluster))
        });
        while self.due.last().is_some_and(|(at, _)| *at <= now) {
            let Some((_, change)) = self.due.pop() else { return };
            let (Change::Begin(index) | Change::Heal(index)) = change;
            let Some(strike) = self.strikes.get_mut(index) else { continue };
            match change {
                Change::Begin(_) => {
                    let behind_gateways = is_behind_gateways(&strike.planned.target, cluster);
                    let name = strike.name.clone();
                    recorder.record(now, What::FaultBegan { name, behind_gateways });
                    strike.begin(now, cluster);
                    if strike.is_waiting() {
                        self.waiting.push(index);
                    }
                }
                Change::Heal(_) => {
                    self.waiting.retain(|waiting| *waiting != index);
                    strike.heal(now, cluster);
                    recorder.record(now, What::FaultHealed { name: strike.name.clone() });
                }
            }
        }
    }

    /// Every fault has begun and healed.
    pub fn are_over(&self) -> bool {
        self.due.is_empty()
    }

    /// By kind. A fault bit when one of its strikes did.
    pub fn counts(&self) -> BTreeMap<&'static str, FaultCount> {
        let mut faults: BTreeMap<usize, (&'static str, bool)> = BTreeMap::new();
        for strike in &self.strikes {
            let (_, bit) = faults.entry(strike.fault).or_insert((strike.kind.as_str(), false));
            *bit |= strike.bit;
        }
        let mut counts: BTreeMap<&'static str, FaultCount> = BTreeMap::new();
        for (kind, bit) in faults.into_values() {
            let count = counts.entry(kind).or_default();
            count.begun += 1;
            count.bit += u64::from(bit);
        }
        counts
    }
}

fn target_name(target: &PlannedTarget) -> String {
    let listed = |nodes: &[seriatim_engine::ids::NodeId]| {
        nodes.iter().map(|node| node.as_str()).collect::<Vec<_>>().join(", ")
    };
    match target {
        PlannedTarget::Node(node) => node.to_string(),
        PlannedTarget::Link(a, b) => format!("{a} and {b}"),
        PlannedTarget::Clients { gateways } => format!("clients of {}", listed(gateways)),
        PlannedTarget::Nodes(nodes) => listed(nodes),
    }
}

/// It leaves gateways and what runs between them and their clients alone.
fn is_behind_gateways(target: &PlannedTarget, cluster: &Cluster) -> bool {
    match target {
        PlannedTarget::Node(_) | PlannedTarget::Nodes(_) => {
            !target.nodes().iter().any(|node| cluster.is_gateway(node.as_str()))
        }
        PlannedTarget::Link(..) => true,
        PlannedTarget::Clients { .. } => false,
    }
}
