//! Sets of positions that are mostly without gaps.

/// Positions as ranges, so that a channel read without a gap costs one pair.
#[derive(Debug, Clone, Default)]
pub(super) struct Ranges {
    /// (first, last), ascending, never touching.
    ranges: Vec<(u64, u64)>,
}

impl Ranges {
    /// Adds `position`; false when it was there.
    pub(super) fn insert(&mut self, position: u64) -> bool {
        // Nearly always the next one: no search.
        if let Some((_, last)) = self.ranges.last_mut()
            && last.checked_add(1) == Some(position)
        {
            *last = position;
            return true;
        }
        let index = self.ranges.partition_point(|(first, _)| *first <= position);
        let before = index.checked_sub(1).and_then(|before| self.ranges.get(before)).copied();
        if before.is_some_and(|(_, last)| position <= last) {
            return false;
        }
        let joins_before = before.is_some_and(|(_, last)| last + 1 == position);
        let after = self.ranges.get(index).copied();
        let joins_after = after.is_some_and(|(first, _)| position + 1 == first);
        let first = before.filter(|_| joins_before).map_or(position, |(first, _)| first);
        let last = after.filter(|_| joins_after).map_or(position, |(_, last)| last);
        let from = index - usize::from(joins_before);
        let until = index + usize::from(joins_after);
        self.ranges.splice(from..until, [(first, last)]);
        true
    }

    pub(super) fn contains(&self, position: u64) -> bool {
        let index = self.ranges.partition_point(|(first, _)| *first <= position);
        let before = index.checked_sub(1).and_then(|before| self.ranges.get(before));
        before.is_some_and(|(_, last)| position <= *last)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(positions in prop::collection::vec(1_u64..40, 0..80)) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for position in positions {
                prop_assert_eq!(ranges.insert(position), set.insert(position));
            }
            for position in 0..41 {
                prop_assert_eq!(ranges.contains(position), set.contains(&position));
            }
            let touching = ranges.ranges.windows(2).any(|pair| pair[0].1 + 1 >= pair[1].0);
            prop_assert!(!touching, "{:?}", ranges);
        }
    }
}
