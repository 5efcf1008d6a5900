//! Draws the faults of a plan: their times, targets and settings, and the strikes of those that
//! strike more than once.

use std::time::Duration;

use super::{node_name, scale};
use crate::choices::Choices;
use crate::fault::{FaultKind, FaultTarget, Key, Lasting, NodeRef, Role, Settings};
use crate::plan::{PlannedFault, PlannedStrike, PlannedTarget};
use crate::scenario::{Cluster, Fault, Range, Scenario};
use seriatim_engine::ids::NodeId;

/// A node that was stopped and started again is left alone for so long before it is stopped again.
const RESPITE: Duration = Duration::from_secs(1);

pub(super) fn faults(scenario: &Scenario, choices: &Choices) -> Vec<PlannedFault> {
    let mut faults = Vec::new();
    for (entity, fault) in (0..).zip(&scenario.faults) {
        for time in 0..fault.times {
            let drawing = Drawing { fault, cluster: &scenario.cluster, choices, entity, time };
            faults.push(drawing.planned());
        }
    }
    faults.sort_by_key(|fault| fault.at);
    apart(faults)
}

/// One fault of the file, one of the times that it happens.
struct Drawing<'a> {
    fault: &'a Fault,
    cluster: &'a Cluster,
    choices: &'a Choices,
    /// The fault's place in the file, from 0.
    entity: u64,
    time: u32,
}

impl Drawing<'_> {
    /// Names the choices of this time that it happens.
    fn occurrence(&self) -> u64 {
        (self.entity << 32) | u64::from(self.time)
    }

    fn planned(&self) -> PlannedFault {
        let Self { fault, choices, .. } = self;
        let mut stream = choices.stream("fault", self.entity);
        let mut within = |range: Range<Duration>| {
            let drawn = stream.next_u64();
            scale(drawn, range.min, range.max + Duration::from_micros(1))
        };
        let at = within(fault.at) + fault.every * self.time;
        let heal_at = at + within(fault.lasts);
        let target = self.target();
        let settings = Settings::draw(fault.kind, &fault.settings, choices, self.occurrence());
        let strikes = self.strikes(&target, &settings, at, heal_at);
        let heal_at = strikes.iter().map(|strike| strike.heal_at).max().unwrap_or(heal_at);
        PlannedFault { kind: fault.kind, target, settings, at, heal_at, strikes }
    }

    fn target(&self) -> PlannedTarget {
        let cluster = self.cluster;
        let mut targets = self.choices.stream("fault_target", self.occurrence());
        let mut resolve = |node: NodeRef| {
            let count = count(cluster, node.role);
            let drawn = u32::try_from(targets.below(u64::from(count))).expect("below a u32");
            node_name(node.role, node.number.unwrap_or(drawn + 1))
        };
        match self.fault.target {
            FaultTarget::Node(node) => PlannedTarget::Node(resolve(node)),
            FaultTarget::Link(a, b) => PlannedTarget::Link(resolve(a), resolve(b)),
            FaultTarget::ClientsOf(gateway) => {
                PlannedTarget::Clients { gateways: vec![resolve(gateway)] }
            }
            FaultTarget::Clients => {
                PlannedTarget::Clients { gateways: nodes(cluster, Role::Gateway) }
            }
            FaultTarget::All(role) => PlannedTarget::Nodes(nodes(cluster, role)),
            FaultTarget::Cluster => {
                let mut all = nodes(cluster, Role::Gateway);
                all.extend(nodes(cluster, Role::Messages));
                PlannedTarget::Nodes(all)
            }
        }
    }

    fn strikes(
        &self,
        target: &PlannedTarget,
        settings: &Settings,
        at: Duration,
        heal_at: Duration,
    ) -> Vec<PlannedStrike> {
        let strike = |target| PlannedStrike { at, heal_at, target };
        match self.fault.kind {
            FaultKind::Ring => self.ring().into_iter().map(strike).collect(),
            FaultKind::Bridge => self.bridge().into_iter().map(strike).collect(),
            FaultKind::Swizzle => self.swizzle(target, at, heal_at),
            FaultKind::CrashLoop => crash_loop(target, settings, at, heal_at),
            FaultKind::RollingRestart => rolling_restart(target, settings, at),
            FaultKind::Partition
            | FaultKind::Cut
            | FaultKind::Clog
            | FaultKind::SlowLink
            | FaultKind::LatencySpike
            | FaultKind::LossyLink
            | FaultKind::HalfOpen
            | FaultKind::Reset
            | FaultKind::Sigkill
            | FaultKind::PowerLoss
            | FaultKind::Drain
            | FaultKind::Pause
            | FaultKind::SlowCpu
            | FaultKind::Wipe
            | FaultKind::DiskError
            | FaultKind::DiskFull
            | FaultKind::DiskStall
            | FaultKind::LyingFsync
            | FaultKind::BitRot
            | FaultKind::MisdirectedWrite
            | FaultKind::ClockSkew
            | FaultKind::ClockJump
            | FaultKind::ClockDrift
            | FaultKind::ReconnectStorm => vec![strike(target.clone())],
        }
    }

    /// `items` in an order that is drawn; each item's place in it by a choice of its own.
    fn shuffled<T>(&self, site: &str, items: Vec<T>) -> Vec<T> {
        let mut ranked: Vec<(u64, u64, T)> = (0..)
            .zip(items)
            .map(|(index, item)| (self.choices.value(site, self.occurrence(), index), index, item))
            .collect();
        ranked.sort_unstable_by_key(|(rank, index, _)| (*rank, *index));
        ranked.into_iter().map(|(_, _, item)| item).collect()
    }

    fn everyone(&self) -> Vec<Member> {
        let role = |role| (1..=count(self.cluster, role)).map(move |number| (role, number));
        role(Role::Gateway).chain(role(Role::Messages)).collect()
    }

    /// Every link but those between neighbours of a circle.
    fn ring(&self) -> Vec<PlannedTarget> {
        let circle = self.shuffled("fault.ring", self.everyone());
        let seats = circle.len();
        links(&circle, |a, b| {
            let apart = a.abs_diff(b);
            apart != 1 && apart + 1 != seats
        })
    }

    /// Every link between two halves, but for those of the first node.
    fn bridge(&self) -> Vec<PlannedTarget> {
        let row = self.shuffled("fault.bridge", self.everyone());
        links(&row, |a, b| a != 0 && b != 0 && a % 2 != b % 2)
    }

    fn swizzle(
        &self,
        target: &PlannedTarget,
        at: Duration,
        heal_at: Duration,
    ) -> Vec<PlannedStrike> {
        let parts = self.shuffled("fault.swizzle_cut", self.links_of(target));
        let count = u32::try_from(parts.len()).expect("few links").max(1);
        let step = (heal_at - at) / 2 / count;
        let cut: Vec<(Duration, PlannedTarget)> =
            (0..count).zip(parts).map(|(turn, part)| (at + step * turn, part)).collect();
        let healed = self.shuffled("fault.swizzle_heal", cut);
        (0..count)
            .rev()
            .zip(healed)
            .map(|(turn, (at, target))| PlannedStrike {
                at,
                heal_at: heal_at - step * turn,
                target,
            })
            .collect()
    }

    fn links_of(&self, target: &PlannedTarget) -> Vec<PlannedTarget> {
        let all = links(&self.everyone(), |_, _| true);
        let clients = |gateway: &NodeId| PlannedTarget::Clients { gateways: vec![gateway.clone()] };
        match target {
            PlannedTarget::Node(node) => all
                .into_iter()
                .filter(|link| matches!(link, PlannedTarget::Link(a, b) if a == node || b == node))
                .chain(nodes(self.cluster, Role::Gateway).contains(node).then(|| clients(node)))
                .collect(),
            PlannedTarget::Clients { gateways } => gateways.iter().map(clients).collect(),
            PlannedTarget::Link(..) | PlannedTarget::Nodes(_) => all,
        }
    }
}

/// A node by its role and its number from 1.
type Member = (Role, u32);

fn count(cluster: &Cluster, role: Role) -> u32 {
    match role {
        Role::Gateway => cluster.gateways,
        Role::Messages => cluster.message_nodes,
    }
}

fn nodes(cluster: &Cluster, role: Role) -> Vec<NodeId> {
    (1..=count(cluster, role)).map(|number| node_name(role, number)).collect()
}

/// The links between the members whose places `are_cut`. Nodes of one role have none.
fn links(members: &[Member], are_cut: impl Fn(usize, usize) -> bool) -> Vec<PlannedTarget> {
    let mut links = Vec::new();
    for (a, (role, number)) in members.iter().enumerate() {
        for (b, (other, peer)) in members.iter().enumerate() {
            if (*role, *other) == (Role::Gateway, Role::Messages) && are_cut(a, b) {
                links
                    .push(PlannedTarget::Link(node_name(*role, *number), node_name(*other, *peer)));
            }
        }
    }
    links
}

fn crash_loop(
    target: &PlannedTarget,
    settings: &Settings,
    at: Duration,
    until: Duration,
) -> Vec<PlannedStrike> {
    let down = Duration::from_millis(settings.amount(Key::DownMs));
    let up = Duration::from_millis(settings.amount(Key::UpMs));
    let mut strikes = Vec::new();
    let mut next = at;
    // The first happens however short the time is.
    while strikes.is_empty() || next + down <= until {
        strikes.push(PlannedStrike { at: next, heal_at: next + down, target: target.clone() });
        next += down + up;
    }
    strikes
}

fn rolling_restart(
    target: &PlannedTarget,
    settings: &Settings,
    at: Duration,
) -> Vec<PlannedStrike> {
    let down = Duration::from_millis(settings.amount(Key::DownMs));
    let gap = Duration::from_millis(settings.amount(Key::GapMs));
    let mut next = at;
    let strike = |node: &NodeId| {
        let at = next;
        next += down + gap;
        PlannedStrike { at, heal_at: at + down, target: PlannedTarget::Node(node.clone()) }
    };
    target.nodes().iter().map(strike).collect()
}

/// Postpones a fault that would begin while another of its kind holds the same target, or while
/// another has stopped the same node: a stopped node cannot be stopped.
fn apart(faults: Vec<PlannedFault>) -> Vec<PlannedFault> {
    let mut placed: Vec<PlannedFault> = Vec::with_capacity(faults.len());
    for mut fault in faults {
        let holds = |fault: &PlannedFault| fault.kind.spec().lasting != Lasting::Once;
        let clash = |other: &PlannedFault| {
            let stopped = other.kind.stops_node()
                && fault.kind.stops_node()
                && other.target.nodes().iter().any(|node| fault.target.nodes().contains(node));
            let same = (other.kind, &other.target) == (fault.kind, &fault.target);
            holds(other) && holds(&fault) && (stopped || same)
        };
        let free_from = placed
            .iter()
            .filter(|other| clash(other))
            .map(|other| other.heal_at + RESPITE)
            .max()
            .unwrap_or_default();
        fault.postpone(free_from.saturating_sub(fault.at));
        placed.push(fault);
    }
    placed.sort_by_key(|fault| fault.at);
    placed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;
    use crate::plan::Plan;

    fn scenario(text: &str) -> Scenario {
        let text = format!("question = \"?\"\n{text}");
        parse::scenario("test", &text).unwrap_or_else(|error| panic!("{error}"))
    }

    fn faults_of(text: &str, seed: u64) -> Vec<PlannedFault> {
        Plan::draw(&scenario(&format!("[[fault]]\n{text}")), seed).faults
    }

    #[test]
    fn faults_of_any_node_are_drawn_for_each_seed_and_repetition() {
        let text = "[[fault]]\nkind = \"sigkill\"\ntarget = \"gateway:any\"\nat_s = 6\nfor_s = 1\n\
                    every_s = 3\ntimes = 5\n";
        let scenario = scenario(text);
        let drawn: Vec<Vec<PlannedFault>> =
            (0..10).map(|seed| Plan::draw(&scenario, seed).faults).collect();
        let nodes: std::collections::BTreeSet<String> =
            drawn.iter().flatten().map(|fault| format!("{:?}", fault.target)).collect();
        assert_eq!(nodes.len(), 3, "{nodes:?}");
        let times: Vec<u64> = drawn[0].iter().map(|fault| fault.at.as_secs()).collect();
        assert_eq!(times, [6, 9, 12, 15, 18]);
    }

    #[test]
    fn a_node_that_is_down_is_stopped_later() {
        let text = "[[fault]]\nkind = \"sigkill\"\ntarget = \"gateway:1\"\nat_s = 6\nfor_s = 5\n\
                    [[fault]]\nkind = \"power_loss\"\ntarget = \"gateway:1\"\nat_s = 8\nfor_s = 2\n\
                    [[fault]]\nkind = \"partition\"\ntarget = \"gateway:1\"\nat_s = 8\nfor_s = 2\n";
        let plan = Plan::draw(&scenario(text), 1);
        let times: Vec<(u64, u64)> =
            plan.faults.iter().map(|fault| (fault.at.as_secs(), fault.heal_at.as_secs())).collect();
        assert_eq!(times, [(6, 11), (8, 10), (12, 14)]);
        assert_eq!(plan.faults_end, Duration::from_secs(14));
    }

    #[test]
    fn clients_are_all_gateways() {
        let text = "[[fault]]\nkind = \"reconnect_storm\"\ntarget = \"clients\"\nat_s = 6\n";
        let plan = Plan::draw(&scenario(text), 1);
        let PlannedTarget::Clients { gateways } = &plan.faults[0].target else {
            panic!("{:?}", plan.faults);
        };
        assert_eq!(gateways.len(), 3);
        assert_eq!(plan.faults[0].at, plan.faults[0].heal_at);
    }

    #[test]
    fn a_ring_leaves_each_node_its_neighbours_and_a_bridge_one_way_over() {
        for seed in 0..20 {
            let ring =
                faults_of("kind = \"ring\"\ntarget = \"cluster\"\nat_s = 6\nfor_s = 2\n", seed);
            // Six links between three gateways and two message nodes; a circle of five keeps at
            // most four of them, and at least two.
            let cut = ring[0].strikes.len();
            assert!((2..=4).contains(&cut), "{cut}");
            let bridge =
                faults_of("kind = \"bridge\"\ntarget = \"cluster\"\nat_s = 6\nfor_s = 2\n", seed);
            let cut = bridge[0].strikes.len();
            assert!((1..=4).contains(&cut), "{cut}");
        }
    }

    #[test]
    fn a_swizzle_cuts_every_link_in_turn_and_heals_them_in_another_order() {
        let text = "kind = \"swizzle\"\ntarget = \"cluster\"\nat_s = 6\nfor_s = 12\n";
        let fault = &faults_of(text, 1)[0];
        let mut cuts: Vec<u64> = fault.strikes.iter().map(|strike| strike.at.as_secs()).collect();
        let heals: Vec<u64> = fault.strikes.iter().map(|strike| strike.heal_at.as_secs()).collect();
        assert_eq!(heals, [13, 14, 15, 16, 17, 18]);
        assert!(!cuts.is_sorted(), "{cuts:?}");
        cuts.sort_unstable();
        assert_eq!(cuts, [6, 7, 8, 9, 10, 11]);
    }

    #[test]
    fn a_crash_loop_strikes_until_its_time_is_over_and_a_rolling_restart_each_node_once() {
        let text = "kind = \"crash_loop\"\ntarget = \"messages:1\"\nat_s = 6\nfor_s = 3\n\
                    up_ms = 500\ndown_ms = 250\n";
        let fault = &faults_of(text, 1)[0];
        let starts: Vec<u128> = fault.strikes.iter().map(|strike| strike.at.as_millis()).collect();
        assert_eq!(starts, [6_000, 6_750, 7_500, 8_250]);
        assert_eq!(fault.heal_at, Duration::from_millis(8_500));

        let text = "kind = \"rolling_restart\"\ntarget = \"gateway:all\"\nat_s = 6\n\
                    gap_ms = 1000\ndown_ms = { min = 200, max = 900 }\n";
        let fault = &faults_of(text, 1)[0];
        let names: Vec<String> =
            fault.strikes.iter().map(|strike| format!("{:?}", strike.target)).collect();
        assert_eq!(names.len(), 3);
        let down = fault.settings.amount(Key::DownMs);
        assert!((200..=900).contains(&down));
        assert_eq!(fault.heal_at, Duration::from_millis(8_000 + 3 * down));
    }
}
