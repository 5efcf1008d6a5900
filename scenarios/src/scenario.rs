//! A scenario: what is run, which faults it meets and what is expected of it.
//!
//! Every value has been checked by [`crate::parse`], so that drawing a plan cannot fail.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fault::{FaultKind, FaultTarget, Key, Setting};

/// One scenario file, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// The file's name without its ending.
    pub name: String,
    /// What the scenario is there to answer.
    pub question: String,
    pub cluster: Cluster,
    pub network: Network,
    /// The simulator's step: how finely hosts take turns.
    pub tick: Duration,
    pub workload: Workload,
    /// Who makes noise beside it, which the others must not notice.
    pub noise: Option<Noise>,
    /// What makes members come and go; without it, all join public channels and stay.
    pub membership: Option<Membership>,
    /// What makes users' presence change; without it, every client is active and watches nobody.
    pub presence: Option<Presence>,
    pub faults: Vec<Fault>,
    pub expect: Expect,
}

impl Scenario {
    /// When the last operation is over, since the run's start.
    pub fn workload_end(&self) -> Duration {
        self.workload.warm_up + self.workload.duration
    }
}

/// The deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// 1 to 4.
    pub gateways: u32,
    /// 1 to 3.
    pub message_nodes: u32,
    /// 1 to 64. Shard `i` is owned by message node `i % message_nodes`.
    pub shards: u32,
    pub store: StoreKind,
    /// 1 to 64.
    pub workspaces: u32,
    /// Requests of one user at one gateway, a second; what ships when the file gives none.
    pub user_rate: Option<u32>,
    /// The same for a workspace.
    pub workspace_rate: Option<u32>,
    /// How long a disk takes to sync; the simulator's own when the file gives none.
    pub sync: Option<Range<Duration>>,
}

/// Where a message node keeps its shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// On a disk of its own.
    Local,
}

/// The network between all hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// One way.
    pub latency: Range<Duration>,
    pub tail: Tail,
    /// What all connections between two nodes share, each way, in bytes a second; `None`: no bound.
    pub link_bytes_per_s: Option<u32>,
}

/// How latencies beyond the range are distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// None is beyond the range.
    None,
    /// A few are many times longer.
    Heavy,
}

/// From `min` to `max`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range<T> {
    pub min: T,
    pub max: T,
}

/// What the clients do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Spread evenly over the workspaces, one client each.
    pub users: u32,
    /// Spread evenly over the workspaces.
    pub channels: u32,
    /// Of one channel.
    pub members: Range<u32>,
    /// By all users together.
    pub sends_per_s: u32,
    /// Clients that say that everything there is read, by all users together.
    pub reads_per_s: u32,
    /// Pages of the log that clients read, by all users together.
    pub pages_per_s: u32,
    /// Clients that forget what they had of a channel and come back by a time, by all users together.
    pub forgets_per_min: u32,
    /// Dropped connections whose clients come back at once, by all users together.
    pub reconnects_per_min: u32,
    /// UTF-8 bytes of one body.
    pub body_bytes: Range<u32>,
    /// Clients connect and join in it; nothing is sent.
    pub warm_up: Duration,
    /// How long messages are sent after the warm-up.
    pub duration: Duration,
}

/// Who makes noise, from some time on until the workload is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noise {
    /// Since the run's start; before it, all is quiet.
    pub at: Duration,
    /// Channels whose members are everyone of their workspaces.
    pub hot_channels: u32,
    /// Workspaces all of whose channels are noisy.
    pub busy_workspaces: u32,
    /// Clients that read from their sockets slowly.
    pub slow_readers: u32,
    /// How fast each of them reads.
    pub slow_bytes_per_s: u32,
    /// Sent into all noisy channels together, beside what the workload sends.
    pub sends_per_s: u32,
}

/// How members come and go after the warm-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Of the channels, so many are private: one of their members makes them, with the others in.
    pub private_percent: u32,
    /// A member leaves or is removed by another, and comes back, by all users together; so are
    /// the other rates.
    pub departures_per_min: u32,
    /// How long until then.
    pub departure: Range<Duration>,
    /// Of those who depart, so many have hung up before: they are removed and can't know of it.
    pub unaware_percent: u32,
    /// Somebody else joins or is added, speaks, and leaves or is removed.
    pub visits_per_min: u32,
    pub visit: Range<Duration>,
    /// Somebody else tries to send, read, join what is private, add, remove or leave.
    pub trespasses_per_min: u32,
}

/// What clients do about presence, besides [`Workload`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// Of the users, so many have a second client; on another gateway, where there is one.
    pub second_device_percent: u32,
    /// Users whom each client watches: one who shares no channel with it, the rest do, as far as
    /// there are any.
    pub watched: u32,
    /// Of the clients, so many are hidden tabs, whose timers are throttled, when they start.
    pub hidden_percent: u32,
    /// How often a client says another state (mostly active or away, sometimes offline), by all
    /// clients together; so are the other rates.
    pub states_per_min: u32,
    /// A tab is hidden or shown.
    pub hides_per_min: u32,
    /// A client goes without a word, and comes back.
    pub absences_per_min: u32,
    pub absence: Range<Duration>,
    /// A client watches others from then on.
    pub watches_per_min: u32,
    /// A user is writing.
    pub typing_per_min: u32,
}

/// One `[[fault]]` of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    pub target: FaultTarget,
    /// When it begins, since the run's start; drawn for each seed when it is a range.
    pub at: Range<Duration>,
    /// How long it lasts; zero for a kind that doesn't last, or whose keys tell it.
    pub lasts: Range<Duration>,
    /// From one beginning to the next; the drawn start, target and length hold for all of them
    /// but for a target of "any", which is drawn each time.
    pub every: Duration,
    /// At least 1.
    pub times: u32,
    /// Every key that the kind has, given or not.
    pub settings: BTreeMap<Key, Setting>,
}

/// What must hold besides the guarantees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    /// From the healing of the last fault (or the end of the workload) until every live client
    /// holds everything.
    pub converge_within: Duration,
    /// At least so many sends are accepted.
    pub accepted_min: Option<u64>,
    /// 99 of 100 deliveries take at most this, from the send to each recipient.
    pub delivery_p99: Option<Duration>,
    /// How long the others may wait beside noise; without it, `isolation` is not judged.
    pub isolation: Option<IsolationBound>,
    /// The guarantees that its faults make impossible to keep: their verdicts don't count.
    pub gives_up: Vec<&'static str>,
}

/// How long messages of others may take while some make noise: until their senders know that they
/// are in the log, and until each recipient has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IsolationBound {
    /// Of 100, so long does one take at most.
    pub p99: Duration,
    /// The longest.
    pub max: Option<Duration>,
    /// The 99th percentile beside noise, of the one before it, in percent.
    pub p99_percent: Option<u32>,
}
