//! What a scenario gives for the keys of a fault, and what a seed draws of it.

use std::collections::BTreeMap;

use super::kinds::FaultKind;
use super::spec::{Key, Word};
use crate::choices::Choices;
use crate::scenario::Range;

/// What was given for one key, or its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// Drawn for each seed and repetition.
    Number(Range<i64>),
    Word(Word),
}

/// The drawn values of a fault's keys: every key that its kind has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    numbers: BTreeMap<Key, i64>,
    words: BTreeMap<Key, Word>,
}

impl Settings {
    /// Draws each number, and each word that is left to the seed, by a choice of its own, named
    /// by the key.
    pub fn draw(
        kind: FaultKind,
        given: &BTreeMap<Key, Setting>,
        choices: &Choices,
        entity: u64,
    ) -> Self {
        let mut settings = Self::default();
        for (key, setting) in given {
            let mut drawn = choices.stream(&format!("fault.{key}"), entity);
            match setting {
                Setting::Number(Range { min, max }) => {
                    let above = drawn.between(0, max.abs_diff(*min));
                    // Both ends are i64, so the sum lies between them.
                    settings.numbers.insert(*key, min.saturating_add_unsigned(above));
                }
                Setting::Word(word) => {
                    let words = kind.knob(*key).map_or([].as_slice(), |knob| knob.values.words());
                    let others: Vec<Word> =
                        words.iter().copied().filter(|other| *other != Word::Any).collect();
                    let word = if *word == Word::Any { *drawn.pick(&others) } else { *word };
                    settings.words.insert(*key, word);
                }
            }
        }
        settings
    }

    /// The number drawn for `key`.
    ///
    /// # Panics
    /// The kind has no such number: the table of kinds and its reader disagree.
    pub fn number(&self, key: Key) -> i64 {
        *self.numbers.get(&key).unwrap_or_else(|| panic!("the fault has no {key}"))
    }

    /// As [`Self::number`], for a key that takes nothing below zero.
    ///
    /// # Panics
    /// As [`Self::number`].
    pub fn amount(&self, key: Key) -> u64 {
        u64::try_from(self.number(key)).unwrap_or(0)
    }

    /// The word given for `key`.
    ///
    /// # Panics
    /// As [`Self::number`].
    pub fn word(&self, key: Key) -> Word {
        *self.words.get(&key).unwrap_or_else(|| panic!("the fault has no {key}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_drawn_from_their_ranges_each_by_its_own_name() {
        let latency = (Key::LatencyMs, Setting::Number(Range { min: 10, max: 12 }));
        let offset = (Key::OffsetMs, Setting::Number(Range { min: i64::MIN, max: i64::MAX }));
        let draw = |given: &[(Key, Setting)], entity| {
            let given = given.iter().copied().collect();
            Settings::draw(FaultKind::LatencySpike, &given, &Choices::new(3), entity)
        };
        let mut drawn = std::collections::BTreeSet::new();
        for entity in 0..50 {
            let (both, alone) = (draw(&[latency, offset], entity), draw(&[latency], entity));
            assert_eq!(both.number(Key::LatencyMs), alone.number(Key::LatencyMs));
            drawn.insert(both.amount(Key::LatencyMs));
        }
        assert_eq!(drawn, [10, 11, 12].into());
    }

    #[test]
    fn a_word_that_is_left_open_is_drawn_from_the_others() {
        let given = [(Key::Direction, Setting::Word(Word::Any))].into();
        let words: std::collections::BTreeSet<Word> = (0..20)
            .map(|entity| Settings::draw(FaultKind::Cut, &given, &Choices::new(1), entity))
            .map(|settings| settings.word(Key::Direction))
            .collect();
        assert_eq!(words, [Word::In, Word::Out].into());
    }
}
