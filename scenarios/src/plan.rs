//! A plan: one run of a scenario with one seed, every decision made.
//!
//! Both worlds carry out the same plan. Times are since the run's start.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use seriatim_engine::entry::ChannelKind;
use seriatim_engine::frame::PresenceState;
use seriatim_engine::history_bound::HistoryBound;
use seriatim_engine::ids::{
    ChannelKey, NodeId, Nonce, SeqNo, ShardId, UserId, UserKey, WorkspaceId,
};
use seriatim_engine::limits::{PRESENCE_COALESCE, PRESENCE_SWEEP};
use seriatim_engine::membership::Change;
use seriatim_engine::time::WallTime;

use crate::choices::Choices;
use crate::drawing;
use crate::fault::{FaultKind, Role, Settings};
use crate::history::{ClientIndex, Roster};
use crate::scenario::{Expect, Network, Range, Scenario, StoreKind, Tail};

/// What one run does.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub scenario: String,
    pub seed: u64,
    /// Gateways first, then message nodes; each role in the order of its numbers.
    pub nodes: Vec<PlannedNode>,
    pub shards: u32,
    pub store: StoreKind,
    pub workspaces: Vec<WorkspaceId>,
    pub network: Network,
    /// Requests of one user, and of one workspace, at one gateway, a second.
    pub rates: PlannedRates,
    /// How long a disk takes to sync, unless the world knows better.
    pub sync: Option<Range<Duration>>,
    /// How finely the simulator cuts time.
    pub tick: Duration,
    /// The client with index `i` acts for `users[i]`.
    pub users: Vec<PlannedUser>,
    pub channels: Vec<PlannedChannel>,
    pub noise: PlannedNoise,
    /// By their beginning.
    pub faults: Vec<PlannedFault>,
    /// When the last operation is due.
    pub workload_end: Duration,
    /// When the last fault heals; zero without faults.
    pub faults_end: Duration,
    /// The later of the two: from here on, convergence is demanded.
    pub end: Duration,
    pub converge_within: Duration,
    pub expect: Expect,
}

/// A segment in a heavy tail takes at most so many times the longest latency more.
const HEAVY_TAIL_MAX: u32 = 64;

/// From a client to its gateway, to the owner, to the watcher's gateway, to the watcher.
const HOPS: u32 = 4;

/// A hop is seen at the step after it; so is a timer.
const STEPS: u32 = 2 * HOPS;

/// A node of the deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedNode {
    /// "gateway-1", "messages-1".
    pub name: NodeId,
    pub role: Role,
    /// The shards that it owns; none for a gateway.
    pub shards: Vec<ShardId>,
}

/// A user and what it does.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedUser {
    pub key: UserKey,
    /// The index, from 0, of the gateway that it dials first.
    pub home_gateway: usize,
    /// By their times.
    pub operations: Vec<Op>,
}

/// Something that a user does.
#[derive(Debug, Clone, PartialEq)]
pub struct Op {
    pub at: Duration,
    pub action: Action,
}

/// What a user does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Connect,
    /// Change who is in the channel.
    Change {
        channel: ChannelKey,
        /// Unique for the user and the channel, as that of a send is.
        nonce: Nonce,
        change: Change,
    },
    Send {
        channel: ChannelKey,
        /// Unique in the run.
        nonce: Nonce,
        body: Arc<str>,
    },
    /// Drop the connection and come back.
    Reconnect,
    /// Drop the connection and stay away, until [`Self::GoOnline`].
    GoOffline,
    GoOnline,
    /// Say how the user is; in the background, as a hidden tab.
    SetPresence {
        state: PresenceState,
        background: bool,
    },
    /// Watch these users, and no others.
    Watch {
        users: Arc<[UserId]>,
    },
    /// Say that the user is writing.
    Type {
        channel: ChannelKey,
    },
    /// Read a page of the channel's log.
    ReadLog {
        channel: ChannelKey,
        page: Page,
    },
    /// Forget what was delivered of the channel, and come back by a time: `ago` before the newest
    /// entry that was.
    ResumeSince {
        channel: ChannelKey,
        ago: Duration,
    },
    /// Say that the user has read everything that the client was delivered.
    MarkRead {
        channel: ChannelKey,
    },
}

/// Which page of a channel's log is read. Of a channel of which nothing was delivered, it is the
/// first one, or the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    Newest,
    /// Before the entry so many thousandths of the way to the last that was delivered.
    Before {
        permille: u64,
    },
    /// After that one.
    After {
        permille: u64,
    },
    /// So long before the newest entry that was delivered, and what follows.
    Since {
        ago: Duration,
    },
}

impl Page {
    /// The page, for somebody who was delivered everything up to this entry, numbered at this time.
    pub fn bound(self, upto: SeqNo, newest: WallTime) -> HistoryBound {
        let part = |permille| SeqNo(upto.0 * permille / 1_000);
        match self {
            Self::Newest => HistoryBound::Before(SeqNo(u64::MAX)),
            Self::Before { permille } => HistoryBound::Before(part(permille).next()),
            Self::After { permille } => HistoryBound::After(part(permille)),
            Self::Since { ago } => HistoryBound::Since(earlier(newest, ago)),
        }
    }
}

/// The time so long before.
pub fn earlier(at: WallTime, ago: Duration) -> WallTime {
    let ago_ms = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
    WallTime(at.0.saturating_sub(ago_ms))
}

/// A channel and who is in it when the warm-up is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedChannel {
    pub key: ChannelKey,
    pub kind: ChannelKind,
    /// The first to ask for the channel.
    pub creator: ClientIndex,
    /// By their indexes.
    pub members: Vec<ClientIndex>,
}

/// Rate limits that differ from those that ship.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlannedRates {
    pub user: Option<u32>,
    pub workspace: Option<u32>,
}

/// Who makes noise; everybody else must not notice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlannedNoise {
    /// When it begins; `None` when nobody makes any.
    pub at: Option<Duration>,
    pub channels: BTreeSet<ChannelKey>,
    /// They read slowly from then on until the workload is over.
    pub slow_readers: BTreeSet<ClientIndex>,
    pub slow_bytes_per_s: u32,
    /// Beginnings and ends of faults. What is under way then is slow for another reason.
    pub disturbances: Vec<Range<Duration>>,
}

/// A fault with its nodes and times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedFault {
    pub kind: FaultKind,
    pub target: PlannedTarget,
    pub settings: Settings,
    pub at: Duration,
    /// The same as `at` for a kind that doesn't last.
    pub heal_at: Duration,
    /// At least one; the target and times above hold all of them.
    pub strikes: Vec<PlannedStrike>,
}

/// One beginning and end of a fault. Most faults have one; a rolling restart has one for each node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStrike {
    pub at: Duration,
    pub heal_at: Duration,
    pub target: PlannedTarget,
}

impl PlannedFault {
    /// Lets all of it happen so much later.
    pub(crate) fn postpone(&mut self, by: Duration) {
        self.at += by;
        self.heal_at += by;
        for strike in &mut self.strikes {
            strike.at += by;
            strike.heal_at += by;
        }
    }
}

/// What a planned fault hits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlannedTarget {
    /// A node: its process, or everything between it and all others.
    Node(NodeId),
    /// What runs between two nodes.
    Link(NodeId, NodeId),
    /// What runs between the clients and these gateways.
    Clients { gateways: Vec<NodeId> },
    /// Several nodes, one after the other or with what runs between them.
    Nodes(Vec<NodeId>),
}

impl PlannedTarget {
    /// The nodes whose processes it names.
    pub fn nodes(&self) -> &[NodeId] {
        match self {
            Self::Node(node) => std::slice::from_ref(node),
            Self::Nodes(nodes) => nodes,
            Self::Link(..) | Self::Clients { .. } => &[],
        }
    }
}

impl Plan {
    /// Makes every decision of a run.
    pub fn draw(scenario: &Scenario, seed: u64) -> Self {
        Self::draw_with(scenario, &Choices::new(seed))
    }

    /// Makes every decision of a run, with overrides.
    pub fn draw_with(scenario: &Scenario, choices: &Choices) -> Self {
        drawing::draw(scenario, choices)
    }

    /// The longest time from a client's saying how its user is until a watcher sees it, while
    /// nothing is wrong: what gateway and owner wait, and the slowest way there and back, where
    /// every hop may also wait for the world's next step.
    pub fn presence_lag(&self) -> Duration {
        let slowest = match self.network.tail {
            Tail::None => self.network.latency.max,
            Tail::Heavy => self.network.latency.max * (1 + HEAVY_TAIL_MAX),
        };
        PRESENCE_COALESCE + PRESENCE_SWEEP + HOPS * slowest + STEPS * self.tick
    }

    /// Which client acts for whom.
    pub fn roster(&self) -> Roster {
        Roster::new(self.users.iter().map(|user| user.key.clone()).collect())
    }
}
