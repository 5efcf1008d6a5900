//! What the files of a shard are, by their names.

use seriatim_engine::ids::ShardId;

use super::group::Place;
use super::run::corrupt as corrupt_run;
use super::run_name::{Job, RunName};
use super::segment::{corrupt, file_name, number_of};
use crate::StoreError;

/// A shard's files, sorted by what they count for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Directory {
    /// Runs that hold everything from segment 1 on without a gap, oldest first.
    pub(super) runs: Vec<RunName>,
    /// Segments after the runs, without a gap.
    pub(super) segments: Vec<u32>,
    /// What a crash left: unfinished runs, and what finished ones replace.
    pub(super) needless: Vec<String>,
}

impl Directory {
    /// Sorts the shard's files out of `names`.
    pub(super) fn read(names: &[String], shard: ShardId) -> Result<Self, StoreError> {
        let mut directory = Self::default();
        let temporary = [Job::Flush, Job::Merge].map(|job| job.temporary(shard));
        directory.needless.extend(names.iter().filter(|name| temporary.contains(name)).cloned());
        let covered_upto = directory.add_runs(names, shard)?;
        let mut numbers: Vec<u32> =
            names.iter().filter_map(|name| number_of(name, shard)).collect();
        numbers.sort_unstable();
        for segment in numbers {
            let place = Place { shard, segment };
            if segment <= covered_upto {
                directory.needless.push(file_name(place));
                continue;
            }
            let expected = directory.segments.last().unwrap_or(&covered_upto) + 1;
            if segment != expected {
                let missing = Place { shard, segment: expected };
                return Err(corrupt(missing, 0, "the file is missing, but later ones are there"));
            }
            directory.segments.push(segment);
        }
        Ok(directory)
    }

    /// Adds the runs. Gives the last segment that they replace.
    fn add_runs(&mut self, names: &[String], shard: ShardId) -> Result<u32, StoreError> {
        let mut runs: Vec<RunName> =
            names.iter().filter_map(|name| RunName::of(name, shard)).collect();
        // Of those that begin with the same segment, the one that covers the others is first.
        runs.sort_unstable_by_key(|run| (run.first, std::cmp::Reverse(run.last)));
        let mut covered_upto = 0;
        for run in runs {
            if self.runs.last().is_some_and(|last| last.covers(run)) {
                self.needless.push(run.file());
                continue;
            }
            if run.first <= covered_upto {
                return Err(corrupt_run(run, 0, "it overlaps another run"));
            }
            if run.first > covered_upto + 1 {
                let missing = RunName { shard, first: covered_upto + 1, last: run.first - 1 };
                let what = "the file, or files for the same segments, are missing";
                return Err(corrupt_run(missing, 0, what));
            }
            covered_upto = run.last;
            self.runs.push(run);
        }
        Ok(covered_upto)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: ShardId = ShardId(0);

    fn read(names: &[&str]) -> Result<Directory, StoreError> {
        let names: Vec<String> = names.iter().map(|name| format!("shard-0000.{name}")).collect();
        Directory::read(&names, SHARD)
    }

    #[test]
    fn files_that_a_finished_run_replaces_are_needless() {
        let directory = read(&[
            "flush.tmp",
            "log.00000003",
            "log.00000004",
            "log.00000005",
            "merge.tmp",
            "run.00000001-00000001",
            "run.00000001-00000002",
            "run.00000002-00000002",
            "run.00000003-00000003",
        ])
        .unwrap();
        let run = |first, last| RunName { shard: SHARD, first, last };
        assert_eq!(directory.runs, [run(1, 2), run(3, 3)]);
        assert_eq!(directory.segments, [4, 5]);
        let expected = [
            "flush.tmp",
            "merge.tmp",
            "run.00000001-00000001",
            "run.00000002-00000002",
            "log.00000003",
        ]
        .map(|name| format!("shard-0000.{name}"));
        assert_eq!(directory.needless, expected);
    }

    #[test]
    fn gap_is_reported_with_the_name_of_what_is_missing() {
        for (names, missing) in [
            (&["log.00000002"][..], "log.00000001"),
            (&["log.00000001", "log.00000003"], "log.00000002"),
            (&["run.00000001-00000002", "log.00000004"], "log.00000003"),
            (&["run.00000003-00000004"], "run.00000001-00000002"),
        ] {
            let error = read(names).unwrap_err();
            let StoreError::Corrupt { file, offset: 0, .. } = error else { panic!("{error}") };
            assert_eq!(file, format!("shard-0000.{missing}"));
        }
        assert!(read(&["run.00000001-00000003", "run.00000003-00000004"]).is_err());
    }
}
