//! After a failed or abandoned commit nothing is appended until the store is opened again.

use std::time::Duration;

use seriatim_engine::entry::Batch;
use seriatim_engine::history_bound::HistoryBound;
use seriatim_engine::ids::{Epoch, SeqNo};
use seriatim_engine::time::LogTime;

use super::memory_disk::{MemoryDisk, Operation};
use super::sample::{
    SHARD, append, by_channel, channel, entries, message, open, open_rolling, poll_once, run,
    three_batches, try_open,
};
use crate::log_store::LogStore;
use crate::{Store as _, StoreError};

fn assert_poisoned(store: &LogStore, epoch: Epoch) {
    let appended = append(store, epoch, &[message("d", 3, "more")]);
    assert!(matches!(appended, Err(StoreError::Poisoned)), "{appended:?}");
    assert!(matches!(run(store.claim(SHARD)), Err(StoreError::Poisoned)));
    assert!(matches!(run(store.recover(SHARD, Duration::MAX)), Err(StoreError::Poisoned)));
}

#[test]
fn failed_write_or_sync_poisons_the_store_until_it_is_opened_again() {
    for operation in [Operation::Write, Operation::Sync] {
        let disk = MemoryDisk::default();
        let batches = by_channel(&three_batches(&disk).concat());
        let (store, _) = open(&disk);
        let epoch = run(store.claim(SHARD)).unwrap();

        disk.fail(operation);
        let failed = append(&store, epoch, &[message("d", 3, "in doubt")]);

        assert!(matches!(failed, Err(StoreError::Failed { .. })), "{failed:?}");
        assert_poisoned(&store, epoch);
        assert_eq!(entries(&store), batches, "what is in doubt was served");
        let (again, _) = open(&disk);
        let epoch = run(again.claim(SHARD)).unwrap();
        let next = entries(&again).len() as u64 - batches.len() as u64 + 3;
        append(&again, epoch, &[message("d", next, "more")]).unwrap();
    }
}

#[test]
fn failure_of_a_new_segment_poisons_the_store_and_leaves_no_trace() {
    for operation in
        [Operation::Create, Operation::Write, Operation::Sync, Operation::SyncDirectory]
    {
        let disk = MemoryDisk::default();
        let batches = by_channel(&three_batches(&disk).concat());
        let (store, _) = try_open(&disk, 1).unwrap();

        disk.fail(operation);
        let failed = run(store.claim(SHARD));

        assert!(matches!(failed, Err(StoreError::Failed { .. })), "{operation:?}: {failed:?}");
        assert_poisoned(&store, Epoch(1));
        let (again, report) = try_open(&disk, 1).unwrap();
        assert_eq!((entries(&again), report.segments), (batches, 1), "{operation:?}");
        assert_eq!(run(again.claim(SHARD)).unwrap(), Epoch(2));
    }
}

#[test]
fn dropped_append_poisons_the_store_at_whatever_step_it_was() {
    for steps in 0..6 {
        let disk = MemoryDisk::default();
        let (store, epoch) = open_rolling(&disk);
        append(
            &store,
            epoch,
            &[message("d", 1, "long enough to fill the segment".repeat(9).as_str())],
        )
        .unwrap();
        disk.halt_after(steps);
        let doubtful = vec![message("d", 2, "in doubt")];
        let batch = Batch::of_entries(SHARD, (epoch, LogTime(0)), doubtful);

        let dropped = poll_once(store.append(batch));

        assert!(dropped.is_none(), "step {steps}");
        assert_poisoned(&store, epoch);
        disk.resume();
        assert_eq!(entries(&store).len(), 1, "what is in doubt was served");
    }
}

#[test]
fn history_does_not_wait_for_an_append_in_progress() {
    let disk = MemoryDisk::default();
    three_batches(&disk);
    let (store, _) = open(&disk);
    let epoch = run(store.claim(SHARD)).unwrap();
    let slow = vec![message("d", 3, "slow")];
    let batch = Batch::of_entries(SHARD, (epoch, LogTime(0)), slow);

    disk.halt_after(1);
    let mut slow = store.append(batch);
    assert!(poll_once(&mut slow).is_none());
    disk.resume();
    let page =
        run(store.history(&channel("d"), HistoryBound::After(SeqNo(0)), 10, 1000)).unwrap().entries;

    assert_eq!(page.len(), 2);
}

#[test]
fn fenced_append_writes_nothing_and_poisons_nothing() {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk);
    let old = run(store.claim(SHARD)).unwrap();
    let new = run(store.claim(SHARD)).unwrap();
    let before = disk.content(&disk.names()[0]);

    let fenced = append(&store, old, &[message("c", 1, "late")]);

    assert!(
        matches!(fenced, Err(StoreError::Fenced { ours, newest, .. }) if (ours, newest) == (old, new))
    );
    assert_eq!(disk.content(&disk.names()[0]), before);
    append(&store, new, &[message("c", 1, "in time")]).unwrap();
}

#[test]
fn epoch_rises_over_reopening() {
    let disk = MemoryDisk::default();
    assert_eq!(run(open(&disk).0.claim(SHARD)).unwrap(), Epoch(1));
    let (store, report) = open(&disk);
    assert_eq!(report.epoch, Epoch(1));
    assert_eq!(run(store.claim(SHARD)).unwrap(), Epoch(2));
}

#[test]
#[should_panic(expected = "acme/c goes from 1 to 3")]
fn batch_that_leaves_a_gap_is_refused_as_our_own_mistake() {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk);
    let epoch = run(store.claim(SHARD)).unwrap();

    drop(append(&store, epoch, &[message("c", 1, "one"), message("c", 3, "three")]));
}

#[test]
#[should_panic(expected = "epoch 2 was never claimed")]
fn epoch_that_nobody_claimed_is_refused_as_our_own_mistake() {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk);
    run(store.claim(SHARD)).unwrap();

    drop(append(&store, Epoch(2), &[message("c", 1, "one")]));
}
