//! A log with runs, damaged in one place: it is refused with the file's name, or serves only what
//! was written; and a check finds the file, the place, and what is lost.
//!
//! `SERIATIM_FUZZ_LOGS` sets how much is tried: ten times as many flipped bits in each file, and
//! with 1,000 or more every truncation.

use std::env;
use std::ops::Range;
use std::time::Duration;

use seriatim_engine::entry::ChannelEntry;
use seriatim_engine::history_bound::HistoryBound;
use seriatim_engine::ids::{Epoch, SeqNo};

use super::memory_disk::MemoryDisk;
use super::sample::{
    SHARD, append, by_channel, entries, joined, message, poll_once, run, tidy, try_open,
};
use crate::log_store::block::{BlockWriter, Section, SectionKind};
use crate::log_store::footer::{FOOTER_BYTES, Footer};
use crate::log_store::run_name::RunName;
use crate::log_store::segment::{FORMAT_VERSION, OTHER_VERSION};
use crate::log_store::{CheckReport, Damage, LogStore, Progress, check, shards};
use crate::{Store as _, StoreError};

const SEGMENT_BYTES: u32 = 2_000;

const MERGED: &str = "shard-0000.run.00000001-00000002";
const LAST: &str = "shard-0000.log.00000005";

/// A merged run, whose channel `c` has marks, a run of one segment, and two segments that are in
/// none. Its batches.
fn sound_log() -> (MemoryDisk, Vec<Vec<ChannelEntry>>) {
    let disk = MemoryDisk::default();
    let (store, _) = try_open(&disk, SEGMENT_BYTES).unwrap();
    let epoch = run(store.claim(SHARD)).unwrap();
    let mut batches = Vec::new();
    for (step, body) in (1_u64..).zip([6_000, 6_000, 700, 700, 60]) {
        let body = "x".repeat(body);
        let mut batch = vec![joined("d", step, &format!("user{step}"))];
        batch.extend((3 * step - 2..=3 * step).map(|seq| message("c", seq, &body)));
        batch.push(message("e", step, "tūū"));
        append(&store, epoch, &batch).unwrap();
        batches.push(batch);
        if step == 4 {
            tidy(&store);
        }
    }
    (disk, batches)
}

fn checked(disk: &MemoryDisk) -> CheckReport {
    run(check(disk, SHARD, |_| {})).unwrap()
}

/// The first position of each channel that can't be read; then all of them can.
fn unreadable(store: &LogStore, log: &[ChannelEntry]) -> u64 {
    let readable = |entry: &&ChannelEntry| {
        let after = SeqNo(entry.entry.seq.0 - 1);
        match poll_once(store.history(&entry.channel, HistoryBound::After(after), 1, 1)).unwrap() {
            Ok(page) => {
                assert_eq!(page.entries.first(), Some(&entry.entry), "another entry was served");
                true
            }
            Err(error) => {
                assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
                false
            }
        }
    };
    log.iter().filter(|entry| !readable(entry)).count() as u64
}

/// Damages a file of the log at `bytes`, then opens and checks it.
fn judge(file: &str, bytes: Range<u64>, damaged: &MemoryDisk, batches: &[Vec<ChannelEntry>]) {
    let context = format!("{file} bytes {bytes:?}");
    let report = checked(damaged);
    let is_fatal = report.damages.iter().any(|damage| damage.is_fatal);
    let log = batches.concat();
    match try_open(damaged, SEGMENT_BYTES) {
        Err(error) => {
            assert!(matches!(error, StoreError::Corrupt { .. }), "{context}: {error}");
            assert!(is_fatal, "{context}: refused with {error}, but {report:?}");
        }
        Ok((store, opened)) => {
            let kept = (0..=batches.len())
                .rev()
                .find(|kept| batches[..*kept].concat().len() as u64 == opened.entries);
            let log = batches[..kept.unwrap_or_else(|| panic!("{context}: {opened:?}"))].concat();
            let recovered = run(store.recover(SHARD, Duration::MAX));
            assert_eq!(recovered.is_err(), is_fatal, "{context}: {report:?}");
            let lost = unreadable(&store, &log);
            let known: u64 = report.damages.iter().map(|damage| damage.lost_entries).sum();
            assert!(lost <= known || is_a_mark(&report), "{context}: {lost} lost, but {report:?}");
            assert_eq!(report.entries + known, log.len() as u64, "{context}");
        }
    }
    let found: Vec<&Damage> = report.damages.iter().collect();
    let [damage] = found.as_slice() else {
        // What a crash may have done to the last segment isn't damage.
        let is_torn = report.torn_bytes > 0 || bytes.is_empty();
        assert!(file == LAST && is_torn, "{context} is not found: {found:?}");
        assert!(report.entries < log.len() as u64, "{context}: nothing is missing");
        return;
    };
    assert_eq!(damage.file, file, "{context}");
    assert!(damage.offset <= bytes.start, "{context}: {damage:?}");
    assert!(!damage.what.is_empty() && damage.remedy().contains("backup"));
}

/// A page that needs a damaged mark can't be found, though its entries are sound.
fn is_a_mark(report: &CheckReport) -> bool {
    report.damages.iter().any(|damage| !damage.is_fatal && damage.lost_entries == 0)
}

fn campaign() -> usize {
    match env::var("SERIATIM_FUZZ_LOGS") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{text:?} is not a number of logs")),
        Err(_) => 20,
    }
}

#[test]
fn sound_log_is_found_sound_and_read_whole() {
    let (disk, batches) = sound_log();
    let names = disk.names();
    assert!(names.contains(&MERGED.to_owned()) && names.contains(&LAST.to_owned()), "{names:?}");
    let mut told = Vec::new();

    let report = run(check(&disk, SHARD, |progress| told.push(progress))).unwrap();

    assert_eq!(report.damages, []);
    assert_eq!((report.entries, report.channels), (batches.concat().len() as u64, 3));
    assert_eq!((report.epoch, report.torn_bytes), (Epoch(1), 0));
    assert_eq!(report.runs + report.segments, names.len() as u64);
    let bytes_total = names.iter().map(|name| disk.content(name).len() as u64).sum();
    assert_eq!(told.len(), names.len());
    assert_eq!(told.last(), Some(&Progress { bytes: bytes_total, bytes_total }));
    assert_eq!(run(shards(&disk)).unwrap(), [SHARD]);
    assert_eq!(entries(&try_open(&disk, SEGMENT_BYTES).unwrap().0), by_channel(&batches.concat()));
}

#[test]
fn flipped_bits_are_found_where_they_are_and_never_served() {
    let (disk, batches) = sound_log();
    for name in disk.names() {
        let sound = disk.content(&name);
        let count = sound.len().min(campaign() * 10);
        for number in 0..count {
            // Spread over the file, every bit of a byte in turn.
            let at = number * sound.len() / count;
            let mut bytes = sound.clone();
            bytes[at] ^= 1 << (number % 8);
            let damaged = disk.copy();
            damaged.put(&name, bytes);
            judge(&name, at as u64..at as u64 + 1, &damaged, &batches);
        }
    }
}

#[test]
fn truncated_files_are_found_and_never_served() {
    let (disk, batches) = sound_log();
    for name in disk.names() {
        let sound = disk.content(&name);
        let step = if campaign() >= 1_000 { 1 } else { sound.len() / 100 + 1 };
        // The last bytes are where the footer is.
        let tail = sound.len().saturating_sub(FOOTER_BYTES + 20)..sound.len();
        for length in (0..sound.len()).step_by(step).chain(tail) {
            let damaged = disk.copy();
            damaged.put(&name, sound[..length].to_vec());
            judge(&name, sound.len() as u64..sound.len() as u64, &damaged, &batches);
        }
    }
}

#[test]
fn missing_file_is_named_unless_it_is_the_newest() {
    let (disk, _) = sound_log();
    for name in disk.names() {
        let damaged = disk.copy();
        damaged.remove_file(&name);
        let report = checked(&damaged);
        if name == LAST {
            assert_eq!(report.damages, []);
        } else {
            assert_eq!(report.damages.len(), 1, "{name}: {report:?}");
            let Damage { file, is_fatal, .. } = &report.damages[0];
            // What replaced a single segment is called by the segment's name.
            let other = name.replace(".run.00000003-", ".log.");
            assert_eq!((file, *is_fatal), (&other, true));
            assert!(report.damages[0].lost_entries > 0, "{report:?}");
        }
    }
}

/// Gives a section of the merged run other content of the same length, with sound checksums.
fn rewrite(disk: &MemoryDisk, kind: SectionKind, change: impl FnOnce(&mut Vec<u8>)) {
    let name = RunName { shard: SHARD, first: 1, last: 2 };
    let mut bytes = disk.content(MERGED);
    let footer = &bytes[bytes.len() - FOOTER_BYTES..];
    let footer = Footer::decode(footer, name, bytes.len() as u64).unwrap();
    let (start, length) = match kind {
        SectionKind::State => (footer.data_end, footer.state_bytes),
        SectionKind::Nonces => (footer.nonces_start(), footer.nonces_bytes),
        SectionKind::Channels => (footer.channels_start(), footer.channels_bytes),
        SectionKind::Marks => panic!("marks are no section of their own"),
    };
    let range = usize::try_from(start).unwrap()..usize::try_from(start + length).unwrap();
    let mut payload = bytes[range.clone()][8..].to_vec();
    change(&mut payload);
    let mut writer = BlockWriter::new(Section { run: name, kind }, 0);
    writer.push(|buffer| buffer.extend_from_slice(&payload));
    writer.close();
    let mut block = Vec::new();
    writer.take(&mut block);
    bytes.splice(range, block);
    disk.put(MERGED, bytes);
}

/// Checksums can't find these: whoever wrote the run was wrong.
#[test]
fn index_that_differs_from_the_records_is_found() {
    let expected = [
        // The second of two joins is the first one once more.
        (SectionKind::State, 0, "the state is not that of the records"),
        // The highest byte of the last one's wall time, and of its time of the log.
        (SectionKind::Nonces, 5, "a nonce is that of no record"),
        (SectionKind::Nonces, 1, "a nonce is younger than the run"),
        (SectionKind::Channels, 12, "a channel's latest time is not that of its records"),
    ];
    for (kind, from_end, what) in expected {
        let (disk, _) = sound_log();
        rewrite(&disk, kind, |payload| match kind {
            SectionKind::State => {
                let half = payload.len() / 2;
                payload.copy_within(..half, half);
            }
            SectionKind::Nonces | SectionKind::Channels => {
                let at = payload.len() - from_end;
                payload[at] ^= 1;
            }
            SectionKind::Marks => {}
        });
        let report = checked(&disk);
        let found: Vec<(&str, &str)> = report
            .damages
            .iter()
            .map(|damage| (damage.file.as_str(), damage.what.as_str()))
            .collect();
        assert_eq!(found, [(MERGED, what)]);
    }
}

#[test]
fn run_of_another_version_is_refused_and_named() {
    for version in [FORMAT_VERSION - 1, FORMAT_VERSION + 1] {
        let (disk, _) = sound_log();
        let mut bytes = disk.content(MERGED);
        let start = bytes.len() - FOOTER_BYTES;
        let footer = &mut bytes[start..];
        footer[8..12].copy_from_slice(&version.to_le_bytes());
        let checksum = crc32c::crc32c(&footer[..FOOTER_BYTES - 4]);
        footer[FOOTER_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
        disk.put(MERGED, bytes.clone());

        let refused = try_open(&disk, SEGMENT_BYTES).err().map(|error| error.to_string());
        let refused = refused.unwrap_or_else(|| panic!("version {version} was opened"));
        assert!(refused.contains(MERGED) && refused.contains(OTHER_VERSION), "{refused}");
        assert_eq!(disk.content(MERGED), bytes, "it stays as it is");
        let report = checked(&disk);
        let [damage] = report.damages.as_slice() else { panic!("{report:?}") };
        assert_eq!((damage.file.as_str(), damage.what.as_str()), (MERGED, OTHER_VERSION));
        assert!(damage.is_fatal);
    }
}
