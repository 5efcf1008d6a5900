//! Something for each position of a channel.

use std::collections::BTreeMap;

use seriatim_engine::ids::SeqNo;

/// Positions this far beyond the last are kept apart, so that a wild number costs no memory.
const STEP_MAX: usize = 1_024;

/// A value for some positions: an array for those that follow each other, as nearly all do.
#[derive(Debug, Clone)]
pub(crate) struct Positions<T> {
    dense: Vec<Option<T>>,
    sparse: BTreeMap<SeqNo, T>,
}

impl<T> Default for Positions<T> {
    fn default() -> Self {
        Self { dense: Vec::new(), sparse: BTreeMap::new() }
    }
}

impl<T> Positions<T> {
    pub(crate) fn at(&self, seq: SeqNo) -> Option<&T> {
        let index = usize::try_from(seq.0).ok();
        let dense = index.and_then(|index| self.dense.get(index)?.as_ref());
        if dense.is_some() || self.sparse.is_empty() { dense } else { self.sparse.get(&seq) }
    }

    /// Sets the value of a position that has none.
    pub(crate) fn insert(&mut self, seq: SeqNo, value: T) {
        assert!(self.at(seq).is_none(), "position {seq} has a value");
        match usize::try_from(seq.0) {
            Ok(index) if index < self.dense.len() + STEP_MAX => {
                if self.dense.len() <= index {
                    self.dense.resize_with(index + 1, || None);
                }
                *self.dense.get_mut(index).expect("just made") = Some(value);
            }
            _ => {
                self.sparse.insert(seq, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_position_keeps_its_value_however_wild() {
        let mut positions = Positions::default();
        let wild = [u64::MAX, 5_000, 1, 1_000, 2_000, 2, 4_000, 3_500];
        for seq in wild {
            positions.insert(SeqNo(seq), seq);
        }
        assert!(wild.iter().all(|seq| positions.at(SeqNo(*seq)) == Some(seq)));
        assert_eq!(positions.at(SeqNo(3)), None);
        assert!(positions.dense.len() < 6_000);
    }
}
