//! The hosts of one run: nodes as the plan has them, and the hosts that the clients run on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use seriatim_engine::ids::ShardId;
use seriatim_engine::token::TokenKey;
use seriatim_node::{GatewayRole, LinkAddress, MessagesRole, Metrics, NodeConfig, OwnerConfig};
use seriatim_scenarios::choices::Choices;
use seriatim_scenarios::fault::Role;
use seriatim_scenarios::history::What;
use seriatim_scenarios::plan::{Plan, PlannedNode};
use seriatim_scenarios::scenario::Tail;
use seriatim_world::log_store::LogStoreOptions;
use turmoil::Sim;

use crate::disk::{DiskConfig, SimDisk};
use crate::driver::{Users, share_out};
use crate::host::SimHost;
use crate::journal::Journal;
use crate::net::{NetConfig, Plane};
use crate::recorder::Recorder;
use crate::time::{EPOCH_MS, SimTime};

/// Few hosts, many users: turmoil's step costs the cube of the hosts.
const CLIENT_HOSTS: usize = 2;

const CLIENT_PORT: u16 = 7400;
const LINK_PORT: u16 = 7401;

/// Small, so that runs of seconds roll over many segments.
const SEGMENT_BYTES: u32 = 16 * 1024;

/// The machines of one run and what joins them.
pub struct Cluster {
    pub sim: Sim<'static>,
    pub plane: Plane,
    pub nodes: BTreeMap<String, SimHost>,
    pub client_hosts: Vec<SimHost>,
}

/// How finely time is cut.
#[derive(Debug, Clone, Copy)]
pub struct Ticks(pub Duration);

impl Cluster {
    /// Builds the hosts and switches them on.
    pub fn start(
        plan: &Arc<Plan>,
        choices: &Choices,
        journal: &Journal,
        recorder: &Recorder,
        ticks: Ticks,
    ) -> Self {
        let sim = turmoil::Builder::new()
            .epoch(UNIX_EPOCH + Duration::from_millis(EPOCH_MS))
            .rng_seed(choices.value("turmoil", 0, 0))
            .tick_duration(ticks.0)
            .simulation_duration(Duration::MAX)
            .build();
        let plane = Plane::new(choices, journal, net_config(plan));
        let nodes = BTreeMap::new();
        let mut cluster = Self { sim, plane, nodes, client_hosts: Vec::new() };
        let token_key = TokenKey::new(&choices.value("token-key", 0, 0).to_be_bytes().repeat(4))
            .expect("32 bytes are enough");
        for node in &plan.nodes {
            let config = node_config(plan, node, &token_key);
            cluster.add_node(node, config, choices, journal, recorder);
        }
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
        let host = self.add_host(name, choices, journal);
        let (software, recorder) = (host.clone(), recorder.clone());
        self.sim.host(name, move || {
            let (config, recorder, host) = (config.clone(), recorder.clone(), software.clone());
            async move {
                let reporter = host.clone();
                let stop = Box::pin(std::future::pending());
                let result = host
                    .run(|world| async move {
                        let clock = world.clock.clone();
                        let result = seriatim_node::run(world, config, |_| {}, stop).await;
                        (result, clock.mono_now())
                    })
                    .await;
                if let (Err(error), up) = result {
                    let at = SimTime::after(reporter.booted_at().since(SimTime::ZERO) + up.0);
                    let message = format!("the node stopped: {error}");
                    recorder
                        .record(at, What::ErrorLogged { node: reporter.name().into(), message });
                }
                Ok(())
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

    fn add_host(&self, name: &str, choices: &Choices, journal: &Journal) -> SimHost {
        let disk = SimDisk::new(name, choices, journal, DiskConfig::default());
        let host = SimHost::new(name, &self.plane, disk, choices);
        host.boot(SimTime::ZERO);
        host
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
        token_key: token_key.clone(),
    });
    let messages = (node.role == Role::Messages).then(|| MessagesRole {
        listen: Some(format!("{}:{LINK_PORT}", node.name)),
        shards: node.shards.clone(),
        store: LogStoreOptions { segment_bytes: SEGMENT_BYTES },
    });
    NodeConfig { node: node.name.clone(), gateway, messages, metrics: Metrics::default() }
}

fn owner_of(plan: &Plan, shard: ShardId) -> OwnerConfig {
    let owner = plan
        .nodes
        .iter()
        .find(|node| node.shards.contains(&shard))
        .expect("the plan gives every shard an owner");
    OwnerConfig { shard, link: LinkAddress::Remote(format!("{}:{LINK_PORT}", owner.name)) }
}
