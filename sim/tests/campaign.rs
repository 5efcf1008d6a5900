//! Whole campaigns: the same seeds give the same journals, and promises hold under every fault.

use seriatim_scenarios::fault::{Aim, FaultKind};
use seriatim_scenarios::judge::Outcome;
use seriatim_scenarios::parse;
use seriatim_sim::campaign::{Campaign, Entry, Outcomes};
use seriatim_sim::run::RunOptions;

/// Short, with much traffic: at low traffic a scheduler's dice rarely show.
const EVERY_FAULT: &str = r#"
question = "Is everything promised kept when all that can fail does?"
[cluster]
gateways = 2
message_nodes = 2
shards = 2
workspaces = 2
[network]
latency_ms = { min = 1, max = 30, tail = "heavy" }
[workload]
users = 30
channels = 6
members = { min = 5, max = 15 }
sends_per_s = 60
reconnects_per_min = 30
warm_up_s = 3
duration_s = 12
[[fault]]
kind = "partition"
target = "gateway:any"
at_s = { min = 3, max = 5 }
for_s = { min = 1, max = 4 }
[[fault]]
kind = "power_loss"
target = "messages:any"
at_s = { min = 4, max = 12 }
for_s = { min = 1, max = 3 }
[[fault]]
kind = "sigkill"
target = "messages:any"
at_s = { min = 4, max = 12 }
for_s = { min = 1, max = 3 }
[[fault]]
kind = "sigkill"
target = "gateway:any"
at_s = { min = 4, max = 12 }
for_s = { min = 1, max = 3 }
[[fault]]
kind = "reconnect_storm"
target = "clients"
at_s = { min = 4, max = 12 }
[expect]
converge_within_s = 60
"#;

fn campaign(jobs: usize, seeds: u64) -> Outcomes {
    run_text(EVERY_FAULT, jobs, seeds)
}

fn run_text(text: &str, jobs: usize, seeds: u64) -> Outcomes {
    let scenario = parse::scenario("every-fault.toml", text).expect("a sound scenario");
    let entry = Entry { scenario, argument: "every-fault".to_owned() };
    let options = RunOptions::default();
    let campaign = Campaign { scenarios: vec![entry], first_seed: 1, seeds, jobs, options };
    campaign.run(|_, _| {}).expect("threads can be had")
}

#[test]
fn a_seed_gives_the_same_journal_alone_in_company_and_again() {
    let alone = campaign(1, 4);
    assert_eq!(alone.hashes, campaign(4, 4).hashes);
    assert_eq!(alone.hashes, campaign(1, 4).hashes);
    let distinct: std::collections::BTreeSet<u128> =
        alone.hashes.iter().map(|(_, _, hash)| *hash).collect();
    assert_eq!(distinct.len(), 4, "seeds do not differ");
}

#[test]
fn every_guarantee_holds_under_every_fault() {
    let outcomes = campaign(2, 12);
    let failures: Vec<_> =
        outcomes.reports.iter().filter_map(|report| report.first_failure.as_ref()).collect();
    assert_eq!(outcomes.worst, Outcome::Held, "{failures:#?}");
    let report = outcomes.reports.first().unwrap();
    assert!(report.accepted > 0 && report.deliveries > report.accepted, "{report:#?}");
    for fault in ["partition", "power_loss", "sigkill", "reconnect_storm"] {
        let bit = report.faults_that_bit.get(fault).copied();
        assert!(bit > Some(0), "{fault} never bit: {:?}", report.faults_that_bit);
    }
}

/// The kinds under which every promise can be kept.
fn survivable() -> impl Iterator<Item = FaultKind> {
    FaultKind::ALL.into_iter().filter(|kind| kind.spec().voids.is_empty())
}

/// As many kinds as there are, each aimed at the first target that it takes.
fn with_every_kind() -> String {
    let head = EVERY_FAULT.split("[[fault]]").next().expect("a head");
    let head = head.replace("duration_s = 12", "duration_s = 20");
    let mut text = head;
    for (index, kind) in survivable().enumerate() {
        let target = match kind.spec().aims {
            [Aim::AnyNode, ..] if index % 2 == 0 => "gateway:any",
            [Aim::AnyNode | Aim::Messages, ..] => "messages:any",
            [Aim::Gateway, ..] => "gateway:any",
            [Aim::All, ..] => "gateway:all",
            [Aim::Cluster, ..] => "cluster",
            other => panic!("{kind} needs a target: {other:?}"),
        };
        let lasts = if kind.lasts() { "for_s = { min = 1, max = 3 }\n" } else { "" };
        text.push_str(&format!(
            "[[fault]]\nkind = \"{kind}\"\ntarget = \"{target}\"\nat_s = {{ min = 4, max = 20 }}\n{lasts}"
        ));
    }
    text + "[expect]\nconverge_within_s = 60\n"
}

#[test]
fn every_kind_of_fault_bites_and_none_breaks_a_promise() {
    let outcomes = run_text(&with_every_kind(), 2, 8);
    let failures: Vec<_> =
        outcomes.reports.iter().filter_map(|report| report.first_failure.as_ref()).collect();
    assert_eq!(outcomes.worst, Outcome::Held, "{failures:#?}");
    let bit = &outcomes.reports.first().unwrap().faults_that_bit;
    for kind in survivable() {
        assert!(bit.get(kind.as_str()) > Some(&0), "{kind} never bit: {bit:?}");
    }
}

#[test]
fn damaged_disks_lose_what_they_held_but_serve_nothing_that_was_not_sent() {
    let head = EVERY_FAULT.split("[[fault]]").next().expect("a head");
    for kind in FaultKind::ALL.into_iter().filter(|kind| !kind.spec().voids.is_empty()) {
        let lasts = if kind.lasts() { "for_s = 6\n" } else { "" };
        let quoted: Vec<String> =
            kind.spec().voids.iter().map(|name| format!("\"{name}\"")).collect();
        let text = format!(
            "{head}[[fault]]\nkind = \"{kind}\"\ntarget = \"messages:any\"\nat_s = 6\n{lasts}\
             [[fault]]\nkind = \"power_loss\"\ntarget = \"messages:1\"\nat_s = 9\nfor_s = 1\n\
             [expect]\nconverge_within_s = 5\ngives_up = [{}]\n",
            quoted.join(", ")
        );
        let outcomes = run_text(&text, 2, 6);
        assert_eq!(outcomes.worst, Outcome::Held, "{kind}: {:#?}", outcomes.reports);
        let report = outcomes.reports.first().unwrap();
        assert!(report.faults_that_bit.get(kind.as_str()) > Some(&0), "{kind}: {report:#?}");
    }
}
