//! A log of several segments, damaged at random, is refused or serves only what was written.
//!
//! `SERIATIM_FUZZ_LOGS` sets how many damaged logs are opened.

use std::env;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;
use seriatim_engine::entry::{ChannelEntry, Entry};
use seriatim_engine::history_bound::HistoryBound;
use seriatim_engine::ids::SeqNo;

use super::memory_disk::MemoryDisk;
use super::sample::{
    SHARD, append, by_channel, channel, entries, joined, message, open_rolling, poll_once, run,
    try_open,
};
use crate::log_store::LogStore;
use crate::{Store as _, StoreError};

const CHANNELS: [&str; 3] = ["c", "d", "e"];

/// What happens to one file.
#[derive(Debug, Clone)]
enum Damage {
    Flip(Vec<(Index, u8)>),
    Truncate(Index),
    Append(Vec<u8>),
    /// The bytes from the first place are written over those at the second.
    Overwrite(Index, Index, usize),
    /// The bytes from the first place are there once more at the second, and push the rest on.
    Insert(Index, Index, usize),
    /// The bytes at both places change places.
    Swap(Index, Index, usize),
    Zero(Index, usize),
    Cut(Index, usize),
    /// The file has the content of another one.
    Replace(Index),
    Remove,
}

fn damage() -> impl Strategy<Value = (Index, Damage)> {
    let place = any::<Index>;
    let length = || 1_usize..300;
    let damage = prop_oneof![
        4 => vec((place(), 1_u8..), 1..6).prop_map(Damage::Flip),
        3 => place().prop_map(Damage::Truncate),
        1 => vec(any::<u8>(), 1..100).prop_map(Damage::Append),
        2 => (place(), place(), length()).prop_map(|(from, to, n)| Damage::Overwrite(from, to, n)),
        2 => (place(), place(), length()).prop_map(|(from, to, n)| Damage::Insert(from, to, n)),
        2 => (place(), place(), length()).prop_map(|(one, two, n)| Damage::Swap(one, two, n)),
        1 => (place(), length()).prop_map(|(at, n)| Damage::Zero(at, n)),
        1 => (place(), length()).prop_map(|(at, n)| Damage::Cut(at, n)),
        1 => place().prop_map(Damage::Replace),
        1 => Just(Damage::Remove),
    ];
    (place(), damage)
}

impl Damage {
    fn apply(&self, disk: &MemoryDisk, name: &str) {
        let mut bytes = disk.content(name);
        let end = |from: usize, count: usize| bytes.len().min(from + count);
        let at = |place: &Index| place.index(bytes.len() + 1);
        match self {
            _ if bytes.is_empty() => {}
            Self::Flip(flips) => {
                for (place, bits) in flips {
                    let at = place.index(bytes.len());
                    bytes[at] ^= bits;
                }
            }
            Self::Truncate(place) => bytes.truncate(place.index(bytes.len())),
            Self::Append(more) => bytes.extend(more),
            Self::Overwrite(from, to, count) => {
                let (from, to) = (at(from), at(to));
                let copy = bytes[from..end(from, *count)].to_vec();
                bytes.resize(bytes.len().max(to + copy.len()), 0);
                bytes[to..to + copy.len()].copy_from_slice(&copy);
            }
            Self::Insert(from, to, count) => {
                let (from, to) = (at(from), at(to));
                let copy = bytes[from..end(from, *count)].to_vec();
                bytes.splice(to..to, copy);
            }
            Self::Swap(one, two, count) => {
                let (one, two) = (at(one), at(two));
                let (low, high) = (one.min(two), one.max(two));
                let count = (*count).min(high - low).min(bytes.len() - high);
                let (before, after) = bytes.split_at_mut(high);
                before[low..low + count].swap_with_slice(&mut after[..count]);
            }
            Self::Zero(place, count) => {
                let from = at(place);
                let end = end(from, *count);
                bytes[from..end].fill(0);
            }
            Self::Cut(place, count) => {
                let from = at(place);
                let end = end(from, *count);
                bytes.drain(from..end);
            }
            Self::Replace(other) => bytes = disk.content(other.get::<String>(&disk.names())),
            Self::Remove => {
                disk.remove_file(name);
                return;
            }
        }
        disk.put(name, bytes);
    }
}

/// A log whose segments hold a few groups each, written by two owners; its batches.
fn sound_log() -> (MemoryDisk, Vec<Vec<ChannelEntry>>) {
    let disk = MemoryDisk::default();
    let mut batches = Vec::new();
    for lifetime in 0..2 {
        let (store, epoch) = open_rolling(&disk);
        for step in 1..=6_u8 {
            let seq = lifetime * 6 + u64::from(step);
            let mut batch = vec![message("c", seq, &"long ".repeat(usize::from(step)))];
            if step % 2 == 0 {
                let seq = seq / 2;
                batch.extend([joined("d", seq, "ada"), message("e", seq, "tūū")]);
            }
            append(&store, epoch, &batch).unwrap();
            batches.push(batch);
        }
    }
    assert!(disk.names().len() >= 5, "{:?}", disk.names());
    (disk, batches)
}

fn contents(disk: &MemoryDisk) -> Vec<(String, Vec<u8>)> {
    disk.names().into_iter().map(|name| (name.clone(), disk.content(&name))).collect()
}

/// The error must be [`StoreError::Corrupt`], with a segment and a byte of it.
fn assert_corrupt(disk: &MemoryDisk, error: StoreError) {
    let StoreError::Corrupt { file, offset, what } = error else {
        panic!("damage is reported as {error}");
    };
    assert!(!what.is_empty(), "{file} is corrupt without a reason");
    match disk.names().contains(&file) {
        true => {
            let length = disk.content(&file).len() as u64;
            assert!(offset <= length, "byte {offset} of {length}");
        }
        // A missing segment is named too.
        false => assert!((file.starts_with("shard-0000.log."), offset) == (true, 0), "{file}"),
    }
}

/// Every page of every channel is what `log` says.
fn assert_history(store: &LogStore, log: &[ChannelEntry]) {
    for name in CHANNELS {
        let key = channel(name);
        let of_channel = log.iter().filter(|entry| entry.channel == key);
        let expected: Vec<Entry> = of_channel.map(|entry| entry.entry.clone()).collect();
        for after in 0..=expected.len() {
            let page = run(store.history(&key, HistoryBound::After(SeqNo(after as u64)), 4, 60))
                .unwrap()
                .entries;
            assert!(expected[after..].starts_with(&page), "{name} after {after}: {page:?}");
            assert_eq!(page.is_empty(), after == expected.len(), "{name} after {after}");
        }
    }
}

/// The log of `damaged`, if it opens: all of it but the newest groups that one crash can take.
fn check_opened(damaged: &MemoryDisk, batches: &[Vec<ChannelEntry>]) -> bool {
    let before = contents(damaged);
    let (store, report) = match try_open(damaged, 200) {
        Ok(opened) => opened,
        Err(error) => {
            assert_corrupt(damaged, error);
            assert_eq!(contents(damaged), before, "a corrupt log was changed");
            return false;
        }
    };
    let found = entries(&store);
    let kept =
        (0..=batches.len()).rev().find(|kept| by_channel(&batches[..*kept].concat()) == found);
    let kept = kept.unwrap_or_else(|| panic!("what was served was never written: {found:?}"));
    assert_eq!(report.entries, found.len() as u64);
    assert_history(&store, &found);
    run(store.recover(SHARD, Duration::MAX)).unwrap();
    // It goes on where it stands, and stays so.
    let epoch = run(store.claim(SHARD)).unwrap();
    let next = run(store.history(&channel("c"), HistoryBound::After(SeqNo(0)), 100, 1 << 20))
        .unwrap()
        .entries
        .len() as u64
        + 1;
    append(&store, epoch, &[message("c", next, "more")]).unwrap();
    let (again, _) = try_open(&damaged.lose_power(|| false), 200).unwrap();
    let expected = [batches[..kept].concat(), vec![message("c", next, "more")]].concat();
    assert_eq!(entries(&again), by_channel(&expected));
    true
}

/// What a crash can't have done to `damaged`, once `sound`, is never repaired in silence: earlier
/// segments may not differ at all, and the last one costs no more than itself.
fn check_losses(sound: &MemoryDisk, damaged: &MemoryDisk, opened: bool) {
    let (mut whole, mut left) = (contents(sound), contents(damaged));
    let (last, last_left) = (whole.pop(), left.pop());
    if whole != left {
        // Fewer segments, each of them sound, are what an earlier moment left.
        left.extend(last_left);
        let earlier = left.pop().is_none_or(|(name, _)| Some(name) != last.map(|(name, _)| name))
            && whole.starts_with(&left);
        assert!(!opened || earlier, "a damaged segment before the last was not noticed");
        return;
    }
    if opened {
        let without_last = damaged.copy();
        without_last.remove_file(&last.expect("it has segments").0);
        let kept = entries(&try_open(&without_last, 200).unwrap().0);
        let found = entries(&try_open(damaged, 200).unwrap().0);
        assert!(
            kept.iter().all(|entry| found.contains(entry)),
            "the last segment's damage cost earlier entries"
        );
    }
}

/// Damage of an open store's files: what is read is what was written, or an error.
fn check_while_open(disk: &MemoryDisk, batches: &[Vec<ChannelEntry>], damage: impl FnOnce()) {
    let (store, _) = try_open(disk, 200).unwrap();
    damage();
    let log = batches.concat();
    for name in CHANNELS {
        let key = channel(name);
        let expected = || log.iter().filter(|entry| entry.channel == key);
        for after in 0..=expected().count() {
            match poll_once(store.history(&key, HistoryBound::After(SeqNo(after as u64)), 4, 60))
                .unwrap()
            {
                Ok(page) => {
                    let rest: Vec<Entry> =
                        expected().skip(after).map(|entry| entry.entry.clone()).collect();
                    assert!(rest.starts_with(&page.entries), "{name} after {after}: {page:?}");
                }
                Err(error) => assert!(matches!(error, StoreError::Corrupt { .. }), "{error}"),
            }
        }
    }
    match run(store.entries()) {
        Ok(found) => assert_eq!(found, by_channel(&log)),
        Err(error) => assert!(matches!(error, StoreError::Corrupt { .. }), "{error}"),
    }
}

fn cases() -> u32 {
    match env::var("SERIATIM_FUZZ_LOGS") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{text:?} is not a number of logs")),
        Err(_) => 300,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn no_damage_makes_the_log_serve_what_was_never_written(damages in vec(damage(), 1..4)) {
        let (disk, batches) = sound_log();
        let apply = |disk: &MemoryDisk| {
            for (file, damage) in &damages {
                let names = disk.names();
                if !names.is_empty() {
                    damage.apply(disk, file.get::<String>(&names));
                }
            }
        };
        let damaged = disk.copy();
        apply(&damaged);
        let opened = check_opened(&damaged.copy(), &batches);
        check_losses(&disk, &damaged, opened);
        check_while_open(&disk, &batches, || apply(&disk));
    }
}

/// Damage where a crash does it must not lock the log.
#[test]
fn sound_log_and_one_without_its_last_byte_open() {
    let (disk, batches) = sound_log();
    assert!(check_opened(&disk.copy(), &batches));
    let names = disk.names();
    let last = names.last().unwrap();
    let mut content = disk.content(last);
    content.pop();
    disk.put(last, content);
    assert!(check_opened(&disk, &batches));
}
