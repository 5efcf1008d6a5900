//! Copies of a log that is being written to.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use seriatim_engine::entry::{Batch, ReadCursor};
use seriatim_engine::ids::{Epoch, SeqNo, UserId};
use seriatim_engine::time::{LogClock, LogTime};
use tokio::sync::mpsc;

use super::sample::{SHARD, channel, message, options};
use crate::log_store::{self, LogStore};
use crate::real::{RealClock, RealDisk, copy_log};
use crate::{Disk, Store as _, StoreError};

/// A segment takes a few batches: full ones, their runs and merges come all the time.
const SEGMENT_BYTES: u32 = 2_000;
const BATCH: u64 = 5;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

async fn open(directory: &Path) -> LogStore {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(directory).unwrap());
    LogStore::open(disk, SHARD, options(SEGMENT_BYTES)).await.unwrap().0
}

/// Appends and notes read positions until it is told to stop; `durable` is the newest that is.
async fn write(directory: &Path, durable: &AtomicU64, stop: &AtomicBool) {
    let store = open(directory).await;
    let epoch = store.claim(SHARD).await.unwrap();
    let append = async {
        while !stop.load(Ordering::SeqCst) {
            let head = durable.load(Ordering::SeqCst);
            let entries = (head + 1..=head + BATCH).map(|seq| message("c", seq, "hello")).collect();
            let batch = Batch::of_entries(SHARD, (epoch, LogTime(0)), entries);
            store.append(batch).await.unwrap();
            store.note_reads(SHARD, epoch, vec![read(head + BATCH)]).await.unwrap();
            durable.store(head + BATCH, Ordering::SeqCst);
        }
    };
    tokio::select! {
        biased;
        () = append => {}
        error = maintain(&store) => panic!("{error}"),
    }
}

async fn maintain(store: &LogStore) -> StoreError {
    let (trims, _) = mpsc::channel(1);
    store.maintain(Arc::new(RealClock::new()), LogClock::default(), trims).await
}

fn read(seq: u64) -> ReadCursor {
    ReadCursor { channel: channel("c"), user: UserId::new("ada").unwrap(), seq: SeqNo(seq) }
}

/// Judges a copy that was begun when `durable` was the newest durable entry. Gives how many runs it
/// has.
async fn judge(copy: &Path, durable: u64) -> u64 {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(copy).unwrap());
    let report = log_store::check(&*disk, SHARD, |_| {}).await.unwrap();
    assert_eq!(report.damages, [], "begun at {durable}");
    assert!(report.entries >= durable, "{} of {durable} entries", report.entries);
    drop(disk);
    let store = open(copy).await;
    assert_eq!(store.entries().await.unwrap().len() as u64, report.entries);
    let window = std::time::Duration::from_secs(1);
    let recovered = store.recover(SHARD, window).await.unwrap();
    let position = recovered.reads.first().map_or(0, |cursor| cursor.seq.0);
    assert!(position >= durable, "read up to {position} of {durable}");
    assert_eq!(store.claim(SHARD).await.unwrap(), Epoch(2));
    report.runs
}

#[test]
fn a_copy_of_a_busy_log_is_a_log_with_all_that_was_durable() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let (durable, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|threads| {
        let writer = threads.spawn(|| block_on(write(&log, &durable, &stop)));
        let mut runs = 0;
        for number in 0..40 {
            while durable.load(Ordering::SeqCst) < (number + 1) * 20 && !writer.is_finished() {
                std::thread::yield_now();
            }
            let copy = directory.path().join(format!("copy-{number}"));
            let before = durable.load(Ordering::SeqCst);
            copy_log(&log, &copy, |_, _| {}).unwrap();
            runs += block_on(judge(&copy, before));
        }
        stop.store(true, Ordering::SeqCst);
        writer.join().unwrap();
        assert!(runs > 40, "segments became runs meanwhile: {runs}");
    });
}

#[test]
fn a_copy_replaces_nothing_and_tells_how_far_it_has_come() {
    let directory = tempfile::tempdir().unwrap();
    let (log, copy) = (directory.path().join("log"), directory.path().join("copy"));
    let (durable, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    block_on(async {
        let writing = async { write(&log, &durable, &stop).await };
        let stopping = async {
            while durable.load(Ordering::SeqCst) < 100 {
                tokio::task::yield_now().await;
            }
            stop.store(true, Ordering::SeqCst);
        };
        tokio::join!(writing, stopping);
    });
    std::fs::write(log.join("shard-0000.flush.tmp"), "half a run").unwrap();
    let mut told = Vec::new();
    let copied = copy_log(&log, &copy, |bytes, total| told.push((bytes, total))).unwrap();
    assert_eq!(told.last(), Some(&(copied.bytes, copied.bytes)));
    assert!(!copy.join("shard-0000.flush.tmp").exists());
    let again = copy_log(&log, &copy, |_, _| {}).unwrap_err();
    assert_eq!(again.kind(), std::io::ErrorKind::AlreadyExists);
}
