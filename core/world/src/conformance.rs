//! What every implementation of a seam must do, as tests that any of them can be put through.
//!
//! [`store_suite`] judges a [`Store`]. Each case works on a shard and a workspace of its own, so
//! that one database can serve all of them.

use std::sync::Arc;
use std::time::Duration;

use seriatim_engine::entry::{
    Batch, ChannelEntry, ChannelKind, Confirmation, Content, Entry, ReadCursor,
};
use seriatim_engine::history_bound::{HistoryBound, HistoryPage};
use seriatim_engine::ids::{
    ChannelId, ChannelKey, Epoch, Nonce, SeqNo, ShardId, UserId, WorkspaceId,
};
use seriatim_engine::membership::{Origin, Roster, Stay};
use seriatim_engine::nonces::{NonceKey, Nonces};
use seriatim_engine::time::{LogTime, WallTime};

use crate::store::{Recovered, RecoveredChannel};
use crate::{Store, StoreError};

/// Puts a store through every case. `open` gives the store of a shard that nothing was written to
/// yet, except when it is called again for a shard: then the earlier handle is gone, and what was
/// appended must be there.
///
/// # Panics
/// At the first thing that the store does wrong.
pub async fn store_suite(open: impl AsyncFn(ShardId) -> Arc<dyn Store>) {
    claim_raises_the_epoch(&case(&open, 0).await).await;
    append_under_an_old_epoch_is_fenced_and_writes_nothing(&case(&open, 1).await).await;
    batch_is_stored_whole_and_in_order(&case(&open, 2).await).await;
    history_is_paged_by_position_count_and_bytes(&case(&open, 3).await).await;
    history_is_paged_backwards_by_count_and_bytes(&open, 11).await;
    history_since_a_time_skips_nothing_though_the_clock_was_set_back(&open, 12).await;
    recovery_gives_heads_members_and_nonces(&case(&open, 4).await).await;
    unknown_channel_has_an_empty_history(&case(&open, 5).await).await;
    empty_batch_is_accepted_and_changes_nothing(&case(&open, 6).await).await;
    appends_of_one_writer_may_overlap(&case(&open, 7).await).await;
    reopened_store_goes_on_where_it_stopped(&open, 8).await;
    recovery_gives_who_is_and_was_in_a_channel(&open, 9).await;
    read_positions_never_go_back(&open, 10).await;
    the_clock_of_the_log_never_goes_back(&open, 13).await;
    recovery_gives_what_was_confirmed(&open, 14).await;
}

const NO_SEQS: [u64; 0] = [];

/// A store to be judged, with the shard and workspace for it.
struct Case {
    store: Arc<dyn Store>,
    shard: ShardId,
    workspace: WorkspaceId,
}

async fn case(open: &impl AsyncFn(ShardId) -> Arc<dyn Store>, number: u32) -> Case {
    let shard = ShardId(number);
    let workspace = WorkspaceId::new(&format!("conformance-{number}")).expect("a sound name");
    Case { store: open(shard).await, shard, workspace }
}

impl Case {
    fn channel(&self, name: &str) -> ChannelKey {
        let channel = ChannelId::new(name).expect("a sound name");
        ChannelKey { workspace: self.workspace.clone(), channel }
    }

    async fn claim(&self) -> Epoch {
        self.store.claim(self.shard).await.expect("a claim succeeds")
    }

    async fn append(&self, epoch: Epoch, entries: Vec<ChannelEntry>) -> Result<(), StoreError> {
        self.store.append(Batch::of_entries(self.shard, (epoch, LogTime(0)), entries)).await
    }

    async fn append_at(&self, seconds: u32, epoch: Epoch, entries: Vec<ChannelEntry>) {
        let stamp = (epoch, LogTime(seconds));
        let appended = self.store.append(Batch::of_entries(self.shard, stamp, entries)).await;
        appended.expect("an append of the newest writer succeeds");
    }

    async fn append_ok(&self, epoch: Epoch, entries: Vec<ChannelEntry>) {
        self.append(epoch, entries).await.expect("an append of the newest writer succeeds");
    }

    async fn page(
        &self,
        channel: &str,
        after: u64,
        entries_max: usize,
        bytes: usize,
    ) -> Vec<Entry> {
        self.page_at(channel, HistoryBound::After(SeqNo(after)), entries_max, bytes).await
    }

    async fn page_at(
        &self,
        channel: &str,
        bound: HistoryBound,
        entries_max: usize,
        bytes: usize,
    ) -> Vec<Entry> {
        let channel = self.channel(channel);
        let page = self.store.history(&channel, bound, entries_max, bytes).await;
        let HistoryPage { entries, trimmed_upto } = page.expect("history can be read");
        assert_eq!(trimmed_upto, None, "without a limit all is kept");
        entries
    }

    async fn seqs_before(&self, before: u64, entries_max: usize, bytes: usize) -> Vec<u64> {
        let bound = HistoryBound::Before(SeqNo(before));
        seqs(&self.page_at("c", bound, entries_max, bytes).await)
    }

    async fn seqs_since(&self, at: u64, entries_max: usize) -> Vec<u64> {
        let bound = HistoryBound::Since(WallTime(at));
        seqs(&self.page_at("c", bound, entries_max, 1000).await)
    }

    async fn seqs(&self, channel: &str, after: u64, entries_max: usize, bytes: usize) -> Vec<u64> {
        seqs(&self.page(channel, after, entries_max, bytes).await)
    }

    fn read(&self, channel: &str, name: &str, seq: u64) -> ReadCursor {
        ReadCursor { channel: self.channel(channel), user: user(name), seq: SeqNo(seq) }
    }

    async fn note(&self, epoch: Epoch, reads: Vec<ReadCursor>) -> Result<(), StoreError> {
        self.store.note_reads(self.shard, epoch, reads).await
    }

    /// The shard's recovered state, with all nonces.
    async fn recovered(&self) -> Recovered {
        self.recovered_with(Duration::MAX).await
    }

    /// The shard's recovered state, with the nonces of a window.
    async fn recovered_with(&self, nonce_window: Duration) -> Recovered {
        let recovered = self.store.recover(self.shard, nonce_window).await;
        recovered.expect("the shard recovers")
    }

    async fn recovered_channel(&self, channel: &str) -> Option<RecoveredChannel> {
        self.recovered().await.channels.remove(&self.channel(channel))
    }

    /// What is remembered of ada's nonce for the message `seq` of `channel`.
    fn remembered(&self, nonces: &Nonces, channel: &str, seq: u64) -> Option<(SeqNo, WallTime)> {
        let nonce = nonce(&format!("nonce-{seq}"));
        nonces.find(NonceKey::new(&self.channel(channel), &user("ada"), &nonce))
    }

    /// Entry `seq` of `channel`, numbered at `1000 + seq`.
    fn message(&self, channel: &str, seq: u64, body: &str) -> ChannelEntry {
        let content = Content::Message {
            sender: user("ada"),
            nonce: nonce(&format!("nonce-{seq}")),
            body: body.into(),
        };
        self.entry(channel, seq, content)
    }

    fn joined(&self, channel: &str, seq: u64, name: &str) -> ChannelEntry {
        self.entry(
            channel,
            seq,
            Content::Joined { user: user(name), nonce: nonce(&format!("nonce-{seq}")) },
        )
    }

    fn entry(&self, channel: &str, seq: u64, content: Content) -> ChannelEntry {
        let entry = Entry { seq: SeqNo(seq), at: WallTime(1000 + seq), content };
        ChannelEntry { channel: self.channel(channel), entry }
    }
}

fn seqs(page: &[Entry]) -> Vec<u64> {
    page.iter().map(|entry| entry.seq.0).collect()
}

fn user(name: &str) -> UserId {
    UserId::new(name).expect("a sound name")
}

fn nonce(text: &str) -> Nonce {
    Nonce::new(text).expect("a sound nonce")
}

fn entries_of<'a>(batch: impl IntoIterator<Item = &'a ChannelEntry>) -> Vec<Entry> {
    batch.into_iter().map(|entry| entry.entry.clone()).collect()
}

async fn claim_raises_the_epoch(case: &Case) {
    let first = case.claim().await;
    let second = case.claim().await;
    assert!(Epoch(0) < first, "a claim gives an epoch above 0");
    assert!(first < second, "a claim raises the epoch");
}

async fn append_under_an_old_epoch_is_fenced_and_writes_nothing(case: &Case) {
    let old = case.claim().await;
    case.append_ok(old, vec![case.message("c", 1, "in time")]).await;
    let new = case.claim().await;

    match case.append(old, vec![case.message("c", 2, "late")]).await {
        Err(StoreError::Fenced { shard, ours, newest }) => {
            assert_eq!((shard, ours, newest), (case.shard, old, new), "the error tells the epochs");
        }
        other => panic!("an append under an old epoch gave {other:?}"),
    }

    assert_eq!(case.seqs("c", 0, 10, 1000).await, [1], "a fenced batch is not stored");
    case.append_ok(new, vec![case.message("c", 2, "of the new writer")]).await;
    let expected = entries_of(&[case.message("c", 2, "of the new writer")]);
    assert_eq!(case.page("c", 1, 10, 1000).await, expected);
}

async fn batch_is_stored_whole_and_in_order(case: &Case) {
    let epoch = case.claim().await;
    let batch = vec![
        case.joined("c", 1, "ada"),
        case.message("d", 1, "first of d"),
        case.message("c", 2, "grüß dich \u{1F44B}\n\"'\\;--%_"),
        case.message("c", 3, ""),
        case.message("d", 2, "\u{0}\u{7f}"),
    ];

    case.append_ok(epoch, batch.clone()).await;

    for name in ["c", "d"] {
        let channel = case.channel(name);
        let expected = entries_of(batch.iter().filter(|entry| entry.channel == channel));
        assert_eq!(case.page(name, 0, 10, 1000).await, expected, "of channel {name}");
    }
}

async fn history_is_paged_by_position_count_and_bytes(case: &Case) {
    let epoch = case.claim().await;
    let batch = (1..=6).map(|seq| case.message("c", seq, "ten bytes.")).collect();
    case.append_ok(epoch, batch).await;
    case.append_ok(epoch, vec![case.joined("c", 7, "ada"), case.message("c", 8, "x")]).await;

    assert_eq!(case.seqs("c", 0, 3, 1000).await, [1, 2, 3], "by count");
    assert_eq!(case.seqs("c", 3, 3, 1000).await, [4, 5, 6], "after a position");
    assert_eq!(case.seqs("c", 6, 3, 1000).await, [7, 8], "at the end");
    assert_eq!(case.seqs("c", 8, 3, 1000).await, NO_SEQS, "after the end");
    assert_eq!(case.seqs("c", 99, 3, 1000).await, NO_SEQS, "far after the end");
    assert_eq!(case.seqs("c", 0, 10, 30).await, [1, 2, 3], "by bytes, the limit included");
    assert_eq!(case.seqs("c", 0, 10, 29).await, [1, 2], "by bytes, one too few");
    assert_eq!(case.seqs("c", 0, 10, 1).await, [1], "the first, however large");
    assert_eq!(case.seqs("c", 5, 10, 10).await, [6, 7], "a join has no body");
    assert_eq!(case.seqs("c", 0, 0, 1000).await, NO_SEQS, "none");
}

async fn history_is_paged_backwards_by_count_and_bytes(
    open: &impl AsyncFn(ShardId) -> Arc<dyn Store>,
    number: u32,
) {
    let first = case(open, number).await;
    let epoch = first.claim().await;
    let batch: Vec<ChannelEntry> =
        (1..=6).map(|seq| first.message("c", seq, "ten bytes.")).collect();
    let last = [first.joined("c", 7, "ada"), first.message("c", 8, "x")];
    first.append_ok(epoch, batch.clone()).await;
    first.append_ok(epoch, last.to_vec()).await;
    let bound = HistoryBound::Before(SeqNo(7));
    let expected = entries_of(batch.iter().skip(3));
    for again in [false, true] {
        let case = if again { &case(open, number).await } else { &first };
        assert_eq!(case.page_at("c", bound, 3, 1000).await, expected, "the entries themselves");
        assert_eq!(case.seqs_before(9, 3, 1000).await, [6, 7, 8], "by count, in order");
        assert_eq!(case.seqs_before(6, 3, 1000).await, [3, 4, 5], "before a position");
        assert_eq!(case.seqs_before(3, 3, 1000).await, [1, 2], "at the beginning");
        assert_eq!(case.seqs_before(1, 3, 1000).await, NO_SEQS, "before the first");
        assert_eq!(case.seqs_before(0, 3, 1000).await, NO_SEQS, "before the beginning");
        assert_eq!(case.seqs_before(u64::MAX, 2, 1000).await, [7, 8], "far after the end");
        assert_eq!(case.seqs_before(9, 10, 21).await, [5, 6, 7, 8], "by bytes, the limit included");
        assert_eq!(case.seqs_before(9, 10, 20).await, [6, 7, 8], "by bytes, one too few");
        assert_eq!(case.seqs_before(7, 10, 1).await, [6], "the newest, however large");
        assert_eq!(case.seqs_before(8, 10, 1).await, [7], "a join has no body");
        assert_eq!(case.seqs_before(9, 0, 1000).await, NO_SEQS, "none");
    }
    let unknown = first.page_at("never-seen", bound, 3, 1000).await;
    assert_eq!(unknown, [], "of an unknown channel");
}

async fn history_since_a_time_skips_nothing_though_the_clock_was_set_back(
    open: &impl AsyncFn(ShardId) -> Arc<dyn Store>,
    number: u32,
) {
    let first = case(open, number).await;
    let epoch = first.claim().await;
    // The clock goes back after 3 and after 6, and stands still at 7.
    let times = [100, 110, 120, 90, 115, 130, 105, 105, 140];
    for (seq, at) in (1..).zip(times) {
        let mut message = first.message("c", seq, "x");
        message.entry.at = WallTime(at);
        first.append_ok(epoch, vec![message, first.message("d", seq, "of another")]).await;
        if seq == 8 {
            assert_eq!(first.seqs_since(121, 9).await, [6, 7, 8], "later than the newest entry");
        }
    }
    for again in [false, true] {
        let case = if again { &case(open, number).await } else { &first };
        for (at, first) in [(0, 1), (100, 1), (101, 2), (111, 3), (120, 3), (121, 6), (131, 9)] {
            let expected: Vec<u64> = (first..=9).collect();
            assert_eq!(case.seqs_since(at, 100).await, expected, "since {at}");
        }
        assert_eq!(case.seqs_since(111, 2).await, [3, 4], "by count, whatever their times");
        assert_eq!(case.seqs_since(140, 9).await, [9], "the newest");
        assert_eq!(case.seqs_since(141, 9).await, NO_SEQS, "later than the newest");
        assert_eq!(case.seqs_since(u64::MAX, 9).await, NO_SEQS, "at the end of time");
    }
    let since = HistoryBound::Since(WallTime(0));
    assert_eq!(first.page_at("never-seen", since, 3, 1000).await, [], "of an unknown channel");
}

async fn recovery_gives_heads_members_and_nonces(case: &Case) {
    assert_eq!(case.recovered_channel("c").await, None, "nothing was written yet");
    let epoch = case.claim().await;
    let old =
        vec![case.joined("c", 1, "ada"), case.message("c", 2, "old"), case.joined("c", 3, "bob")];
    let young = vec![case.joined("c", 4, "ada"), case.message("c", 5, "young")];
    let younger = vec![case.message("c", 6, "younger"), case.joined("d", 1, "eve")];
    case.append_at(100, epoch, old).await;
    case.append_at(150, epoch, young).await;
    case.append_at(200, epoch, younger).await;

    let Recovered { channels, nonces, log_time, .. } =
        case.recovered_with(Duration::from_secs(50)).await;

    assert_eq!(log_time, LogTime(200), "the log's clock goes on");

    let recovered = channels.get(&case.channel("c")).expect("the channel is there");
    assert_eq!(recovered.head, SeqNo(6));
    let stays = [(user("ada"), Stay::begun(SeqNo(1))), (user("bob"), Stay::begun(SeqNo(3)))];
    assert_eq!(recovered.roster.stays, stays.into(), "with their first join");
    let other = channels.get(&case.channel("d")).expect("the other channel is there");
    assert_eq!(other.head, SeqNo(1));
    assert_eq!(nonces.count(), 4, "those of the window");
    for seq in [4, 5, 6] {
        let expected = (SeqNo(seq), WallTime(1000 + seq));
        assert_eq!(case.remembered(&nonces, "c", seq), Some(expected), "as it was accepted");
    }
    assert_eq!(case.remembered(&nonces, "d", 5), None, "a nonce is one channel's");
}

async fn recovery_gives_what_was_confirmed(
    open: &impl AsyncFn(ShardId) -> Arc<dyn Store>,
    number: u32,
) {
    let first = case(open, number).await;
    let epoch = first.claim().await;
    let (seq, at, by) = (SeqNo(1), WallTime(9), user("ada"));
    let channel = first.channel("c");
    let again = Confirmation { channel, seq, at, by, nonce: nonce("nonce-9") };
    let batch =
        Batch::of_entries(first.shard, (epoch, LogTime(0)), vec![first.joined("c", 1, "ada")]);
    let batch = Batch { confirmations: vec![again], ..batch };
    first.store.append(batch).await.expect("an append of the newest writer succeeds");
    drop(first);
    let second = case(open, number).await;

    let Recovered { channels, nonces, .. } = second.recovered().await;

    assert_eq!(second.remembered(&nonces, "c", 9), Some((seq, at)));
    let head = channels.get(&second.channel("c")).map(|channel| channel.head);
    assert_eq!(head, Some(seq), "it is no entry");
    assert_eq!(second.seqs("c", 0, 10, 1000).await, [1]);
    second.append_ok(second.claim().await, vec![second.message("c", 2, "next")]).await;
}

async fn unknown_channel_has_an_empty_history(case: &Case) {
    assert_eq!(case.page("never-seen", 0, 10, 1000).await, []);
    let epoch = case.claim().await;
    case.append_ok(epoch, vec![case.message("c", 1, "of another channel")]).await;
    assert_eq!(case.page("never-seen", 0, 10, 1000).await, []);
}

async fn read_positions_never_go_back(open: &impl AsyncFn(ShardId) -> Arc<dyn Store>, number: u32) {
    let first = case(open, number).await;
    let old = first.claim().await;
    let epoch = first.claim().await;
    let noted =
        vec![first.read("c", "ada", 4), first.read("c", "bob", 2), first.read("d", "ada", 1)];
    first.note(epoch, noted).await.expect("a note of the newest writer succeeds");
    let later = vec![first.read("c", "ada", 3), first.read("c", "bob", 7)];
    first.note(epoch, later).await.expect("another succeeds");
    let fenced = first.note(old, vec![first.read("c", "ada", 9)]).await;
    assert!(matches!(fenced, Err(StoreError::Fenced { .. })), "notes of an old writer are refused");
    let expected =
        [first.read("c", "ada", 4), first.read("c", "bob", 7), first.read("d", "ada", 1)];
    assert_eq!(sorted(first.recovered().await.reads), expected);
    drop(first);

    let second = case(open, number).await;
    assert_eq!(sorted(second.recovered().await.reads), expected, "after opening again");
}

/// A wall clock that jumps ages no nonce, and neither does a batch whose time is too early.
async fn the_clock_of_the_log_never_goes_back(
    open: &impl AsyncFn(ShardId) -> Arc<dyn Store>,
    number: u32,
) {
    let first = case(open, number).await;
    let epoch = first.claim().await;
    first.append_at(1_000, epoch, vec![first.message("c", 1, "before")]).await;
    let mut jumped = first.message("c", 2, "after");
    jumped.entry.at = WallTime(1_000_000_000_000);
    first.append_at(400, epoch, vec![jumped]).await;
    drop(first);

    let second = case(open, number).await;
    second.claim().await;
    let Recovered { log_time, nonces, .. } = second.recovered_with(Duration::ZERO).await;
    assert_eq!((log_time, nonces.count()), (LogTime(1_000), 2));
}

fn sorted(mut reads: Vec<ReadCursor>) -> Vec<ReadCursor> {
    reads.sort_by_key(|read| (read.channel.clone(), read.user.clone()));
    reads
}

async fn empty_batch_is_accepted_and_changes_nothing(case: &Case) {
    let old = case.claim().await;
    case.append_ok(old, Vec::new()).await;
    case.claim().await;
    let fenced = case.append(old, Vec::new()).await;
    assert!(matches!(fenced, Err(StoreError::Fenced { .. })), "an empty batch tests the fence");
    assert_eq!(case.recovered_channel("c").await, None);
}

async fn appends_of_one_writer_may_overlap(case: &Case) {
    let epoch = case.claim().await;
    let (c, d) = tokio::join!(
        async {
            for seq in 1..=20 {
                case.append_ok(epoch, vec![case.message("c", seq, "of c")]).await;
                assert_eq!(case.seqs("c", seq - 1, 10, 1000).await, [seq], "read your writes");
            }
            case.seqs("c", 0, 100, 1000).await
        },
        async {
            for seq in 1..=20 {
                case.append_ok(epoch, vec![case.message("d", seq, "of d")]).await;
            }
            case.seqs("d", 0, 100, 1000).await
        }
    );
    assert_eq!(c, Vec::from_iter(1..=20));
    assert_eq!(d, c);
}

async fn reopened_store_goes_on_where_it_stopped(
    open: &impl AsyncFn(ShardId) -> Arc<dyn Store>,
    number: u32,
) {
    let first = case(open, number).await;
    let epoch = first.claim().await;
    let batch = vec![first.joined("c", 1, "ada"), first.message("c", 2, "before")];
    first.append_ok(epoch, batch.clone()).await;
    let recovered = first.recovered_channel("c").await;
    drop(first);

    let second = case(open, number).await;

    assert_eq!(second.page("c", 0, 10, 1000).await, entries_of(&batch), "entries are kept");
    assert_eq!(second.recovered_channel("c").await, recovered, "state is kept");
    let nonces = second.recovered().await.nonces;
    let expected = Some((SeqNo(2), WallTime(1002)));
    assert_eq!(second.remembered(&nonces, "c", 2), expected, "nonces are kept");
    let next = second.claim().await;
    assert!(epoch < next, "the epoch is kept");
    let fenced = second.append(epoch, vec![second.message("c", 3, "late")]).await;
    assert!(matches!(fenced, Err(StoreError::Fenced { .. })), "the fence is kept");
    second.append_ok(next, vec![second.message("c", 3, "after")]).await;
    assert_eq!(second.seqs("c", 0, 10, 1000).await, [1, 2, 3]);
}

async fn recovery_gives_who_is_and_was_in_a_channel(
    open: &impl AsyncFn(ShardId) -> Arc<dyn Store>,
    number: u32,
) {
    let first = case(open, number).await;
    let epoch = first.claim().await;
    let (ada, bob, eve) = (user("ada"), user("bob"), user("eve"));
    let created = Content::Created {
        by: ada.clone(),
        nonce: nonce("nonce-1"),
        kind: ChannelKind::Private,
        members: vec![ada.clone(), eve.clone()],
    };
    let added = |seq: u64, user: &UserId, by: &UserId| {
        let nonce = nonce(&format!("nonce-{seq}"));
        first.entry("c", seq, Content::Added { user: user.clone(), by: by.clone(), nonce })
    };
    let left = Content::Left { user: eve.clone(), nonce: nonce("nonce-3") };
    let (user, by) = (bob.clone(), ada.clone());
    let removed = Content::Removed { user, by, nonce: nonce("nonce-4") };
    let batch = vec![
        first.entry("c", 1, created),
        added(2, &bob, &eve),
        first.entry("c", 3, left),
        first.entry("c", 4, removed),
        first.message("c", 5, "between"),
        added(6, &eve, &ada),
    ];
    first.append_ok(epoch, batch.clone()).await;
    drop(first);
    let second = case(open, number).await;

    let recovered = second.recovered_channel("c").await.expect("the channel is there");

    let stays = [
        (ada.clone(), Stay::begun(SeqNo(1))),
        (bob, Stay { from: SeqNo(2), until: Some(SeqNo(4)) }),
        (eve, Stay::begun(SeqNo(6))),
    ];
    let origin = Origin { kind: ChannelKind::Private, creator: Some(ada) };
    assert_eq!(recovered.roster, Roster { origin, stays: stays.into() });
    assert_eq!(second.page("c", 0, 10, 1000).await, entries_of(&batch));
}
