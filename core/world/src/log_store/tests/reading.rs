//! Pages of history are exactly what was asked for, and never rotten.

use std::sync::Arc;

use seriatim_engine::entry::{ChannelEntry, Entry};
use seriatim_engine::history_bound::HistoryBound;
use seriatim_engine::ids::SeqNo;
use seriatim_engine::time::{LogTime, WallTime};

use super::memory_disk::{MemoryDisk, Operation};
use super::sample::{
    SHARD, after, append, channel, entries, message, open, open_rolling, options, run,
    three_batches, tidy, try_open,
};
use crate::conformance::store_suite;
use crate::log_store::LogStore;
use crate::real::RealDisk;
use crate::{Disk, Store, StoreError};

/// Runs of several sizes, a segment that waits and one that takes groups: 120 entries of channel
/// c, some long enough for marks, and 120 of d.
fn layered(disk: &MemoryDisk) -> (LogStore, Vec<ChannelEntry>) {
    let (store, _) = try_open(disk, 4_000).unwrap();
    let epoch = run(store.claim(SHARD)).unwrap();
    let mut log = Vec::new();
    for seq in 1..=120 {
        let body = "x".repeat(if seq % 5 == 0 { 9_000 } else { 300 });
        let batch = [message("c", seq, &body), message("d", seq, "short")];
        append(&store, epoch, &batch).unwrap();
        log.extend(batch);
        if seq == 110 {
            tidy(&store);
        }
    }
    (store, log)
}

fn run_files(disk: &MemoryDisk) -> Vec<String> {
    disk.names().into_iter().filter(|name| name.contains(".run.")).collect()
}

#[test]
fn pages_are_read_whole_and_in_order_wherever_their_entries_lie() {
    let disk = MemoryDisk::default();
    let (store, log) = layered(&disk);
    assert!(run_files(&disk).len() >= 2, "{:?}", disk.names());
    let (reopened, _) = try_open(&disk, 4_000).unwrap();

    for store in [store, reopened] {
        for name in ["c", "d"] {
            let of_channel: Vec<Entry> = log
                .iter()
                .filter(|entry| entry.channel == channel(name))
                .map(|entry| entry.entry.clone())
                .collect();
            for seq in 0..=120 {
                let page =
                    |bound| run(store.history(&channel(name), bound, 17, 1 << 20)).unwrap().entries;
                let count = usize::try_from(seq).unwrap();
                let later = &of_channel[count..of_channel.len().min(count + 17)];
                assert_eq!(page(after(seq)), later);
                assert_eq!(page(HistoryBound::Since(WallTime(1_001 + seq))), later);
                let earlier = &of_channel[count.saturating_sub(17)..count];
                assert_eq!(page(HistoryBound::Before(SeqNo(seq + 1))), earlier);
            }
        }
        let count =
            |bytes| run(store.history(&channel("c"), after(0), 100, bytes)).unwrap().entries.len();
        assert_eq!((count(4 * 300 + 9_000), count(4 * 300 + 8_999)), (5, 4));
        assert_eq!(run(store.history(&channel("c"), after(u64::MAX), 9, 9)).unwrap().entries, []);
    }
}

#[test]
fn a_page_of_a_long_channel_is_found_by_its_marks() {
    let disk = MemoryDisk::default();
    let (store, _) = try_open(&disk, 3 << 20).unwrap();
    let epoch = run(store.claim(SHARD)).unwrap();
    let body = "x".repeat(1_000);
    let mut seqs = 1..=4_000;
    while !seqs.is_empty() {
        let batch: Vec<_> = seqs.by_ref().take(1_000).map(|seq| message("c", seq, &body)).collect();
        append(&store, epoch, &batch).unwrap();
    }
    append(&store, epoch, &[message("c", 4_001, "in the next segment")]).unwrap();
    tidy(&store);
    assert_eq!(run_files(&disk).len(), 1);

    disk.count_reads();
    let page = |bound| {
        let before = disk.count_reads();
        let page = run(store.history(&channel("c"), bound, 3, 1 << 20)).unwrap().entries;
        let seqs: Vec<u64> = page.iter().map(|entry| entry.seq.0).collect();
        let (reads, bytes) = disk.count_reads();
        (seqs, reads - before.0, bytes - before.1)
    };
    for seq in (0..4_000).step_by(61) {
        for bound in [after(seq), HistoryBound::Before(SeqNo(seq + 4))] {
            let (seqs, reads, bytes) = page(bound);
            assert_eq!(seqs, Vec::from_iter(seq + 1..=seq + 3));
            assert!(reads <= 5, "{reads} reads for a page");
            assert!(bytes < 32 * 1024, "{bytes} bytes for a page");
        }
        let (seqs, reads, bytes) = page(HistoryBound::Since(WallTime(1_001 + seq)));
        assert_eq!(seqs, Vec::from_iter(seq + 1..=seq + 3));
        assert!(reads <= 10, "{reads} reads for a page since a time");
        assert!(bytes < 64 * 1024, "{bytes} bytes for a page since a time");
    }
}

#[test]
fn a_time_is_found_by_its_mark_though_the_clock_was_set_back() {
    let disk = MemoryDisk::default();
    let (store, _) = try_open(&disk, 1 << 19).unwrap();
    let epoch = run(store.claim(SHARD)).unwrap();
    let at = |seq: u64| WallTime(if seq <= 500 { seq } else { seq - 400 });
    let body = "x".repeat(1_000);
    let batch: Vec<_> = (1..=1_000)
        .map(|seq| {
            let mut message = message("c", seq, &body);
            message.entry.at = at(seq);
            message
        })
        .collect();
    append(&store, epoch, &batch).unwrap();
    let since = |time| {
        let bound = HistoryBound::Since(WallTime(time));
        run(store.history(&channel("c"), bound, 1, 0))
            .unwrap()
            .entries
            .first()
            .map(|entry| entry.seq.0)
    };
    for stored in [false, true] {
        if stored {
            append(&store, epoch, &[message("d", 1, "in the next segment")]).unwrap();
            tidy(&store);
            assert_eq!(run_files(&disk).len(), 1);
        }
        for time in 1..=601 {
            let first = (1..=1_000).find(|seq| at(*seq) >= WallTime(time));
            assert_eq!(since(time), first, "since {time}, in a run: {stored}");
        }
    }
}

#[test]
fn bit_rot_in_a_run_is_reported_and_never_served() {
    let disk = MemoryDisk::default();
    let (store, epoch) = open_rolling(&disk);
    let mut log = Vec::new();
    for seq in 1..=4 {
        let batch = [message("c", seq, "hello"), message("d", seq, "you")];
        append(&store, epoch, &batch).unwrap();
        log.extend(batch);
    }
    tidy(&store);
    for name in run_files(&disk) {
        let content = disk.content(&name);
        for byte in 0..content.len() {
            let mut rotten = content.clone();
            rotten[byte] ^= 0x20;
            disk.put(&name, rotten);
            for key in [channel("c"), channel("d")] {
                match run(store.history(&key, after(0), 10, 1000)) {
                    Ok(page) => {
                        let kept = log.iter().filter(|entry| entry.channel == key);
                        assert!(kept.map(|entry| &entry.entry).eq(&page.entries), "byte {byte}");
                    }
                    Err(StoreError::Corrupt { file, .. }) => assert_eq!(file, name),
                    Err(other) => panic!("byte {byte}: {other}"),
                }
            }
        }
        disk.put(&name, content);
    }
    assert_eq!(entries(&store).len(), 8);
}

#[test]
fn segment_that_rotted_after_opening_is_rewritten_from_memory() {
    let disk = MemoryDisk::default();
    let (store, epoch) = open_rolling(&disk);
    for seq in 1..=3 {
        append(&store, epoch, &[message("c", seq, &"x".repeat(150))]).unwrap();
    }
    let expected = entries(&store);
    let mut rotten = disk.content("shard-0000.log.00000001");
    rotten[100] ^= 1;
    disk.put("shard-0000.log.00000001", rotten);

    tidy(&store);

    assert_eq!(entries(&try_open(&disk.lose_power(|| false), 200).unwrap().0), expected);
}

#[test]
fn run_that_shrank_after_opening_is_reported() {
    let disk = MemoryDisk::default();
    let (store, _) = layered(&disk);
    let name = run_files(&disk).remove(0);
    let content = disk.content(&name);

    disk.put(&name, content[..2_000].to_vec());

    let page = run(store.history(&channel("c"), after(0), 100, 1 << 20));
    assert!(matches!(page, Err(StoreError::Corrupt { .. })), "{page:?}");
    assert!(matches!(run(store.entries()), Err(StoreError::Corrupt { .. })));
}

#[test]
fn record_that_strayed_to_anothers_place_is_not_served() {
    let disk = MemoryDisk::default();
    let (store, epoch) = open_rolling(&disk);
    append(&store, epoch, &[message("c", 1, "one"), message("c", 2, "two")]).unwrap();
    append(&store, epoch, &[message("d", 1, "in the next segment")]).unwrap();
    tidy(&store);
    let name = run_files(&disk).remove(0);
    let content = disk.content(&name);

    // Both records have the same length, and each its own sound checksum.
    let record_bytes = 9 + 5 + 2 + 16 + 4 + 3 + 4 + 3;
    let mut swapped = content.clone();
    swapped[8..8 + 2 * record_bytes].rotate_left(record_bytes);
    disk.put(&name, swapped);

    let page = run(store.history(&channel("c"), after(0), 10, 1000));
    let what = page.err().unwrap().to_string();
    assert!(what.contains("another record lies here"), "{what}");
}

#[test]
fn failed_read_is_reported_and_poisons_nothing() {
    let disk = MemoryDisk::default();
    let (store, log) = layered(&disk);

    disk.fail(Operation::Read);
    let failed = run(store.history(&channel("d"), after(0), 10, 1000));

    assert!(matches!(failed, Err(StoreError::Failed { .. })), "{failed:?}");
    assert_eq!(run(store.history(&channel("d"), after(0), 10, 1000)).unwrap().entries.len(), 10);
    run(store.claim(SHARD)).unwrap();
    assert_eq!(entries(&store).len(), log.len());
}

#[test]
fn history_after_opening_needs_no_file_of_a_segment() {
    let disk = MemoryDisk::default();
    let written = three_batches(&disk).concat();
    let (store, _) = open(&disk);
    disk.put(&disk.names().remove(0), Vec::new());
    assert_eq!(entries(&store).len(), written.len());
}

#[tokio::test]
async fn log_store_on_real_files_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(directory.path()).unwrap());
    for segment_bytes in [500, 64 << 20] {
        store_suite(async |shard| {
            let (store, _) =
                LogStore::open(Arc::clone(&disk), shard, options(segment_bytes)).await.unwrap();
            store.tidy(LogTime(0)).await.unwrap();
            Arc::new(store) as Arc<dyn Store>
        })
        .await;
        for name in disk.list().await.unwrap() {
            disk.remove(&name).await.unwrap();
        }
    }
}
