//! The hosts of one run: nodes as the plan has them, and the hosts that the clients run on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use seriatim_engine::gateway::{Rate, RateLimits};
use seriatim_engine::handshake::AllowedOrigins;
use seriatim_engine::ids::ShardId;
use seriatim_engine::token::TokenKey;
use seriatim_node::{
    GatewayRole, LinkAddress, MessagesRole, Metrics, NodeConfig, NodeError, Operations, OwnerConfig,
};
use seriatim_scenarios::choices::Choices;
use seriatim_scenarios::fault::Role;
use seriatim_scenarios::history::What;
use seriatim_scenarios::plan::{Plan, PlannedNode};
use seriatim_scenarios::scenario::Tail;
use seriatim_world::log_store::LogStoreOptions;
use seriatim_world::{Clock, StoreError, clock};
use tokio::sync::watch;
use turmoil::Sim;

use crate::disk::{DiskConfig, SimDisk};
use crate::driver::{Users, share_out};
use crate::host::{Exit, SimHost};
use crate::journal::Journal;
use crate::net::{LinkShape, NetConfig, Plane};
use crate::recorder::Recorder;
use crate::time::{EPOCH_MS, SimTime};

/// Few hosts, many users: turmoil's step costs the cube of the hosts.
const CLIENT_HOSTS: usize = 2;

const CLIENT_PORT: u16 = 7400;
const LINK_PORT: u16 = 7401;

/// Small, so that runs of seconds fill many segments…
const SEGMENT_BYTES: u32 = 16 * 1024;

/// Tasks of a node that has stopped may close their sockets decently, which takes a silent peer
/// two seconds; what lives longer has leaked.
const SETTLING: Duration = Duration::from_millis(2_500);

/// How often the tasks that are left are looked at.
const SETTLING_LOOK: Duration = Duration::from_millis(50);

/// Handshakes have a longer time limit of their own and may use it.
const TIMED_TASK: &str = "handshake";

/// … and merge what is written from them.
const MERGE_RUNS: usize = 3;

/// The machines of one run and what joins them.
pub struct Cluster {
    pub sim: Sim<'static>,
    pub plane: Plane,
    pub nodes: BTreeMap<String, SimHost>,
    pub client_hosts: Vec<SimHost>,
    /// What each node counts of itself.
    pub metrics: BTreeMap<String, Metrics>,
    gateways: BTreeSet<String>,
    /// How each disk behaves.
    disk: DiskConfig,
}

impl Cluster {
    /// Builds the hosts and switches them on.
    pub fn start(
        plan: &Arc<Plan>,
        choices: &Choices,
        journal: &Journal,
        recorder: &Recorder,
    ) -> Self {
        let sim = turmoil::Builder::new()
            .epoch(UNIX_EPOCH + Duration::from_millis(EPOCH_MS))
            .rng_seed(choices.value("turmoil", 0, 0))
            .tick_duration(plan.tick)
            .simulation_duration(Duration::MAX)
            .build();
        let plane = Plane::new(choices, journal, net_config(plan));
        let (nodes, metrics) = (BTreeMap::new(), BTreeMap::new());
        let gateways = plan.nodes.iter().filter(|node| node.role == Role::Gateway);
        let gateways = gateways.map(|node| node.name.to_string()).collect();
        let client_hosts = Vec::new();
        let disk = disk_config(plan);
        let mut cluster = Self { sim, plane, nodes, client_hosts, metrics, gateways, disk };

        let token_key = TokenKey::new(&choices.value("token-key", 0, 0).to_be_bytes().repeat(4))
            .expect("32 bytes are enough");
        for node in &plan.nodes {
            let config = node_config(plan, node, &token_key);
            cluster.add_node(node, config, choices, journal, recorder);
        }
        cluster.narrow_links(plan);
        cluster.add_clients(plan, choices, journal, recorder, &token_key);
        cluster
    }

    fn add_node(
        &mut self,
        node: &PlannedNode,
        config: NodeConfig,
        choices: &Choices,
        journal: &Journal,
        recorder: &Recorder,
    ) {
        let name = node.name.as_str();
        self.metrics.insert(name.to_owned(), config.metrics.clone());
        let host = self.add_host(name, choices, journal);
        let (software, recorder) = (host.clone(), recorder.clone());
        self.sim.host(name, move || {
            let (config, recorder, host) = (config.clone(), recorder.clone(), software.clone());
            async move {
                let (stop, watched) = (Box::pin(host.stop_signal()), host.clone());
                let (result, up) = host
                    .run(|world| async move {
                        let clock = world.clock.clone();
                        let result = seriatim_node::run(world, config, |_| {}, stop).await;
                        settle(&watched, &*clock).await;
                        (result, clock.mono_now())
                    })
                    .await;
                let at = SimTime::after(host.booted_at().since(SimTime::ZERO) + up.0);
                tell_end(&host, at, &result, &recorder);
                // What has become of the process is seen between two steps.
                std::future::pending().await
            }
        });
        self.nodes.insert(name.to_owned(), host);
    }

    fn add_clients(
        &mut self,
        plan: &Arc<Plan>,
        choices: &Choices,
        journal: &Journal,
        recorder: &Recorder,
        token_key: &TokenKey,
    ) {
        let gateways: Vec<&PlannedNode> =
            plan.nodes.iter().filter(|node| node.role == Role::Gateway).collect();
        let users = Users {
            plan: plan.clone(),
            recorder: recorder.clone(),
            token_key: token_key.clone(),
            gateways: gateways.iter().map(|node| format!("{}:{CLIENT_PORT}", node.name)).collect(),
            gateway_names: gateways.iter().map(|node| node.name.as_str().into()).collect(),
        };
        let hosts = CLIENT_HOSTS.min(plan.users.len()).max(1);
        for (number, indexes) in share_out(plan.users.len(), hosts).into_iter().enumerate() {
            let name = format!("clients-{}", number + 1);
            let host = self.add_host(&name, choices, journal);
            let (users, software) = (users.clone(), host.clone());
            self.sim.host(name.as_str(), move || {
                let (users, indexes, host) = (users.clone(), indexes.clone(), software.clone());
                async move {
                    host.run(|world| users.run(world, indexes)).await;
                    Ok(())
                }
            });
            self.client_hosts.push(host);
        }
    }

    /// Gives what runs between two nodes the bandwidth that the plan says.
    fn narrow_links(&self, plan: &Plan) {
        let Some(bytes_per_s) = plan.network.link_bytes_per_s.map(u64::from) else { return };
        let shape = LinkShape { bytes_per_s, ..LinkShape::default() };
        for (from, to) in self.nodes.keys().flat_map(|from| {
            let others = self.nodes.keys().filter(move |to| *to != from);
            others.map(move |to| (from, to))
        }) {
            self.plane.slow(SimTime::ZERO, from, to, shape);
        }
    }

    fn add_host(&self, name: &str, choices: &Choices, journal: &Journal) -> SimHost {
        let disk = SimDisk::new(name, choices, journal, self.disk);
        let host = SimHost::new(name, &self.plane, disk, choices);
        host.boot(SimTime::ZERO);
        host
    }

    /// Kills a node's process, if it runs.
    pub fn kill_node(&mut self, at: SimTime, name: &str) {
        if let Some(host) = self.nodes.get(name).filter(|host| host.is_alive()) {
            host.kill(at);
            self.sim.crash(name);
        }
    }

    /// Takes the power from a node's machine, if its process runs.
    pub fn power_off_node(&mut self, at: SimTime, name: &str) {
        if let Some(host) = self.nodes.get(name).filter(|host| host.is_alive()) {
            host.power_off(at);
            self.sim.crash(name);
        }
    }

    /// Starts a node's process, with the power if it was gone; false when it runs already.
    pub fn start_node(&mut self, at: SimTime, name: &str) -> bool {
        let Some(host) = self.nodes.get(name).filter(|host| !host.is_alive()) else {
            return false;
        };
        // It may have ended by itself in this very step, and nobody has seen to it.
        if host.take_exit().is_some() {
            host.kill(at);
            self.sim.crash(name);
        }
        host.boot(at);
        self.sim.bounce(name);
        true
    }

    pub(crate) fn is_gateway(&self, name: &str) -> bool {
        self.gateways.contains(name)
    }

    /// Works on a node's disk.
    pub(crate) fn disk(&self, name: &str, work: impl FnOnce(&SimDisk)) {
        if let Some(host) = self.nodes.get(name) {
            work(host.disk());
        }
    }

    /// Ends the run: what is left of the hosts is dropped without an effect on wires, disks or the
    /// journal, whatever order tokio drops it in.
    pub fn dismantle(self) {
        let now = self.now();
        let hosts = self.nodes.values().chain(&self.client_hosts);
        for host in hosts.filter(|host| host.is_alive()) {
            host.power_off(now);
        }
    }

    /// The simulated time that every host has reached.
    pub fn now(&self) -> SimTime {
        SimTime::after(self.sim.elapsed())
    }
}

/// The tasks that a node leaves behind, by name.
fn leftovers(host: &SimHost) -> Vec<&'static str> {
    let allowed = ["main", TIMED_TASK];
    host.live_tasks().into_keys().filter(|name| !allowed.contains(name)).collect()
}

/// Gives the tasks of a node that has stopped time to end.
async fn settle(host: &SimHost, clock: &dyn Clock) {
    let until = clock.mono_now() + SETTLING;
    while clock.mono_now() < until && !leftovers(host).is_empty() {
        clock::sleep(clock, SETTLING_LOOK).await;
    }
}

/// Tells how a node ended that nobody killed.
fn tell_end(host: &SimHost, at: SimTime, result: &Result<(), NodeError>, recorder: &Recorder) {
    let node: Arc<str> = host.name().into();
    match result {
        Ok(()) => {
            for name in leftovers(host) {
                let (node, name) = (node.clone(), name.to_owned());
                recorder.record(at, What::TaskLeaked { node, name });
            }
            host.exited(at, Exit::Stopped);
        }
        Err(error) => {
            if !is_the_disks_fault(error) {
                let message = format!("the node stopped: {error}");
                recorder.record(at, What::ErrorLogged { node, message });
            }
            host.exited(at, Exit::Failed);
        }
    }
}

/// A node may give up on a disk that failed: it recovers when it is started again.
fn is_the_disks_fault(error: &NodeError) -> bool {
    let NodeError::Store { source, .. } = error else { return false };
    matches!(source, StoreError::Failed { .. } | StoreError::Poisoned)
}

fn net_config(plan: &Plan) -> NetConfig {
    let micros = |latency: Duration| u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    NetConfig {
        latency_us_min: micros(plan.network.latency.min),
        latency_us_max: micros(plan.network.latency.max),
        heavy_tail: plan.network.tail == Tail::Heavy,
        ..NetConfig::default()
    }
}

fn node_config(plan: &Plan, node: &PlannedNode, token_key: &TokenKey) -> NodeConfig {
    let gateway = (node.role == Role::Gateway).then(|| GatewayRole {
        listen: format!("{}:{CLIENT_PORT}", node.name),
        owners: (0..plan.shards).map(|shard| owner_of(plan, ShardId(shard))).collect(),
        token_keys: watch::channel(token_key.clone().into()).1,
        rates: rates(plan),
        origins: AllowedOrigins::default(),
    });
    let messages = (node.role == Role::Messages).then(|| MessagesRole {
        listen: Some(format!("{}:{LINK_PORT}", node.name)),
        shards: node.shards.clone(),
        store: LogStoreOptions {
            segment_bytes: SEGMENT_BYTES,
            merge_runs: MERGE_RUNS,
            level_max: 2,
            ..LogStoreOptions::default()
        },
    });
    let (operations, metrics) = (Operations::default(), Metrics::default());
    NodeConfig { node: node.name.clone(), gateway, messages, operations, metrics }
}

/// The plan's rates, with a second's worth at once; what ships where it has none.
fn rates(plan: &Plan) -> RateLimits {
    let ships = RateLimits::default();
    let scaled = |per_s: Option<u32>, ships: Rate| match per_s {
        Some(per_s) => Rate { per_s, burst: per_s },
        None => ships,
    };
    RateLimits {
        user: scaled(plan.rates.user, ships.user),
        workspace: scaled(plan.rates.workspace, ships.workspace),
    }
}

fn disk_config(plan: &Plan) -> DiskConfig {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let ours = DiskConfig::default();
    plan.sync.map_or(ours, |sync| DiskConfig {
        sync_us_min: micros(sync.min),
        sync_us_max: micros(sync.max),
        ..ours
    })
}

fn owner_of(plan: &Plan, shard: ShardId) -> OwnerConfig {
    let owner = plan
        .nodes
        .iter()
        .find(|node| node.shards.contains(&shard))
        .expect("the plan gives every shard an owner");
    OwnerConfig { shard, link: LinkAddress::Remote(format!("{}:{LINK_PORT}", owner.name)) }
}
