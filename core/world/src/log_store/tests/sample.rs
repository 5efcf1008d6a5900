//! Entries, batches and stores that read like data.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use seriatim_engine::entry::{Batch, ChannelEntry, ChannelKind, Confirmation, Content, Entry};
use seriatim_engine::history_bound::HistoryBound;
use seriatim_engine::ids::WorkspaceId;
use seriatim_engine::ids::{ChannelId, ChannelKey, Epoch, Nonce, SeqNo, ShardId, UserId};
use seriatim_engine::time::{LogTime, WallTime};

use super::memory_disk::MemoryDisk;
use crate::log_store::{LogStore, LogStoreOptions, RecoveryReport};
use crate::{Store as _, StoreError};

pub(super) const SHARD: ShardId = ShardId(0);

pub(super) fn channel(name: &str) -> ChannelKey {
    let workspace = WorkspaceId::new("acme").unwrap();
    ChannelKey { workspace, channel: ChannelId::new(name).unwrap() }
}

pub(in crate::log_store) fn message(name: &str, seq: u64, body: &str) -> ChannelEntry {
    let content = Content::Message {
        sender: UserId::new("ada").unwrap(),
        nonce: Nonce::new(&format!("n{seq}")).unwrap(),
        body: body.into(),
    };
    entry(name, seq, content)
}

pub(in crate::log_store) fn joined(name: &str, seq: u64, user: &str) -> ChannelEntry {
    let nonce = Nonce::new(&format!("n{seq}")).unwrap();
    entry(name, seq, Content::Joined { user: UserId::new(user).unwrap(), nonce })
}

pub(super) fn left(name: &str, seq: u64, user: &str) -> ChannelEntry {
    let nonce = Nonce::new(&format!("n{seq}")).unwrap();
    entry(name, seq, Content::Left { user: UserId::new(user).unwrap(), nonce })
}

/// `by` was told that `seq` made it so already.
pub(in crate::log_store) fn confirmation(
    name: &str,
    seq: u64,
    by: &str,
    nonce: &str,
) -> Confirmation {
    let (by, nonce) = (UserId::new(by).unwrap(), Nonce::new(nonce).unwrap());
    Confirmation { channel: channel(name), seq: SeqNo(seq), at: WallTime(2000 + seq), by, nonce }
}

/// One entry of each kind that isn't a message, and of each kind of channel.
pub(in crate::log_store) fn changes(name: &str, seq: u64) -> [ChannelEntry; 7] {
    let user = |name: &str| UserId::new(name).unwrap();
    let nonce = || Nonce::new("change").unwrap();
    let created = |kind, members: &[&str]| Content::Created {
        by: user("ada"),
        nonce: nonce(),
        kind,
        members: members.iter().map(|name| user(name)).collect(),
    };
    [
        created(ChannelKind::Public, &["ada"]),
        created(ChannelKind::Private, &[]),
        created(ChannelKind::Direct, &["ada", "bob"]),
        Content::Joined { user: user("ada"), nonce: nonce() },
        Content::Added { user: user("bob"), by: user("ada"), nonce: nonce() },
        Content::Left { user: user("bob"), nonce: nonce() },
        Content::Removed { user: user("bob"), by: user("ada"), nonce: nonce() },
    ]
    .map(|content| entry(name, seq, content))
}

fn entry(name: &str, seq: u64, content: Content) -> ChannelEntry {
    let entry = Entry { seq: SeqNo(seq), at: WallTime(1000 + seq), content };
    ChannelEntry { channel: channel(name), entry }
}

/// The page that begins with the entry after `seq`.
pub(super) fn after(seq: u64) -> HistoryBound {
    HistoryBound::After(SeqNo(seq))
}

/// Runs a future that has nothing to wait for; none if it waits.
pub(super) fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    poll_once(future).expect("nothing to wait for")
}

pub(super) fn try_open(
    disk: &MemoryDisk,
    segment_bytes: u32,
) -> Result<(LogStore, RecoveryReport), StoreError> {
    run(LogStore::open(Arc::new(disk.clone()), SHARD, options(segment_bytes)))
}

/// Segments of this size, of which any number may wait; two runs make one of the next level.
pub(super) fn options(segment_bytes: u32) -> LogStoreOptions {
    LogStoreOptions {
        segment_bytes,
        segments_waiting_max: usize::MAX,
        merge_runs: 2,
        level_max: 3,
        ..LogStoreOptions::default()
    }
}

/// Rewrites and merges all that is due.
pub(super) fn tidy(store: &LogStore) {
    run(store.tidy(LogTime(0))).unwrap();
}

/// A store with segments far larger than any test.
pub(super) fn open(disk: &MemoryDisk) -> (LogStore, RecoveryReport) {
    try_open(disk, 1 << 20).unwrap()
}

/// A claimed store with segments that take one or two groups.
pub(super) fn open_rolling(disk: &MemoryDisk) -> (LogStore, Epoch) {
    let (store, _) = try_open(disk, 200).unwrap();
    let epoch = run(store.claim(SHARD)).unwrap();
    (store, epoch)
}

pub(super) fn append(
    store: &LogStore,
    epoch: Epoch,
    entries: &[ChannelEntry],
) -> Result<(), StoreError> {
    append_at(store, epoch, LogTime(0), entries)
}

/// At this time of the log.
pub(super) fn append_at(
    store: &LogStore,
    epoch: Epoch,
    at: LogTime,
    entries: &[ChannelEntry],
) -> Result<(), StoreError> {
    run(store.append(Batch::of_entries(SHARD, (epoch, at), entries.to_vec())))
}

/// Channel by channel, each in the order of the log: as an audit gives it.
pub(super) fn by_channel(log: &[ChannelEntry]) -> Vec<ChannelEntry> {
    let mut entries = log.to_vec();
    entries.sort_by(|one, two| one.channel.cmp(&two.channel));
    entries
}

/// The log's whole content, channel by channel, which must be readable.
pub(super) fn entries(store: &LogStore) -> Vec<ChannelEntry> {
    run(store.entries()).unwrap()
}

/// One claim and three batches on one disk, all in one segment; the batches.
pub(super) fn three_batches(disk: &MemoryDisk) -> [Vec<ChannelEntry>; 3] {
    let batches = [
        vec![joined("c", 1, "ada"), message("c", 2, "one")],
        vec![message("c", 3, "two"), message("d", 1, "tūū")],
        vec![message("d", 2, "three")],
    ];
    let (store, _) = open(disk);
    let epoch = run(store.claim(SHARD)).unwrap();
    for batch in &batches {
        append(&store, epoch, batch).unwrap();
    }
    batches
}
