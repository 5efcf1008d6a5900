//! Starts processes again that ended by themselves, as a service manager does.
//!
//! A process that panicked or gave up is dead for a while and then comes back; one that was asked
//! to stop stays down until whoever asked starts it.

use std::collections::BTreeMap;

use seriatim_scenarios::history::What;

use crate::cluster::Cluster;
use crate::host::Exit;
use crate::recorder::Recorder;
use crate::time::SimTime;

/// The wait before a process is started again; doubled while it keeps ending.
const RESTART_DELAY_US: u64 = 1_000_000;

/// The longest wait.
const RESTART_DELAY_US_MAX: u64 = 16_000_000;

/// A process that has lived so long starts with the shortest wait again.
const STEADY_US: u64 = 30_000_000;

/// Watches the processes of one run's nodes.
#[derive(Debug, Default)]
pub struct Supervisor {
    nodes: BTreeMap<String, Watched>,
    restarts: u64,
}

#[derive(Debug, Default)]
struct Watched {
    start_at: Option<SimTime>,
    started_at: SimTime,
    /// Ends since it lived long.
    ends: u32,
}

impl Supervisor {
    /// Sees to what ended and starts what is due at `now`, which every host has reached.
    pub fn advance(&mut self, now: SimTime, cluster: &mut Cluster, recorder: &Recorder) {
        let names: Vec<String> = cluster.nodes.keys().cloned().collect();
        for name in names {
            let Some(host) = cluster.nodes.get(&name) else { continue };
            if let Some(exit) = host.take_exit() {
                host.kill(now);
                cluster.sim.crash(name.as_str());
                if exit != Exit::Stopped {
                    recorder.record(now, What::NodeEnded { node: name.as_str().into() });
                    self.nodes.entry(name.clone()).or_default().ended(now);
                }
            }
            let Some(watched) = self.nodes.get_mut(&name) else { continue };
            if watched.start_at.is_some_and(|at| at <= now) {
                watched.start_at = None;
                watched.started_at = now;
                if cluster.start_node(now, &name) {
                    self.restarts += 1;
                    recorder.record(now, What::NodeRevived { node: name.as_str().into() });
                }
            }
        }
    }

    /// How often a process was started again.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }
}

impl Watched {
    fn ended(&mut self, now: SimTime) {
        let lived = now.0.saturating_sub(self.started_at.0);
        self.ends = if lived >= STEADY_US { 1 } else { self.ends + 1 };
        let doubled = RESTART_DELAY_US << self.ends.saturating_sub(1).min(10);
        self.start_at = Some(now.plus(doubled.min(RESTART_DELAY_US_MAX)));
    }
}
