//! Reading: opening a log, recovering what an owner needs from it, and pages of history.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Advice, fadvise};
use seriatim_bench::cpu::{now_ns, own_ns};
use seriatim_bench::table::{median, print};
use seriatim_engine::history_bound::HistoryBound;
use seriatim_engine::ids::SeqNo;
use seriatim_world::log_store::{LogStore, LogStoreOptions};
use seriatim_world::{Store as _, World, real};

use crate::appending::Filled;
use crate::messages::SHARD;

/// How often a log is opened, with its files in the page cache and without.
const OPENINGS: usize = 5;

const PAGES: usize = 20_000;

/// Pages that are read before any counts.
const WARM_UP_PAGES: usize = 2_000;

const PAGE_ENTRIES: usize = 50;

async fn open(filled: &Filled) -> anyhow::Result<(World, LogStore)> {
    let world = real::world(&filled.directory.path().join("log"))?;
    let opened = LogStore::open(Arc::clone(&world.disk), SHARD, LogStoreOptions::default()).await?;
    Ok((world, opened.0))
}

/// Drops the files' pages from the page cache; they must be synced.
fn forget_pages(filled: &Filled) -> anyhow::Result<()> {
    for file in std::fs::read_dir(filled.directory.path().join("log"))? {
        let file = File::open(file?.path())?;
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

pub(crate) async fn reopen(filled: &Filled) -> anyhow::Result<()> {
    print(&format!("\nopening a log of {} messages, medians of {OPENINGS}", filled.messages));
    for (name, is_cold) in [("in the page cache", false), ("not in the page cache", true)] {
        // Wall and CPU time of opening, then of recovering.
        let mut figures = [const { Vec::new() }; 4];
        for _ in 0..OPENINGS {
            if is_cold {
                forget_pages(filled)?;
            }
            let mut moments = vec![(now_ns(), own_ns())];
            let (_world, store) = open(filled).await?;
            moments.push((now_ns(), own_ns()));
            let recovered = store.recover(SHARD, Duration::MAX).await?;
            moments.push((now_ns(), own_ns()));
            let found = recovered.nonces.count() as u64;
            anyhow::ensure!(found == filled.messages, "{found} of {} nonces", filled.messages);
            let steps = moments.iter().zip(moments.iter().skip(1));
            let took = steps.flat_map(|(from, to)| [to.0 - from.0, to.1 - from.1]);
            for (figures, nanos) in figures.iter_mut().zip(took) {
                figures.push(nanos as f64 / 1e6);
            }
        }
        let [open, open_cpu, recover, recover_cpu] = figures.map(median);
        print(&format!(
            "{name:<22} open {open:>5.0} ms (CPU {open_cpu:>4.0} ms), \
             then heads and all nonces {recover:>5.0} ms (CPU {recover_cpu:>4.0} ms)"
        ));
    }
    Ok(())
}

pub(crate) async fn pages(filled: &mut Filled) -> anyhow::Result<()> {
    let (_world, store) = open(filled).await?;
    let source = &mut filled.source;
    let mut waits = Vec::with_capacity(PAGES);
    let mut cpu_before = 0;
    for number in 0..WARM_UP_PAGES + PAGES {
        if number == WARM_UP_PAGES {
            cpu_before = own_ns();
        }
        let (channel, head) = source.draw();
        let oldest = head.0.saturating_sub(PAGE_ENTRIES as u64);
        let after = SeqNo(source.random().next() % (oldest + 1));
        let wanted = PAGE_ENTRIES.min(usize::try_from(head.0 - after.0)?);
        let started = now_ns();
        let page =
            store.history(&channel, HistoryBound::After(after), PAGE_ENTRIES, usize::MAX).await?;
        let wait = now_ns() - started;
        let count = page.entries.len();
        anyhow::ensure!(count == wanted, "{count} of {wanted} entries");
        if number >= WARM_UP_PAGES {
            waits.push(wait);
        }
    }
    let cpu_us = (own_ns() - cpu_before) as f64 / PAGES as f64 / 1_000.0;
    waits.sort_unstable();
    let us = |percent: usize| waits.get(waits.len() * percent / 100).copied().unwrap_or(0) / 1_000;
    print(&format!(
        "\npages of {PAGE_ENTRIES} at random, {} messages, warm: p50 {} µs, p99 {} µs, CPU {cpu_us:.1} µs",
        filled.messages,
        us(50),
        us(99)
    ));
    Ok(())
}
