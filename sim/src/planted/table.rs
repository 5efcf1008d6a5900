//! The table of planted bugs, as Markdown that reads well on a terminal too.

use super::hunt::Trail;

/// The CPU time that a bug should be found in, in seconds.
pub const SOON_S: f64 = 60.0;

const TITLES: [&str; 8] =
    ["bug", "what is wrong", "part", "fell", "in", "runs", "simulated s", "CPU s"];

/// One row a bug, and a line that counts.
pub fn render(trails: &[Trail]) -> String {
    let mut rows: Vec<Vec<String>> = vec![TITLES.map(str::to_owned).to_vec()];
    rows.extend(trails.iter().map(row));
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..TITLES.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut lines: Vec<String> = rows.iter().map(|row| line(row, &widths)).collect();
    let ruler: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    lines.insert(1, line(&ruler, &widths));
    lines.push(String::new());
    lines.push(summary(trails));
    lines.join("\n") + "\n"
}

fn row(trail: &Trail) -> Vec<String> {
    let (fell, place) = trail.caught.as_ref().map_or_else(
        || {
            let only = match trail.only_hygiene {
                0 => String::new(),
                runs => format!(" (hygiene alone in {runs} runs)"),
            };
            (format!("**missed**{only}"), "–".to_owned())
        },
        |caught| {
            (caught.guarantees.join(", "), format!("{} seed {}", caught.scenario, caught.seed))
        },
    );
    vec![
        trail.bug.clone(),
        trail.title.clone(),
        trail.part.clone(),
        fell,
        place,
        trail.runs.to_string(),
        format!("{:.0}", trail.simulated_s),
        format!("{:.1}", trail.cpu_s),
    ]
}

fn summary(trails: &[Trail]) -> String {
    let found: Vec<&Trail> = trails.iter().filter(|trail| trail.caught.is_some()).collect();
    let soon = found.iter().filter(|trail| trail.cpu_s <= SOON_S).count();
    let mut cpu: Vec<f64> = found.iter().map(|trail| trail.cpu_s).collect();
    cpu.sort_by(f64::total_cmp);
    let median = cpu.get(cpu.len() / 2).copied().unwrap_or(0.0);
    format!(
        "{} of {} planted bugs found, {soon} of them within {SOON_S:.0} CPU seconds, half of them \
         within {median:.1}.",
        found.len(),
        trails.len()
    )
}

fn line(row: &[String], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
    format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
}
