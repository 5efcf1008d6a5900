//! Pages of history are exactly what was asked for, and never rotten.

use std::sync::Arc;

use seriatim_engine::entry::Entry;
use seriatim_engine::ids::SeqNo;

use super::memory_disk::{MemoryDisk, Operation};
use super::sample::{SHARD, append, channel, message, open, open_rolling, run, three_batches};
use crate::conformance::store_suite;
use crate::log_store::{LogStore, LogStoreOptions};
use crate::real::RealDisk;
use crate::{Disk, Store, StoreError};

#[test]
fn pages_of_interleaved_channels_are_read_whole_and_in_order() {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk);
    let epoch = run(store.claim(SHARD)).unwrap();
    // Gaps below and above what one read bridges.
    for seq in 1..=40 {
        let between = "x".repeat(if seq % 5 == 0 { 9_000 } else { 300 });
        append(&store, epoch, &[message("c", seq, "short"), message("d", seq, &between)]).unwrap();
    }

    for after in 0..=40 {
        let page = run(store.history(&channel("c"), SeqNo(after), 17, 1 << 20)).unwrap();
        let expected: Vec<Entry> =
            (after + 1..=40).take(17).map(|seq| message("c", seq, "short").entry).collect();
        assert_eq!(page, expected);
    }
    assert_eq!(run(store.history(&channel("c"), SeqNo(u64::MAX), 9, 9)).unwrap(), []);
}

#[test]
fn bit_rot_after_opening_is_reported_and_never_served() {
    let disk = MemoryDisk::default();
    let written = three_batches(&disk).concat();
    let (store, _) = open(&disk);
    let name = disk.names().remove(0);
    let content = disk.content(&name);

    for byte in 0..content.len() {
        let mut rotten = content.clone();
        rotten[byte] ^= 0x20;
        disk.put(&name, rotten);

        let audit = run(store.entries());
        assert!(matches!(audit, Err(StoreError::Corrupt { .. })), "byte {byte}: {audit:?}");
        for key in [channel("c"), channel("d")] {
            match run(store.history(&key, SeqNo(0), 10, 1000)) {
                Ok(page) => {
                    let kept = written.iter().filter(|entry| entry.channel == key);
                    assert!(kept.map(|entry| &entry.entry).eq(&page), "byte {byte}");
                }
                Err(StoreError::Corrupt { file, .. }) => assert_eq!(file, name),
                Err(other) => panic!("byte {byte}: {other}"),
            }
        }
    }
}

#[test]
fn file_that_shrank_after_opening_is_reported() {
    let disk = MemoryDisk::default();
    three_batches(&disk);
    let (store, _) = open(&disk);
    let name = disk.names().remove(0);
    let content = disk.content(&name);

    disk.put(&name, content[..content.len() - 1].to_vec());

    let page = run(store.history(&channel("d"), SeqNo(0), 10, 1000));
    assert!(matches!(page, Err(StoreError::Corrupt { .. })), "{page:?}");
    assert!(matches!(run(store.entries()), Err(StoreError::Corrupt { .. })));
}

#[test]
fn record_that_strayed_to_anothers_place_is_not_served() {
    let disk = MemoryDisk::default();
    let (store, epoch) = open_rolling(&disk);
    append(&store, epoch, &[message("c", 1, "one"), message("c", 2, "two")]).unwrap();
    let name = disk.names().remove(0);
    let content = disk.content(&name);

    // Both records have the same length, and each its own sound checksum.
    let record_bytes = 9 + 5 + 2 + 16 + 4 + 3 + 4 + 3;
    let at = content.len() - 2 * record_bytes;
    let mut swapped = content.clone();
    swapped[at..].rotate_left(record_bytes);
    disk.put(&name, swapped);

    let page = run(store.history(&channel("c"), SeqNo(0), 10, 1000));
    let what = page.err().unwrap().to_string();
    assert!(what.contains("another record lies here"), "{what}");
}

#[test]
fn failed_read_is_reported_and_poisons_nothing() {
    let disk = MemoryDisk::default();
    three_batches(&disk);
    let (store, _) = open(&disk);

    disk.fail(Operation::Read);
    let failed = run(store.history(&channel("d"), SeqNo(0), 10, 1000));

    assert!(matches!(failed, Err(StoreError::Failed { .. })), "{failed:?}");
    assert_eq!(run(store.history(&channel("d"), SeqNo(0), 10, 1000)).unwrap().len(), 2);
    run(store.claim(SHARD)).unwrap();
}

#[tokio::test]
async fn log_store_on_real_files_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(directory.path()).unwrap());
    for segment_bytes in [500, 64 << 20] {
        let options = LogStoreOptions { segment_bytes };
        store_suite(async |shard| {
            let (store, _) = LogStore::open(Arc::clone(&disk), shard, options).await.unwrap();
            Arc::new(store) as Arc<dyn Store>
        })
        .await;
        for name in disk.list().await.unwrap() {
            disk.remove(&name).await.unwrap();
        }
    }
}
