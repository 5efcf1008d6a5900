//! Which page of a channel's log is wanted, and what comes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::entry::Entry;
use crate::ids::SeqNo;
use crate::time::WallTime;

/// Where a page lies. Its entries follow each other and come in order, whichever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HistoryBound {
    /// It begins with the entry after this one.
    After(SeqNo),
    /// It ends with the entry before this one, or with the newest if that is earlier.
    Before(SeqNo),
    /// It begins with the first entry that was numbered at this time or later. The wall clock may
    /// be set back, so entries behind that one may be earlier; none before it is as late.
    Since(WallTime),
}

impl fmt::Display for HistoryBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(seq) => write!(f, "after #{seq}"),
            Self::Before(seq) => write!(f, "before #{seq}"),
            Self::Since(at) => write!(f, "since {at}"),
        }
    }
}

/// A page of a channel's log.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct HistoryPage {
    /// Consecutive, in order.
    pub entries: Vec<Entry>,
    /// Of the entries that were asked for, those up to this one are gone, and with them all before.
    pub trimmed_upto: Option<SeqNo>,
}

/// A request names no bound, or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a page is named by exactly one of `after`, `before` and `since_ms`, this one by {0}")]
pub struct NotOneBound(usize);

impl HistoryBound {
    /// The one bound among these.
    ///
    /// # Errors
    /// [`NotOneBound`]
    pub fn one_of(
        after: Option<SeqNo>,
        before: Option<SeqNo>,
        since: Option<WallTime>,
    ) -> Result<Self, NotOneBound> {
        let bounds = [after.map(Self::After), before.map(Self::Before), since.map(Self::Since)];
        let mut named = bounds.into_iter().flatten();
        match (named.next(), named.count()) {
            (Some(bound), 0) => Ok(bound),
            (None, _) => Err(NotOneBound(0)),
            (Some(_), others) => Err(NotOneBound(1 + others)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_one_bound() {
        let (seq, at) = (Some(SeqNo(7)), Some(WallTime(9)));
        let bound = HistoryBound::one_of;
        assert_eq!(bound(seq, None, None), Ok(HistoryBound::After(SeqNo(7))));
        assert_eq!(bound(None, seq, None), Ok(HistoryBound::Before(SeqNo(7))));
        assert_eq!(bound(None, None, at), Ok(HistoryBound::Since(WallTime(9))));
        assert_eq!(bound(None, None, None), Err(NotOneBound(0)));
        assert_eq!(bound(seq, None, at), Err(NotOneBound(2)));
        assert_eq!(bound(seq, seq, at), Err(NotOneBound(3)));
    }
}
