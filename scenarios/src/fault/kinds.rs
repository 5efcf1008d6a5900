//! Every kind of fault, each described in one place.

use crate::guarantees::{
    ContiguousDelivery, Convergence, DenseOrder, Hygiene, NoLostAck, Once, RealTimeOrder,
    SenderOrder,
};

use super::spec::{Aim, FaultSpec, Key, Knob, Lasting, Values, Word};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    Partition,
    Cut,
    Ring,
    Bridge,
    Swizzle,
    Clog,
    SlowLink,
    LatencySpike,
    LossyLink,
    HalfOpen,
    Reset,
    Sigkill,
    PowerLoss,
    Drain,
    Pause,
    SlowCpu,
    CrashLoop,
    RollingRestart,
    Wipe,
    DiskError,
    DiskFull,
    DiskStall,
    LyingFsync,
    BitRot,
    MisdirectedWrite,
    ClockSkew,
    ClockJump,
    ClockDrift,
    ReconnectStorm,
}

impl FaultKind {
    /// In the order in which they are told.
    pub const ALL: [Self; 29] = [
        Self::Partition,
        Self::Cut,
        Self::Ring,
        Self::Bridge,
        Self::Swizzle,
        Self::Clog,
        Self::SlowLink,
        Self::LatencySpike,
        Self::LossyLink,
        Self::HalfOpen,
        Self::Reset,
        Self::Sigkill,
        Self::PowerLoss,
        Self::Drain,
        Self::Pause,
        Self::SlowCpu,
        Self::CrashLoop,
        Self::RollingRestart,
        Self::Wipe,
        Self::DiskError,
        Self::DiskFull,
        Self::DiskStall,
        Self::LyingFsync,
        Self::BitRot,
        Self::MisdirectedWrite,
        Self::ClockSkew,
        Self::ClockJump,
        Self::ClockDrift,
        Self::ReconnectStorm,
    ];

    /// All that is known of it.
    pub fn spec(self) -> &'static FaultSpec {
        match self {
            Self::Partition => &PARTITION,
            Self::Cut => &CUT,
            Self::Ring => &RING,
            Self::Bridge => &BRIDGE,
            Self::Swizzle => &SWIZZLE,
            Self::Clog => &CLOG,
            Self::SlowLink => &SLOW_LINK,
            Self::LatencySpike => &LATENCY_SPIKE,
            Self::LossyLink => &LOSSY_LINK,
            Self::HalfOpen => &HALF_OPEN,
            Self::Reset => &RESET,
            Self::Sigkill => &SIGKILL,
            Self::PowerLoss => &POWER_LOSS,
            Self::Drain => &DRAIN,
            Self::Pause => &PAUSE,
            Self::SlowCpu => &SLOW_CPU,
            Self::CrashLoop => &CRASH_LOOP,
            Self::RollingRestart => &ROLLING_RESTART,
            Self::Wipe => &WIPE,
            Self::DiskError => &DISK_ERROR,
            Self::DiskFull => &DISK_FULL,
            Self::DiskStall => &DISK_STALL,
            Self::LyingFsync => &LYING_FSYNC,
            Self::BitRot => &BIT_ROT,
            Self::MisdirectedWrite => &MISDIRECTED_WRITE,
            Self::ClockSkew => &CLOCK_SKEW,
            Self::ClockJump => &CLOCK_JUMP,
            Self::ClockDrift => &CLOCK_DRIFT,
            Self::ReconnectStorm => &RECONNECT_STORM,
        }
    }
}

/// Whatever has a path: between a node and all others, between two nodes, between clients and
/// gateways.
const PATHS: &[Aim] = &[Aim::AnyNode, Aim::Link, Aim::ClientsOf, Aim::Clients];

/// What the others are made from, so that each names only what is its own.
const PLAIN: FaultSpec = FaultSpec {
    name: "",
    does: "",
    aims: &[],
    lasting: Lasting::For,
    stops_node: false,
    real: None,
    knobs: &[],
    voids: &[],
};

const PROXY: Option<&str> = Some("a proxy on the path");

static PARTITION: FaultSpec = FaultSpec {
    name: "partition",
    does: "Nothing gets through, either way: data in flight is held and sent again after the heal, \
           connects find no answer. Aimed at a node, it is cut off from all others.",
    aims: PATHS,
    real: PROXY,
    ..PLAIN
};

static CUT: FaultSpec = FaultSpec {
    name: "cut",
    does: "Nothing gets through one way; the other way data arrives, but no acknowledgement of it \
           comes back.",
    aims: PATHS,
    real: PROXY,
    knobs: &[Knob {
        key: Key::Direction,
        about: "which way is cut, seen from the node or the first of the link; \"any\" is drawn",
        values: Values::Word { words: &[Word::Any, Word::Out, Word::In], default: Word::Any },
    }],
    ..PLAIN
};

static RING: FaultSpec = FaultSpec {
    name: "ring",
    does: "The nodes stand in a drawn circle and each reaches its two neighbours only.",
    aims: &[Aim::Cluster],
    real: PROXY,
    ..PLAIN
};

static BRIDGE: FaultSpec = FaultSpec {
    name: "bridge",
    does: "Two drawn halves of the nodes are cut from each other, but for one node that reaches \
           both: majorities that overlap in one.",
    aims: &[Aim::Cluster],
    real: PROXY,
    ..PLAIN
};

static SWIZZLE: FaultSpec = FaultSpec {
    name: "swizzle",
    does: "Links are cut one by one in the first half of its time and healed in another order in \
           the second.",
    aims: &[Aim::Cluster, Aim::AnyNode, Aim::Clients],
    real: PROXY,
    ..PLAIN
};

static CLOG: FaultSpec = FaultSpec {
    name: "clog",
    does: "Nothing gets through; at the end everything that was held arrives in one burst.",
    aims: PATHS,
    real: PROXY,
    ..PLAIN
};

const BYTES_PER_S_MAX: i64 = 1_000_000_000;

static SLOW_LINK: FaultSpec = FaultSpec {
    name: "slow_link",
    does: "A narrow path: all connections on it share so many bytes a second, each way.",
    aims: PATHS,
    real: PROXY,
    knobs: &[Knob {
        key: Key::BytesPerS,
        about: "bytes a second, each way",
        values: Values::Number { min: 100, max: BYTES_PER_S_MAX, default: (2_000, 20_000) },
    }],
    ..PLAIN
};

static LATENCY_SPIKE: FaultSpec = FaultSpec {
    name: "latency_spike",
    does: "Everything takes so much longer, each way.",
    aims: PATHS,
    real: PROXY,
    knobs: &[Knob {
        key: Key::LatencyMs,
        about: "milliseconds more, each way",
        values: Values::Number { min: 1, max: 60_000, default: (100, 1_000) },
    }],
    ..PLAIN
};

static LOSSY_LINK: FaultSpec = FaultSpec {
    name: "lossy_link",
    does: "Packets are lost at random; what was in them arrives with a retransmission, after 200 \
           ms and twice as long at each further loss, and everything behind it waits.",
    aims: PATHS,
    real: None,
    knobs: &[Knob {
        key: Key::LossPercent,
        about: "of 100 packets so many are lost",
        values: Values::Number { min: 1, max: 90, default: (2, 20) },
    }],
    ..PLAIN
};

static HALF_OPEN: FaultSpec = FaultSpec {
    name: "half_open",
    does: "What is connected stops carrying for good and neither end is told, as when a firewall \
           forgets its table; new connections work.",
    aims: PATHS,
    lasting: Lasting::Once,
    real: PROXY,
    ..PLAIN
};

static RESET: FaultSpec = FaultSpec {
    name: "reset",
    does: "All connections of the target are reset at once; what is on its way is lost.",
    aims: PATHS,
    lasting: Lasting::Once,
    real: PROXY,
    ..PLAIN
};

static SIGKILL: FaultSpec = FaultSpec {
    name: "sigkill",
    does: "The process dies, its kernel lives: peers see resets, the page cache survives. Started \
           again after its time.",
    aims: &[Aim::AnyNode],
    stops_node: true,
    real: Some("SIGKILL"),
    ..PLAIN
};

static POWER_LOSS: FaultSpec = FaultSpec {
    name: "power_loss",
    does: "The machine dies: writes that were not synced are kept, torn or lost, peers see \
           silence. Started again after its time.",
    aims: &[Aim::AnyNode],
    stops_node: true,
    knobs: &[Knob {
        key: Key::Moment,
        about: "\"amid_write\" waits up to a second for the node's disk to be writing",
        values: Values::Word { words: &[Word::Now, Word::AmidWrite], default: Word::Now },
    }],
    ..PLAIN
};

static DRAIN: FaultSpec = FaultSpec {
    name: "drain",
    does: "The process is asked to stop: a gateway says goodbye to its clients first. Started \
           again after its time.",
    aims: &[Aim::AnyNode],
    stops_node: true,
    real: Some("SIGTERM"),
    ..PLAIN
};

static PAUSE: FaultSpec = FaultSpec {
    name: "pause",
    does: "No task runs; kernel, sockets and clock go on. When it ends, everything is late.",
    aims: &[Aim::AnyNode],
    real: Some("SIGSTOP and SIGCONT"),
    ..PLAIN
};

static SLOW_CPU: FaultSpec = FaultSpec {
    name: "slow_cpu",
    does: "Tasks run in short turns only: of every 200 ms a share.",
    aims: &[Aim::AnyNode],
    real: Some("SIGSTOP and SIGCONT in turns"),
    knobs: &[Knob {
        key: Key::CpuPercent,
        about: "the share of the time in which tasks run",
        values: Values::Number { min: 5, max: 95, default: (10, 50) },
    }],
    ..PLAIN
};

/// The ways to stop a process, for faults that stop one again and again.
const HOW: Values =
    Values::Word { words: &[Word::Drain, Word::Sigkill, Word::PowerLoss], default: Word::Sigkill };

static CRASH_LOOP: FaultSpec = FaultSpec {
    name: "crash_loop",
    does: "The process dies again soon after each start, until its time is over.",
    aims: &[Aim::AnyNode],
    stops_node: true,
    real: Some("SIGKILL, again and again"),
    knobs: &[
        Knob { key: Key::How, about: "how it stops", values: HOW },
        Knob {
            key: Key::UpMs,
            about: "how long it lives each time",
            values: Values::Number { min: 20, max: 60_000, default: (50, 1_000) },
        },
        Knob {
            key: Key::DownMs,
            about: "how long it is down each time",
            values: Values::Number { min: 20, max: 60_000, default: (100, 300) },
        },
    ],
    ..PLAIN
};

static ROLLING_RESTART: FaultSpec = FaultSpec {
    name: "rolling_restart",
    does: "One node after the other is stopped and started again, as an upgrade does it.",
    aims: &[Aim::All, Aim::Cluster],
    lasting: Lasting::Own,
    stops_node: true,
    real: Some("SIGTERM, one after the other"),
    knobs: &[
        Knob {
            key: Key::How,
            about: "how each stops",
            values: Values::Word {
                words: &[Word::Drain, Word::Sigkill, Word::PowerLoss],
                default: Word::Drain,
            },
        },
        Knob {
            key: Key::DownMs,
            about: "how long each is down",
            values: Values::Number { min: 20, max: 60_000, default: (1_200, 3_000) },
        },
        Knob {
            key: Key::GapMs,
            about: "from one node's start to the next one's stop",
            values: Values::Number { min: 0, max: 60_000, default: (500, 2_000) },
        },
    ],
    ..PLAIN
};

static WIPE: FaultSpec = FaultSpec {
    name: "wipe",
    does: "The machine dies and comes back with an empty disk. A message node can't be given it: \
           its disk holds the only copy of what was accepted.",
    aims: &[Aim::Gateway],
    stops_node: true,
    real: Some("SIGKILL and removing the data directory"),
    ..PLAIN
};

const MESSAGES: &[Aim] = &[Aim::Messages];

/// What is left of the promises when the only copy of accepted entries is damaged: what is served
/// was sent.
const ALL_BUT_NO_INVENTION: &[&str] = &[
    DenseOrder::NAME,
    RealTimeOrder::NAME,
    SenderOrder::NAME,
    NoLostAck::NAME,
    Once::NAME,
    ContiguousDelivery::NAME,
    Convergence::NAME,
    Hygiene::NAME,
];

const OPERATION: Knob = Knob {
    key: Key::Operation,
    about: "which operations; \"any\" is drawn",
    values: Values::Word {
        words: &[Word::Any, Word::Read, Word::Write, Word::Fsync],
        default: Word::Any,
    },
};

static DISK_ERROR: FaultSpec = FaultSpec {
    name: "disk_error",
    does: "The next operations of a sort fail with EIO. A failed fsync drops what was dirty: it \
           stays visible, and a later fsync proves nothing about it.",
    aims: MESSAGES,
    knobs: &[
        OPERATION,
        Knob {
            key: Key::Failures,
            about: "how many operations fail, if so many come in its time",
            values: Values::Number { min: 1, max: 10_000, default: (1, 3) },
        },
    ],
    ..PLAIN
};

static DISK_FULL: FaultSpec = FaultSpec {
    name: "disk_full",
    does: "Nothing more fits but a few bytes: writes and new files fail with ENOSPC, a part may be \
           written. There is room again when it ends.",
    aims: MESSAGES,
    real: Some("a small file system"),
    knobs: &[Knob {
        key: Key::FreeBytes,
        about: "bytes that still fit",
        values: Values::Number { min: 0, max: 1_000_000_000, default: (0, 20_000) },
    }],
    ..PLAIN
};

static DISK_STALL: FaultSpec = FaultSpec {
    name: "disk_stall",
    does: "Operations of a sort take so much longer, each.",
    aims: MESSAGES,
    knobs: &[
        OPERATION,
        Knob {
            key: Key::StallMs,
            about: "milliseconds more for each",
            values: Values::Number { min: 1, max: 60_000, default: (50, 500) },
        },
    ],
    ..PLAIN
};

static LYING_FSYNC: FaultSpec = FaultSpec {
    name: "lying_fsync",
    does: "An fsync says that all is durable and does nothing; what was written reaches the disk \
           when it ends. With a power loss meanwhile, accepted messages are lost.",
    aims: MESSAGES,
    voids: ALL_BUT_NO_INVENTION,
    ..PLAIN
};

static BIT_ROT: FaultSpec = FaultSpec {
    name: "bit_rot",
    does: "Bits of stored bytes are inverted. Nothing damaged may be served.",
    aims: MESSAGES,
    lasting: Lasting::Once,
    real: Some("changing bytes of the data directory"),
    knobs: &[Knob {
        key: Key::Bits,
        about: "how many bits",
        values: Values::Number { min: 1, max: 10_000, default: (1, 8) },
    }],
    voids: ALL_BUT_NO_INVENTION,
    ..PLAIN
};

static MISDIRECTED_WRITE: FaultSpec = FaultSpec {
    name: "misdirected_write",
    does: "The next writes land a few sectors away from where they belong, and say that all is \
           well.",
    aims: MESSAGES,
    knobs: &[Knob {
        key: Key::Failures,
        about: "how many writes, if so many come in its time",
        values: Values::Number { min: 1, max: 10_000, default: (1, 1) },
    }],
    voids: ALL_BUT_NO_INVENTION,
    ..PLAIN
};

/// A day and a half, either way: beyond the window of nonces.
const OFFSET_MS_MAX: i64 = 36 * 3_600_000;

const OFFSET: Knob = Knob {
    key: Key::OffsetMs,
    about: "milliseconds, ahead or (below zero) behind",
    values: Values::Number {
        min: -OFFSET_MS_MAX,
        max: OFFSET_MS_MAX,
        default: (-600_000, 600_000),
    },
};

static CLOCK_SKEW: FaultSpec = FaultSpec {
    name: "clock_skew",
    does: "The wall clock is wrong by so much, and right again when it ends.",
    aims: &[Aim::AnyNode],
    knobs: &[OFFSET],
    ..PLAIN
};

static CLOCK_JUMP: FaultSpec = FaultSpec {
    name: "clock_jump",
    does: "The wall clock jumps by so much and stays there.",
    aims: &[Aim::AnyNode],
    lasting: Lasting::Once,
    knobs: &[OFFSET],
    ..PLAIN
};

static CLOCK_DRIFT: FaultSpec = FaultSpec {
    name: "clock_drift",
    does: "The wall clock goes too fast or too slow, and is right again when it ends. Deadlines \
           don't follow it.",
    aims: &[Aim::AnyNode],
    knobs: &[Knob {
        key: Key::DriftPpm,
        about: "microseconds a second, too fast or (below zero) too slow",
        values: Values::Number { min: -500_000, max: 500_000, default: (-50_000, 50_000) },
    }],
    ..PLAIN
};

static RECONNECT_STORM: FaultSpec = FaultSpec {
    name: "reconnect_storm",
    does: "All client connections of the target drop at once, and every client comes back.",
    aims: &[Aim::Gateway, Aim::ClientsOf, Aim::Clients],
    lasting: Lasting::Once,
    real: Some("clients that drop their connections"),
    ..PLAIN
};
