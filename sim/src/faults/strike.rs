//! One strike: how each kind begins, what it holds meanwhile, and how that is let go.

use seriatim_scenarios::fault::{FaultKind, Key, Settings, Word};
use seriatim_scenarios::plan::{PlannedFault, PlannedStrike};

use super::disks::{self, Broken};
use super::paths::{Paths, Way};
use super::processes::{self, How, Stopped};
use super::target_name;
use crate::cluster::Cluster;
use crate::host::SimHost;
use crate::net::LinkShape;
use crate::time::SimTime;

/// Of so long, a slow host's tasks run a share: twice a timer's grain would show steps, and a
/// second would be a pause.
const TURNS_PERIOD_US: u64 = 200_000;

/// A strike of a fault.
pub(super) struct Strike {
    /// The fault's place in the plan.
    pub(super) fault: usize,
    pub(super) kind: FaultKind,
    settings: Settings,
    pub(super) planned: PlannedStrike,
    pub(super) name: String,
    held: Held,
    /// It changed something.
    pub(super) bit: bool,
}

/// What a strike that has begun has to let go.
enum Held {
    Nothing,
    Cut(Paths),
    Clogged(Paths),
    Slowed(Paths, LinkShape),
    Stopped(Stopped),
    /// Processes that run late; how often tasks had waited before.
    Late {
        before: u64,
    },
    Broken(Vec<Broken>),
    /// A wrong wall clock; how often it had been read before.
    Wrong {
        before: u64,
    },
}

impl Strike {
    pub(super) fn new(fault: usize, planned: &PlannedFault, strike: &PlannedStrike) -> Self {
        let kind = planned.kind;
        Self {
            fault,
            kind,
            settings: planned.settings.clone(),
            planned: strike.clone(),
            name: format!("{kind} {}", target_name(&strike.target)),
            held: Held::Nothing,
            bit: false,
        }
    }

    pub(super) fn begin(&mut self, at: SimTime, cluster: &mut Cluster) {
        let target = &self.planned.target;
        match self.kind {
            FaultKind::Partition | FaultKind::Ring | FaultKind::Bridge | FaultKind::Swizzle => {
                self.cut(at, cluster, Way::Both)
            }
            FaultKind::Cut if self.settings.word(Key::Direction) == Word::In => {
                self.cut(at, cluster, Way::In);
            }
            FaultKind::Cut => self.cut(at, cluster, Way::Out),
            FaultKind::Clog => {
                let paths = Paths::of(target, Way::Both, cluster);
                paths.cut(at, cluster);
                self.held = Held::Clogged(paths);
            }
            FaultKind::SlowLink => {
                let bytes_per_s = self.settings.amount(Key::BytesPerS);
                self.slow(at, cluster, LinkShape { bytes_per_s, ..LinkShape::default() });
            }
            FaultKind::LatencySpike => {
                let extra_us = self.settings.amount(Key::LatencyMs) * 1_000;
                self.slow(at, cluster, LinkShape { extra_us, ..LinkShape::default() });
            }
            FaultKind::LossyLink => {
                let loss_percent = self.settings.amount(Key::LossPercent);
                self.slow(at, cluster, LinkShape { loss_percent, ..LinkShape::default() });
            }
            FaultKind::HalfOpen => {
                self.bit = Paths::of(target, Way::Out, cluster).forget(at, cluster) > 0;
            }
            FaultKind::Reset | FaultKind::ReconnectStorm => {
                self.bit = Paths::of(target, Way::Out, cluster).reset(at, cluster) > 0;
            }
            FaultKind::Sigkill => self.stop(at, cluster, How::Kill),
            FaultKind::PowerLoss if self.settings.word(Key::Moment) == Word::AmidWrite => {
                self.stop(at, cluster, How::PowerOffAmidWrite);
            }
            FaultKind::PowerLoss => self.stop(at, cluster, How::PowerOff),
            FaultKind::Drain => self.stop(at, cluster, How::Drain),
            FaultKind::Wipe => self.stop(at, cluster, How::Wipe),
            FaultKind::CrashLoop | FaultKind::RollingRestart => {
                self.stop(at, cluster, How::of(self.settings.word(Key::How)));
            }
            FaultKind::Pause => {
                let until = SimTime::after(self.planned.heal_at);
                self.make_late(cluster, |host| host.freeze(at, until));
            }
            FaultKind::DiskError
            | FaultKind::DiskFull
            | FaultKind::DiskStall
            | FaultKind::LyingFsync
            | FaultKind::MisdirectedWrite => {
                let hosts = processes::hosts(target, cluster);
                let begin = |host: &SimHost| Broken::begin(self.kind, host.disk(), &self.settings);
                self.held = Held::Broken(hosts.map(begin).collect());
            }
            FaultKind::BitRot => {
                for host in processes::hosts(target, cluster) {
                    self.bit |= disks::rot(at, host.disk(), &self.settings);
                }
            }
            FaultKind::ClockSkew | FaultKind::ClockJump | FaultKind::ClockDrift => {
                self.mislead(at, cluster);
            }
            FaultKind::SlowCpu => {
                let run_us = TURNS_PERIOD_US * self.settings.amount(Key::CpuPercent) / 100;
                self.make_late(cluster, |host| host.take_turns(at, TURNS_PERIOD_US, run_us));
            }
        }
    }

    pub(super) fn heal(&mut self, at: SimTime, cluster: &mut Cluster) {
        match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Nothing => {}
            Held::Cut(paths) => {
                self.bit = paths.held_something(cluster);
                paths.heal(at, cluster);
            }
            Held::Clogged(paths) => {
                self.bit = paths.held_something(cluster);
                paths.unclog(at, cluster);
            }
            Held::Slowed(paths, shape) => {
                self.bit = paths.slowed_something(cluster);
                paths.unslow(at, cluster, shape);
            }
            Held::Stopped(stopped) => self.bit = stopped.start(at, cluster),
            Held::Broken(broken) => {
                for disk in broken {
                    self.bit |= disk.heal();
                }
            }
            Held::Wrong { before } => {
                self.bit = self.wall_reads(cluster) > before;
                self.put_right(at, cluster);
            }
            Held::Late { before } => {
                if self.kind == FaultKind::SlowCpu {
                    for host in processes::hosts(&self.planned.target, cluster) {
                        host.take_turns(at, 0, 0);
                    }
                }
                self.bit = self.withheld(cluster) > before;
            }
        }
    }

    /// It has begun and waits for the moment to do its work.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(&self.held, Held::Stopped(stopped) if stopped.is_waiting())
    }

    /// Does its work if the moment has come; true when it needs no further look.
    pub(super) fn try_now(&mut self, now: SimTime, cluster: &mut Cluster) -> bool {
        match &mut self.held {
            Held::Stopped(stopped) => stopped.try_now(now, cluster),
            Held::Nothing
            | Held::Cut(_)
            | Held::Clogged(_)
            | Held::Slowed(..)
            | Held::Late { .. }
            | Held::Broken(_)
            | Held::Wrong { .. } => true,
        }
    }

    fn cut(&mut self, at: SimTime, cluster: &Cluster, way: Way) {
        let paths = Paths::of(&self.planned.target, way, cluster);
        paths.cut(at, cluster);
        self.held = Held::Cut(paths);
    }

    fn slow(&mut self, at: SimTime, cluster: &Cluster, shape: LinkShape) {
        let paths = Paths::of(&self.planned.target, Way::Both, cluster);
        paths.slow(at, cluster, shape);
        self.held = Held::Slowed(paths, shape);
    }

    fn stop(&mut self, at: SimTime, cluster: &mut Cluster, how: How) {
        let half = (self.planned.heal_at - self.planned.at) / 2;
        let stopped = Stopped::stop(at, &self.planned.target, cluster, how, half);
        self.held = Held::Stopped(stopped);
    }

    fn make_late(&mut self, cluster: &Cluster, late: impl Fn(&SimHost)) {
        self.held = Held::Late { before: self.withheld(cluster) };
        for host in processes::hosts(&self.planned.target, cluster) {
            late(host);
        }
    }

    fn mislead(&mut self, at: SimTime, cluster: &Cluster) {
        self.held = Held::Wrong { before: self.wall_reads(cluster) };
        for host in processes::hosts(&self.planned.target, cluster) {
            if self.kind == FaultKind::ClockDrift {
                host.drift(at, self.settings.number(Key::DriftPpm));
            } else {
                host.jump(at, self.settings.number(Key::OffsetMs));
            }
        }
        if self.kind == FaultKind::ClockJump {
            // It stays, and whoever reads the clock from here on reads the wrong time.
            self.held = Held::Nothing;
            self.bit = true;
        }
    }

    fn put_right(&self, at: SimTime, cluster: &Cluster) {
        for host in processes::hosts(&self.planned.target, cluster) {
            if self.kind == FaultKind::ClockDrift {
                let strayed_ms = host.drift(at, -self.settings.number(Key::DriftPpm));
                host.jump(at, -strayed_ms);
            } else {
                host.jump(at, -self.settings.number(Key::OffsetMs));
            }
        }
    }

    fn wall_reads(&self, cluster: &Cluster) -> u64 {
        processes::hosts(&self.planned.target, cluster).map(SimHost::wall_reads).sum()
    }

    fn withheld(&self, cluster: &Cluster) -> u64 {
        let hosts = processes::hosts(&self.planned.target, cluster);
        hosts.map(SimHost::withheld).sum()
    }
}
