//! A channel's name as a key of the index.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::Deref;

/// As long as a name in the map can be without making it larger than 32 bytes.
const INLINE_BYTES: usize = 30;

/// A name as records spell it. Most are short and lie in the map itself, because looking one up would
/// otherwise go to another place in memory for each name that it is compared with.
#[derive(Debug, Clone)]
pub(super) enum ChannelName {
    Inline { length: u8, bytes: [u8; INLINE_BYTES] },
    Boxed(Box<[u8]>),
}

const _: () = assert!(size_of::<ChannelName>() == 32);

impl From<&[u8]> for ChannelName {
    fn from(name: &[u8]) -> Self {
        let mut bytes = [0; INLINE_BYTES];
        match (bytes.get_mut(..name.len()), u8::try_from(name.len())) {
            (Some(start), Ok(length)) => {
                start.copy_from_slice(name);
                Self::Inline { length, bytes }
            }
            (Some(_) | None, _) => Self::Boxed(name.into()),
        }
    }
}

impl Deref for ChannelName {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Inline { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or(bytes),
            Self::Boxed(name) => name,
        }
    }
}

/// It is looked up, and ordered, as the bytes that it stands for.
impl Borrow<[u8]> for ChannelName {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl Ord for ChannelName {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl PartialOrd for ChannelName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ChannelName {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for ChannelName {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn names_of_all_lengths_are_kept_found_and_ordered_as_bytes() {
        let names: Vec<Vec<u8>> =
            (0_u8..=130).flat_map(|length| [0, 1].map(|end| spelled(length, end))).collect();

        let map: BTreeMap<ChannelName, usize> = names
            .iter()
            .enumerate()
            .map(|(number, name)| (ChannelName::from(&name[..]), number))
            .collect();

        for name in &names {
            let found = map.get(&name[..]).expect("the name is there");
            assert_eq!(&names[*found], name);
        }
        let mut sorted: Vec<&[u8]> = map.keys().map(|name| &**name).collect();
        let found = sorted.clone();
        sorted.sort_unstable();
        assert_eq!(found, sorted);
        assert!(!map.contains_key(&[9; 3][..]));
    }

    fn spelled(length: u8, end: u8) -> Vec<u8> {
        let mut name = vec![length.wrapping_mul(37); usize::from(length)];
        name.push(end);
        name
    }
}
