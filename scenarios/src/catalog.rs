//! The scenarios that come with the program.

use crate::parse;
use crate::scenario::Scenario;

/// (file name, text), in the order in which they are run and told.
const FILES: &[(&str, &str)] = &[
    ("steady.toml", include_str!("../catalog/steady.toml")),
    ("gateway-partition.toml", include_str!("../catalog/gateway-partition.toml")),
    ("gateway-power-loss.toml", include_str!("../catalog/gateway-power-loss.toml")),
    ("owner-sigkill.toml", include_str!("../catalog/owner-sigkill.toml")),
    ("owner-power-loss.toml", include_str!("../catalog/owner-power-loss.toml")),
    ("reconnect-storm.toml", include_str!("../catalog/reconnect-storm.toml")),
    ("busy-owner-power-loss.toml", include_str!("../catalog/busy-owner-power-loss.toml")),
    ("retry-across-crashes.toml", include_str!("../catalog/retry-across-crashes.toml")),
    ("slow-readers.toml", include_str!("../catalog/slow-readers.toml")),
    ("link-flaps.toml", include_str!("../catalog/link-flaps.toml")),
    ("disk-errors.toml", include_str!("../catalog/disk-errors.toml")),
    ("full-disk.toml", include_str!("../catalog/full-disk.toml")),
    ("slow-disk.toml", include_str!("../catalog/slow-disk.toml")),
    ("owner-torn-write.toml", include_str!("../catalog/owner-torn-write.toml")),
    ("paused-owner.toml", include_str!("../catalog/paused-owner.toml")),
    ("one-way-cut.toml", include_str!("../catalog/one-way-cut.toml")),
    ("clock-jumps.toml", include_str!("../catalog/clock-jumps.toml")),
    ("rolling-restart.toml", include_str!("../catalog/rolling-restart.toml")),
    ("slow-lossy-line.toml", include_str!("../catalog/slow-lossy-line.toml")),
    ("overload.toml", include_str!("../catalog/overload.toml")),
    ("read-positions.toml", include_str!("../catalog/read-positions.toml")),
    ("members-come-and-go.toml", include_str!("../catalog/members-come-and-go.toml")),
    ("removed-while-away.toml", include_str!("../catalog/removed-while-away.toml")),
    ("crowd-behind.toml", include_str!("../catalog/crowd-behind.toml")),
    ("scroll-back.toml", include_str!("../catalog/scroll-back.toml")),
    ("busy-workspace.toml", include_str!("../catalog/busy-workspace.toml")),
    ("noisy-neighbours.toml", include_str!("../catalog/noisy-neighbours.toml")),
    ("slow-neighbours.toml", include_str!("../catalog/slow-neighbours.toml")),
    ("presence.toml", include_str!("../catalog/presence.toml")),
    ("presence-owner-restart.toml", include_str!("../catalog/presence-owner-restart.toml")),
    ("two-devices.toml", include_str!("../catalog/two-devices.toml")),
];

/// The same for `regressions/`: what has once found a bug.
const REGRESSIONS: &[(&str, &str)] = &[
    (
        "change-made-again-by-an-earlier-attempt.toml",
        include_str!("../regressions/change-made-again-by-an-earlier-attempt.toml"),
    ),
    (
        "refused-send-numbered-by-an-earlier-attempt.toml",
        include_str!("../regressions/refused-send-numbered-by-an-earlier-attempt.toml"),
    ),
    (
        "retry-numbered-again-after-clock-jump.toml",
        include_str!("../regressions/retry-numbered-again-after-clock-jump.toml"),
    ),
];

/// Every scenario of the catalog.
pub fn all() -> Vec<Scenario> {
    read(FILES)
}

/// A scenario for every bug that a run has found.
pub fn regressions() -> Vec<Scenario> {
    read(REGRESSIONS)
}

/// The scenario called `name`, such as "steady", of the catalog or the regressions.
pub fn find(name: &str) -> Option<Scenario> {
    all().into_iter().chain(regressions()).find(|scenario| scenario.name == name)
}

fn read(files: &[(&str, &str)]) -> Vec<Scenario> {
    let read = |(file, text): &(&str, &str)| {
        parse::scenario(file, text).expect("what comes with the program is tested to be sound")
    };
    files.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::plan::Plan;

    /// The scenario files of a folder beside `src`.
    fn on_disk(folder: &str) -> BTreeSet<String> {
        std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .filter(|file| file != "README.md")
            .collect()
    }

    #[test]
    fn every_scenario_file_is_embedded_sound_and_opens_with_its_question() {
        for (folder, files) in [("catalog", FILES), ("regressions", REGRESSIONS)] {
            let embedded: BTreeSet<String> =
                files.iter().map(|(file, _)| (*file).to_owned()).collect();
            assert_eq!(on_disk(folder), embedded, "{folder}");
            for &(file, text) in files {
                assert!(text.starts_with("question = "), "{file}");
                parse::scenario(file, text).unwrap_or_else(|error| panic!("{error}"));
            }
        }
        assert_eq!(find("steady").map(|scenario| scenario.faults.len()), Some(0));
        assert_eq!(find("unsteady"), None);
    }

    #[test]
    fn no_scenario_asks_for_more_acceptances_than_there_are_sends() {
        for scenario in all() {
            let of_workload =
                scenario.workload.duration.as_secs() * u64::from(scenario.workload.sends_per_s);
            let of_noise = scenario.noise.as_ref().map_or(0, |noise| {
                (scenario.workload_end() - noise.at).as_secs() * u64::from(noise.sends_per_s)
            });
            let sends = of_workload + of_noise;
            assert!(
                scenario.expect.accepted_min.is_some_and(|min| min <= sends),
                "{}",
                scenario.name
            );
            for seed in 0..50 {
                let plan = Plan::draw(&scenario, seed);
                assert!(plan.faults.is_sorted_by_key(|fault| fault.at));
                assert!(plan.faults_end < plan.workload_end + std::time::Duration::from_secs(25));
            }
        }
    }
}
