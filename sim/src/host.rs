//! A simulated machine: what of it survives a boot, and the world each boot gets.
//!
//! The order at a crash matters: first [`SimHost::kill`] or [`SimHost::power_off`], which make the
//! sockets and the disk deaf to the dying process, then turmoil's `crash`, which runs its
//! destructors in an order that differs between runs. At a restart: first [`SimHost::boot`], then
//! turmoil's `bounce`.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use seriatim_scenarios::choices::Choices;
use seriatim_world::World;

use crate::disk::SimDisk;
use crate::entropy::SimEntropy;
use crate::journal::{Field, Journal};
use crate::net::Plane;
use crate::shared::Shared;
use crate::spawn::{HostTask, SimSpawn};
use crate::time::{EPOCH_MS, SimClock, SimTime};

/// What every part of a host's world knows of it. The simulation runs on one thread; atomics only
/// make it shareable.
#[derive(Debug)]
pub(crate) struct HostState {
    name: Arc<str>,
    /// Boots are numbered from 1.
    boot: AtomicU64,
    alive: AtomicBool,
    boot_at: AtomicU64,
    dead_at: AtomicU64,
    frozen_until: AtomicU64,
    wall_offset_ms: AtomicI64,
    wall_drift_ppm: AtomicI64,
    /// Since when it drifts so; what it strayed before is in the offset.
    drifts_since: AtomicU64,
    /// How often the wall clock was read.
    wall_reads: AtomicU64,
    tasks: Shared<BTreeMap<&'static str, u64>>,
    turns: Shared<Turns>,
    /// Tasks that were due and had to wait for their turn.
    withheld: AtomicU64,
    /// How the process of the current boot ended by itself, until somebody has seen to it.
    exit: Shared<Option<Exit>>,
    stop: Shared<Stop>,
}

/// When a slow host runs its tasks: in a share of each period.
#[derive(Debug, Clone, Copy, Default)]
struct Turns {
    since: SimTime,
    /// 0: always.
    period_us: u64,
    run_us: u64,
}

/// How a process ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was asked to stop and did.
    Stopped,
    /// It gave up with an error.
    Failed,
    /// A task panicked, which takes the process down.
    Panicked,
}

/// Whether the process is asked to stop, and who waits for that.
#[derive(Debug, Default)]
struct Stop {
    wanted: bool,
    waiting: Vec<Waker>,
}

impl HostState {
    fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            boot: AtomicU64::new(0),
            alive: AtomicBool::new(false),
            boot_at: AtomicU64::new(0),
            dead_at: AtomicU64::new(0),
            frozen_until: AtomicU64::new(0),
            wall_offset_ms: AtomicI64::new(0),
            wall_drift_ppm: AtomicI64::new(0),
            drifts_since: AtomicU64::new(0),
            wall_reads: AtomicU64::new(0),
            tasks: Shared::new(BTreeMap::new()),
            turns: Shared::new(Turns::default()),
            withheld: AtomicU64::new(0),
            exit: Shared::new(None),
            stop: Shared::new(Stop::default()),
        }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn boot(&self) -> u64 {
        self.boot.load(Ordering::Relaxed)
    }

    pub(crate) fn boot_at(&self) -> SimTime {
        SimTime(self.boot_at.load(Ordering::Relaxed))
    }

    pub(crate) fn dead_at(&self) -> SimTime {
        SimTime(self.dead_at.load(Ordering::Relaxed))
    }

    /// Until when no task runs; in the past when tasks run.
    pub(crate) fn withheld_until(&self, now: SimTime) -> SimTime {
        let frozen_until = SimTime(self.frozen_until.load(Ordering::Relaxed));
        let Turns { since, period_us, run_us } = *self.turns.lock();
        let into = now.0.saturating_sub(since.0).checked_rem(period_us).unwrap_or(0);
        let next_turn =
            if into < run_us || period_us == 0 { now } else { now.plus(period_us - into) };
        frozen_until.max(next_turn)
    }

    pub(crate) fn count_withheld(&self) {
        self.withheld.fetch_add(1, Ordering::Relaxed);
    }

    /// The process of `boot` ends by itself at `at`: from here on nothing of it is heard.
    pub(crate) fn exit(&self, boot: u64, at: SimTime, exit: Exit) {
        if self.runs(boot) {
            self.die(at);
            *self.exit.lock() = Some(exit);
        }
    }

    /// Whether `boot` is the current one and alive.
    pub(crate) fn runs(&self, boot: u64) -> bool {
        self.alive.load(Ordering::Relaxed) && self.boot() == boot
    }

    /// What the host's wall clock shows at `now`, in milliseconds since 1970.
    pub(crate) fn wall_ms(&self, now: SimTime) -> u64 {
        self.wall_reads.fetch_add(1, Ordering::Relaxed);
        let shift_ms = self.wall_offset_ms.load(Ordering::Relaxed) + self.strayed_us(now) / 1_000;
        (EPOCH_MS + now.0 / 1_000).saturating_add_signed(shift_ms)
    }

    /// How far the drift has led it since it is as it is.
    fn strayed_us(&self, now: SimTime) -> i64 {
        let drifts_us = now.0.saturating_sub(self.drifts_since.load(Ordering::Relaxed));
        let drifts_us = i64::try_from(drifts_us).unwrap_or(i64::MAX);
        // In whole milliseconds, so that it does not overflow.
        (drifts_us / 1_000).saturating_mul(self.wall_drift_ppm.load(Ordering::Relaxed)) / 1_000
    }

    pub(crate) fn task_started(&self, name: &'static str) {
        *self.tasks.lock().entry(name).or_default() += 1;
    }

    pub(crate) fn task_ended(&self, name: &'static str, boot: u64) {
        if self.runs(boot)
            && let Some(count) = self.tasks.lock().get_mut(name)
        {
            *count = count.saturating_sub(1);
        }
    }

    fn die(&self, at: SimTime) {
        self.dead_at.store(at.0, Ordering::Relaxed);
        self.alive.store(false, Ordering::Relaxed);
    }
}

/// A simulated machine. Cheap to clone.
#[derive(Clone)]
pub struct SimHost {
    state: Arc<HostState>,
    plane: Plane,
    disk: SimDisk,
    journal: Journal,
    choices: Choices,
}

impl SimHost {
    /// A machine that has not been switched on. `name` is its name in addresses.
    pub fn new(name: &str, plane: &Plane, disk: SimDisk, choices: &Choices) -> Self {
        let state = Arc::new(HostState::new(name));
        plane.add_host(name);
        let journal = plane.journal().clone();
        Self { state, plane: plane.clone(), disk, journal, choices: choices.clone() }
    }

    /// Its name in addresses.
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// Its disk, which survives its boots.
    pub fn disk(&self) -> &SimDisk {
        &self.disk
    }

    /// How often it was booted.
    pub fn boots(&self) -> u64 {
        self.state.boot()
    }

    /// Whether a process runs.
    pub fn is_alive(&self) -> bool {
        self.state.alive.load(Ordering::Relaxed)
    }

    /// Switches it on, or starts the process again. Call it at `at` before turmoil's `host` or
    /// `bounce` runs the software.
    ///
    /// # Panics
    /// A process still runs.
    pub fn boot(&self, at: SimTime) {
        assert!(!self.is_alive(), "{} is still running", self.name());
        let boot = self.state.boot.fetch_add(1, Ordering::Relaxed) + 1;
        self.state.boot_at.store(at.0, Ordering::Relaxed);
        self.state.frozen_until.store(0, Ordering::Relaxed);
        *self.state.exit.lock() = None;
        *self.state.stop.lock() = Stop::default();
        self.state.tasks.lock().clear();
        self.state.alive.store(true, Ordering::Relaxed);
        self.journal.record(at, self.name(), "boot", &[Field::Number("boot", boot)]);
        self.disk.boot(boot);
        self.plane.boot(at, self.name());
    }

    /// Kills the process (SIGKILL): the kernel lives on, closes its sockets and keeps the page
    /// cache. Call it before turmoil's `crash`.
    pub fn kill(&self, at: SimTime) {
        self.state.die(at);
        self.journal.record(at, self.name(), "kill", &[]);
        self.disk.sigkill();
        self.plane.kill_process(at, self.name());
    }

    /// Takes the power away: nobody hears of it, and what was not synced may be lost. Call it
    /// before turmoil's `crash`.
    pub fn power_off(&self, at: SimTime) {
        self.state.die(at);
        self.journal.record(at, self.name(), "power_off", &[]);
        self.disk.power_loss(at);
        self.plane.power_off(at, self.name());
    }

    /// Stops every task until `until`; kernel, sockets and clock go on (SIGSTOP, a long garbage
    /// collection, a stolen CPU).
    pub fn freeze(&self, at: SimTime, until: SimTime) {
        self.journal.record(at, self.name(), "freeze", &[Field::Number("until", until.0)]);
        self.state.frozen_until.fetch_max(until.0, Ordering::Relaxed);
    }

    /// Lets tasks run in turns of `run_us` in each `period_us` only; a period of 0 is always.
    pub fn take_turns(&self, at: SimTime, period_us: u64, run_us: u64) {
        let fields = [Field::Number("period_us", period_us), Field::Number("run_us", run_us)];
        self.journal.record(at, self.name(), "take_turns", &fields);
        *self.state.turns.lock() = Turns { since: at, period_us, run_us };
    }

    /// How often a task that was due had to wait because the host was frozen or slow.
    pub fn withheld(&self) -> u64 {
        self.state.withheld.load(Ordering::Relaxed)
    }

    /// Asks the process to stop (SIGTERM).
    pub fn ask_to_stop(&self, at: SimTime) {
        self.journal.record(at, self.name(), "ask_to_stop", &[]);
        let waiting = {
            let mut stop = self.state.stop.lock();
            stop.wanted = true;
            std::mem::take(&mut stop.waiting)
        };
        for waker in waiting {
            waker.wake();
        }
    }

    /// Done when the process is asked to stop.
    pub fn stop_signal(&self) -> impl Future<Output = ()> + use<> {
        let state = Arc::clone(&self.state);
        std::future::poll_fn(move |context| {
            let mut stop = state.stop.lock();
            if stop.wanted {
                return Poll::Ready(());
            }
            if !stop.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                stop.waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
    }

    /// The process of the current boot has ended by itself at `at`.
    pub(crate) fn exited(&self, at: SimTime, exit: Exit) {
        self.state.exit(self.state.boot(), at, exit);
    }

    /// How the process ended by itself, told once. Its kernel has closed nothing yet: call
    /// [`SimHost::kill`] and turmoil's `crash`.
    pub fn take_exit(&self) -> Option<Exit> {
        self.state.exit.lock().take()
    }

    /// Sets how far the wall clock is off, and how fast it strays.
    pub fn skew(&self, at: SimTime, offset_ms: i64, drift_ppm: i64) {
        let shown = format!("{offset_ms} ms, {drift_ppm} ppm");
        self.journal.record(at, self.name(), "skew", &[Field::Text("by", &shown)]);
        self.state.wall_offset_ms.store(offset_ms, Ordering::Relaxed);
        self.state.wall_drift_ppm.store(drift_ppm, Ordering::Relaxed);
        self.state.drifts_since.store(0, Ordering::Relaxed);
    }

    /// Sets the wall clock forward, or with a number below zero back.
    pub fn jump(&self, at: SimTime, by_ms: i64) {
        self.journal.record(at, self.name(), "jump", &[Field::Text("ms", &by_ms.to_string())]);
        self.state.wall_offset_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// Lets the wall clock stray so much faster from `at` on. Gives how far it has strayed at its
    /// old rate, in milliseconds; it keeps that.
    pub fn drift(&self, at: SimTime, by_ppm: i64) -> i64 {
        self.journal.record(at, self.name(), "drift", &[Field::Text("ppm", &by_ppm.to_string())]);
        let strayed_ms = self.state.strayed_us(at) / 1_000;
        self.state.wall_offset_ms.fetch_add(strayed_ms, Ordering::Relaxed);
        self.state.wall_drift_ppm.fetch_add(by_ppm, Ordering::Relaxed);
        self.state.drifts_since.store(at.0, Ordering::Relaxed);
        strayed_ms
    }

    /// How often the wall clock was read.
    pub fn wall_reads(&self) -> u64 {
        self.state.wall_reads.load(Ordering::Relaxed)
    }

    /// The world of the current boot. Call it on the host's runtime, before the first await of
    /// its software.
    pub fn world(&self) -> World {
        self.world_of(&SimClock::start(Arc::clone(&self.state)))
    }

    fn world_of(&self, clock: &SimClock) -> World {
        World {
            net: self.plane.net_of(clock.clone()),
            clock: Arc::new(clock.clone()),
            entropy: Arc::new(SimEntropy::new(&self.choices, self.name(), clock.boot())),
            disk: self.disk.of(clock.clone()),
            spawn: Arc::new(SimSpawn::new(clock.clone())),
        }
    }

    /// Runs a host's software: gives it its world, and lays its panics, error logs and freezes to
    /// this host. The body of turmoil's host closure: `move || host.run(|world| software(world))`.
    pub fn run<F, Fut>(&self, software: F) -> impl Future<Output = Fut::Output> + use<F, Fut>
    where
        F: FnOnce(World) -> Fut,
        Fut: Future,
    {
        let host = self.clone();
        async move {
            let clock = SimClock::start(Arc::clone(&host.state));
            let world = host.world_of(&clock);
            HostTask::new("main", clock, software(world)).await
        }
    }

    /// The tasks that have not ended, by name. After a graceful stop there are none.
    pub fn live_tasks(&self) -> BTreeMap<&'static str, u64> {
        let mut tasks = self.state.tasks.lock().clone();
        tasks.retain(|_, count| *count > 0);
        tasks
    }

    /// When the current boot began.
    pub fn booted_at(&self) -> SimTime {
        self.state.boot_at()
    }

    /// How long the current boot has lasted at `at`.
    pub fn uptime(&self, at: SimTime) -> Duration {
        at.since(self.state.boot_at())
    }
}
