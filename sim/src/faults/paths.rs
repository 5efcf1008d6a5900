//! The paths that a strike holds: between which hosts, and which way.

use seriatim_scenarios::plan::PlannedTarget;

use crate::cluster::Cluster;
use crate::host::SimHost;
use crate::net::{LinkShape, PathCounters};
use crate::time::SimTime;

/// Which way, seen from the target or the first of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Both,
    Out,
    In,
}

/// One-way paths, with what had happened on them when the strike began.
pub(super) struct Paths {
    paths: Vec<(String, String)>,
    before: PathCounters,
}

impl Paths {
    /// The paths of `target`.
    pub(super) fn of(target: &PlannedTarget, way: Way, cluster: &Cluster) -> Self {
        let mut paths = Vec::new();
        for (a, b) in pairs(target, cluster) {
            if way != Way::In {
                paths.push((a.clone(), b.clone()));
            }
            if way != Way::Out {
                paths.push((b, a));
            }
        }
        let mut paths = Self { paths, before: PathCounters::default() };
        paths.before = paths.counters(cluster);
        paths
    }

    pub(super) fn cut(&self, at: SimTime, cluster: &Cluster) {
        for (from, to) in &self.paths {
            cluster.plane.cut(at, from, to);
        }
    }

    pub(super) fn heal(&self, at: SimTime, cluster: &Cluster) {
        for (from, to) in &self.paths {
            cluster.plane.heal(at, from, to);
        }
    }

    pub(super) fn unclog(&self, at: SimTime, cluster: &Cluster) {
        for (from, to) in &self.paths {
            cluster.plane.unclog(at, from, to);
        }
    }

    pub(super) fn slow(&self, at: SimTime, cluster: &Cluster, shape: LinkShape) {
        for (from, to) in &self.paths {
            cluster.plane.slow(at, from, to, shape);
        }
    }

    pub(super) fn unslow(&self, at: SimTime, cluster: &Cluster, shape: LinkShape) {
        for (from, to) in &self.paths {
            cluster.plane.unslow(at, from, to, shape);
        }
    }

    /// Resets every connection on them; gives their number.
    pub(super) fn reset(&self, at: SimTime, cluster: &Cluster) -> u64 {
        self.paths.iter().map(|(a, b)| cluster.plane.reset_between(at, a, b)).sum()
    }

    /// Lets every connection on them stop carrying; gives their number.
    pub(super) fn forget(&self, at: SimTime, cluster: &Cluster) -> u64 {
        self.paths.iter().map(|(a, b)| cluster.plane.forget_between(at, a, b)).sum()
    }

    /// Bytes or connects were swallowed since the strike began.
    pub(super) fn held_something(&self, cluster: &Cluster) -> bool {
        let after = self.counters(cluster);
        after.bytes_held > self.before.bytes_held || after.syns_lost > self.before.syns_lost
    }

    /// Something came late since the strike began.
    pub(super) fn slowed_something(&self, cluster: &Cluster) -> bool {
        let after = self.counters(cluster);
        after.segments_slowed > self.before.segments_slowed
            || after.packets_lost > self.before.packets_lost
    }

    fn counters(&self, cluster: &Cluster) -> PathCounters {
        let each = self.paths.iter().map(|(from, to)| cluster.plane.path(from, to));
        each.fold(PathCounters::default(), PathCounters::and)
    }
}

/// The pairs of hosts between which a strike on `target` happens.
fn pairs(target: &PlannedTarget, cluster: &Cluster) -> Vec<(String, String)> {
    let clients = |gateway: String| {
        let hosts = cluster.client_hosts.iter();
        hosts.map(move |host| (host.name().to_owned(), gateway.clone()))
    };
    match target {
        PlannedTarget::Link(a, b) => vec![(a.to_string(), b.to_string())],
        PlannedTarget::Clients { gateways } => {
            gateways.iter().flat_map(|gateway| clients(gateway.to_string())).collect()
        }
        PlannedTarget::Node(node) => {
            let others = cluster.nodes.values().chain(&cluster.client_hosts).map(SimHost::name);
            others
                .filter(|other| *other != node.as_str())
                .map(|other| (node.to_string(), other.to_owned()))
                .collect()
        }
        PlannedTarget::Nodes(nodes) => {
            let pair = |(index, a): (usize, &seriatim_engine::ids::NodeId)| {
                let rest = nodes.iter().skip(index + 1);
                rest.map(|b| (a.to_string(), b.to_string())).collect::<Vec<_>>()
            };
            nodes.iter().enumerate().flat_map(pair).collect()
        }
    }
}
