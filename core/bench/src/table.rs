//! What a bench prints.

use std::io::Write;

/// The middle of some figures; of two middles the upper.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Prints a line of a table.
pub fn print(line: &str) {
    // Nobody is left to read when the output is closed.
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}
