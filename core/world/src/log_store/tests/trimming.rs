//! What the log is not to keep goes, oldest first, and nothing else: what outlives it stays, and
//! what is gone once stays gone, whatever crashes.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use seriatim_engine::entry::{Batch, ChannelEntry, Content, Entry};
use seriatim_engine::history_bound::{HistoryBound, HistoryPage};
use seriatim_engine::ids::{Epoch, SeqNo, UserId};
use seriatim_engine::membership::{Origin, Stay};
use seriatim_engine::nonces::NonceKey;
use seriatim_engine::time::{LogClock, LogTime, WallTime};
use tokio::sync::mpsc;

use super::memory_disk::{MemoryDisk, Operation};
use super::sample::{
    SHARD, after, append, append_at, channel, entries, joined, left, message, options, poll_once,
    run,
};
use crate::log_store::pace::Pace;
use crate::log_store::{
    CheckReport, LogStore, LogStoreOptions, RecoveryReport, Retention, TrimReport, Upkeep, check,
};
use crate::real::RealClock;
use crate::store::RecoveredChannel;
use crate::{Clock as _, Store as _, StoreError};

/// Entries of a minute are kept.
const MINUTE: Retention = Retention { age: Some(Duration::from_secs(60)), bytes: None };

fn try_open(
    disk: &MemoryDisk,
    retention: Retention,
) -> Result<(LogStore, RecoveryReport), StoreError> {
    let nonce_window = Duration::from_secs(30);
    let options = LogStoreOptions { retention, nonce_window, ..options(200) };
    run(LogStore::open(Arc::new(disk.clone()), SHARD, options))
}

fn open(disk: &MemoryDisk, retention: Retention) -> (LogStore, Epoch) {
    let (store, _) = try_open(disk, retention).unwrap();
    let epoch = run(store.claim(SHARD)).unwrap();
    (store, epoch)
}

fn tidy(store: &LogStore, now: u32) -> Vec<TrimReport> {
    run(store.tidy(LogTime(now))).unwrap()
}

fn page(store: &LogStore, bound: HistoryBound) -> HistoryPage {
    run(store.history(&channel("c"), bound, 4, 1 << 20)).unwrap()
}

/// The seqs of a page, and up to where what was asked for is gone.
fn seqs(store: &LogStore, bound: HistoryBound) -> (Vec<u64>, Option<u64>) {
    let HistoryPage { entries, trimmed_upto } = page(store, bound);
    (entries.iter().map(|entry| entry.seq.0).collect(), trimmed_upto.map(|upto| upto.0))
}

fn checked(disk: &MemoryDisk) -> CheckReport {
    run(check(disk, SHARD, |_| {})).unwrap()
}

fn recovered(store: &LogStore, name: &str) -> RecoveredChannel {
    let recovered = run(store.recover(SHARD, Duration::from_secs(30))).unwrap();
    recovered.channels.get(&channel(name)).cloned().unwrap_or_default()
}

/// A long message, so that a segment takes one; numbered a second after the one before.
fn long(seq: u64) -> ChannelEntry {
    message("c", seq, &"x".repeat(200))
}

/// Entry `seq` was written at second `10 * seq`: 1 is a join, 2 a leave, the others messages.
fn fill(store: &LogStore, epoch: Epoch, seqs: std::ops::RangeInclusive<u64>) -> Vec<ChannelEntry> {
    let log: Vec<ChannelEntry> = seqs
        .map(|seq| match seq {
            1 => joined("c", 1, "ada"),
            2 => left("c", 2, "ada"),
            _ => long(seq),
        })
        .collect();
    for entry in &log {
        let at = u32::try_from(10 * entry.entry.seq.0).unwrap();
        append_at(store, epoch, LogTime(at), std::slice::from_ref(entry)).unwrap();
    }
    log
}

#[test]
fn what_is_too_old_goes_and_pages_say_so() {
    let disk = MemoryDisk::default();
    let (store, epoch) = open(&disk, MINUTE);
    let log = fill(&store, epoch, 1..=12);
    assert_eq!(tidy(&store, 70), [], "entry 1 is a minute old, not more");

    let trims = tidy(&store, 120);

    // Entry 5, of second 50, is older than a minute, entry 6 is not.
    let [TrimReport { channels, entries: gone, bytes, upto }] = &trims[..] else {
        panic!("{trims:?}")
    };
    assert_eq!((channels, *gone), (&vec![(channel("c"), SeqNo(5))], 5));
    assert!(*bytes > 700, "{bytes} bytes came back");
    assert_eq!(*upto, LogTime(50));
    assert_eq!(entries(&store), log[5..]);

    assert_eq!(seqs(&store, after(0)), (vec![6, 7, 8, 9], Some(5)));
    assert_eq!(seqs(&store, after(4)), (vec![6, 7, 8, 9], Some(5)));
    assert_eq!(seqs(&store, after(5)), (vec![6, 7, 8, 9], None));
    assert_eq!(seqs(&store, HistoryBound::Before(SeqNo(13))), (vec![9, 10, 11, 12], None));
    assert_eq!(seqs(&store, HistoryBound::Before(SeqNo(10))), (vec![6, 7, 8, 9], Some(5)));
    assert_eq!(seqs(&store, HistoryBound::Before(SeqNo(8))), (vec![6, 7], Some(5)));
    assert_eq!(seqs(&store, HistoryBound::Before(SeqNo(6))), (vec![], Some(5)));
    assert_eq!(seqs(&store, HistoryBound::Before(SeqNo(3))), (vec![], Some(5)));
    let since = |at| seqs(&store, HistoryBound::Since(WallTime(at)));
    assert_eq!(since(1005), (vec![6, 7, 8, 9], Some(5)), "entry 5 is of that time");
    assert_eq!(since(1006), (vec![6, 7, 8, 9], None));
    assert_eq!(since(2000), (vec![], None));
}

#[test]
fn all_may_go_and_the_log_goes_on() {
    let disk = MemoryDisk::default();
    let (store, epoch) = open(&disk, MINUTE);
    fill(&store, epoch, 1..=4);
    append(&store, epoch, &[message("d", 1, "short")]).unwrap();

    tidy(&store, 200);

    assert_eq!(entries(&store), []);
    assert_eq!(seqs(&store, after(0)), (vec![], Some(4)));
    assert_eq!(seqs(&store, HistoryBound::Before(SeqNo(100))), (vec![], Some(4)));
    assert_eq!(disk.names().len(), 1, "one file is left: {:?}", disk.names());
    for power_loss in [false, true] {
        let disk = if power_loss { disk.lose_power(|| false) } else { disk.copy() };
        let (store, report) = try_open(&disk, MINUTE).unwrap();
        assert_eq!((report.entries, report.trimmed), (0, 5));
        let epoch = run(store.claim(SHARD)).unwrap();
        append(&store, epoch, &[long(5)]).unwrap();
        assert_eq!(seqs(&store, after(2)), (vec![5], Some(4)));
    }
}

#[test]
fn who_is_a_member_heads_and_young_nonces_outlive_their_entries() {
    let disk = MemoryDisk::default();
    let (store, epoch) = open(&disk, MINUTE);
    fill(&store, epoch, 1..=12);
    tidy(&store, 120);
    fill(&store, epoch, 13..=14);
    // The nonces of entries 12 and on are within 30 s of second 150.
    append_at(&store, epoch, LogTime(150), &[joined("c", 15, "bob")]).unwrap();
    let small = Retention { age: None, bytes: Some(1) };
    drop(store);
    let (store, _) = open(&disk, small);
    tidy(&store, 150);
    assert_eq!(seqs(&store, after(0)), (vec![], Some(15)));

    let (again, _) = try_open(&disk.lose_power(|| false), small).unwrap();
    for store in [&store, &again] {
        let state = recovered(store, "c");
        assert_eq!((state.head, state.trimmed_upto), (SeqNo(15), SeqNo(15)));
        let user = |name: &str| UserId::new(name).unwrap();
        let ended = Stay { from: SeqNo(1), until: Some(SeqNo(2)) };
        let stays = [(user("ada"), ended), (user("bob"), Stay::begun(SeqNo(15)))];
        assert_eq!(state.roster.stays, stays.into());
        let origin = Origin { creator: Some(user("ada")), ..Origin::default() };
        assert_eq!(state.roster.origin, origin);
        let window = Duration::from_secs(30);
        let nonces = run(store.recover(SHARD, window)).unwrap().nonces;
        for seq in 12..=14 {
            let Entry { seq, at, content } = long(seq).entry;
            let Content::Message { sender, nonce, .. } = &content else { unreachable!() };
            let key = NonceKey::new(&channel("c"), sender, nonce);
            assert_eq!(nonces.find(key), Some((seq, at)));
        }
    }
}

#[test]
fn files_stay_within_the_limit_and_three_quarters_of_it_are_kept() {
    const LIMIT: u64 = 40_000;
    let disk = MemoryDisk::default();
    let kept = Retention { age: None, bytes: Some(LIMIT) };
    let options = LogStoreOptions { retention: kept, ..options(1 << 20) };
    let (store, _) = run(LogStore::open(Arc::new(disk.clone()), SHARD, options)).unwrap();
    let epoch = run(store.claim(SHARD)).unwrap();
    for seq in 1..=1_000 {
        append(&store, epoch, &[long(seq)]).unwrap();
        tidy(&store, 0);
        let bytes: u64 = disk.names().iter().map(|name| disk.content(name).len() as u64).sum();
        // What outlives the entries is here the nonces of them all, 36 bytes each.
        let trimmed = seqs(&store, after(0)).1.unwrap_or_default();
        let most = LIMIT + 40 * trimmed + 500;
        assert!(bytes <= most, "{bytes} bytes after {seq}");
        let entries = seq - trimmed;
        assert!(trimmed == 0 || entries * 350 > LIMIT * 3 / 4, "{entries} are left of {seq}");
    }
    assert!(seqs(&store, after(0)).1.unwrap() > 800);
    assert!(disk.names().len() > 7, "merged runs are an eighth of the limit: {:?}", disk.names());
}

#[test]
fn a_segment_that_does_not_fill_is_closed_when_it_is_an_eighth_of_the_age_old() {
    let disk = MemoryDisk::default();
    let options = LogStoreOptions { retention: MINUTE, ..options(1 << 20) };
    let (store, _) = run(LogStore::open(Arc::new(disk.clone()), SHARD, options)).unwrap();
    let epoch = run(store.claim(SHARD)).unwrap();
    append_at(&store, epoch, LogTime(10), &[message("c", 1, "one")]).unwrap();
    append_at(&store, epoch, LogTime(15), &[message("c", 2, "two")]).unwrap();
    assert_eq!(tidy(&store, 18), []);
    assert_eq!(disk.names(), ["shard-0000.log.00000001"]);
    tidy(&store, 19);
    assert_eq!(disk.names(), ["shard-0000.run.00000001-00000001"]);
    // A restart goes on with another segment.
    let (again, _) = run(LogStore::open(Arc::new(disk.copy()), SHARD, options)).unwrap();
    let claimed = run(again.claim(SHARD)).unwrap();
    append_at(&again, claimed, LogTime(20), &[message("c", 3, "three")]).unwrap();
    assert_eq!(entries(&again).len(), 3);

    append_at(&store, epoch, LogTime(20), &[message("c", 3, "three")]).unwrap();
    assert_eq!(tidy(&store, 75), [], "the run's last entry is a minute old");
    assert_eq!(tidy(&store, 76).len(), 1);
    assert_eq!(seqs(&store, after(0)), (vec![3], Some(2)));
}

#[test]
fn runs_are_merged_as_long_as_they_are_an_eighth_of_the_age() {
    let kept = Retention { age: Some(Duration::from_secs(800)), bytes: None };
    let disk = MemoryDisk::default();
    let (store, epoch) = open(&disk, kept);
    let log = fill(&store, epoch, 1..=60);
    tidy(&store, 600);
    let runs = disk.names().iter().filter(|name| name.contains(".run.")).count();
    assert!((6..=16).contains(&runs), "100 seconds are ten entries: {:?}", disk.names());
    assert_eq!(entries(&store), log);
}

#[test]
fn a_trimmed_log_is_sound_and_its_damage_is_found() {
    let disk = MemoryDisk::default();
    let (store, epoch) = open(&disk, MINUTE);
    fill(&store, epoch, 1..=12);
    tidy(&store, 120);
    drop(store);
    let report = checked(&disk);
    assert_eq!((report.damages, report.entries, report.trimmed), (vec![], 7, 5));

    let mut names = disk.names().into_iter();
    let trimmed = &names.find(|name| name.contains(".run.00000001-")).unwrap();
    let sound = disk.content(trimmed);
    for byte in 0..sound.len() {
        let mut rotten = sound.clone();
        rotten[byte] ^= 0x40;
        disk.put(trimmed, rotten);
        let damages = checked(&disk).damages;
        assert!(damages.iter().any(|one| one.file == *trimmed && one.is_fatal), "byte {byte}");
        // It is refused, at the latest when its owner recovers; it is never another log.
        let opened = try_open(&disk, MINUTE);
        let error = match opened {
            Ok((store, _)) => run(store.recover(SHARD, Duration::MAX)).unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(error, StoreError::Corrupt { .. }), "byte {byte}: {error}");
    }
    disk.remove_file(trimmed);
    assert!(try_open(&disk, MINUTE).is_err(), "the log does not begin anew");
}

/// The log from some entry on, of which those before are gone for good.
fn assert_suffix(store: &LogStore, log: &[ChannelEntry], gone_before: u64, at: &str) -> u64 {
    let trimmed = recovered(store, "c").trimmed_upto.0;
    assert!(trimmed >= gone_before, "{at}: {gone_before} came back, {trimmed} are gone");
    let kept = usize::try_from(trimmed).unwrap();
    assert_eq!(entries(store), log[kept..], "{at}");
    assert_eq!(recovered(store, "c").head.0, log.len() as u64, "{at}");
    trimmed
}

#[test]
fn power_loss_at_any_operation_of_a_trim_leaves_what_was_there_or_what_shall_be() {
    for keeps in [&[false][..], &[true], &[true, false], &[false, true, true]] {
        for halt in 0.. {
            let disk = MemoryDisk::default();
            let (store, epoch) = open(&disk, MINUTE);
            let mut log = fill(&store, epoch, 1..=8);
            tidy(&store, 90);
            log.extend(fill(&store, epoch, 9..=12));
            disk.halt_after(halt);
            let done = poll_once(store.tidy(LogTime(120))).is_some();
            // What was told of is what counts.
            let told = seqs_when_halted(&store);
            drop(store);

            let mut decisions = keeps.iter().copied().cycle();
            let disk = disk.lose_power(|| decisions.next().unwrap_or_default());
            let (store, _) = try_open(&disk, MINUTE).unwrap();
            let trimmed = assert_suffix(&store, &log, told, &format!("halted after {halt}"));
            assert!(trimmed == 2 || trimmed == 5, "{trimmed}");
            tidy(&store, 120);
            let (again, report) = try_open(&disk.lose_power(|| false), MINUTE).unwrap();
            assert_eq!(assert_suffix(&again, &log, 5, "at last"), 5);
            let files = report.runs + report.segments;
            assert_eq!(disk.names().len() as u64, files, "{:?}", disk.names());
            assert_eq!(checked(&disk).damages, []);
            if done {
                assert!(halt > 20, "a trim has more than {halt} operations");
                break;
            }
        }
    }
}

/// Up to where the channel is gone, as a store says that can read nothing any more.
fn seqs_when_halted(store: &LogStore) -> u64 {
    store.index().trimmed(b"\x04acme\x01c").upto.0
}

#[test]
fn failure_of_any_operation_of_a_trim_changes_nothing_and_is_made_up_for() {
    let operations = [
        Operation::Read,
        Operation::Create,
        Operation::Write,
        Operation::Sync,
        Operation::Rename,
        Operation::SyncDirectory,
    ];
    for operation in operations {
        for nth in 0.. {
            let disk = MemoryDisk::default();
            let (store, epoch) = open(&disk, MINUTE);
            let mut log = fill(&store, epoch, 1..=8);
            tidy(&store, 90);
            log.extend(fill(&store, epoch, 9..=12));
            disk.fail_after(operation, nth);
            let Err(error) = run(store.tidy(LogTime(120))) else {
                assert!(nth > 1, "{operation:?} happens more than {nth} times");
                break;
            };
            let at = format!("{operation:?} number {nth}");
            assert!(matches!(error, StoreError::Failed { .. }), "{at}: {error}");
            let told = seqs_when_halted(&store);
            let (again, _) = try_open(&disk.lose_power(|| true), MINUTE).unwrap();
            assert_suffix(&again, &log, told, &at);
            if operation == Operation::SyncDirectory {
                assert!(matches!(run(store.claim(SHARD)), Err(StoreError::Poisoned)), "{at}");
                continue;
            }
            assert_suffix(&store, &log, told, &at);
            tidy(&store, 120);
            assert_eq!(assert_suffix(&store, &log, 5, &at), 5);
        }
    }
}

#[tokio::test]
async fn a_run_that_is_too_damaged_to_go_keeps_no_others_from_being_merged() {
    let disk = MemoryDisk::default();
    let (store, epoch) = open(&disk, MINUTE);
    append_at(&store, epoch, LogTime(0), &[long(1)]).unwrap();
    for seq in 2..=5 {
        append_at(&store, epoch, LogTime(100), &[long(seq)]).unwrap();
    }
    while run(store.flush_oldest(LogTime(0), Pace::default())).unwrap() {}
    let (name, nonces) = {
        let index = store.index();
        let oldest = index.runs().first().expect("a segment was full");
        (oldest.name().file(), oldest.footer.nonces_start())
    };
    let mut rotten = disk.content(&name);
    rotten[usize::try_from(nonces).unwrap() + 10] ^= 1;
    disk.put(&name, rotten);
    let clock = Arc::new(RealClock::new());
    let log_clock = LogClock::new(LogTime(120), clock.mono_now());
    let (trims, _kept) = mpsc::channel(1);
    let put_off = async {
        while store.upkeep().setbacks == 0 {
            tokio::task::yield_now().await;
        }
    };

    tokio::select! {
        biased;
        error = store.maintain(clock, log_clock, trims) => panic!("{error}"),
        () = put_off => {}
    }

    assert_eq!(store.upkeep(), Upkeep { setbacks: 1, damaged_runs: 1 });
    let merged = |name: &String| name.ends_with("00000003-00000004");
    assert!(disk.names().iter().any(merged), "{:?}", disk.names());
    assert_eq!(seqs(&store, after(1)), (vec![2, 3, 4, 5], None));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: 1_000,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn power_losses_amid_trims_never_bring_back_what_is_gone_nor_take_what_is_young(
        // So many entries, so much later; then all that is due is done.
        steps in vec((1_u64..4, 0_u32..25), 1..10),
        by_bytes in proptest::option::of(400_u64..4_000),
        halts in vec((0_usize..90, vec(proptest::bool::ANY, 1..40)), 1..4),
    ) {
        let retention = Retention { bytes: by_bytes, ..MINUTE };
        let mut disk = MemoryDisk::default();
        let (mut log, mut now, mut gone) = (Vec::<(u32, ChannelEntry)>::new(), 0, 0);
        for (halt, keep) in &halts {
            let (store, _) = try_open(&disk, retention).unwrap();
            now = now.max(store.log_time().0);
            disk.halt_after(*halt);
            let epoch = poll_once(store.claim(SHARD));
            'work: for (count, later) in &steps {
                let Some(Ok(epoch)) = epoch else { break };
                now += later;
                for _ in 0..*count {
                    let entry = long(log.len() as u64 + 1);
                    let entries = vec![entry.clone()];
                    let at = LogTime(now);
                    let batch = Batch::of_entries(SHARD, (epoch, at), entries);
                    match poll_once(store.append(batch)) {
                        Some(result) => result.unwrap(),
                        None => break 'work,
                    }
                    log.push((now, entry));
                }
                if poll_once(store.tidy(LogTime(now))).is_none() {
                    break;
                }
            }
            let told = seqs_when_halted(&store);
            drop(store);
            let mut decisions = keep.iter().copied().cycle();
            disk = disk.lose_power(|| decisions.next().unwrap_or_default());
            let (store, _) = try_open(&disk, retention).unwrap();
            let state = recovered(&store, "c");
            // The entry that was being written may be there.
            for seq in log.len() as u64 + 1..=state.head.0 {
                log.push((now, long(seq)));
            }
            let entries: Vec<ChannelEntry> = log.iter().map(|(_, entry)| entry.clone()).collect();
            gone = assert_suffix(&store, &entries, told.max(gone), "after a power loss");
            let (by_age, _) = log.split_at(usize::try_from(gone).unwrap());
            let young = by_age.iter().filter(|(at, _)| at + 60 >= now).count();
            assert!(by_bytes.is_some() || young == 0, "{young} entries went early");
            disk = disk.lose_power(|| false);
        }
    }
}
