//! Rewrites a full segment as a run.
//!
//! The entries come from memory, where they have been since they were appended or replayed. The
//! segment's file goes once the run is durable under its name; a crash in between leaves both, and
//! recovery drops the segment.

use seriatim_engine::time::LogTime;

use super::extent::{Extent, Stored};
use super::group::Place;
use super::history::in_memory;
use super::index::{Sealed, SegmentCursor};
use super::maintenance::{SWITCHED_AT_ONCE, Setback};
use super::pace::Pace;
use super::peek::{Peek, peek};
use super::record::Flaw;
use super::run_name::{Job, RunName};
use super::run_writer::{RunFacts, RunWriter, StoredNonce};
use super::segment;
use super::store::LogStore;

/// Nonces are sorted in so many parts, so that no sort takes long.
pub(super) const NONCE_PARTS: u32 = 256;

/// Records of so many bytes are taken before commits get their turn: some 100 µs of work. What is
/// written at once has more, because each write changes threads.
const VISITED_BYTES: usize = 64 * 1024;

/// Confirmations that are looked at without a pause.
const CONFIRMATIONS_AT_ONCE: usize = 1_024;

/// Nonces by their first byte: what sorting them in parts needs.
pub(super) fn part_of(nonce: &StoredNonce) -> usize {
    const SHIFT: u32 = u128::BITS - NONCE_PARTS.trailing_zeros();
    usize::try_from(nonce.key.0 >> SHIFT).expect("eight bits fit")
}

impl LogStore {
    /// Rewrites the oldest full segment. Gives whether there was one.
    pub(super) async fn flush_oldest(
        &self,
        nonces_since: LogTime,
        mut pace: Pace,
    ) -> Result<bool, Setback> {
        let Some(sealed) = self.index().oldest_waiting() else { return Ok(false) };
        let Sealed { segment, epoch, length, log_time } = sealed;
        let name = RunName { shard: self.shard, first: segment, last: segment };
        let begun = RunWriter::begin(&*self.disk, name, Job::Flush, pace.clone()).await;
        let mut run = begun.map_err(Setback::Retry)?;
        let mut nonces: Vec<Vec<StoredNonce>> = vec![Vec::new(); NONCE_PARTS as usize];
        let mut cursor = SegmentCursor::default();
        while self.fill(segment, &mut cursor, nonces_since, &mut run, &mut nonces)? {
            if run.is_full() {
                run.drain().await.map_err(Setback::Retry)?;
            } else {
                pace.pause().await;
            }
        }
        run.end_records();
        self.confirmed(segment, nonces_since, &mut nonces, &mut pace).await?;
        for part in &mut nonces {
            part.sort_unstable();
            part.iter().for_each(|nonce| run.push_nonce(nonce));
            if run.is_full() {
                run.drain().await.map_err(Setback::Retry)?;
            }
        }
        let facts = RunFacts { level: 0, epoch, segment_length: length, log_time };
        let (run, extents) = run.finish(&*self.disk, facts).await?;
        let switch = |(name, extent): &(Box<[u8]>, Extent)| {
            let stored = Stored { run: run.clone(), extent: *extent };
            self.index().switch_to_run(name, segment, stored);
        };
        for extents in extents.chunks(SWITCHED_AT_ONCE) {
            extents.iter().for_each(switch);
            pace.pause().await;
        }
        self.index().segment_is_stored(segment, run);
        self.room.notify_waiters();
        let file = segment::file_name(Place { shard: self.shard, segment });
        self.remove_needless(&file).await;
        Ok(true)
    }

    /// Adds the nonces of the segment's confirmations: nothing else is left of them in a run.
    async fn confirmed(
        &self,
        segment: u32,
        nonces_since: LogTime,
        nonces: &mut [Vec<StoredNonce>],
        pace: &mut Pace,
    ) -> Result<(), Setback> {
        let mut done = 0;
        loop {
            let some = self.index().confirmations(segment, done, CONFIRMATIONS_AT_ONCE);
            if some.is_empty() {
                return Ok(());
            }
            done += some.len();
            for (record, logged) in some {
                let added = peek(&record).and_then(|seen| {
                    if logged >= nonces_since { add_nonce(&seen, logged, nonces) } else { Ok(()) }
                });
                added.map_err(|flaw| Setback::Fatal(in_memory(flaw)))?;
            }
            pace.pause().await;
        }
    }

    /// Gives some of the segment's records to the run. Gives whether there may be more.
    fn fill(
        &self,
        segment: u32,
        cursor: &mut SegmentCursor,
        nonces_since: LogTime,
        run: &mut RunWriter,
        nonces: &mut [Vec<StoredNonce>],
    ) -> Result<bool, Setback> {
        let (mut flaw, mut visited) = (None, 0);
        let more = self.index().visit_segment(segment, cursor, |record, logged| {
            flaw = add_record(record, logged, nonces_since, run, nonces).err();
            visited += record.len();
            flaw.is_some() || run.is_full() || visited >= VISITED_BYTES
        });
        match flaw {
            Some(flaw) => Err(Setback::Fatal(in_memory(flaw))),
            None => Ok(more),
        }
    }
}

fn add_record(
    record: &[u8],
    logged: LogTime,
    nonces_since: LogTime,
    run: &mut RunWriter,
    nonces: &mut [Vec<StoredNonce>],
) -> Result<(), Flaw> {
    let record = peek(record)?;
    run.push(&record);
    if logged >= nonces_since { add_nonce(&record, logged, nonces) } else { Ok(()) }
}

fn add_nonce(
    record: &Peek<'_>,
    logged: LogTime,
    nonces: &mut [Vec<StoredNonce>],
) -> Result<(), Flaw> {
    let nonce = StoredNonce::of(record, logged)?;
    nonces.get_mut(part_of(&nonce)).expect("every nonce has a part").push(nonce);
    Ok(())
}
