//! `junit.xml`: one test case for each scenario and guarantee, as CI systems read them.

use std::fmt::{self, Write};

use crate::markup::Escaped;
use crate::report::{Count, RunReport, ScenarioReport};

/// The report as JUnit XML.
pub fn render(report: &RunReport) -> String {
    let mut xml = String::new();
    write(report, &mut xml).expect("writing to a string cannot fail");
    xml
}

fn write(report: &RunReport, xml: &mut String) -> fmt::Result {
    let cases = || report.scenarios.iter().flat_map(ScenarioReport::counts);
    let (tests, failures) = (cases().count(), cases().filter(|count| !count.is_held()).count());
    writeln!(xml, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    writeln!(xml, "<testsuites name=\"seriatim\" tests=\"{tests}\" failures=\"{failures}\">")?;
    for scenario in &report.scenarios {
        let tests = scenario.counts().count();
        let failures = scenario.counts().filter(|count| !count.is_held()).count();
        let name = Escaped(&scenario.name);
        let time = scenario.cpu_s;
        writeln!(
            xml,
            "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" \
             time=\"{time:.3}\">"
        )?;
        for count in scenario.counts() {
            case(scenario, count, xml)?;
        }
        writeln!(xml, "  </testsuite>")?;
    }
    writeln!(xml, "</testsuites>")
}

fn case(scenario: &ScenarioReport, count: &Count, xml: &mut String) -> fmt::Result {
    let (class, name) = (Escaped(&scenario.name), Escaped(&count.name));
    if count.is_held() {
        return writeln!(xml, "    <testcase classname=\"{class}\" name=\"{name}\"/>");
    }
    let broken = format!("broken in {} of {} runs", count.broken, count.held + count.broken);
    writeln!(xml, "    <testcase classname=\"{class}\" name=\"{name}\">")?;
    write!(xml, "      <failure message=\"{}\">", Escaped(&broken))?;
    if let Some(failure) = &scenario.first_failure {
        // The first failure may be of another guarantee; its run is where to look all the same.
        let about = &failure.broken;
        writeln!(xml, "seed {}: {}: {}", failure.seed, Escaped(about), Escaped(&failure.message))?;
        for line in &failure.witness {
            writeln!(xml, "{}", Escaped(line))?;
        }
        write!(xml, "{}", Escaped(&failure.repro))?;
    }
    writeln!(xml, "</failure>")?;
    writeln!(xml, "    </testcase>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn every_scenario_and_guarantee_is_a_case_and_a_failure_says_how_to_repeat_it() {
        let xml = render(&fixture::report());
        assert!(xml.contains("<testsuites name=\"seriatim\" tests=\"10\" failures=\"1\">"));
        assert_eq!(xml.matches("<testcase ").count(), 10);
        assert_eq!(xml.matches("<failure ").count(), 1);
        let failure = xml.split("<failure ").nth(1).unwrap();
        assert!(failure.starts_with("message=\"broken in 3 of 20 runs\">seed 7: no-lost-ack:"));
        assert!(failure.contains("cargo sim run owner-sigkill --seed 7</failure>"));
        assert!(xml.contains("&lt;\u{fffd}&gt;"), "the witness is escaped");
    }
}
