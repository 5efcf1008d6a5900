//! One file: its visible bytes, its durable bytes, and the operations between them.

use bytes::Bytes;
use seriatim_scenarios::choices::ChoiceStream;

/// What a disk writes in one go.
pub(super) const SECTOR_BYTES: usize = 512;

/// Something done to a file and not yet durable.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { offset: usize, bytes: Bytes },
    SetLength(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => write(content, *offset, bytes),
            Self::SetLength(length) => content.resize(*length, 0),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Write { bytes, .. } => bytes.len(),
            Self::SetLength(_) => 0,
        }
    }
}

fn write(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    if let Some(target) = content.get_mut(offset..end) {
        target.copy_from_slice(bytes);
    }
}

/// What a power loss did.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Loss {
    pub(super) writes_lost: u64,
    pub(super) writes_torn: u64,
    pub(super) bytes_lost: u64,
}

/// A file.
#[derive(Debug, Clone, Default)]
pub(super) struct File {
    pub(super) visible: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
    pub(super) open_count: u32,
}

impl File {
    /// Does `change`, visibly.
    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.visible);
        self.pending.push(change);
    }

    pub(super) fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// Makes the oldest `count` changes durable; gives their bytes.
    pub(super) fn sync(&mut self, count: usize) -> usize {
        let mut bytes = 0;
        for change in self.pending.drain(..count.min(self.pending.len())) {
            change.apply(&mut self.durable);
            bytes += change.bytes();
        }
        bytes
    }

    /// Forgets that anything was to be synced.
    pub(super) fn drop_dirty(&mut self) {
        self.pending.clear();
    }

    /// Inverts `mask` at `offset`, visibly and durably; false past the end.
    pub(super) fn corrupt(&mut self, offset: usize, mask: u8) -> bool {
        for content in [&mut self.visible, &mut self.durable] {
            if let Some(byte) = content.get_mut(offset) {
                *byte ^= mask;
            }
        }
        offset < self.visible.len()
    }

    /// Keeps, tears or loses each unsynced change; what is left is visible.
    pub(super) fn lose_power(&mut self, draws: &mut ChoiceStream) -> Loss {
        let mut loss = Loss::default();
        for change in std::mem::take(&mut self.pending) {
            match (draws.below(4), &change) {
                (0, _) => change.apply(&mut self.durable),
                (1, Change::Write { offset, bytes }) => {
                    loss.writes_torn += 1;
                    loss.bytes_lost += tear(&mut self.durable, *offset, bytes, draws);
                }
                _ => {
                    loss.writes_lost += 1;
                    loss.bytes_lost += change.bytes() as u64;
                }
            }
        }
        self.visible.clone_from(&self.durable);
        self.open_count = 0;
        loss
    }
}

/// Writes some of the sectors of `bytes`: a prefix or any subset. The length may grow all the
/// same, and sectors that were not written then read as zeros. Gives the bytes lost.
fn tear(content: &mut Vec<u8>, offset: usize, bytes: &[u8], draws: &mut ChoiceStream) -> u64 {
    let mut spans = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        // Sectors are those of the file, so the first span may be short.
        let end = (start + SECTOR_BYTES - (offset + start) % SECTOR_BYTES).min(bytes.len());
        spans.push(start..end);
        start = end;
    }
    let prefix = draws.chance(0.5);
    let kept_upto = usize::try_from(draws.below(spans.len() as u64)).unwrap_or(0);
    if draws.chance(0.5) && content.len() < offset + bytes.len() {
        content.resize(offset + bytes.len(), 0);
    }
    let mut lost = 0;
    for (index, span) in spans.into_iter().enumerate() {
        let kept = if prefix { index < kept_upto } else { draws.chance(0.5) };
        match bytes.get(span.clone()) {
            Some(sector) if kept => write(content, offset + span.start, sector),
            Some(_) | None => lost += span.len() as u64,
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use seriatim_scenarios::choices::Choices;

    use super::*;

    #[test]
    fn a_torn_write_keeps_or_loses_whole_sectors() {
        let (mut kept, mut lost) = (0, 0);
        for seed in 0..200 {
            let mut draws = Choices::new(seed).stream("tear", 0);
            let mut content = vec![1_u8; 4_096];
            let bytes_lost = tear(&mut content, 100, &[2; 2_000], &mut draws);
            let written = content.iter().filter(|byte| **byte == 2).count();
            assert_eq!(written as u64 + bytes_lost, 2_000, "seed {seed}");
            for (index, sector) in content.chunks(SECTOR_BYTES).enumerate() {
                let range = index * SECTOR_BYTES..(index + 1) * SECTOR_BYTES;
                let inside = range.filter(|at| (100..2_100).contains(at)).count();
                let new = sector.iter().filter(|byte| **byte == 2).count();
                assert!(new == 0 || new == inside, "seed {seed} sector {index}");
                kept += usize::from(new > 0);
                lost += usize::from(inside > 0 && new == 0);
            }
        }
        assert!(kept > 100 && lost > 100, "{kept} kept, {lost} lost");
    }
}
