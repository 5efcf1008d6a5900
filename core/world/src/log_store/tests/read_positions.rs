//! How far users have read survives what the disk does.

use std::collections::BTreeMap;
use std::time::Duration;

use seriatim_engine::entry::ReadCursor;
use seriatim_engine::ids::{Epoch, SeqNo, UserId};
use seriatim_engine::time::LogTime;

use super::memory_disk::{MemoryDisk, Operation};
use super::sample::{SHARD, channel, message, open, poll_once, run};
use crate::log_store::group::{Place, Stamp, encode_batch, encode_reads};
use crate::log_store::segment::SEGMENT_HEADER_BYTES;
use crate::log_store::{CheckReport, LogStore, check};
use crate::{Store as _, StoreError};

const FILE: &str = "shard-0000.reads";

fn read(name: &str, user: u32, seq: u64) -> ReadCursor {
    let user = UserId::new(&format!("u{user}")).unwrap();
    ReadCursor { channel: channel(name), user, seq: SeqNo(seq) }
}

fn note(store: &LogStore, epoch: Epoch, reads: &[ReadCursor]) -> Result<(), StoreError> {
    run(store.note_reads(SHARD, epoch, reads.to_vec()))
}

fn claimed(disk: &MemoryDisk) -> (LogStore, Epoch) {
    let (store, _) = open(disk);
    let epoch = run(store.claim(SHARD)).unwrap();
    (store, epoch)
}

fn positions(store: &LogStore) -> BTreeMap<String, u64> {
    let recovered = run(store.recover(SHARD, Duration::MAX)).unwrap();
    let position =
        |read: ReadCursor| (format!("{} {}", read.channel.channel, read.user), read.seq.0);
    recovered.reads.into_iter().map(position).collect()
}

fn expected(positions: &[(&str, u64)]) -> BTreeMap<String, u64> {
    positions.iter().map(|(whose, seq)| ((*whose).to_owned(), *seq)).collect()
}

#[test]
fn power_loss_at_any_step_keeps_what_was_acknowledged_and_no_position_falls() {
    for steps in 0..24 {
        let disk = MemoryDisk::default();
        let (store, epoch) = claimed(&disk);
        disk.halt_after(steps);
        let mut acknowledged = 0;
        for seq in 1..=6 {
            match poll_once(store.note_reads(SHARD, epoch, vec![read("c", 1, seq)])) {
                Some(noted) => noted.unwrap(),
                None => break,
            }
            acknowledged = seq;
        }
        for keep in [false, true] {
            let (again, _) = open(&disk.lose_power(|| keep));
            let found = positions(&again).remove("c u1").unwrap_or_default();
            let possible = acknowledged..=acknowledged + 1;
            assert!(possible.contains(&found), "{steps} steps: {found}, not {possible:?}");
        }
    }
}

#[test]
fn a_file_full_of_what_is_out_of_date_is_written_anew() {
    let disk = MemoryDisk::default();
    let (store, epoch) = claimed(&disk);
    let mut longest = 0;
    for seq in 1..=4_000 {
        note(&store, epoch, &[read("c", 1, seq), read("d", 2, seq / 2)]).unwrap();
        longest = longest.max(disk.content(FILE).len());
    }
    assert!(longest < 66 * 1024, "{longest} bytes for two positions");
    let last = [("c u1", 4_000), ("d u2", 2_000)];
    assert_eq!(positions(&store), expected(&last));
    assert_eq!(positions(&open(&disk).0), expected(&last));
}

#[test]
fn damage_costs_the_positions_that_it_hits_and_no_others() {
    let disk = MemoryDisk::default();
    let (store, epoch) = claimed(&disk);
    let mut ends = vec![0];
    for user in 1..=3 {
        note(&store, epoch, &[read("c", user, 7)]).unwrap();
        ends.push(disk.content(FILE).len());
    }
    let sound = disk.content(FILE);
    for bit in 0..sound.len() * 8 {
        let mut content = sound.clone();
        content[bit / 8] ^= 1 << (bit % 8);
        let damaged = disk.copy();
        damaged.put(FILE, content);
        let found = positions(&open(&damaged).0);
        let hit = ends.iter().filter(|end| **end <= bit / 8).count();
        for user in 1..=3 {
            let known = found.get(&format!("c u{user}"));
            let spoilt = user == hit && bit / 8 >= 28;
            assert_eq!(known, (!spoilt).then_some(&7), "bit {bit}, user {user}");
        }
    }
    for length in 0..sound.len() {
        let damaged = disk.copy();
        damaged.put(FILE, sound[..length].to_vec());
        let whole = ends.iter().skip(1).filter(|end| **end <= length).count();
        assert_eq!(positions(&open(&damaged).0).len(), whole, "length {length}");
    }
}

#[test]
fn failed_note_is_the_last_one_until_the_store_is_opened_again() {
    for operation in [Operation::Write, Operation::Sync] {
        let disk = MemoryDisk::default();
        let (store, epoch) = claimed(&disk);
        note(&store, epoch, &[read("c", 1, 5)]).unwrap();
        disk.fail(operation);
        let failed = note(&store, epoch, &[read("c", 1, 6)]);
        assert!(matches!(failed, Err(StoreError::Failed { .. })), "{failed:?}");
        let refused = note(&store, epoch, &[read("c", 1, 7)]);
        assert!(matches!(refused, Err(StoreError::Poisoned)), "{refused:?}");
        let (again, epoch) = claimed(&disk.lose_power(|| false));
        assert_eq!(positions(&again), expected(&[("c u1", 5)]));
        note(&again, epoch, &[read("c", 1, 8)]).unwrap();
    }
}

/// A file of three notes; where each ends, the header first.
fn noted() -> (MemoryDisk, Vec<u8>, Vec<usize>) {
    let disk = MemoryDisk::default();
    let (store, epoch) = claimed(&disk);
    let mut ends = vec![SEGMENT_HEADER_BYTES as usize];
    for user in 1..=3 {
        note(&store, epoch, &[read("c", user, 7)]).unwrap();
        ends.push(disk.content(FILE).len());
    }
    let sound = disk.content(FILE);
    (disk, sound, ends)
}

fn checked(disk: &MemoryDisk, content: &[u8]) -> CheckReport {
    let disk = disk.copy();
    disk.put(FILE, content.to_vec());
    run(check(&disk, SHARD, |_| {})).unwrap()
}

#[test]
fn a_check_names_the_first_damage_of_a_file_with_any_bit_flipped() {
    let (disk, sound, ends) = noted();
    let report = checked(&disk, &sound);
    assert_eq!((report.damages.len(), report.read_positions, report.torn_bytes), (0, 3, 0));
    let last = ends[2];
    for bit in 0..sound.len() * 8 {
        let mut content = sound.clone();
        content[bit / 8] ^= 1 << (bit % 8);
        let report = checked(&disk, &content);
        if bit / 8 >= last {
            // As a crash may have left it.
            assert_eq!((&report.damages, report.read_positions), (&Vec::new(), 2), "bit {bit}");
            assert_eq!(report.torn_bytes, (sound.len() - last) as u64, "bit {bit}");
            continue;
        }
        let [damage] = report.damages.as_slice() else { panic!("bit {bit}: {report:?}") };
        let begin = ends.iter().rev().find(|end| **end <= bit / 8).copied().unwrap_or(0);
        assert_eq!((damage.file.as_str(), damage.offset), (FILE, begin as u64), "bit {bit}");
        assert!(damage.is_of_reads && !damage.is_fatal && damage.lost_entries == 0, "bit {bit}");
        assert!(damage.remedy().contains("No message is lost"), "bit {bit}");
        assert_eq!(report.read_positions, if begin == 0 { 3 } else { 2 }, "bit {bit}");
    }
}

#[test]
fn a_check_of_a_truncated_file_tells_what_is_cut_short() {
    let (disk, sound, ends) = noted();
    for length in 0..sound.len() {
        let report = checked(&disk, &sound[..length]);
        let end = ends.iter().rev().find(|end| **end <= length);
        let positions = ends.iter().skip(1).filter(|end| **end <= length).count() as u64;
        assert_eq!(report.read_positions, positions, "length {length}");
        let offsets: Vec<u64> = report.damages.iter().map(|damage| damage.offset).collect();
        match end {
            // There never is a file without its header.
            None => assert_eq!((offsets, report.torn_bytes), (vec![0], 0), "length {length}"),
            Some(end) => {
                let torn = (length - end) as u64;
                assert_eq!((offsets, report.torn_bytes), (vec![], torn), "length {length}");
            }
        }
    }
}

#[test]
fn a_check_takes_no_record_of_the_log_for_a_read_position() {
    let (disk, sound, ends) = noted();
    let place = Place { shard: SHARD, segment: 0 };
    let stamp = Stamp { epoch: Epoch(1), at: LogTime(0) };
    let at = u32::try_from(ends[1]).unwrap();
    let mut content = sound[..ends[1]].to_vec();
    content.extend(encode_batch((&[message("c", 1, "hi")], &[]), stamp, place, at).0);
    let next = u32::try_from(content.len()).unwrap();
    content.extend(encode_reads(&[read("c", 2, 9)], Epoch(1), place, next));
    let report = checked(&disk, &content);
    let offsets: Vec<u64> = report.damages.iter().map(|damage| damage.offset).collect();
    assert_eq!((offsets, report.read_positions), (vec![u64::from(at)], 2));
}
