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
    tasks: Shared<BTreeMap<&'static str, u64>>,
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
            tasks: Shared::new(BTreeMap::new()),
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

    pub(crate) fn frozen_until(&self) -> SimTime {
        SimTime(self.frozen_until.load(Ordering::Relaxed))
    }

    /// Whether `boot` is the current one and alive.
    pub(crate) fn runs(&self, boot: u64) -> bool {
        self.alive.load(Ordering::Relaxed) && self.boot() == boot
    }

    /// What the host's wall clock shows at `now`, in milliseconds since 1970.
    pub(crate) fn wall_ms(&self, now: SimTime) -> u64 {
        let drift_ppm = self.wall_drift_ppm.load(Ordering::Relaxed);
        let now_us = i64::try_from(now.0).unwrap_or(i64::MAX);
        // now_us * ppm / 1e6 without overflow: whole seconds drift by ppm microseconds each.
        let drift_us = (now_us / 1_000_000).saturating_mul(drift_ppm);
        let shift_ms = self.wall_offset_ms.load(Ordering::Relaxed) + drift_us / 1_000;
        (EPOCH_MS + now.0 / 1_000).saturating_add_signed(shift_ms)
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

    /// Sets how far the wall clock is off, and how fast it strays.
    pub fn skew(&self, at: SimTime, offset_ms: i64, drift_ppm: i64) {
        let shown = format!("{offset_ms} ms, {drift_ppm} ppm");
        self.journal.record(at, self.name(), "skew", &[Field::Text("by", &shown)]);
        self.state.wall_offset_ms.store(offset_ms, Ordering::Relaxed);
        self.state.wall_drift_ppm.store(drift_ppm, Ordering::Relaxed);
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
