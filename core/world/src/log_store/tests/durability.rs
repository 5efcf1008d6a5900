//! What was reported stays, over reopening, rolling and power losses.

use std::time::Duration;

use seriatim_engine::entry::Batch;
use seriatim_engine::ids::{Epoch, Nonce, SeqNo, UserId};
use seriatim_engine::nonces::NonceKey;
use seriatim_engine::time::{LogTime, WallTime};

use super::memory_disk::{MemoryDisk, Operation};
use super::sample::{
    SHARD, append, append_at, by_channel, channel, confirmation, entries, joined, left, message,
    open, open_rolling, run, three_batches, tidy, try_open,
};
use crate::log_store::tests::sample::after;
use crate::log_store::{RecoveryReport, check};
use crate::{Store as _, StoreError};

#[test]
fn appended_batches_survive_a_power_loss() {
    let disk = MemoryDisk::default();
    let batches = three_batches(&disk);

    let (store, report) = open(&disk.lose_power(|| false));

    assert_eq!(entries(&store), by_channel(&batches.concat()));
    let expected = RecoveryReport {
        trimmed: 0,
        runs: 0,
        segments: 1,
        groups: 4,
        entries: 5,
        channels: 2,
        epoch: Epoch(1),
        truncated_bytes: 0,
    };
    assert_eq!(report, expected);
}

#[test]
fn full_segment_is_followed_by_the_next_and_both_survive_a_power_loss() {
    let disk = MemoryDisk::default();
    let (store, epoch) = open_rolling(&disk);
    let sent: Vec<_> = (1..=9).map(|seq| message("c", seq, "hello")).collect();
    for entry in &sent {
        append(&store, epoch, std::slice::from_ref(entry)).unwrap();
    }
    assert!(disk.names().len() >= 4, "{:?}", disk.names());

    let (again, report) = try_open(&disk.lose_power(|| false), 200).unwrap();

    assert_eq!(entries(&again), sent);
    assert_eq!(report.segments, disk.names().len() as u64);
    let page = run(again.history(&channel("c"), after(2), 100, 1 << 20)).unwrap().entries;
    assert_eq!(page, sent[2..].iter().map(|sent| sent.entry.clone()).collect::<Vec<_>>());
}

#[test]
fn recovered_group_whose_sync_had_failed_survives_a_power_loss() {
    let disk = MemoryDisk::default();
    three_batches(&disk);
    let (store, _) = open(&disk);
    let epoch = run(store.claim(SHARD)).unwrap();
    disk.fail(Operation::Sync);
    assert!(append(&store, epoch, &[message("d", 3, "four")]).is_err());

    let (store, _) = open(&disk);
    let reported = entries(&store);
    let (again, _) = open(&disk.lose_power(|| false));

    assert_eq!(entries(&again), reported);
}

#[test]
fn failed_recovery_can_be_tried_again() {
    for operation in [Operation::Read, Operation::Write, Operation::Sync, Operation::SyncDirectory]
    {
        let disk = MemoryDisk::default();
        let batches = three_batches(&disk);

        disk.fail(operation);
        let failed = try_open(&disk, 200).err().unwrap();

        assert!(matches!(failed, StoreError::Failed { .. }), "{operation:?}: {failed}");
        let (store, _) = open(&disk.lose_power(|| false));
        assert_eq!(entries(&store), by_channel(&batches.concat()), "{operation:?}");
    }
}

#[test]
fn failed_truncation_can_be_tried_again() {
    let disk = MemoryDisk::default();
    let batches = three_batches(&disk);
    let name = &disk.names()[0];
    let mut content = disk.content(name);
    content.truncate(content.len() - 1);
    disk.put(name, content);

    disk.fail(Operation::SetLength);
    let failed = try_open(&disk, 200).err().unwrap();

    assert!(matches!(failed, StoreError::Failed { .. }), "{failed}");
    assert_eq!(entries(&open(&disk).0), by_channel(&batches[..2].concat()));
}

#[test]
fn recovered_state_is_the_same_from_segments_and_from_runs() {
    let disk = MemoryDisk::default();
    let (store, epoch) = open_rolling(&disk);
    let changes = [
        joined("d", 1, "ada"),
        joined("d", 2, "bob"),
        left("d", 3, "ada"),
        joined("d", 4, "bob"),
        joined("d", 5, "ada"),
        left("d", 6, "bob"),
    ];
    for (seq, change) in (1..).zip(changes) {
        let at = LogTime(u32::try_from(seq).unwrap() * 10);
        append_at(&store, epoch, at, &[message("c", seq, "hello"), change]).unwrap();
    }
    let merged = disk.copy();
    let (merged_store, _) = try_open(&merged, 200).unwrap();
    tidy(&merged_store);
    assert!(merged.names().iter().any(|name| name.contains(".run.")), "{:?}", merged.names());

    for store in [&store, &try_open(&disk, 200).unwrap().0, &merged_store, &open(&merged).0] {
        let recovered = run(store.recover(SHARD, Duration::from_secs(20))).unwrap();

        assert_eq!(recovered.log_time, LogTime(60));
        assert_eq!(recovered.nonces.count(), 6, "of messages and of changes");
        for seq in 4..=6 {
            let (ada, nonce) =
                (UserId::new("ada").unwrap(), Nonce::new(&format!("n{seq}")).unwrap());
            let found = recovered.nonces.find(NonceKey::new(&channel("c"), &ada, &nonce));
            assert_eq!(found, Some((SeqNo(seq), WallTime(1000 + seq))));
        }
        let changed = &recovered.channels[&channel("d")];
        let stays: Vec<_> =
            changed.roster.stays.values().map(|stay| (stay.from.0, stay.until)).collect();
        assert_eq!(stays, [(5, None), (2, Some(SeqNo(6)))], "of ada and bob");
        assert_eq!(changed.head, SeqNo(6));
    }
}

#[test]
fn a_confirmation_is_remembered_with_its_batch_from_segments_and_from_runs_as_long_as_a_nonce() {
    let disk = MemoryDisk::default();
    let (store, epoch) = open_rolling(&disk);
    append(&store, epoch, &[joined("c", 1, "ada")]).unwrap();
    for round in 1..=6 {
        let entries = vec![message("c", round + 1, "hello")];
        let at = LogTime(u32::try_from(round).unwrap() * 10);
        let batch = Batch::of_entries(SHARD, (epoch, at), entries);
        let confirmations = vec![confirmation("c", round, "ada", &format!("j{round}"))];
        run(store.append(Batch { confirmations, ..batch })).unwrap();
    }
    let alone = Batch::of_entries(SHARD, (epoch, LogTime(60)), Vec::new());
    let confirmations = vec![confirmation("c", 1, "ada", "alone")];
    run(store.append(Batch { confirmations, ..alone })).unwrap();
    let merged = disk.copy();
    let (merged_store, _) = try_open(&merged, 200).unwrap();
    tidy(&merged_store);
    assert!(merged.names().iter().any(|name| name.contains(".run.")), "{:?}", merged.names());

    for store in [&store, &try_open(&disk, 200).unwrap().0, &merged_store, &open(&merged).0] {
        let recovered = run(store.recover(SHARD, Duration::from_secs(20))).unwrap();
        let find = |nonce: &str| {
            let (ada, nonce) = (UserId::new("ada").unwrap(), Nonce::new(nonce).unwrap());
            recovered.nonces.find(NonceKey::new(&channel("c"), &ada, &nonce))
        };
        for round in 4..=6 {
            let expected = Some((SeqNo(round), WallTime(2000 + round)));
            assert_eq!(find(&format!("j{round}")), expected);
        }
        assert_eq!(find("alone"), Some((SeqNo(1), WallTime(2001))));
        assert_eq!(find("j3"), None, "it is too old");
        assert_eq!(recovered.nonces.count(), 7, "with those of three messages");
        assert_eq!(recovered.channels[&channel("c")].head, SeqNo(7), "it takes no number");
        assert_eq!(entries(store).len(), 7);
    }
    for disk in [&disk, &merged] {
        let report = run(check(disk, SHARD, |_| {})).unwrap();
        assert!(report.damages.is_empty(), "{:?}", report.damages);
        assert_eq!(report.entries, 7);
    }
}
