//! The table of scenarios and guarantees, for terminals.

use crate::report::{Count, RunReport, ScenarioReport};

/// The report as plain text: table, faults that bit, speed, failures, verdict.
pub fn render(report: &RunReport) -> String {
    let mut lines = grid(report);
    lines.push("× real: simulated seconds per CPU second".to_owned());
    lines.push(String::new());
    for scenario in report.scenarios.iter().filter(|scenario| !scenario.faults_begun.is_empty()) {
        lines.push(format!("faults that bit in {}: {}", scenario.name, faults(scenario)));
        if !scenario.effects.is_empty() {
            lines.push(format!("  what they did: {}", effects(scenario)));
        }
    }
    let (simulated, cpu) = report.seconds();
    if cpu > 0.0 {
        lines.push(format!(
            "{simulated:.0} simulated seconds in {cpu:.1} CPU seconds: {:.0} × real time per core",
            simulated / cpu
        ));
    }
    for scenario in &report.scenarios {
        lines.extend(failure(scenario));
    }
    lines.push(report.headline());
    lines.join("\n") + "\n"
}

/// The faults of a scenario in one line.
pub(crate) fn faults(scenario: &ScenarioReport) -> String {
    let told = scenario.faults_begun.iter().map(|(name, begun)| {
        let bit = scenario.faults_that_bit.get(name).copied().unwrap_or(0);
        match bit {
            0 => format!("{name} × 0 of {begun}: it changed nothing"),
            _ if bit == *begun => format!("{name} × {bit}"),
            _ => format!("{name} × {bit} of {begun}"),
        }
    });
    told.collect::<Vec<_>>().join(", ")
}

/// What the faults of a scenario did, in one line.
pub(crate) fn effects(scenario: &ScenarioReport) -> String {
    let told = scenario.effects.iter().map(|(what, count)| format!("{count} {what}"));
    told.collect::<Vec<_>>().join(", ")
}

/// What a table tells of one promise: a mark, and where it broke in how many runs.
pub(crate) fn cell(count: &Count) -> String {
    if count.held + count.broken == 0 {
        // The scenario gave it up, or asks nothing of it.
        "–".to_owned()
    } else if count.is_held() {
        "✓".to_owned()
    } else {
        format!("✗ {}/{}", count.broken, count.held + count.broken)
    }
}

/// One mark for everything that a scenario expects besides the guarantees.
pub(crate) fn expectations(scenario: &ScenarioReport) -> String {
    let worst = scenario.expectations.iter().max_by_key(|count| count.broken);
    worst.map_or_else(|| "–".to_owned(), cell)
}

fn grid(report: &RunReport) -> Vec<String> {
    let names = report.guarantee_names();
    let mut rows: Vec<Vec<String>> = vec![Vec::new(), Vec::new()];
    // Names of two words take two lines, so that the table fits a terminal.
    for title in ["scenario", "seeds"].into_iter().chain(names).chain(["expected", "×-real"]) {
        let (upper, lower) = title.rsplit_once('-').unwrap_or(("", title));
        if let [first, second, ..] = rows.as_mut_slice() {
            first.push(upper.to_owned());
            second.push(lower.to_owned());
        }
    }
    for scenario in &report.scenarios {
        let mut row = vec![scenario.name.clone(), scenario.seeds.to_string()];
        row.extend(scenario.guarantees.iter().map(cell));
        row.push(expectations(scenario));
        let speed = scenario.simulated_s_per_cpu_s();
        row.push(speed.map_or_else(|| "–".to_owned(), |speed| format!("{speed:.0}")));
        rows.push(row);
    }
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut lines: Vec<String> = rows.iter().map(|row| line(row, &widths)).collect();
    let ruler = "─".repeat(widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1));
    lines.insert(2, ruler);
    lines
}

fn line(row: &[String], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

fn failure(scenario: &ScenarioReport) -> Vec<String> {
    let Some(failure) = &scenario.first_failure else { return Vec::new() };
    let mut lines = vec![
        String::new(),
        format!("✗ {}, seed {}: {} is broken", scenario.name, failure.seed, failure.broken),
        format!("  {}", failure.message),
    ];
    // A witness quotes names only, but a log line may hold control characters.
    let plain = |line: &String| {
        line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>()
    };
    lines.extend(failure.witness.iter().map(|line| format!("  {}", plain(line))));
    lines.push(format!("  again: {}", failure.repro));
    lines.push(String::new());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn the_table_marks_what_held_and_counts_what_broke() {
        let expected = "                      dense  no-lost  contiguous                     ×
scenario       seeds  order  ack      delivery    hygiene  expected  real
─────────────────────────────────────────────────────────────────────────
steady         20     ✓      ✓        ✓           ✓        ✓         300
owner-sigkill  20     ✓      ✗ 3/20   ✓           ✓        ✓         300
× real: simulated seconds per CPU second

faults that bit in owner-sigkill: pause × 0 of 2: it changed nothing, reset × 9 of 12, sigkill messages-1 × 31
  what they did: 47 connections reset
2880 simulated seconds in 9.6 CPU seconds: 300 × real time per core

✗ owner-sigkill, seed 7: no-lost-ack is broken
  accepted as #5, but the log has nothing there
     12.345 s  client 3 told: w1/c2 #5 is its nonce u3-1 <\u{fffd}>
  again: cargo sim run owner-sigkill --seed 7

Broken in 1 of 2 scenarios (40 runs): owner-sigkill.
";
        assert_eq!(render(&fixture::report()), expected);
    }

    #[test]
    fn a_report_without_scenarios_is_told_as_such() {
        let mut report = fixture::held();
        report.scenarios.clear();
        assert!(render(&report).ends_with("Nothing was run.\n"));
    }
}
