//! How a kind of fault is described: its targets, its length, and the keys that shape it.

use std::fmt;

use super::target::{FaultTarget, NodeRef, Role};

/// All that is known of a kind, whichever world inflicts it.
#[derive(Debug, Clone, Copy)]
pub struct FaultSpec {
    /// In scenario files and reports.
    pub name: &'static str,
    /// What it does, for people.
    pub does: &'static str,
    pub aims: &'static [Aim],
    pub lasting: Lasting,
    /// It takes the process of its target down.
    pub stops_node: bool,
    /// How a real deployment on one machine is given it; `None` when it can't be.
    pub real: Option<&'static str>,
    pub knobs: &'static [Knob],
    /// The guarantees that nobody can keep while this happens to a node that holds the only copy:
    /// a scenario must give them up by name.
    pub voids: &'static [&'static str],
}

/// A sort of target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    AnyNode,
    Gateway,
    Messages,
    Link,
    ClientsOf,
    Clients,
    All,
    Cluster,
}

impl Aim {
    pub fn covers(self, target: FaultTarget) -> bool {
        match target {
            FaultTarget::Node(NodeRef { role: Role::Gateway, .. }) => {
                matches!(self, Self::AnyNode | Self::Gateway)
            }
            FaultTarget::Node(NodeRef { role: Role::Messages, .. }) => {
                matches!(self, Self::AnyNode | Self::Messages)
            }
            FaultTarget::Link(..) => self == Self::Link,
            FaultTarget::ClientsOf(_) => self == Self::ClientsOf,
            FaultTarget::Clients => self == Self::Clients,
            FaultTarget::All(_) => self == Self::All,
            FaultTarget::Cluster => self == Self::Cluster,
        }
    }

    /// For people, as a file has it.
    pub fn example(self) -> &'static str {
        match self {
            Self::AnyNode => "a node (\"gateway:1\", \"messages:any\")",
            Self::Gateway => "a gateway (\"gateway:1\", \"gateway:any\")",
            Self::Messages => "a message node (\"messages:1\", \"messages:any\")",
            Self::Link => "a link (\"gateway:1-messages:any\")",
            Self::ClientsOf => "the clients of a gateway (\"clients-gateway:any\")",
            Self::Clients => "\"clients\"",
            Self::All => "all of a role (\"gateway:all\", \"messages:all\")",
            Self::Cluster => "\"cluster\"",
        }
    }
}

/// How long a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// Over at once.
    Once,
    /// As long as `for_s` says.
    For,
    /// Until it is through with its targets.
    Own,
}

/// A key of a fault beside those that all have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    Direction,
    LatencyMs,
    BytesPerS,
    LossPercent,
    Moment,
    How,
    DownMs,
    UpMs,
    GapMs,
    CpuPercent,
    Operation,
    Failures,
    StallMs,
    FreeBytes,
    Bits,
    OffsetMs,
    DriftPpm,
    Users,
}

impl Key {
    pub const ALL: [Self; 18] = [
        Self::Direction,
        Self::LatencyMs,
        Self::BytesPerS,
        Self::LossPercent,
        Self::Moment,
        Self::How,
        Self::DownMs,
        Self::UpMs,
        Self::GapMs,
        Self::CpuPercent,
        Self::Operation,
        Self::Failures,
        Self::StallMs,
        Self::FreeBytes,
        Self::Bits,
        Self::OffsetMs,
        Self::DriftPpm,
        Self::Users,
    ];

    /// As a file has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direction => "direction",
            Self::LatencyMs => "latency_ms",
            Self::BytesPerS => "bytes_per_s",
            Self::LossPercent => "loss_percent",
            Self::Moment => "moment",
            Self::How => "how",
            Self::DownMs => "down_ms",
            Self::UpMs => "up_ms",
            Self::GapMs => "gap_ms",
            Self::CpuPercent => "cpu_percent",
            Self::Operation => "operation",
            Self::Failures => "failures",
            Self::StallMs => "stall_ms",
            Self::FreeBytes => "free_bytes",
            Self::Bits => "bits",
            Self::OffsetMs => "offset_ms",
            Self::DriftPpm => "drift_ppm",
            Self::Users => "users",
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A key of one kind, with what may be given for it.
#[derive(Debug, Clone, Copy)]
pub struct Knob {
    pub key: Key,
    /// For people.
    pub about: &'static str,
    pub values: Values,
}

/// What a key takes.
#[derive(Debug, Clone, Copy)]
pub enum Values {
    /// A whole number, or a range of which each seed draws one.
    Number { min: i64, max: i64, default: (i64, i64) },
    /// One of these words; [`Word::Any`] leaves the choice among the others to the seed.
    Word { words: &'static [Word], default: Word },
}

impl Values {
    /// The words that may be given, if words are.
    pub fn words(&self) -> &'static [Word] {
        match self {
            Self::Number { .. } => &[],
            Self::Word { words, .. } => words,
        }
    }
}

/// A word that a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    Any,
    In,
    Out,
    Now,
    AmidWrite,
    Drain,
    Sigkill,
    PowerLoss,
    Read,
    Write,
    Fsync,
}

impl Word {
    /// As a file has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::In => "in",
            Self::Out => "out",
            Self::Now => "now",
            Self::AmidWrite => "amid_write",
            Self::Drain => "drain",
            Self::Sigkill => "sigkill",
            Self::PowerLoss => "power_loss",
            Self::Read => "read",
            Self::Write => "write",
            Self::Fsync => "fsync",
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
