//! The name of a run says which segments it replaces.

use seriatim_engine::ids::ShardId;

/// Which run of which shard: it holds what was in segments `first` to `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RunName {
    pub(super) shard: ShardId,
    pub(super) first: u32,
    pub(super) last: u32,
}

impl RunName {
    pub(super) fn file(self) -> String {
        format!("{}{:08}-{:08}", prefix(self.shard), self.first, self.last)
    }

    /// The run of `shard` that a file of this name is; none if it is something else.
    pub(super) fn of(file: &str, shard: ShardId) -> Option<Self> {
        let (first, last) = file.strip_prefix(&prefix(shard))?.split_once('-')?;
        let name = Self { shard, first: first.parse().ok()?, last: last.parse().ok()? };
        (name.file() == file && 0 < name.first && name.first <= name.last).then_some(name)
    }

    /// It holds all that `other` does.
    pub(super) fn covers(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}

fn prefix(shard: ShardId) -> String {
    format!("shard-{:04}.run.", shard.0)
}

/// Who is writing a run. Until it is whole and durable it has a name that counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Job {
    Flush,
    Merge,
}

impl Job {
    /// The name of the job's unfinished run.
    pub(super) fn temporary(self, shard: ShardId) -> String {
        let job = match self {
            Self::Flush => "flush",
            Self::Merge => "merge",
        };
        format!("shard-{:04}.{job}.tmp", shard.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_segments_and_nothing_else_passes_for_one() {
        let name = RunName { shard: ShardId(12), first: 3, last: 18 };
        assert_eq!(name.file(), "shard-0012.run.00000003-00000018");
        assert_eq!(RunName::of(&name.file(), ShardId(12)), Some(name));
        for other in [
            "shard-0013.run.00000003-00000018",
            "shard-0012.run.00000018-00000003",
            "shard-0012.run.00000000-00000003",
            "shard-0012.run.3-18",
            "shard-0012.run.00000003",
            "shard-0012.merge.tmp",
        ] {
            assert_eq!(RunName::of(other, ShardId(12)), None, "{other}");
        }
    }

    #[test]
    fn a_run_covers_those_whose_segments_it_has() {
        let run = |first, last| RunName { shard: ShardId(0), first, last };
        assert!(run(1, 8).covers(run(1, 8)));
        assert!(run(1, 8).covers(run(3, 4)));
        assert!(!run(1, 8).covers(run(8, 9)));
    }
}
