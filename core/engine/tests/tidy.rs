//! What reviewers would have to look for in every file, and need not.

use std::fs;
use std::path::{Path, PathBuf};

/// Beyond it a file holds more than one idea.
const LINES_MAX: usize = 600;

/// A file of the workspace.
struct Source {
    /// From the workspace's root, for the messages.
    name: String,
    text: String,
}

#[test]
fn every_rust_file_says_what_it_is_for() {
    assert_none("does not open with a `//!` comment", |source| {
        source.is_rust() && !source.text.starts_with("//! ")
    });
}

#[test]
fn no_rust_file_is_too_long() {
    assert_none("has too many lines", |source| {
        source.is_rust() && source.text.lines().count() > LINES_MAX
    });
}

#[test]
fn nothing_is_left_undone() {
    // In two pieces, so that this file doesn't have them.
    let marks = [
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
    ];
    for mark in marks {
        assert_none(mark, |source| source.is_rust() && source.has(mark));
    }
}

#[test]
fn every_select_is_biased() {
    // Without it tokio's randomness picks the branch, and no seed replays a run.
    assert_none("has a select! without biased;", |source| {
        source.is_rust()
            && !source.is_this()
            && source
                .text
                .split("select! {")
                .skip(1)
                .any(|after| !after.trim_start().starts_with("biased;"))
    });
}

#[test]
fn the_engine_has_no_runtime() {
    assert_none("depends on tokio", |source| {
        source.name == "core/engine/Cargo.toml" && source.has("tokio")
    });
}

#[test]
fn nothing_depends_on_one_machine() {
    for home in ["work", "root", "home"] {
        let path = format!("/{home}/");
        assert_none(&path, |source| source.has(&path));
    }
}

#[test]
fn shipped_code_cannot_tell_that_it_is_simulated() {
    for mark in ["is_simulated", "cfg(feature = \"sim", "cfg(simulat", "cfg(turmoil", "turmoil::"] {
        assert_none(mark, |source| {
            source.name.starts_with("core/") && !source.is_this() && source.has(mark)
        });
    }
}

impl Source {
    fn is_rust(&self) -> bool {
        self.name.ends_with(".rs")
    }

    /// This file names what it looks for.
    fn is_this(&self) -> bool {
        self.name == "core/engine/tests/tidy.rs"
    }

    fn has(&self, text: &str) -> bool {
        self.text.contains(text)
    }
}

/// Fails with the names of all files that `is_bad`.
fn assert_none(what: &str, is_bad: impl Fn(&Source) -> bool) {
    let sources = sources();
    assert!(sources.len() > 50, "only {} files were found to look at", sources.len());
    let bad: Vec<String> =
        sources.into_iter().filter(|source| is_bad(source)).map(|source| source.name).collect();
    assert!(bad.is_empty(), "{what}: {bad:#?}");
}

fn sources() -> Vec<Source> {
    let root: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", ".."].iter().collect();
    let mut sources = Vec::new();
    collect(&root, "", &mut sources);
    sources
}

fn collect(folder: &Path, prefix: &str, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("the workspace can be read") {
        let entry = entry.expect("the workspace can be read");
        let name = entry.file_name().into_string().expect("our file names are UTF-8");
        let path = format!("{prefix}{name}");
        if entry.file_type().expect("the workspace can be read").is_dir() {
            if !is_foreign(&name) {
                collect(&entry.path(), &format!("{path}/"), sources);
            }
        } else if is_ours(&name) {
            let text = fs::read_to_string(entry.path()).expect("sources are UTF-8");
            sources.push(Source { name: path, text });
        }
    }
}

/// What builds, runs and git leave behind; see `.gitignore`.
fn is_foreign(folder: &str) -> bool {
    matches!(folder, ".git" | "target" | "out" | "data" | "node_modules" | ".venv")
        || folder.starts_with("target-")
}

fn is_ours(file: &str) -> bool {
    let endings = [".rs", ".toml", ".md", ".sh", ".py", ".mjs", ".html", ".json"];
    endings.iter().any(|ending| file.ends_with(ending))
}
