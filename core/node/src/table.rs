//! Tables for people, of rows that came as JSON.

use serde_json::Value;

/// The rows under these columns, each as wide as it must be.
pub(crate) fn render(rows: &Value, columns: &[&str]) -> String {
    let head = columns.iter().map(|column| (*column).to_owned()).collect::<Vec<_>>();
    let cells = rows.as_array().into_iter().flatten().map(|row| {
        columns.iter().map(|column| cell(row.get(column).unwrap_or(&Value::Null))).collect()
    });
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(cells).collect();
    let width = |index: usize| {
        lines.iter().filter_map(|line| line.get(index)).map(String::len).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |cells: &Vec<String>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// One value.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let rows = serde_json::json!([
            { "user": "ada", "channels": 12, "away": false },
            { "user": "bartholomew", "channels": null },
        ]);
        let expected = "user         channels  away\n\
                        ada          12        no\n\
                        bartholomew  -         -";
        assert_eq!(render(&rows, &["user", "channels", "away"]), expected);
        assert_eq!(render(&Value::Null, &["user"]), "user");
    }
}
