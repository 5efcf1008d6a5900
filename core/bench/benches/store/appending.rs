//! Appends: throughput beside the bare loop, CPU time, written bytes, and what a commit waits
//! while the background works.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use seriatim_bench::cpu::now_ns;
use seriatim_bench::table::{median, print};
use seriatim_engine::entry::Batch;
use seriatim_engine::ids::Epoch;
use seriatim_engine::time::LogClock;
use seriatim_world::log_store::{LogStore, LogStoreOptions};
use seriatim_world::{Store as _, World, clock, real};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::bare::{Bare, Cost};
use crate::messages::{Messages, SHARD};

/// Messages of a round.
const ROUND_MESSAGES: u64 = 32 * 1_024;

/// Rounds of small batches have fewer messages.
const ROUND_COMMITS_MAX: u64 = 512;

/// How long the background may take for what is left at the end.
const SETTLING_NS_MAX: u64 = 60_000_000_000;

pub(crate) struct Load {
    pub(crate) batch: usize,
    pub(crate) messages: u64,
    /// It ends after so long, whatever it has appended.
    pub(crate) seconds_max: u64,
    pub(crate) then: Then,
}

/// What is done with the store when all loads are over.
#[derive(Clone, Copy)]
pub(crate) enum Then {
    Nothing,
    Reopen,
    ReadPages,
}

/// A store that was filled.
pub(crate) struct Filled {
    pub(crate) directory: TempDir,
    pub(crate) messages: u64,
    /// As they are after the newest one.
    pub(crate) source: Messages,
}

pub(crate) fn print_head() {
    print("appends of 120-byte messages over 10,000 channels; medians of alternating rounds\n");
    print("batch  messages  bare loop     store    ratio   CPU µs a message   bytes a message");
    print("                 messages/s messages/s           bare    store      bare   store");
}

/// What the background did while a commit was made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Background {
    Rests,
    Flushes,
    Merges,
}

struct Run {
    world: World,
    store: Arc<LogStore>,
    epoch: Epoch,
    messages: Messages,
    folder: PathBuf,
    latencies: Vec<(Background, u64)>,
}

pub(crate) async fn measure(
    load: Load,
    options: LogStoreOptions,
    parent: &Path,
) -> anyhow::Result<Filled> {
    let directory = TempDir::with_prefix_in("seriatim-store-", parent)?;
    let mut run = Run::start(&directory.path().join("log"), options).await?;
    let maintenance = {
        let (store, clock) = (Arc::clone(&run.store), Arc::clone(&run.world.clock));
        let (trims, _) = mpsc::channel(1);
        let work = async move { drop(store.maintain(clock, LogClock::default(), trims).await) };
        run.world.spawn.spawn("store-maintenance", Box::pin(work))
    };
    let group_bytes = run.group_bytes(load.batch).await?;
    let mut bare = Bare::new(directory.path(), group_bytes)?;
    let commits = (ROUND_MESSAGES / load.batch as u64).min(ROUND_COMMITS_MAX);
    let round = commits * load.batch as u64;
    let (mut ours, mut theirs) = (Cost::default(), Cost::default());
    let (mut rates, mut bare_rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut appended, started) = (0, now_ns());
    while appended < load.messages && now_ns() - started < load.seconds_max * 1_000_000_000 {
        let cost = bare.append(commits)?;
        theirs.add(cost);
        let bare_rate = round as f64 * 1e9 / cost.wall_ns as f64;
        let batches = run.batches(commits, load.batch)?;
        let before = Cost::now();
        run.append(batches).await?;
        let cost = Cost::now().since(before);
        ours.add(cost);
        let rate = round as f64 * 1e9 / cost.wall_ns as f64;
        rates.push(rate);
        bare_rates.push(bare_rate);
        ratios.push(rate / bare_rate);
        appended += round;
    }
    let before = Cost::now();
    run.settle().await?;
    ours.add(Cost::now().since(before));
    maintenance.abort();
    while !maintenance.is_finished() {
        tokio::task::yield_now().await;
    }
    let each = |count: u64| count as f64 / appended as f64;
    print(&format!(
        "{:>5} {:>9} {:>10.0} {:>10.0} {:>8.2} {:>8.2} {:>8.2} {:>9.0} {:>7.0}",
        load.batch,
        appended,
        median(bare_rates),
        median(rates),
        median(ratios),
        each(theirs.cpu_ns) / 1_000.0,
        each(ours.cpu_ns) / 1_000.0,
        each(theirs.written_bytes),
        each(ours.written_bytes),
    ));
    run.print_latencies();
    let Run { messages: source, .. } = run;
    let messages = appended + load.batch as u64;
    Ok(Filled { directory, messages, source })
}

impl Run {
    async fn start(folder: &Path, options: LogStoreOptions) -> anyhow::Result<Self> {
        let world = real::world(folder)?;
        let (store, _) = LogStore::open(Arc::clone(&world.disk), SHARD, options).await?;
        let epoch = store.claim(SHARD).await?;
        let (messages, latencies) = (Messages::new()?, Vec::new());
        let (store, folder) = (Arc::new(store), folder.to_owned());
        Ok(Self { world, store, epoch, messages, folder, latencies })
    }

    /// How many bytes a commit of so many messages has, by making one.
    async fn group_bytes(&mut self, batch: usize) -> anyhow::Result<usize> {
        let segment = self.folder.join("shard-0000.log.00000001");
        let before = std::fs::metadata(&segment)?.len();
        let batches = self.batches(1, batch)?;
        self.append(batches).await?;
        self.latencies.clear();
        Ok(usize::try_from(std::fs::metadata(&segment)?.len() - before)?)
    }

    /// Made before anything is measured, as the owner makes them.
    fn batches(&mut self, commits: u64, batch: usize) -> anyhow::Result<Vec<Batch>> {
        let at = self.world.clock.wall_now();
        (0..commits).map(|_| self.messages.batch(batch, self.epoch, at)).collect()
    }

    async fn append(&mut self, batches: Vec<Batch>) -> anyhow::Result<()> {
        for batch in batches {
            let background = self.background();
            let before = now_ns();
            self.store.append(batch).await?;
            self.latencies.push((background, now_ns() - before));
        }
        Ok(())
    }

    /// Told by the file that the work is done in.
    fn background(&self) -> Background {
        let is_there = |job: &str| self.folder.join(format!("shard-0000.{job}.tmp")).exists();
        match (is_there("merge"), is_there("flush")) {
            (true, _) => Background::Merges,
            (false, true) => Background::Flushes,
            (false, false) => Background::Rests,
        }
    }

    /// Waits until the background has had nothing to do for a moment.
    async fn settle(&self) -> anyhow::Result<()> {
        let (started, mut rests) = (now_ns(), 0);
        while rests < 5 {
            anyhow::ensure!(now_ns() - started < SETTLING_NS_MAX, "the background does not end");
            clock::sleep(&*self.world.clock, Duration::from_millis(20)).await;
            rests = if self.background() == Background::Rests { rests + 1 } else { 0 };
        }
        Ok(())
    }

    fn print_latencies(&self) {
        let of = |wanted: Background| {
            let mut waits: Vec<u64> = self
                .latencies
                .iter()
                .filter(|(background, _)| *background == wanted)
                .map(|(_, wait)| *wait)
                .collect();
            waits.sort_unstable();
            waits
        };
        for (name, background) in [
            ("resting", Background::Rests),
            ("writing a run", Background::Flushes),
            ("merging", Background::Merges),
        ] {
            let waits = of(background);
            let us = |percent: usize| {
                let wait = waits.get((waits.len() * percent / 100).min(waits.len() - 1));
                wait.copied().unwrap_or(0) / 1_000
            };
            if !waits.is_empty() {
                print(&format!(
                    "      background {name:<14} {:>6} commits, p50 {:>6} µs, p99 {:>6} µs",
                    waits.len(),
                    us(50),
                    us(99)
                ));
            }
        }
    }
}
