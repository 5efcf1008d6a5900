//! Whatever operation of the background work fails, nothing acknowledged is lost, nothing counts
//! that is not whole, and the work is done another time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use seriatim_engine::entry::ChannelEntry;
use seriatim_engine::time::{LogClock, LogTime, MonoTime, WallTime};
use tokio::sync::mpsc;

use super::memory_disk::{MemoryDisk, Operation};
use super::sample::{
    SHARD, after, append, channel, entries, message, open_rolling, run, tidy, try_open,
};
use crate::log_store::pace::Pace;
use crate::log_store::{LogStore, Upkeep};
use crate::real::RealClock;
use crate::{BoxFuture, Clock, Store as _, StoreError};

/// What a flush or a merge can fail at. A full disk fails creations and writes.
const OPERATIONS: [Operation; 6] = [
    Operation::Read,
    Operation::Create,
    Operation::Write,
    Operation::Sync,
    Operation::Rename,
    Operation::SyncDirectory,
];

/// A log of several full segments, each with its own entries.
fn rolled(disk: &MemoryDisk) -> (LogStore, Vec<ChannelEntry>) {
    let (store, epoch) = open_rolling(disk);
    let log: Vec<_> = (1..=9).map(|seq| message("c", seq, &"x".repeat(90))).collect();
    for entry in &log {
        append(&store, epoch, std::slice::from_ref(entry)).unwrap();
    }
    (store, log)
}

/// The log is whole after a power loss, whatever of the unsynced changes was written, and what the
/// directory holds beside it goes at the next opening.
fn assert_survives(disk: &MemoryDisk, log: &[ChannelEntry], at: &str) {
    for keeps in [&[false][..], &[true], &[true, false], &[false, true, true]] {
        let mut decisions = keeps.iter().copied().cycle();
        let left = disk.lose_power(|| decisions.next().unwrap_or_default());
        let (again, report) = try_open(&left, 200).unwrap_or_else(|error| panic!("{at}: {error}"));
        assert_eq!(entries(&again), log, "{at}");
        let files = report.runs + report.segments;
        assert_eq!(left.names().len() as u64, files, "{at}: {:?}", left.names());
        tidy(&again);
        let (finished, _) = try_open(&left.lose_power(|| false), 200).unwrap();
        assert_eq!(entries(&finished), log, "{at}");
    }
}

#[test]
fn failure_of_any_operation_of_a_flush_or_a_merge_loses_nothing_and_is_made_up_for() {
    for operation in OPERATIONS {
        for nth in 0.. {
            let disk = MemoryDisk::default();
            let (store, mut log) = rolled(&disk);
            disk.fail_after(operation, nth);
            let Err(error) = run(store.tidy(LogTime(0))) else {
                assert!(nth > 1, "{operation:?} happens more than {nth} times");
                break;
            };
            let at = format!("{operation:?} number {nth}");
            assert!(matches!(error, StoreError::Failed { .. }), "{at}: {error}");
            assert_eq!(entries(&store), log, "{at}: what was acknowledged is served");
            assert_survives(&disk, &log, &at);
            let claimed = run(store.claim(SHARD));
            if operation == Operation::SyncDirectory {
                // Nobody knows what the directory holds after a power loss.
                assert!(matches!(claimed, Err(StoreError::Poisoned)), "{at}: {claimed:?}");
                continue;
            }
            // Commits go on, and the work is done another time.
            let entry = message("c", 10, "after the failure");
            append(&store, claimed.unwrap(), std::slice::from_ref(&entry)).unwrap();
            log.push(entry);
            assert_survives(&disk, &log, &at);
            tidy(&store);
            assert_eq!(entries(&store), log, "{at}");
            assert!(!disk.names().iter().any(|name| name.ends_with(".tmp")), "{at}");
            assert_survives(&disk, &log, &at);
        }
    }
}

#[test]
fn needless_file_that_can_not_be_removed_counts_for_nothing() {
    for nth in 0..4 {
        let disk = MemoryDisk::default();
        let (store, log) = rolled(&disk);
        disk.fail_after(Operation::Remove, nth);
        tidy(&store);
        assert_eq!(entries(&store), log);
        assert_survives(&disk, &log, &format!("removal number {nth}"));
    }
}

async fn maintain(store: &LogStore, clock: Arc<dyn Clock>) -> StoreError {
    let (trims, _kept) = mpsc::channel(1);
    store.maintain(clock, LogClock::default(), trims).await
}

/// A log with several runs that are due to be merged.
fn unmerged(disk: &MemoryDisk) -> (LogStore, Vec<ChannelEntry>) {
    let (store, log) = rolled(disk);
    while run(store.flush_oldest(LogTime(0), Pace::default())).unwrap() {}
    (store, log)
}

#[tokio::test]
async fn damaged_run_is_counted_left_as_it_is_and_its_readers_alone_are_refused() {
    let disk = MemoryDisk::default();
    let (store, log) = unmerged(&disk);
    let name = "shard-0000.run.00000001-00000001";
    let mut rotten = disk.content(name);
    rotten[20] ^= 1;
    disk.put(name, rotten.clone());
    let counted = async {
        while store.upkeep().damaged_runs == 0 {
            tokio::task::yield_now().await;
        }
    };

    tokio::select! {
        biased;
        error = maintain(&store, Arc::new(RealClock::new())) => panic!("{error}"),
        () = counted => {}
    }

    assert_eq!(store.upkeep(), Upkeep { setbacks: 1, damaged_runs: 1 });
    tidy(&store);
    assert_eq!(disk.content(name), rotten);
    assert_eq!(store.upkeep().damaged_runs, 1, "it is passed over");
    let damaged = run(store.history(&channel("c"), after(0), 1, 1));
    assert!(matches!(damaged, Err(StoreError::Corrupt { .. })), "{damaged:?}");
    let rest = run(store.history(&channel("c"), after(3), 100, 1 << 20)).unwrap();
    assert_eq!(rest.entries.last(), log.last().map(|last| &last.entry));
}

/// Time passes where somebody sleeps, and the disk fails again then.
struct FailingAgain {
    disk: MemoryDisk,
    slept: Mutex<Vec<Duration>>,
}

impl Clock for FailingAgain {
    fn mono_now(&self) -> MonoTime {
        MonoTime(self.slept.lock().unwrap().iter().sum())
    }

    fn wall_now(&self) -> WallTime {
        WallTime(0)
    }

    fn sleep_until(&self, deadline: MonoTime) -> BoxFuture<'static, ()> {
        let for_so_long = deadline - self.mono_now();
        let mut slept = self.slept.lock().unwrap();
        if slept.len() == 9 {
            return Box::pin(std::future::pending());
        }
        slept.push(for_so_long);
        self.disk.fail(Operation::Create);
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn merge_that_fails_is_put_off_longer_each_time() {
    let disk = MemoryDisk::default();
    let (store, _) = unmerged(&disk);
    disk.fail(Operation::Create);
    let clock = Arc::new(FailingAgain { disk: disk.clone(), slept: Mutex::default() });
    let failed = async {
        while store.upkeep().setbacks < 10 {
            tokio::task::yield_now().await;
        }
    };

    tokio::select! {
        biased;
        error = maintain(&store, clock.clone()) => panic!("{error}"),
        () = failed => {}
    }

    let slept: Vec<u64> = clock.slept.lock().unwrap().iter().map(Duration::as_secs).collect();
    assert_eq!(slept, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
}
