//! How far a long command has come: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// Counts runs.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    done: u64,
    total: u64,
    failed: u64,
}

/// Without a terminal, a line is printed after each tenth of the runs.
const LINES: u64 = 10;

impl Progress {
    pub(super) fn new(total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = "{bar:30} {pos}/{len} runs, {msg}  {elapsed} (about {eta} to go)";
            let style = ProgressStyle::with_template(style).expect("the template is sound");
            ProgressBar::new(total).with_style(style).with_message("0 failed")
        });
        Self { bar, done: 0, total, failed: 0 }
    }

    /// A run of `name` is done.
    pub(super) fn step(&mut self, name: &str, held: bool) {
        self.done += 1;
        self.failed += u64::from(!held);
        match &self.bar {
            Some(bar) => {
                bar.set_message(format!("{} failed, {name}", self.failed));
                bar.inc(1);
            }
            None if self.is_tenth() => {
                eprintln!("{}/{} runs, {} failed, {name}", self.done, self.total, self.failed);
            }
            None => {}
        }
    }

    fn is_tenth(&self) -> bool {
        let tenths = |done: u64| done * LINES / self.total.max(1);
        tenths(self.done) != tenths(self.done - 1)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
