//! How far each channel has come in the part of the log that was read.

use std::collections::BTreeMap;

use seriatim_engine::ids::SeqNo;

use super::findings::Findings;
use crate::log_store::record::{Flaw, decode_channel};

#[derive(Default)]
pub(super) struct Heads(BTreeMap<Box<[u8]>, SeqNo>);

impl Heads {
    /// The channel goes on with `first` to `last`. A gap behind damage is what was lost by it.
    pub(super) fn advance(
        &mut self,
        name: &[u8],
        (first, last): (SeqNo, SeqNo),
        findings: &mut Findings,
    ) -> Result<(), Flaw> {
        let head = self.0.get(name).copied().unwrap_or(SeqNo::ZERO);
        if first <= head {
            return Err("a channel's positions repeat");
        }
        if first != head.next() {
            if findings.is_empty() {
                return Err("a channel's positions have a gap");
            }
            findings.lose(decode_channel(name)?, head.next(), SeqNo(first.0 - 1));
        }
        self.0.insert(name.into(), last);
        Ok(())
    }

    /// The channel's log begins after `trimmed`: what was there is gone.
    pub(super) fn begin(&mut self, name: &[u8], trimmed: SeqNo) {
        self.0.insert(name.into(), trimmed);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len() as u64
    }
}
