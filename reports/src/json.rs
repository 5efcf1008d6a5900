//! `results.json`: the report for other programs.

use crate::report::RunReport;

/// The report as indented JSON with a line end.
pub fn render(report: &RunReport) -> String {
    let mut text = serde_json::to_string_pretty(report).expect("plain data becomes JSON");
    text.push('\n');
    text
}

/// Reads what [`render`] wrote.
///
/// # Errors
/// The text is not such a report.
pub fn read(text: &str) -> Result<RunReport, serde_json::Error> {
    serde_json::from_str(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn a_report_is_read_back_as_it_was_written() {
        let report = fixture::report();
        assert_eq!(read(&render(&report)).unwrap(), report);
    }
}
