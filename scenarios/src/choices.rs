//! Named choices: every random decision of a run, drawn by its name.
//!
//! A choice is named by its site (what is decided), its entity (for whom) and its ordinal (the how
//! manieth time). Its value depends on the seed and that name alone, so that removing a user or a
//! fault from a scenario leaves every other decision as it was. An override replaces single values;
//! a minimised failure is a scenario, a seed and overrides.

use std::collections::BTreeMap;
use std::sync::Arc;

/// FNV-1a, 64 bit: offset basis and prime of the FNV reference (Fowler, Noll, Vo).
const FNV_OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// The increment of splitmix64: 2^64 divided by the golden ratio (Steele, Lea and Flood, 2014).
const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// Replaces the value of the choice (site, entity, ordinal).
pub type Overrides = BTreeMap<(String, u64, u64), u64>;

/// The choices of one run. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Choices {
    seed: u64,
    overrides: Arc<Overrides>,
}

impl Choices {
    pub fn new(seed: u64) -> Self {
        Self::with_overrides(seed, Overrides::new())
    }

    pub fn with_overrides(seed: u64, overrides: Overrides) -> Self {
        Self { seed, overrides: Arc::new(overrides) }
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The value of one choice: 64 uniform bits, the same at every call.
    pub fn value(&self, site: &str, entity: u64, ordinal: u64) -> u64 {
        // Building the key allocates, so a run without overrides skips the look-up.
        if !self.overrides.is_empty()
            && let Some(value) = self.overrides.get(&(site.to_owned(), entity, ordinal))
        {
            return *value;
        }
        draw(self.base(site, entity), ordinal)
    }

    /// The choices of one site and entity, in the order of their ordinals from 0.
    pub fn stream(&self, site: &str, entity: u64) -> ChoiceStream {
        let overrides = if self.overrides.is_empty() {
            BTreeMap::new()
        } else {
            let from = (site.to_owned(), entity, 0);
            let upto = (site.to_owned(), entity, u64::MAX);
            self.overrides.range(from..=upto).map(|(key, value)| (key.2, *value)).collect()
        };
        ChoiceStream { base: self.base(site, entity), ordinal: 0, overrides }
    }

    fn base(&self, site: &str, entity: u64) -> u64 {
        let named = mix(self.seed ^ mix(fnv1a(site)));
        mix(named.wrapping_add(mix(entity.wrapping_add(GOLDEN_GAMMA))))
    }
}

/// Successive choices of one site and entity.
#[derive(Debug, Clone)]
pub struct ChoiceStream {
    base: u64,
    ordinal: u64,
    overrides: BTreeMap<u64, u64>,
}

impl ChoiceStream {
    /// 64 uniform bits. Every other method takes exactly one of these.
    pub fn next_u64(&mut self) -> u64 {
        let ordinal = self.ordinal;
        self.ordinal += 1;
        match self.overrides.get(&ordinal) {
            Some(value) => *value,
            None => draw(self.base, ordinal),
        }
    }

    /// A number from 0 to `n - 1`.
    ///
    /// # Panics
    /// `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "nothing is below 0");
        // Lemire's multiply-shift without the rejection step: one draw always, and a bias of at
        // most n / 2^64.
        let wide = u128::from(self.next_u64()) * u128::from(n);
        u64::try_from(wide >> 64).expect("the high half of a u128")
    }

    /// A number from `min` to `max`, both included.
    ///
    /// # Panics
    /// `min` is greater than `max`.
    pub fn between(&mut self, min: u64, max: u64) -> u64 {
        assert!(min <= max, "{min} is greater than {max}");
        match (max - min).checked_add(1) {
            Some(count) => min + self.below(count),
            None => self.next_u64(),
        }
    }

    /// True with probability `p`; never at 0, always at 1.
    pub fn chance(&mut self, p: f64) -> bool {
        // 53 bits are exact in an f64, so the comparison is the same on every machine.
        let unit = (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        unit < p
    }

    /// One of `items`.
    ///
    /// # Panics
    /// `items` is empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let index = self.below(items.len() as u64);
        let index = usize::try_from(index).expect("smaller than a usize");
        items.get(index).expect("below the length")
    }
}

fn draw(base: u64, ordinal: u64) -> u64 {
    mix(base.wrapping_add(ordinal.wrapping_add(1).wrapping_mul(GOLDEN_GAMMA)))
}

/// The finaliser of splitmix64 (Stafford's variant 13 of MurmurHash3's).
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn fnv1a(text: &str) -> u64 {
    text.bytes()
        .fold(FNV_OFFSET_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_frozen() {
        // A changed value changes every recorded failing seed.
        let choices = Choices::new(7);
        assert_eq!(choices.value("send", 3, 2), choices.stream("send", 3).nth(2));
        assert_eq!(fnv1a("a"), 0xaf63_dc4c_8601_ec8c, "the FNV reference's own example");
        assert_eq!(draw(0, 0), 0xe220_a839_7b1d_cdaf, "splitmix64's first value for seed 0");
    }

    impl ChoiceStream {
        fn nth(mut self, ordinal: u64) -> u64 {
            for _ in 0..ordinal {
                self.next_u64();
            }
            self.next_u64()
        }
    }

    #[test]
    fn draws_of_one_entity_leave_the_others_alone() {
        let choices = Choices::new(1);
        let mut ada = choices.stream("send", 1);
        let mut bob = choices.stream("send", 2);
        let interleaved: Vec<u64> = (0..10).map(|_| (ada.next_u64(), bob.next_u64()).1).collect();
        let mut bob_alone = choices.stream("send", 2);
        let alone: Vec<u64> = (0..10).map(|_| bob_alone.next_u64()).collect();
        assert_eq!(interleaved, alone);
    }

    #[test]
    fn an_override_replaces_one_choice_only() {
        let plain = Choices::new(5);
        let changed =
            Choices::with_overrides(5, Overrides::from([(("fault".to_owned(), 1, 1), 42)]));
        assert_eq!(changed.value("fault", 1, 1), 42);
        let (mut a, mut b) = (plain.stream("fault", 1), changed.stream("fault", 1));
        assert_eq!(a.next_u64(), b.next_u64());
        assert_eq!((a.next_u64() == 42, b.next_u64()), (false, 42));
        assert_eq!(a.next_u64(), b.next_u64());
        assert_eq!(plain.value("fault", 2, 1), changed.value("fault", 2, 1));
    }

    #[test]
    fn seeds_sites_entities_and_ordinals_all_matter() {
        let base = Choices::new(1).value("a", 1, 1);
        let others = [
            Choices::new(2).value("a", 1, 1),
            Choices::new(1).value("b", 1, 1),
            Choices::new(1).value("a", 2, 1),
            Choices::new(1).value("a", 1, 2),
        ];
        assert!(others.iter().all(|other| *other != base));
    }

    /// Chi-squared over 64 cells has a mean of 63 and a standard deviation of 11.
    fn chi_squared(values: impl Iterator<Item = u64>) -> f64 {
        let mut cells = [0_u32; 64];
        let mut count = 0.0;
        for value in values {
            cells[usize::try_from(value >> 58).unwrap()] += 1;
            count += 1.0;
        }
        let expected = count / 64.0;
        cells.iter().map(|cell| (f64::from(*cell) - expected).powi(2) / expected).sum()
    }

    #[test]
    fn values_are_uniform_along_every_part_of_the_name() {
        let choices = Choices::new(9);
        let statistics = [
            chi_squared((0..64_000).map(|n| choices.value("x", 0, n))),
            chi_squared((0..64_000).map(|n| choices.value("x", n, 0))),
            chi_squared((0..64_000).map(|n| Choices::new(n).value("x", 0, 0))),
            chi_squared((0..64_000).map(|n| choices.value(&n.to_string(), 0, 0))),
            chi_squared((0..64_000).map(|n| choices.value("x", 0, n).reverse_bits())),
        ];
        for statistic in statistics {
            assert!((20.0..120.0).contains(&statistic), "chi squared {statistic}");
        }
    }

    #[test]
    fn neighbouring_names_share_no_bits() {
        let choices = Choices::new(3);
        let differing: u32 = (0..1_000)
            .map(|n| (choices.value("x", n, 0) ^ choices.value("x", n + 1, 0)).count_ones())
            .sum();
        assert!((31_000..33_000).contains(&differing), "{differing} of 64,000 bits differ");
    }

    #[test]
    fn ranges_are_kept_and_reached() {
        let mut stream = Choices::new(4).stream("range", 0);
        let drawn: Vec<u64> = (0..1_000).map(|_| stream.between(3, 6)).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&3), Some(&6)));
        assert_eq!(stream.between(5, 5), 5);
        stream.between(0, u64::MAX);
        let hits = (0..10_000).filter(|_| stream.chance(0.25)).count();
        assert!((2_300..2_700).contains(&hits), "{hits} of 10,000 at 0.25");
        assert!((0..1_000).all(|_| !stream.chance(0.0)));
        assert!((0..1_000).all(|_| stream.chance(1.0)));
        assert!([1, 2, 3].contains(stream.pick(&[1, 2, 3])));
    }
}
