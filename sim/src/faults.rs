//! Carries out a plan's faults, each in one place, and tells whether it really bit.

use std::collections::BTreeMap;

use seriatim_scenarios::fault::FaultKind;
use seriatim_scenarios::history::What;
use seriatim_scenarios::plan::{Plan, PlannedFault, PlannedTarget};

use crate::cluster::Cluster;
use crate::host::SimHost;
use crate::net::NetCounters;
use crate::recorder::Recorder;
use crate::time::SimTime;

/// The faults of one run: what is due when, and what each did.
pub struct Faults {
    faults: Vec<Fault>,
    /// Begins and ends, by their times; the next one last.
    due: Vec<(SimTime, Change)>,
}

struct Fault {
    planned: PlannedFault,
    name: String,
    /// The network's counters when it began.
    before: NetCounters,
    /// It took hold of something: a running process, an open connection.
    took_hold: bool,
    bit: bool,
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
        let faults: Vec<Fault> = plan.faults.iter().cloned().map(Fault::new).collect();
        let mut due: Vec<(SimTime, Change)> = Vec::new();
        for (index, fault) in faults.iter().enumerate() {
            due.push((SimTime::after(fault.planned.at), Change::Begin(index)));
            due.push((SimTime::after(fault.planned.heal_at), Change::Heal(index)));
        }
        // The sort is stable and a begin is pushed before its heal; reversed, for popping.
        due.sort_by_key(|(at, _)| *at);
        due.reverse();
        Self { faults, due }
    }

    /// Carries out what is due at `now`, which every host has reached.
    pub fn advance(&mut self, now: SimTime, cluster: &mut Cluster, recorder: &Recorder) {
        while self.due.last().is_some_and(|(at, _)| *at <= now) {
            let Some((_, change)) = self.due.pop() else { return };
            let (Change::Begin(index) | Change::Heal(index)) = change;
            let Some(fault) = self.faults.get_mut(index) else { continue };
            match change {
                Change::Begin(_) => fault.begin(now, cluster, recorder),
                Change::Heal(_) => fault.heal(now, cluster, recorder),
            }
        }
    }

    /// Every fault has begun and healed.
    pub fn are_over(&self) -> bool {
        self.due.is_empty()
    }

    /// By kind.
    pub fn counts(&self) -> BTreeMap<&'static str, FaultCount> {
        let mut counts: BTreeMap<&'static str, FaultCount> = BTreeMap::new();
        for fault in &self.faults {
            let count = counts.entry(fault.planned.kind.as_str()).or_default();
            count.begun += 1;
            count.bit += u64::from(fault.bit);
        }
        counts
    }
}

impl Fault {
    fn new(planned: PlannedFault) -> Self {
        let name = format!("{} {}", planned.kind.as_str(), target_name(&planned.target));
        Self { planned, name, before: NetCounters::default(), took_hold: false, bit: false }
    }

    fn begin(&mut self, at: SimTime, cluster: &mut Cluster, recorder: &Recorder) {
        recorder.record(at, What::FaultBegan { name: self.name.clone() });
        self.before = cluster.plane.counters();
        self.took_hold = match self.planned.kind {
            FaultKind::Partition => {
                for (a, b) in self.pairs(cluster) {
                    cluster.plane.cut_between(at, &a, &b);
                }
                true
            }
            FaultKind::Reset | FaultKind::ReconnectStorm => {
                let pairs = self.pairs(cluster);
                pairs.iter().map(|(a, b)| cluster.plane.reset_between(at, a, b)).sum::<u64>() > 0
            }
            FaultKind::Sigkill => self.stop(at, cluster, Stop::Kill),
            FaultKind::PowerLoss => self.stop(at, cluster, Stop::PowerOff),
        };
        self.bit = self.took_hold && self.planned.kind != FaultKind::Partition;
    }

    fn heal(&mut self, at: SimTime, cluster: &mut Cluster, recorder: &Recorder) {
        match self.planned.kind {
            FaultKind::Partition => {
                let after = cluster.plane.counters();
                self.bit = after.bytes_held > self.before.bytes_held
                    || after.syns_lost > self.before.syns_lost;
                for (a, b) in self.pairs(cluster) {
                    cluster.plane.heal_between(at, &a, &b);
                }
            }
            FaultKind::Sigkill | FaultKind::PowerLoss if self.took_hold => {
                for name in self.nodes() {
                    start(at, cluster, &name);
                }
            }
            FaultKind::Sigkill
            | FaultKind::PowerLoss
            | FaultKind::Reset
            | FaultKind::ReconnectStorm => {}
        }
        recorder.record(at, What::FaultHealed { name: self.name.clone() });
    }

    /// Stops the target's processes. False when none was running: another fault came first.
    fn stop(&self, at: SimTime, cluster: &mut Cluster, how: Stop) -> bool {
        let mut stopped = false;
        for name in self.nodes() {
            let Some(host) = cluster.nodes.get(&name).filter(|host| host.is_alive()) else {
                continue;
            };
            match how {
                Stop::Kill => host.kill(at),
                Stop::PowerOff => host.power_off(at),
            }
            cluster.sim.crash(name.as_str());
            stopped = true;
        }
        stopped
    }

    fn nodes(&self) -> Vec<String> {
        match &self.planned.target {
            PlannedTarget::Node(node) => vec![node.to_string()],
            PlannedTarget::Link(..) | PlannedTarget::Clients { .. } => Vec::new(),
        }
    }

    /// The pairs of hosts between which the fault happens.
    fn pairs(&self, cluster: &Cluster) -> Vec<(String, String)> {
        match &self.planned.target {
            PlannedTarget::Link(a, b) => vec![(a.to_string(), b.to_string())],
            PlannedTarget::Clients { gateways } => gateways
                .iter()
                .flat_map(|gateway| {
                    let hosts = cluster.client_hosts.iter();
                    hosts.map(|host| (host.name().to_owned(), gateway.to_string()))
                })
                .collect(),
            PlannedTarget::Node(node) => {
                let node = node.to_string();
                let others = cluster.nodes.values().chain(&cluster.client_hosts);
                others
                    .map(SimHost::name)
                    .filter(|other| *other != node)
                    .map(|other| (node.clone(), other.to_owned()))
                    .collect()
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Stop {
    Kill,
    PowerOff,
}

fn start(at: SimTime, cluster: &mut Cluster, name: &str) {
    if let Some(host) = cluster.nodes.get(name).filter(|host| !host.is_alive()) {
        host.boot(at);
        cluster.sim.bounce(name);
    }
}

fn target_name(target: &PlannedTarget) -> String {
    match target {
        PlannedTarget::Node(node) => node.to_string(),
        PlannedTarget::Link(a, b) => format!("{a} and {b}"),
        PlannedTarget::Clients { gateways } => {
            let names: Vec<&str> = gateways.iter().map(|gateway| gateway.as_str()).collect();
            format!("clients of {}", names.join(", "))
        }
    }
}
