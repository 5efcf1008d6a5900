//! Everything that happened in a run, as one 128-bit hash, counts, and lines on request.
//!
//! Two runs are the same run when their journals have the same hash. When they have not, run both
//! again with lines kept: the first line that differs is where to look.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::shared::Shared;
use crate::time::SimTime;

/// What becomes of the formatted lines.
#[derive(Debug, Clone, Default)]
pub enum Keep {
    /// Hash and counts only; no line is formatted.
    #[default]
    Nothing,
    /// The newest `max` lines in memory.
    Newest { max: usize },
    /// Every line in a file.
    File(PathBuf),
}

/// A named value of an entry.
#[derive(Debug, Clone, Copy)]
pub enum Field<'a> {
    /// A number.
    Number(&'static str, u64),
    /// A short text.
    Text(&'static str, &'a str),
    /// Bytes, of which the journal keeps length and hash.
    Bytes(&'static str, &'a [u8]),
}

/// The journal of one run. Cheap to clone.
#[derive(Clone)]
pub struct Journal(Shared<Inner>);

struct Inner {
    hash: Xxh3,
    entries: u64,
    counts: BTreeMap<&'static str, u64>,
    sink: Sink,
}

enum Sink {
    Nothing,
    Newest { max: usize, lines: std::collections::VecDeque<String> },
    File { file: BufWriter<File>, failure: Option<io::Error> },
}

impl Journal {
    /// An empty journal.
    ///
    /// # Errors
    /// The file of [`Keep::File`] cannot be created.
    pub fn new(keep: Keep) -> io::Result<Self> {
        let sink = match keep {
            Keep::Nothing => Sink::Nothing,
            Keep::Newest { max } => Sink::Newest { max, lines: std::collections::VecDeque::new() },
            Keep::File(path) => {
                Sink::File { file: BufWriter::new(File::create(path)?), failure: None }
            }
        };
        Ok(Self::with(sink))
    }

    /// An empty journal that keeps no lines.
    pub fn quiet() -> Self {
        Self::with(Sink::Nothing)
    }

    fn with(sink: Sink) -> Self {
        let inner = Inner { hash: Xxh3::new(), entries: 0, counts: BTreeMap::new(), sink };
        Self(Shared::new(inner))
    }

    /// Adds an entry.
    pub fn record(&self, at: SimTime, host: &str, kind: &'static str, fields: &[Field<'_>]) {
        let mut inner = self.0.lock();
        inner.entries += 1;
        *inner.counts.entry(kind).or_default() += 1;
        inner.feed(at, host, kind, fields);
        match &mut inner.sink {
            Sink::Nothing => {}
            Sink::Newest { max, lines } => {
                if lines.len() >= *max {
                    lines.pop_front();
                }
                lines.push_back(line(at, host, kind, fields));
            }
            Sink::File { file, failure } => {
                if let Err(error) = writeln!(file, "{}", line(at, host, kind, fields)) {
                    failure.get_or_insert(error);
                }
            }
        }
    }

    /// The hash of every entry up to here.
    pub fn hash(&self) -> u128 {
        self.0.lock().hash.digest128()
    }

    /// How many entries there are.
    pub fn entries(&self) -> u64 {
        self.0.lock().entries
    }

    /// How many entries of each kind there are.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().counts.clone()
    }

    /// The lines kept in memory, oldest first.
    pub fn lines(&self) -> Vec<String> {
        match &self.0.lock().sink {
            Sink::Newest { lines, .. } => lines.iter().cloned().collect(),
            Sink::Nothing | Sink::File { .. } => Vec::new(),
        }
    }

    /// Writes out what a file journal still buffers.
    ///
    /// # Errors
    /// Any write since the start failed.
    pub fn flush(&self) -> io::Result<()> {
        match &mut self.0.lock().sink {
            Sink::Nothing | Sink::Newest { .. } => Ok(()),
            Sink::File { file, failure } => match failure.take() {
                Some(error) => Err(error),
                None => file.flush(),
            },
        }
    }
}

impl Inner {
    /// Every text is preceded by its length and every field by its tag, so that different entries
    /// never feed the same bytes.
    fn feed(&mut self, at: SimTime, host: &str, kind: &str, fields: &[Field<'_>]) {
        self.hash.update(&at.0.to_le_bytes());
        self.text(host);
        self.text(kind);
        self.number(fields.len() as u64);
        for field in fields {
            match field {
                Field::Number(name, value) => {
                    self.hash.update(&[0]);
                    self.text(name);
                    self.number(*value);
                }
                Field::Text(name, value) => {
                    self.hash.update(&[1]);
                    self.text(name);
                    self.text(value);
                }
                Field::Bytes(name, value) => {
                    self.hash.update(&[2]);
                    self.text(name);
                    self.number(value.len() as u64);
                    self.hash.update(value);
                }
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.hash.update(text.as_bytes());
    }

    fn number(&mut self, value: u64) {
        self.hash.update(&value.to_le_bytes());
    }
}

fn line(at: SimTime, host: &str, kind: &str, fields: &[Field<'_>]) -> String {
    let mut line = format!("{at} {host} {kind}");
    for field in fields {
        let written = match field {
            Field::Number(name, value) => write!(line, " {name}={value}"),
            Field::Text(name, value) => write!(line, " {name}={value:?}"),
            Field::Bytes(name, value) => {
                write!(line, " {name}={}B:{:016x}", value.len(), xxh3_64(value))
            }
        };
        written.expect("writing to a string cannot fail");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(entries: &[(&str, &[Field<'_>])]) -> u128 {
        let journal = Journal::quiet();
        for (host, fields) in entries {
            journal.record(SimTime(1), host, "x", fields);
        }
        journal.hash()
    }

    #[test]
    fn entries_that_only_concatenate_alike_hash_differently() {
        let texts: [&[Field<'_>]; 4] = [
            &[Field::Text("a", "bc")],
            &[Field::Text("ab", "c")],
            &[Field::Text("a", "b"), Field::Text("", "c")],
            &[Field::Bytes("a", b"bc")],
        ];
        let mut hashes: Vec<u128> = texts.iter().map(|fields| hash_of(&[("h", fields)])).collect();
        hashes.push(hash_of(&[("h", &[]), ("h", &[])]));
        hashes.push(hash_of(&[("hh", &[])]));
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 6);
    }

    #[test]
    fn kept_lines_are_the_newest_and_leave_the_hash_alone() {
        let kept = Journal::new(Keep::Newest { max: 2 }).unwrap();
        let quiet = Journal::quiet();
        for n in 0..3 {
            kept.record(SimTime(n), "a", "tick", &[Field::Number("n", n)]);
            quiet.record(SimTime(n), "a", "tick", &[Field::Number("n", n)]);
        }
        assert_eq!(kept.lines(), ["0.000001 a tick n=1", "0.000002 a tick n=2"]);
        assert_eq!(kept.hash(), quiet.hash());
        assert_eq!(quiet.counts(), BTreeMap::from([("tick", 3)]));
    }
}
