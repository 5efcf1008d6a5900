//! What a crash or bit rot leaves is recovered exactly, or refused.

use std::time::Duration;

use proptest::collection::vec;
use seriatim_engine::entry::{Batch, ChannelEntry, Content};
use seriatim_engine::nonces::NonceKey;
use seriatim_engine::time::LogTime;

use super::memory_disk::MemoryDisk;
use super::sample::{
    SHARD, append, by_channel, entries, message, open, open_rolling, options, poll_once, run,
    three_batches, tidy, try_open,
};
use crate::log_store::{LogStore, RecoveryReport};
use crate::{Store as _, StoreError};

const SEGMENT: &str = "shard-0000.log.00000001";

/// Where each group of the only segment ends, the header's end first.
fn ends(disk: &MemoryDisk) -> Vec<usize> {
    let mut ends = vec![28];
    let marker = [0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0xFA, 0xF9, 0xF8];
    let content = disk.content(SEGMENT);
    let starts = content.windows(8).enumerate().filter(|(_, window)| *window == marker);
    ends.extend(starts.map(|(start, _)| start).skip(1));
    ends.push(content.len());
    ends
}

fn corrupt_file(result: Result<(LogStore, RecoveryReport), StoreError>) -> Option<String> {
    match result.err()? {
        StoreError::Corrupt { file, .. } => Some(file),
        StoreError::Fenced { .. } | StoreError::Failed { .. } | StoreError::Poisoned => None,
    }
}

#[test]
fn every_truncation_reopens_with_exactly_the_whole_groups_before_it() {
    let disk = MemoryDisk::default();
    let batches = three_batches(&disk);
    let content = disk.content(SEGMENT);
    let ends = ends(&disk);

    for length in 0..=content.len() {
        let cut = disk.copy();
        cut.put(SEGMENT, content[..length].to_vec());
        let whole = ends.iter().filter(|&&end| end <= length).count().saturating_sub(1);
        let kept = if whole == 0 { 0 } else { ends[whole] };

        let (store, report) = open(&cut);

        assert_eq!(report.groups, whole as u64, "length {length}");
        assert_eq!(report.truncated_bytes, (length - kept) as u64, "length {length}");
        // The first group is the claim.
        let expected: Vec<_> = batches.iter().take(whole.max(1) - 1).flatten().cloned().collect();
        let expected = by_channel(&expected);
        assert_eq!(entries(&store), expected, "length {length}");
        // It goes on, and the cut is final.
        run(store.claim(SHARD)).unwrap();
        let (again, report) = open(&cut.lose_power(|| false));
        assert_eq!((entries(&again), report.truncated_bytes), (expected, 0), "length {length}");
    }
}

#[test]
fn every_flipped_byte_is_reported_or_costs_the_last_group_only() {
    let disk = MemoryDisk::default();
    let batches = three_batches(&disk);
    let content = disk.content(SEGMENT);
    let last_start = ends(&disk)[3];

    for byte in 0..content.len() {
        for flip in [0x01, 0x80, 0xFF] {
            let mut flipped = content.clone();
            flipped[byte] ^= flip;
            let rotten = disk.copy();
            rotten.put(SEGMENT, flipped.clone());

            let opened = try_open(&rotten, 1 << 20);

            if byte < last_start {
                assert_eq!(corrupt_file(opened).as_deref(), Some(SEGMENT), "byte {byte}");
                assert_eq!(rotten.content(SEGMENT), flipped, "a corrupt file was changed");
            } else {
                let (store, report) = opened.unwrap();
                assert_eq!(report.truncated_bytes, (content.len() - last_start) as u64);
                assert_eq!(entries(&store), by_channel(&batches[..2].concat()), "byte {byte}");
            }
        }
    }
}

#[test]
fn every_flipped_byte_before_the_last_segment_is_reported() {
    let disk = MemoryDisk::default();
    let (store, epoch) = open_rolling(&disk);
    for seq in 1..=8 {
        append(&store, epoch, &[message("c", seq, "hello")]).unwrap();
    }
    let names = disk.names();
    assert!(names.len() >= 3, "{names:?}");

    for name in &names[..names.len() - 1] {
        let content = disk.content(name);
        for byte in 0..content.len() {
            let rotten = disk.copy();
            let mut flipped = content.clone();
            flipped[byte] ^= 0x10;
            rotten.put(name, flipped);
            assert_eq!(corrupt_file(try_open(&rotten, 200)).as_ref(), Some(name), "byte {byte}");
        }
        for length in 0..content.len() {
            let cut = disk.copy();
            cut.put(name, content[..length].to_vec());
            assert!(corrupt_file(try_open(&cut, 200)).is_some(), "{name} of {length} bytes");
        }
    }
}

#[test]
fn segment_that_lost_its_last_groups_is_reported_though_no_channel_shows_a_gap() {
    let disk = MemoryDisk::default();
    let (store, epoch) = open_rolling(&disk);
    append(&store, epoch, &[message("c", 1, "hello")]).unwrap();
    append(&store, epoch, &[message("d", 1, &"x".repeat(200))]).unwrap();
    append(&store, epoch, &[message("c", 2, "hello")]).unwrap();
    assert_eq!(disk.names().len(), 2);
    let ends = ends(&disk);

    let mut content = disk.content(SEGMENT);
    content.truncate(ends[ends.len() - 2]);
    disk.put(SEGMENT, content);

    assert!(corrupt_file(try_open(&disk, 200)).is_some());
}

#[test]
fn missing_segment_is_reported_by_name() {
    let disk = MemoryDisk::default();
    let (store, epoch) = open_rolling(&disk);
    for seq in 1..=4 {
        append(&store, epoch, &[message("c", seq, "hello")]).unwrap();
    }

    disk.remove_file(SEGMENT);

    assert_eq!(corrupt_file(try_open(&disk, 200)).as_deref(), Some(SEGMENT));
}

#[test]
fn segment_that_a_crash_left_without_a_group_is_replaced() {
    let disk = MemoryDisk::default();
    let (store, epoch) = open_rolling(&disk);
    append(&store, epoch, &[message("c", 1, "hello")]).unwrap();
    append(&store, epoch, &[message("c", 2, "hello")]).unwrap();
    let names = disk.names();
    let header = disk.content(names.last().unwrap())[..28].to_vec();
    let expected = entries(&store);
    drop(store);
    let next = format!("shard-0000.log.{:08}", names.len() + 1);

    for left in [vec![], header[..9].to_vec(), vec![0; 28], header] {
        let crashed = disk.copy();
        crashed.put(&next, left);

        let opened = try_open(&crashed, 200);

        // A sound header of another segment can't be the trace of a crash.
        if let Some(file) = corrupt_file(opened) {
            assert_eq!(file, next);
            continue;
        }
        assert_eq!(crashed.names(), names);
        let (store, epoch) = open_rolling(&crashed);
        append(&store, epoch, &[message("c", 3, "hello")]).unwrap();
        let (again, _) = try_open(&crashed.lose_power(|| false), 200).unwrap();
        assert_eq!(entries(&again), [&expected[..], &[message("c", 3, "hello")]].concat());
    }
}

/// Decides from a list, over and over.
fn from_list(list: &[bool]) -> impl FnMut() -> bool {
    let mut decisions = list.iter().copied().cycle();
    move || decisions.next().unwrap_or_default()
}

/// Appends batches of the given sizes to `log`, and at size 0 rewrites and merges what is due,
/// until the disk halts. Gives the log as it was acknowledged, and the batch that was not.
fn work_until_halt(
    store: &LogStore,
    log: &[ChannelEntry],
    sizes: &[usize],
) -> (Vec<ChannelEntry>, Vec<ChannelEntry>) {
    let mut acknowledged = log.to_vec();
    let Some(epoch) = poll_once(store.claim(SHARD)) else { return (acknowledged, Vec::new()) };
    let epoch = epoch.unwrap();
    for size in sizes {
        if *size == 0 {
            match poll_once(store.tidy(LogTime(0))) {
                Some(result) => drop(result.unwrap()),
                None => return (acknowledged, Vec::new()),
            }
            if let Some(found) = poll_once(store.entries()) {
                assert_eq!(found.unwrap(), acknowledged);
            }
            continue;
        }
        let next = acknowledged.len() as u64 + 1;
        let batch: Vec<_> =
            (next..).take(*size).map(|seq| message("c", seq, &"x".repeat(40))).collect();
        let given = Batch::of_entries(SHARD, (epoch, LogTime(0)), batch.clone());
        match poll_once(store.append(given)) {
            Some(result) => result.unwrap(),
            None => return (acknowledged, batch),
        }
        acknowledged.extend(batch);
    }
    (acknowledged, Vec::new())
}

/// All of the log and nothing else is there and remembered.
fn assert_whole(store: &LogStore, log: &[ChannelEntry]) {
    assert_eq!(entries(store), log);
    let recovered = run(store.recover(SHARD, Duration::MAX)).unwrap();
    assert_eq!(recovered.nonces.count(), log.len());
    for entry in log {
        let Content::Message { sender, nonce, .. } = &entry.entry.content else { continue };
        let found = recovered.nonces.find(NonceKey::new(&entry.channel, sender, nonce));
        assert_eq!(found, Some((entry.entry.seq, entry.entry.at)));
    }
}

#[test]
fn power_loss_at_any_operation_of_a_flush_or_a_merge_loses_nothing() {
    for keeps in [&[false][..], &[true], &[true, false], &[false, true, true]] {
        let mut halted = 0;
        for halt in 0.. {
            let disk = MemoryDisk::default();
            let (store, epoch) = open_rolling(&disk);
            let mut log = Vec::new();
            for seq in 1..=9 {
                let entry = message("c", seq, &"x".repeat(90));
                append(&store, epoch, std::slice::from_ref(&entry)).unwrap();
                log.push(entry);
            }
            disk.halt_after(halt);
            let done = poll_once(store.tidy(LogTime(0))).is_some();
            drop(store);

            let disk = disk.lose_power(from_list(keeps));
            let (store, _) = try_open(&disk, 200).unwrap();
            assert_whole(&store, &log);
            // It goes on where it stopped, and nothing needless is left.
            tidy(&store);
            let (again, report) = try_open(&disk.lose_power(|| false), 200).unwrap();
            assert_whole(&again, &log);
            assert_eq!(
                disk.names().len() as u64,
                report.runs + report.segments,
                "{:?}",
                disk.names()
            );
            if done {
                break;
            }
            halted += 1;
        }
        assert!(halted > 40, "a flush and a merge have more than {halted} operations");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn power_loss_keeps_what_was_acknowledged_and_the_rest_whole_or_not_at_all(
        sizes in vec(0_usize..5, 1..12),
        segment_bytes in 1_u32..1_500,
        halts in vec((0_usize..60, vec(proptest::bool::ANY, 1..40)), 1..4),
        recovery_halts in vec((0_usize..9, vec(proptest::bool::ANY, 1..40)), 0..3),
    ) {
        let mut disk = MemoryDisk::default();
        let mut log: Vec<ChannelEntry> = Vec::new();
        for (halt, keep) in &halts {
            let (store, _) = try_open(&disk, segment_bytes).unwrap();
            assert_whole(&store, &log);
            disk.halt_after(*halt);
            let (acknowledged, in_flight) = work_until_halt(&store, &log, &sizes);
            drop(store);
            disk = disk.lose_power(from_list(keep));
            for (halt, keep) in &recovery_halts {
                disk.halt_after(*halt);
                let shared = std::sync::Arc::new(disk.clone());
                drop(poll_once(LogStore::open(shared, SHARD, options(segment_bytes))));
                disk = disk.lose_power(from_list(keep));
            }
            let (store, _) = try_open(&disk, segment_bytes).unwrap();
            log = entries(&store);
            let whole = [&acknowledged[..], &in_flight].concat();
            assert!(log == acknowledged || log == whole, "{log:?}\nafter {acknowledged:?}");
            assert_whole(&store, &log);
            // What was reported once stays, even if the power goes before the next append.
            disk = disk.lose_power(|| false);
        }
    }
}
