//! Reads of the log that serve sessions which are behind, one read for all that want the same.
//!
//! Of each shard, [`CATCH_UP_READS_MAX`] are on their way at a time; more wait for their turn, the
//! oldest first. So thousands of sessions that come back at once share the owner with those that
//! send, and one shard that answers slowly keeps no other's readers waiting.
//!
//! A page that was refused rests, from [`PAGE_REST_MIN`] up to [`PAGE_REST_MAX`], twice as long each
//! time, and then has its turn again: a damaged part of the log takes no other page's place, and
//! costs a read now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::ids::{ChannelKey, ConnectionId, SeqNo, ShardId};
use crate::limits::{CATCH_UP_READS_MAX, PAGE_REST_MAX, PAGE_REST_MIN};
use crate::time::MonoTime;

/// A page: which channel, and after which of its entries.
pub type Page = (ChannelKey, SeqNo);

/// The pages that sessions of one gateway want.
#[derive(Debug, Default)]
pub struct CatchUp {
    shards: BTreeMap<ShardId, Reads>,
    /// Pages that rest, and until when.
    resting: BTreeSet<(MonoTime, ShardId, Page)>,
}

/// Those of one shard.
#[derive(Debug, Default)]
struct Reads {
    pages: BTreeMap<Page, Wanted>,
    /// How many of them are on their way.
    asked: usize,
    /// Pages that wait for their turn.
    queue: BTreeMap<Turn, Page>,
    last_turn: u64,
}

/// A place in the queue: the lower, the earlier.
type Turn = u64;

#[derive(Debug)]
struct Wanted {
    by: BTreeSet<ConnectionId>,
    stage: Stage,
    /// How long it rests if it is refused.
    rest: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Queued(Turn),
    /// It is on its way.
    Asked,
    Resting(MonoTime),
}

/// A page that was refused.
#[derive(Debug, PartialEq, Eq)]
pub struct Rest {
    /// Who waits for it.
    pub by: Vec<ConnectionId>,
    /// So long, it isn't asked for.
    pub rest: Duration,
}

impl CatchUp {
    /// `connection` wants the page. True when the caller has to ask for it; false when it is on
    /// its way already, or will be given by [`Self::next`].
    pub fn want(&mut self, shard: ShardId, page: &Page, connection: ConnectionId) -> bool {
        let reads = self.shards.entry(shard).or_default();
        if let Some(wanted) = reads.pages.get_mut(page) {
            wanted.by.insert(connection);
            return false;
        }
        let now = reads.asked < CATCH_UP_READS_MAX;
        let stage = if now { Stage::Asked } else { Stage::Queued(reads.queue_up(page.clone())) };
        reads.asked += usize::from(now);
        let wanted = Wanted { by: BTreeSet::from([connection]), stage, rest: PAGE_REST_MIN };
        reads.pages.insert(page.clone(), wanted);
        now
    }

    /// The page came, or never will: gives and forgets who waited.
    pub fn take(&mut self, shard: ShardId, page: &Page) -> BTreeSet<ConnectionId> {
        let Some(reads) = self.shards.get_mut(&shard) else { return BTreeSet::new() };
        let Some(Wanted { by, stage, rest: _ }) = reads.pages.remove(page) else {
            return BTreeSet::new();
        };
        match stage {
            Stage::Asked => reads.asked -= 1,
            Stage::Queued(turn) => {
                reads.queue.remove(&turn);
            }
            Stage::Resting(until) => {
                self.resting.remove(&(until, shard, page.clone()));
            }
        }
        by
    }

    /// The page was refused: it rests, if somebody still waits for it.
    pub fn refused(&mut self, now: MonoTime, shard: ShardId, page: &Page) -> Option<Rest> {
        if self.shards.get(&shard)?.pages.get(page)?.by.is_empty() {
            self.take(shard, page);
            return None;
        }
        let reads = self.shards.get_mut(&shard)?;
        let wanted = reads.pages.get_mut(page)?;
        assert!(wanted.stage == Stage::Asked, "a page is refused that nobody asked for");
        reads.asked -= 1;
        let rest = wanted.rest;
        wanted.stage = Stage::Resting(now + rest);
        wanted.rest = (2 * rest).min(PAGE_REST_MAX);
        self.resting.insert((now + rest, shard, page.clone()));
        Some(Rest { by: wanted.by.iter().copied().collect(), rest })
    }

    /// Pages have rested: gives the shards of which [`Self::next`] may have some.
    pub fn wake(&mut self, now: MonoTime) -> BTreeSet<ShardId> {
        let mut shards = BTreeSet::new();
        while self.next_deadline().is_some_and(|until| until <= now) {
            let Some((_, shard, page)) = self.resting.pop_first() else { break };
            let reads = self.shards.get_mut(&shard).expect("a resting page's shard has pages");
            let turn = reads.queue_up(page.clone());
            reads.pages.get_mut(&page).expect("a resting page is wanted").stage =
                Stage::Queued(turn);
            shards.insert(shard);
        }
        shards
    }

    /// When to call [`Self::wake`].
    pub fn next_deadline(&self) -> Option<MonoTime> {
        self.resting.first().map(|(until, ..)| *until)
    }

    /// The next page that the caller has to ask for, if it is time for one.
    pub fn next(&mut self, shard: ShardId) -> Option<Page> {
        let reads = self.shards.get_mut(&shard)?;
        if reads.asked >= CATCH_UP_READS_MAX {
            return None;
        }
        let (_, page) = reads.queue.pop_first()?;
        let wanted = reads.pages.get_mut(&page).expect("a queued page is wanted");
        wanted.stage = Stage::Asked;
        reads.asked += 1;
        Some(page)
    }

    /// Pages of the shard that were asked for and have not come.
    pub fn on_their_way(&self, shard: ShardId) -> usize {
        self.shards.get(&shard).map_or(0, |reads| reads.asked)
    }

    /// `connection` is gone. A page that nobody else waits for loses its turn.
    pub fn leave(&mut self, shard: ShardId, page: &Page, connection: ConnectionId) {
        let Some(reads) = self.shards.get_mut(&shard) else { return };
        let Some(wanted) = reads.pages.get_mut(page) else { return };
        wanted.by.remove(&connection);
        if wanted.by.is_empty() && wanted.stage != Stage::Asked {
            self.take(shard, page);
        }
    }

    /// The shard can't be reached: no page of it will come. Gives who waited for each.
    pub fn give_up(&mut self, shard: ShardId) -> Vec<(Page, BTreeSet<ConnectionId>)> {
        self.resting.retain(|(_, resting, _)| *resting != shard);
        let reads = self.shards.remove(&shard).unwrap_or_default();
        reads.pages.into_iter().map(|(page, wanted)| (page, wanted.by)).collect()
    }
}

impl Reads {
    fn queue_up(&mut self, page: Page) -> Turn {
        self.last_turn += 1;
        self.queue.insert(self.last_turn, page);
        self.last_turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ChannelId, WorkspaceId};

    const SHARD: ShardId = ShardId(0);
    const ADA: ConnectionId = ConnectionId(1);
    const BOB: ConnectionId = ConnectionId(2);

    fn page(after: u64) -> Page {
        let channel = ChannelKey {
            workspace: WorkspaceId::new("w").unwrap(),
            channel: ChannelId::new("c").unwrap(),
        };
        (channel, SeqNo(after))
    }

    /// As many reads on their way as there may be, after 1, 2, 3, …
    fn full() -> CatchUp {
        let mut catch_up = CatchUp::default();
        for after in 1..=CATCH_UP_READS_MAX as u64 {
            assert!(catch_up.want(SHARD, &page(after), ADA));
        }
        catch_up
    }

    #[test]
    fn one_read_serves_all_who_want_the_same_page() {
        let mut catch_up = CatchUp::default();
        assert!(catch_up.want(SHARD, &page(3), ADA));
        assert!(!catch_up.want(SHARD, &page(3), BOB));
        assert!(catch_up.want(SHARD, &page(4), ConnectionId(3)));
        assert_eq!(catch_up.take(SHARD, &page(3)).len(), 2);
        assert!(catch_up.want(SHARD, &page(3), ADA));
    }

    #[test]
    fn pages_beyond_the_limit_have_their_turn_when_others_have_come() {
        let mut catch_up = full();
        for after in [200, 100] {
            assert!(!catch_up.want(SHARD, &page(after), BOB));
        }
        assert_eq!(catch_up.next(SHARD), None);
        assert!(catch_up.want(ShardId(1), &page(1), ADA), "another shard has its own");

        catch_up.take(SHARD, &page(1));
        assert_eq!(catch_up.next(SHARD), Some(page(200)), "the one wanted first");
        assert_eq!(catch_up.next(SHARD), None);
        catch_up.take(SHARD, &page(2));
        assert_eq!(catch_up.next(SHARD), Some(page(100)));
        assert_eq!(catch_up.take(SHARD, &page(100)), BTreeSet::from([BOB]));
    }

    #[test]
    fn a_page_that_nobody_wants_any_more_loses_its_turn() {
        let mut catch_up = full();
        assert!(!catch_up.want(SHARD, &page(100), ADA));
        assert!(!catch_up.want(SHARD, &page(100), BOB));
        assert!(!catch_up.want(SHARD, &page(200), BOB));
        catch_up.leave(SHARD, &page(100), ADA);
        catch_up.leave(SHARD, &page(100), BOB);
        catch_up.take(SHARD, &page(1));
        assert_eq!(catch_up.next(SHARD), Some(page(200)));
        catch_up.leave(SHARD, &page(200), BOB);
        assert!(catch_up.take(SHARD, &page(200)).is_empty(), "it is on its way for nobody");
    }

    fn at(ms: u64) -> MonoTime {
        MonoTime(Duration::from_millis(ms))
    }

    #[test]
    fn a_refused_page_rests_longer_each_time() {
        let mut catch_up = full();
        assert!(!catch_up.want(SHARD, &page(100), BOB));
        let (mut now, mut rests) = (MonoTime::default(), Vec::new());
        for _ in 0..8 {
            let Rest { by, rest } = catch_up.refused(now, SHARD, &page(1)).unwrap();
            assert_eq!(by, [ADA]);
            rests.push(rest.as_millis());
            if let Some(next) = catch_up.next(SHARD) {
                assert_eq!(next, page(100), "it has its turn meanwhile");
                catch_up.take(SHARD, &next);
            }
            assert!(!catch_up.want(SHARD, &page(1), BOB), "nobody asks before its time");
            catch_up.leave(SHARD, &page(1), BOB);
            assert!(catch_up.wake(now).is_empty());
            now = now + rest;
            assert_eq!(catch_up.next_deadline(), Some(now));
            assert_eq!(catch_up.wake(now), BTreeSet::from([SHARD]));
            assert_eq!(catch_up.next(SHARD), Some(page(1)));
        }
        assert_eq!(rests, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    }

    #[test]
    fn a_resting_page_goes_with_the_last_who_waits_and_with_its_shard() {
        let mut catch_up = full();
        assert!(catch_up.refused(at(0), SHARD, &page(1)).is_some());
        catch_up.leave(SHARD, &page(1), ADA);
        assert_eq!(catch_up.next_deadline(), None);
        catch_up.leave(SHARD, &page(2), ADA);
        assert_eq!(catch_up.refused(at(0), SHARD, &page(2)), None, "nobody waits for it");
        assert_eq!(catch_up.on_their_way(SHARD), CATCH_UP_READS_MAX - 2);
        assert!(catch_up.refused(at(0), SHARD, &page(3)).is_some());
        catch_up.give_up(SHARD);
        assert_eq!(catch_up.next_deadline(), None);
        assert!(catch_up.wake(at(90_000)).is_empty());
    }

    #[test]
    fn a_shard_that_can_not_be_reached_gives_everybody_back() {
        let mut catch_up = full();
        assert!(!catch_up.want(SHARD, &page(100), BOB));
        assert_eq!(catch_up.give_up(SHARD).len(), CATCH_UP_READS_MAX + 1);
        assert!(catch_up.want(SHARD, &page(100), BOB));
    }
}
