//! `report.html`: one page that needs nothing else, light or dark as its reader likes it.
//!
//! No scripts, no fonts, no pictures from elsewhere; marks and shapes say what colours say.

use std::fmt::{self, Write};

use seriatim_scenarios::latency::LatencySummary;

use crate::chart;
use crate::markup::Escaped;
use crate::report::{RunReport, ScenarioReport};
use crate::table::{cell, effects, expectations, faults};

/// The report as a page. Identical reports make identical bytes.
pub fn render(report: &RunReport) -> String {
    let mut page = String::new();
    write(report, &mut page).expect("writing to a string cannot fail");
    page
}

fn write(report: &RunReport, page: &mut String) -> fmt::Result {
    let title = if report.is_held() { "held" } else { "broken" };
    writeln!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>seriatim: {title}</title>\n<style>\n{}</style>\n</head>\n<body>",
        include_str!("report.css")
    )?;
    verdict(report, page)?;
    if !report.scenarios.is_empty() {
        guarantees(report, page)?;
        failures(report, page)?;
        latencies(report, page)?;
        volumes(report, page)?;
    }
    writeln!(page, "</body>\n</html>")
}

fn verdict(report: &RunReport, page: &mut String) -> fmt::Result {
    let (class, mark) = if report.is_held() { ("", "✓") } else { (" broken", "✗") };
    let headline = report.headline();
    writeln!(page, "<header class=\"verdict{class}\">")?;
    writeln!(page, "<h1>{mark} {}</h1>", Escaped(&headline))?;
    let last = report.seeds.first.saturating_add(report.seeds.count.saturating_sub(1));
    writeln!(
        page,
        "<p class=\"facts\"><code>{}</code> at commit <code>{}</code>, seeds {} to {last}, \
         {} cores</p>\n</header>",
        Escaped(&report.command),
        Escaped(&report.commit),
        report.seeds.first,
        report.machine.cores
    )
}

fn guarantees(report: &RunReport, page: &mut String) -> fmt::Result {
    writeln!(page, "<h2>Guarantees</h2>\n<div class=\"scroll\"><table>\n<thead><tr>")?;
    write!(page, "<th scope=\"col\">Scenario</th><th scope=\"col\" class=\"number\">Seeds</th>")?;
    for name in report.guarantee_names().into_iter().chain(["expected"]) {
        write!(page, "<th scope=\"col\">{}</th>", Escaped(name))?;
    }
    writeln!(page, "</tr></thead>\n<tbody>")?;
    for scenario in &report.scenarios {
        write!(
            page,
            "<tr><th scope=\"row\">{}<span class=\"question\">{}</span></th>\
             <td class=\"number\">{}</td>",
            Escaped(&scenario.name),
            Escaped(&scenario.question),
            scenario.seeds
        )?;
        for count in &scenario.guarantees {
            mark(&cell(count), page)?;
        }
        mark(&expectations(scenario), page)?;
        writeln!(page, "</tr>")?;
    }
    writeln!(page, "</tbody></table></div>")?;
    writeln!(
        page,
        "<p class=\"facts\">✓ held in every run · ✗ broken in so many runs · \
         – given up, since the faults make it impossible, or not asked for</p>"
    )
}

fn mark(cell: &str, page: &mut String) -> fmt::Result {
    let class = if cell.starts_with('✗') { "broken-mark" } else { "held" };
    write!(page, "<td class=\"{class}\">{}</td>", Escaped(cell))
}

fn failures(report: &RunReport, page: &mut String) -> fmt::Result {
    let failed: Vec<_> = report
        .scenarios
        .iter()
        .filter_map(|scenario| Some((scenario, scenario.first_failure.as_ref()?)))
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    writeln!(page, "<h2>Failures</h2>")?;
    for (scenario, failure) in failed {
        writeln!(
            page,
            "<h3>{}, seed {}: <span class=\"broken-mark\">✗ {}</span></h3>\n\
             <p>{} (at {:.3} s)</p>",
            Escaped(&scenario.name),
            failure.seed,
            Escaped(&failure.broken),
            Escaped(&failure.message),
            failure.at_ms as f64 / 1_000.0
        )?;
        if !failure.witness.is_empty() {
            writeln!(page, "<pre>{}</pre>", Escaped(&failure.witness.join("\n")))?;
        }
        writeln!(page, "<p>Again: <code>{}</code></p>", Escaped(&failure.repro))?;
    }
    Ok(())
}

fn latencies(report: &RunReport, page: &mut String) -> fmt::Result {
    writeln!(page, "<h2>Latency</h2>")?;
    if let Some(svg) = chart::deliveries(&report.scenarios) {
        writeln!(
            page,
            "<p class=\"key\">Deliveries: <b><span class=\"blue\">●</span> p50</b> · \
             <b><span class=\"orange\">▲</span> p90</b> · \
             <b><span class=\"vermilion\">✕</span> p99</b></p>\n<figure>{svg}</figure>"
        )?;
    }
    writeln!(page, "<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">Scenario</th>")?;
    write!(page, "<th scope=\"col\">Milliseconds to</th>")?;
    for column in ["p50", "p90", "p99", "p99.9", "max"] {
        write!(page, "<th scope=\"col\" class=\"number\">{column}</th>")?;
    }
    writeln!(page, "</tr></thead>\n<tbody>")?;
    for scenario in &report.scenarios {
        percentiles(&scenario.name, "delivery", &scenario.deliver, page)?;
        percentiles("", "acceptance", &scenario.accept, page)?;
    }
    writeln!(page, "</tbody></table></div>")
}

fn percentiles(
    name: &str,
    until: &str,
    summary: &LatencySummary,
    page: &mut String,
) -> fmt::Result {
    write!(page, "<tr><th scope=\"row\">{}</th><td>{until}</td>", Escaped(name))?;
    let LatencySummary { count, p50_ms, p90_ms, p99_ms, p999_ms, max_ms } = *summary;
    for ms in [p50_ms, p90_ms, p99_ms, p999_ms, max_ms] {
        // None of none is no figure.
        let shown = if count == 0 { "–".to_owned() } else { format!("{ms:.1}") };
        write!(page, "<td class=\"number\">{shown}</td>")?;
    }
    writeln!(page, "</tr>")
}

fn volumes(report: &RunReport, page: &mut String) -> fmt::Result {
    writeln!(page, "<h2>What was run</h2>\n<div class=\"scroll\"><table>\n<thead><tr>")?;
    write!(page, "<th scope=\"col\">Scenario</th>")?;
    let columns = ["Sends", "Accepted", "Refused", "Unanswered", "Deliveries", "Sessions"];
    for column in columns.into_iter().chain(["Simulated s", "CPU s", "× real time"]) {
        write!(page, "<th scope=\"col\" class=\"number\">{column}</th>")?;
    }
    writeln!(
        page,
        "<th scope=\"col\">Faults that bit, and what they did</th></tr></thead>\n<tbody>"
    )?;
    for scenario in &report.scenarios {
        volume(scenario, page)?;
    }
    writeln!(page, "</tbody></table></div>\n<h2>Journals</h2>\n<pre>")?;
    for scenario in &report.scenarios {
        writeln!(page, "{}  {}", Escaped(&scenario.journal_hash), Escaped(&scenario.name))?;
    }
    writeln!(page, "</pre>")
}

fn volume(scenario: &ScenarioReport, page: &mut String) -> fmt::Result {
    write!(page, "<tr><th scope=\"row\">{}</th>", Escaped(&scenario.name))?;
    let ScenarioReport { sends, accepted, rejected, unknown, deliveries, sessions, .. } = *scenario;
    for count in [sends, accepted, rejected, unknown, deliveries, sessions] {
        write!(page, "<td class=\"number\">{count}</td>")?;
    }
    let speed = scenario.simulated_s_per_cpu_s();
    let speed = speed.map_or_else(|| "–".to_owned(), |speed| format!("{speed:.0}"));
    let bit = match (faults(scenario), effects(scenario)) {
        (faults, _) if faults.is_empty() => "–".to_owned(),
        (faults, effects) if effects.is_empty() => faults,
        (faults, effects) => format!("{faults}; {effects}"),
    };
    writeln!(
        page,
        "<td class=\"number\">{:.0}</td><td class=\"number\">{:.1}</td>\
         <td class=\"number\">{speed}</td><td>{}</td></tr>",
        scenario.simulated_s,
        scenario.cpu_s,
        Escaped(&bit)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn the_page_tells_verdict_failure_and_command_and_escapes_what_it_quotes() {
        let page = render(&fixture::report());
        assert!(page.contains("<h1>✗ Broken in 1 of 2 scenarios"));
        assert!(page.contains("✗ 3/20"));
        assert!(page.contains("Is it &lt;still&gt; there &amp; &quot;once&quot;?"));
        assert!(page.contains("<code>cargo sim run owner-sigkill --seed 7</code>"));
        assert!(!page.contains('\u{1}'));
        assert!(render(&fixture::held()).contains("<h1>✓ Everything held"));
    }

    #[test]
    fn the_page_needs_nothing_else() {
        let page = render(&fixture::report());
        let foreign = ["<script", "<link", "<img", "src=", "@import", "url("];
        assert!(foreign.iter().all(|foreign| !page.contains(foreign)));
        let links = page.matches("http").count();
        assert_eq!(links, page.matches("http://www.w3.org/2000/svg").count());
    }

    #[test]
    fn identical_reports_make_identical_pages() {
        assert_eq!(render(&fixture::report()), render(&fixture::report()));
    }

    #[test]
    fn every_tag_that_opens_closes() {
        let page = render(&fixture::report());
        for tag in ["table", "tr", "td", "th", "div", "figure", "svg", "pre", "p", "code", "span"] {
            let opened = page.matches(&format!("<{tag}>")).count()
                + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "<{tag}>");
        }
    }
}
