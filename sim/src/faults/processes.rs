//! Processes that a strike stops, and starts again.

use std::time::Duration;

use seriatim_scenarios::fault::Word;
use seriatim_scenarios::plan::PlannedTarget;

use crate::cluster::Cluster;
use crate::host::SimHost;
use crate::time::SimTime;

/// How a process is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Kill,
    PowerOff,
    /// As soon as the disk is writing; anyway after a second.
    PowerOffAmidWrite,
    /// It is asked to; killed when it is not done by the time it should start again.
    Drain,
    /// The power is cut, and the disk replaced by an empty one.
    Wipe,
}

/// A power cut waits so long for a write, or half of the strike's time if that is shorter.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(1);

impl How {
    pub(super) fn of(word: Word) -> Self {
        if word == Word::Drain {
            Self::Drain
        } else if word == Word::PowerLoss {
            Self::PowerOff
        } else {
            Self::Kill
        }
    }
}

/// What one strike stopped.
pub(super) struct Stopped {
    /// The nodes that ran when the strike began.
    nodes: Vec<String>,
    how: How,
    /// A power cut waits for its write, at most until then.
    waits_until: Option<SimTime>,
}

impl Stopped {
    pub(super) fn stop(
        at: SimTime,
        target: &PlannedTarget,
        cluster: &mut Cluster,
        how: How,
        half: Duration,
    ) -> Self {
        let alive = hosts(target, cluster).filter(|host| host.is_alive());
        let nodes: Vec<String> = alive.map(|host| host.name().to_owned()).collect();
        let mut stopped = Self { nodes, how, waits_until: None };
        if how == How::PowerOffAmidWrite {
            stopped.waits_until = Some(at + half.min(WRITE_WAIT_MAX));
        }
        for node in &stopped.nodes {
            match how {
                How::Kill => cluster.kill_node(at, node),
                How::PowerOff => cluster.power_off_node(at, node),
                How::Wipe => {
                    cluster.power_off_node(at, node);
                    cluster.disk(node, |disk| disk.wipe(at));
                }
                How::PowerOffAmidWrite => cluster.disk(node, |disk| disk.fail_power_amid_write()),
                How::Drain => {
                    if let Some(host) = cluster.nodes.get(node) {
                        host.ask_to_stop(at);
                    }
                }
            }
        }
        stopped
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waits_until.is_some()
    }

    /// Cuts the power if the disk was caught writing or the wait is over; true when it did.
    pub(super) fn try_now(&mut self, now: SimTime, cluster: &mut Cluster) -> bool {
        let Some(until) = self.waits_until else { return true };
        let mut failed = now >= until;
        for node in &self.nodes {
            cluster.disk(node, |disk| failed |= disk.power_failed());
        }
        if failed {
            self.waits_until = None;
            for node in &self.nodes {
                cluster.power_off_node(now, node);
            }
        }
        failed
    }

    /// Starts what the strike stopped; true when it had stopped something.
    pub(super) fn start(mut self, at: SimTime, cluster: &mut Cluster) -> bool {
        if self.waits_until.is_some() {
            self.waits_until = Some(at);
            self.try_now(at, cluster);
        }
        for node in &self.nodes {
            if self.how == How::Drain {
                // Whoever asked has waited long enough.
                cluster.kill_node(at, node);
            }
            cluster.start_node(at, node);
        }
        !self.nodes.is_empty()
    }
}

/// The hosts of the nodes that `target` names.
pub(super) fn hosts<'a>(
    target: &'a PlannedTarget,
    cluster: &'a Cluster,
) -> impl Iterator<Item = &'a SimHost> {
    target.nodes().iter().filter_map(|node| cluster.nodes.get(node.as_str()))
}
