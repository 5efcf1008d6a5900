//! Reads of the log that serve sessions which are behind, one read for all that want the same.
//!
//! Of each shard, [`CATCH_UP_READS_MAX`] are on their way at a time; more wait for their turn, the
//! oldest first. So thousands of sessions that come back at once share the owner with those that
//! send, and one shard that answers slowly keeps no other's readers waiting.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ChannelKey, ConnectionId, SeqNo, ShardId};
use crate::limits::CATCH_UP_READS_MAX;

/// A page: which channel, and after which of its entries.
pub type Page = (ChannelKey, SeqNo);

/// The pages that sessions of one gateway want.
#[derive(Debug, Default)]
pub struct CatchUp {
    shards: BTreeMap<ShardId, Reads>,
}

/// Those of one shard.
#[derive(Debug, Default)]
struct Reads {
    pages: BTreeMap<Page, Wanted>,
    /// Pages that wait for their turn.
    queue: BTreeMap<Turn, Page>,
    last_turn: u64,
}

/// A place in the queue: the lower, the earlier.
type Turn = u64;

#[derive(Debug)]
struct Wanted {
    by: BTreeSet<ConnectionId>,
    /// `None` once the page is asked for.
    turn: Option<Turn>,
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
        let now = reads.on_their_way() < CATCH_UP_READS_MAX;
        let turn = (!now).then(|| reads.queue_up(page.clone()));
        reads.pages.insert(page.clone(), Wanted { by: BTreeSet::from([connection]), turn });
        now
    }

    /// The page came, or never will: gives and forgets who waited.
    pub fn take(&mut self, shard: ShardId, page: &Page) -> BTreeSet<ConnectionId> {
        let Some(reads) = self.shards.get_mut(&shard) else { return BTreeSet::new() };
        let Some(Wanted { by, turn }) = reads.pages.remove(page) else { return BTreeSet::new() };
        if let Some(turn) = turn {
            reads.queue.remove(&turn);
        }
        by
    }

    /// The next page that the caller has to ask for, if it is time for one.
    pub fn next(&mut self, shard: ShardId) -> Option<Page> {
        let reads = self.shards.get_mut(&shard)?;
        if reads.on_their_way() >= CATCH_UP_READS_MAX {
            return None;
        }
        let (_, page) = reads.queue.pop_first()?;
        let wanted = reads.pages.get_mut(&page).expect("a queued page is wanted");
        wanted.turn = None;
        Some(page)
    }

    /// Pages of the shard that were asked for and have not come.
    pub fn on_their_way(&self, shard: ShardId) -> usize {
        self.shards.get(&shard).map_or(0, Reads::on_their_way)
    }

    /// `connection` is gone. A page that nobody else waits for loses its turn.
    pub fn leave(&mut self, shard: ShardId, page: &Page, connection: ConnectionId) {
        let Some(reads) = self.shards.get_mut(&shard) else { return };
        let Some(wanted) = reads.pages.get_mut(page) else { return };
        wanted.by.remove(&connection);
        if let (true, Some(turn)) = (wanted.by.is_empty(), wanted.turn) {
            reads.queue.remove(&turn);
            reads.pages.remove(page);
        }
    }

    /// The shard can't be reached: no page of it will come. Gives who waited for each.
    pub fn give_up(&mut self, shard: ShardId) -> Vec<(Page, BTreeSet<ConnectionId>)> {
        let reads = self.shards.remove(&shard).unwrap_or_default();
        reads.pages.into_iter().map(|(page, wanted)| (page, wanted.by)).collect()
    }
}

impl Reads {
    fn on_their_way(&self) -> usize {
        self.pages.len() - self.queue.len()
    }

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

    #[test]
    fn a_shard_that_can_not_be_reached_gives_everybody_back() {
        let mut catch_up = full();
        assert!(!catch_up.want(SHARD, &page(100), BOB));
        assert_eq!(catch_up.give_up(SHARD).len(), CATCH_UP_READS_MAX + 1);
        assert!(catch_up.want(SHARD, &page(100), BOB));
    }
}
