//! A log whose clock goes back is refused, and a check names the place: whatever was put together out
//! of files of two lives, each of them sound, is no log.

use seriatim_engine::time::LogTime;

use super::memory_disk::MemoryDisk;
use super::sample::{SHARD, append_at, message, run, tidy, try_open};
use crate::log_store::check;
use crate::log_store::replay::CLOCK_GOES_BACK;
use crate::{Store as _, StoreError};

/// A log of the same entries whatever the times of its batches.
fn log(segment_bytes: u32, times: &[u32]) -> MemoryDisk {
    let disk = MemoryDisk::default();
    let (store, _) = try_open(&disk, segment_bytes).unwrap();
    let epoch = run(store.claim(SHARD)).unwrap();
    for (seq, at) in (1..).zip(times) {
        append_at(&store, epoch, LogTime(*at), &[message("c", seq, &"x".repeat(200))]).unwrap();
    }
    disk
}

/// Four segments, of which the first two are a merged run and the third is a run.
fn runs(times: &[u32; 4]) -> MemoryDisk {
    let disk = log(200, times);
    tidy(&try_open(&disk, 200).unwrap().0);
    disk
}

fn last(disk: &MemoryDisk, kind: &str) -> String {
    disk.names().into_iter().rfind(|name| name.contains(kind)).unwrap()
}

/// Nobody opens it, and a check says why, and where.
fn assert_refused(disk: &MemoryDisk, file: &str) -> u64 {
    let opened = try_open(disk, 200).map(|_| ());
    let Err(StoreError::Corrupt { file: named, what, offset }) = opened else {
        panic!("{opened:?}")
    };
    assert_eq!((named.as_str(), what.as_str()), (file, CLOCK_GOES_BACK));
    let report = run(check(disk, SHARD, |_| {})).unwrap();
    let damage = report.damages.first().expect("the check finds it too");
    assert_eq!((damage.file.as_str(), damage.what.as_str()), (file, CLOCK_GOES_BACK));
    assert!(damage.is_fatal);
    assert_eq!(damage.offset, offset);
    offset
}

#[test]
fn a_group_of_an_earlier_time_is_refused() {
    let disk = log(1 << 20, &[100, 200]);
    let name = last(&disk, ".log.");
    let start = log(1 << 20, &[100]).content(&name).len();
    let mut content = disk.content(&name);
    content.truncate(start);
    content.extend_from_slice(&log(1 << 20, &[10, 20]).content(&name)[start..]);
    disk.put(&name, content);
    assert_eq!(assert_refused(&disk, &name), start as u64);
}

#[test]
fn a_segment_behind_runs_of_a_later_time_is_refused() {
    let (disk, earlier) = (runs(&[100, 200, 300, 400]), runs(&[1, 2, 3, 4]));
    let name = last(&disk, ".log.");
    disk.put(&name, earlier.content(&name));
    assert_refused(&disk, &name);
}

#[test]
fn a_run_behind_one_of_a_later_time_is_refused() {
    let (disk, earlier) = (runs(&[100, 200, 300, 400]), runs(&[1, 2, 3, 4]));
    let name = last(&disk, ".run.");
    disk.put(&name, earlier.content(&name));
    assert_refused(&disk, &name);
}

#[test]
fn the_same_files_of_one_life_are_a_log() {
    let disk = runs(&[100, 200, 300, 400]);
    let report = run(check(&disk, SHARD, |_| {})).unwrap();
    assert_eq!((report.damages, report.runs, report.segments), (Vec::new(), 2, 1));
    try_open(&disk, 200).unwrap();
}
