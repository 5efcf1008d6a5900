//! Remembers what was asked for, so that a retry makes no second entry.
//!
//! [`Nonces`] is one shard's table from [`NonceKey`] to the position that the nonce led to: 32
//! bytes an entry, in [`TABLES`] small open-addressing tables, so that growing one of them takes
//! microseconds and nothing ever stalls for the whole. The owner asks and records; the store fills
//! a table when it recovers.
//!
//! # Invariants
//!
//! - A key maps to the seq of its first answer until the window has passed, or longer. Ages are
//!   told by the log's own clock: the wall clock may jump by days.
//! - Each record looks at [`SWEPT_PER_RECORD`] slots for expired ones, so the table holds at most
//!   about an eighth more than the requests of one window.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::ids::{ChannelKey, Nonce, SeqNo, UserId};
use crate::limits::NONCE_WINDOW;
use crate::time::{LogTime, WallTime};

/// Names one (channel, user, nonce): the first 128 bits of their SHA-256. A cryptographic hash,
/// because users choose the input: nobody can make a nonce that passes for another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NonceKey(pub u128);

impl NonceKey {
    pub fn new(channel: &ChannelKey, sender: &UserId, nonce: &Nonce) -> Self {
        Self::of_names([
            channel.workspace.as_str().as_bytes(),
            channel.channel.as_str().as_bytes(),
            sender.as_str().as_bytes(),
            nonce.as_str().as_bytes(),
        ])
    }

    /// The key of workspace, channel, sender and nonce. Each counts with its length, so that no
    /// two different ones look the same strung together.
    pub fn of_names(names: [&[u8]; 4]) -> Self {
        let mut hash = Sha256::new();
        for name in names {
            hash.update([u8::try_from(name.len()).expect("names have at most 64 bytes")]);
            hash.update(name);
        }
        let digest = hash.finalize();
        let first = digest.first_chunk().expect("a SHA-256 has 32 bytes");
        Self(u128::from_be_bytes(*first))
    }
}

/// So many that one holds about 2,400 of ten million nonces and grows in some 50 µs.
const TABLES: usize = 4_096;

/// Slots that each record examines for expired nonces.
pub const SWEPT_PER_RECORD: usize = 8;

/// Bytes of a slot: 128 bits of key, 48 of seq, 48 of wall time, 32 of the log's time.
pub const SLOT_BYTES: usize = size_of::<Slot>();

/// The nonces of one shard.
#[derive(Debug)]
pub struct Nonces {
    tables: Vec<Table>,
    window: Duration,
    count: usize,
    /// The table and the slot that are examined next.
    sweep: (usize, usize),
}

impl Default for Nonces {
    fn default() -> Self {
        Self::new(NONCE_WINDOW)
    }
}

impl Nonces {
    /// Remembers nonces for `window`.
    pub fn new(window: Duration) -> Self {
        let tables = (0..TABLES).map(|_| Table::default()).collect();
        Self { tables, window, count: 0, sweep: (0, 0) }
    }

    /// The position that the nonce led to, and when it was numbered.
    pub fn find(&self, key: NonceKey) -> Option<(SeqNo, WallTime)> {
        let slot = self.tables.get(table_of(key))?.find(key)?;
        Some((slot.seq(), slot.at()))
    }

    /// Remembers that the nonce became `seq` at the log's time `logged`, and forgets some that are
    /// older than the window.
    pub fn record(&mut self, key: NonceKey, seq: SeqNo, at: WallTime, logged: LogTime) {
        self.sweep(logged.before(self.window));
        assert!(self.load(key, seq, at, logged), "a nonce was recorded twice");
    }

    /// Remembers a nonce that a store holds. If two positions have it, one was numbered after the
    /// other had expired: the later one counts. Gives whether the nonce is new.
    pub fn load(&mut self, key: NonceKey, seq: SeqNo, at: WallTime, logged: LogTime) -> bool {
        let table = self.tables.get_mut(table_of(key)).expect("every key has a table");
        let is_new = table.insert(Slot::new(key, seq, at, logged));
        self.count += usize::from(is_new);
        is_new
    }

    fn sweep(&mut self, limit: LogTime) {
        let (mut number, mut index) = self.sweep;
        for _ in 0..SWEPT_PER_RECORD {
            let table = self.tables.get_mut(number).expect("the sweep stays in the tables");
            match table.slots.get(index) {
                // Another one may have moved here, so the same slot is next.
                Some(slot) if !slot.is_empty() && slot.logged() < limit => {
                    table.remove(index);
                    self.count -= 1;
                }
                Some(_) => index += 1,
                None => {
                    table.shrink();
                    (number, index) = ((number + 1) % TABLES, 0);
                }
            }
        }
        self.sweep = (number, index);
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes that the tables take.
    pub fn bytes(&self) -> usize {
        let slots: usize = self.tables.iter().map(|table| table.slots.len()).sum();
        slots * SLOT_BYTES + TABLES * size_of::<Table>()
    }
}

fn table_of(key: NonceKey) -> usize {
    const SHIFT: u32 = u128::BITS - TABLES.trailing_zeros();
    const _: () = assert!(TABLES.is_power_of_two(), "tables are chosen by the first bits");
    usize::try_from(key.0 >> SHIFT).expect("a few bits fit")
}

/// One small table: linear probing, deletion by moving the followers back.
#[derive(Debug, Default)]
struct Table {
    slots: Vec<Slot>,
    count: usize,
}

/// A table grows when it is fuller than this…
const FULL_PERCENT: usize = 85;

/// … to hold so many more, which keeps it at 71 % full or above.
const GROWTH_PERCENT: usize = 120;

impl Table {
    /// Where the search for `key` begins.
    fn home(&self, key: NonceKey) -> usize {
        // The low 32 bits, scaled to the table; the tables themselves go by the high ones.
        let low = u64::try_from(key.0 & 0xFFFF_FFFF).expect("32 bits fit");
        usize::try_from((low * self.slots.len() as u64) >> 32).expect("an index of the table fits")
    }

    fn next(&self, index: usize) -> usize {
        if index + 1 == self.slots.len() { 0 } else { index + 1 }
    }

    fn find(&self, key: NonceKey) -> Option<&Slot> {
        let mut index = self.home(key);
        loop {
            let slot = self.slots.get(index).filter(|slot| !slot.is_empty())?;
            if slot.key() == key {
                return Some(slot);
            }
            index = self.next(index);
        }
    }

    /// Gives whether the key is new. Of a known one, the later position is kept.
    fn insert(&mut self, new: Slot) -> bool {
        if (self.count + 1) * 100 > self.slots.len() * FULL_PERCENT {
            self.resize((self.slots.len() * GROWTH_PERCENT / 100).max(self.slots.len() + 8));
        }
        let key = new.key();
        let mut index = self.home(key);
        loop {
            let next = self.next(index);
            let slot = self.slots.get_mut(index).expect("a table with room has slots");
            if slot.is_empty() {
                *slot = new;
                self.count += 1;
                return true;
            }
            if slot.key() == key {
                if slot.seq() < new.seq() {
                    *slot = new;
                }
                return false;
            }
            index = next;
        }
    }

    /// Empties a slot, and moves those back that were put further on because of it.
    fn remove(&mut self, index: usize) {
        let mut hole = index;
        let mut index = self.next(hole);
        self.count -= 1;
        loop {
            let slot = *self.slots.get(index).expect("indexes wrap around");
            let length = self.slots.len();
            if slot.is_empty() {
                break;
            }
            let home = self.home(slot.key());
            // It may move if the hole is not before its home, going round.
            if (index + length - home) % length >= (index + length - hole) % length {
                *self.slots.get_mut(hole).expect("a hole was a slot") = slot;
                hole = index;
            }
            index = self.next(index);
        }
        *self.slots.get_mut(hole).expect("a hole was a slot") = Slot::EMPTY;
    }

    /// Gives room back after a peak.
    fn shrink(&mut self) {
        if self.count * 100 < self.slots.len() * FULL_PERCENT / 2 {
            self.resize(self.count * 100 / FULL_PERCENT * GROWTH_PERCENT / 100 + 8);
        }
    }

    fn resize(&mut self, length: usize) {
        let old = std::mem::replace(&mut self.slots, vec![Slot::EMPTY; length]);
        self.count = 0;
        for slot in old.into_iter().filter(|slot| !slot.is_empty()) {
            self.insert(slot);
        }
    }
}

/// A nonce, packed: four words of key, then seq and wall time of 48 bits each, and the log's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot([u32; 8]);

/// More than one channel will ever number, and the milliseconds of the next 8,000 years.
const PACKED_MAX: u64 = (1 << 48) - 1;

impl Slot {
    /// Positions begin at 1.
    const EMPTY: Self = Self([0; 8]);

    fn new(NonceKey(key): NonceKey, seq: SeqNo, at: WallTime, logged: LogTime) -> Self {
        assert!(seq > SeqNo::ZERO, "a nonce leads to a position");
        assert!(seq.0 <= PACKED_MAX, "a channel has more than 2^48 entries");
        let at = at.0.min(PACKED_MAX);
        let low = |number: u64| u32::try_from(number & 0xFFFF_FFFF).expect("32 bits fit");
        let word = |shift: u32| u32::try_from((key >> shift) & 0xFFFF_FFFF).expect("32 bits fit");
        let highs = low((seq.0 >> 32) << 16 | at >> 32);
        Self([word(96), word(64), word(32), word(0), low(seq.0), highs, low(at), logged.0])
    }

    fn is_empty(&self) -> bool {
        let Self([.., seq_low, highs, _, _]) = self;
        *seq_low == 0 && highs >> 16 == 0
    }

    fn key(&self) -> NonceKey {
        let Self([a, b, c, d, ..]) = *self;
        let words = [a, b, c, d].map(u128::from);
        NonceKey(words.iter().fold(0, |key, word| key << 32 | word))
    }

    fn seq(&self) -> SeqNo {
        let Self([.., seq_low, highs, _, _]) = *self;
        SeqNo(u64::from(highs >> 16) << 32 | u64::from(seq_low))
    }

    fn at(&self) -> WallTime {
        let Self([.., highs, at_low, _]) = *self;
        WallTime(u64::from(highs & 0xFFFF) << 32 | u64::from(at_low))
    }

    fn logged(&self) -> LogTime {
        let Self([.., logged]) = *self;
        LogTime(logged)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::ids::{ChannelId, WorkspaceId};

    const WINDOW: Duration = Duration::from_secs(10);

    fn key(workspace: &str, channel: &str, sender: &str, nonce: &str) -> NonceKey {
        let channel = ChannelKey {
            workspace: WorkspaceId::new(workspace).unwrap(),
            channel: ChannelId::new(channel).unwrap(),
        };
        NonceKey::new(&channel, &UserId::new(sender).unwrap(), &Nonce::new(nonce).unwrap())
    }

    /// Keys as evenly spread as hashes.
    fn spread(number: u64) -> NonceKey {
        NonceKey::of_names([b"w", b"c", b"s", &number.to_be_bytes()])
    }

    #[test]
    fn keys_differ_when_any_name_does_or_a_letter_moves_between_names() {
        let all = [
            key("w", "c", "s", "n"),
            key("v", "c", "s", "n"),
            key("w", "d", "s", "n"),
            key("w", "c", "t", "n"),
            key("w", "c", "s", "m"),
            key("w", "cs", "n", "n"),
            key("w", "c", "sn", "n"),
            key("wc", "s", "n", "n"),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(key("w", "c", "s", "n"), key("w", "c", "s", "n"));
    }

    #[test]
    fn a_nonce_is_kept_for_the_whole_window_and_forgotten_after_it() {
        let mut nonces = Nonces::new(WINDOW);
        nonces.record(spread(0), SeqNo(1), WallTime(1_000), LogTime(1));
        // Enough records for the sweep to pass every slot of every table, more than once.
        for number in 1..4_000 {
            // The wall clock jumps by years, which makes nothing older.
            let at = WallTime(number << 40);
            nonces.record(spread(number), SeqNo(number + 1), at, LogTime(11));
        }
        assert_eq!(nonces.find(spread(0)), Some((SeqNo(1), WallTime(1_000))));

        for number in 4_000..20_000 {
            nonces.record(spread(number), SeqNo(number + 1), WallTime(0), LogTime(12));
        }
        assert_eq!(nonces.find(spread(0)), None);
        assert_eq!(nonces.count(), 19_999);
    }

    #[test]
    fn the_table_stays_at_about_one_window_and_shrinks_after_a_peak() {
        let mut nonces = Nonces::new(WINDOW);
        for number in 0..200_000_u32 {
            let key = spread(u64::from(number));
            nonces.record(key, SeqNo(1), WallTime(0), LogTime(number / 1_000));
        }
        // One window holds 10,000.
        assert!(nonces.count() < 20_000, "{}", nonces.count());
        let mut peak = Nonces::new(WINDOW);
        for number in 0..200_000_u64 {
            peak.record(spread(number), SeqNo(1), WallTime(0), LogTime(0));
        }
        let bytes = peak.bytes();
        assert!(bytes < 200_000 * 46 + TABLES * 32 + TABLES * 12 * SLOT_BYTES, "{bytes}");
        for number in 0..150_000_u32 {
            let key = spread(1_000_000 + u64::from(number));
            peak.record(key, SeqNo(1), WallTime(0), LogTime(20 + number / 1_000));
        }
        assert!(peak.bytes() < bytes / 2, "{} after {bytes}", peak.bytes());
    }

    #[test]
    fn positions_and_times_come_back_exactly() {
        let mut nonces = Nonces::new(WINDOW);
        let seqs = [1, 0xFFFF_FFFF, 0x1_0000_0000, PACKED_MAX];
        let ats = [0, 1_767_225_600_123, 0xFFFF_FFFF, PACKED_MAX];
        for (number, (seq, at)) in (0..).zip(seqs.iter().flat_map(|s| ats.map(|a| (*s, a)))) {
            for logged in [0, 0xFFFF_FFFF] {
                let slot = Slot::new(spread(number), SeqNo(seq), WallTime(at), LogTime(logged));
                assert_eq!(slot.logged(), LogTime(logged));
            }
            nonces.load(spread(number), SeqNo(seq), WallTime(at), LogTime(3));
            assert_eq!(nonces.find(spread(number)), Some((SeqNo(seq), WallTime(at))));
        }
    }

    #[test]
    fn of_a_nonce_that_was_used_again_the_later_position_counts() {
        let mut nonces = Nonces::new(WINDOW);
        assert!(nonces.load(spread(1), SeqNo(9), WallTime(5), LogTime(5)));
        assert!(!nonces.load(spread(1), SeqNo(3), WallTime(1), LogTime(1)));
        assert_eq!(nonces.find(spread(1)), Some((SeqNo(9), WallTime(5))));
        assert!(!nonces.load(spread(1), SeqNo(12), WallTime(8), LogTime(8)));
        assert_eq!(nonces.find(spread(1)), Some((SeqNo(12), WallTime(8))));
        assert_eq!(nonces.count(), 1);
    }

    proptest! {
        /// Against a map, with keys that collide in one small table.
        #[test]
        fn a_table_holds_what_was_inserted_and_not_removed(
            steps in proptest::collection::vec((0_u32..48, any::<bool>()), 1..300),
        ) {
            let mut table = Table::default();
            let mut model = BTreeMap::new();
            for (number, insert) in steps {
                // Many homes are shared, some at the end of the table, so that probes wrap.
                let key = NonceKey(u128::from(number) << 64 | u128::from(u32::MAX - number % 5 * 7));
                if insert {
                    let slot = Slot::new(key, SeqNo(1), WallTime(u64::from(number)), LogTime(0));
                    prop_assert_eq!(table.insert(slot), model.insert(key, number).is_none());
                } else if let Some(index) = table.slots.iter().position(|s| !s.is_empty() && s.key() == key) {
                    table.remove(index);
                    prop_assert!(model.remove(&key).is_some());
                }
                for number in 0_u32..48 {
                    let key = NonceKey(u128::from(number) << 64 | u128::from(u32::MAX - number % 5 * 7));
                    let found = table.find(key).map(|slot| slot.at().0);
                    prop_assert_eq!(found, model.get(&key).map(|number| u64::from(*number)));
                }
                prop_assert_eq!(table.count, model.len());
            }
        }
    }
}
