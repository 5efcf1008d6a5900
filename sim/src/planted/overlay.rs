//! Writes the copy of the source that has every planted bug in it, each behind its switch.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::bug::{Bug, Edit};

/// What of the repository the simulator is built from.
const PARTS: [&str; 7] =
    ["Cargo.toml", "Cargo.lock", ".cargo", "core", "scenarios", "reports", "sim"];

/// The switches are in the crate that all others build on.
const SWITCHES: &str = "core/engine/src/planted.rs";
const SWITCHES_TEXT: &str = r#"//! Which planted bug is switched on. Written by `cargo sim bugs`.

use std::cell::Cell;

thread_local! {
    static PLANTED: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Switches one bug on for this thread, and all others off.
pub fn plant(bug: Option<&'static str>) {
    PLANTED.set(bug);
}

/// Whether this bug is switched on.
pub fn is(bug: &str) -> bool {
    PLANTED.get() == Some(bug)
}
"#;

const ENGINE: &str = "core/engine/src/lib.rs";
const SWITCH: &str = "sim/src/planted/switch.rs";
const SWITCH_TEXT: &str = r#"//! Switches planted bugs. Written by `cargo sim bugs`.

pub use seriatim_engine::planted::plant;

/// Whether this program was built from the copy with the planted bugs.
pub const ARE_BUILT_IN: bool = true;
"#;

/// The copy can't be made.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    #[error("can't copy {path}: {error}")]
    Copy { path: PathBuf, error: io::Error },
    #[error(
        "sim/bugs/{bug}.toml: this passage is {found} times in {file}, and should be there once; \
         fit the bug to the source as it is:\n{passage}"
    )]
    Passage { bug: String, file: String, found: usize, passage: String },
}

/// The text of every file of the copy, by its path from the top.
pub type Tree = BTreeMap<String, Vec<u8>>;

/// The source below `root` with the bugs in it.
///
/// # Errors
/// A file can't be read, or a bug doesn't fit the source.
pub fn plant(root: &Path, bugs: &[Bug]) -> Result<Tree, OverlayError> {
    let mut tree = Tree::new();
    for part in PARTS {
        read(root, part, &mut tree)?;
    }
    for bug in bugs {
        for edit in &bug.edits {
            apply(bug, edit, &mut tree)?;
        }
    }
    if let Some(engine) = tree.get_mut(ENGINE) {
        engine.extend_from_slice(b"pub mod planted;\n");
    }
    tree.insert(SWITCHES.to_owned(), SWITCHES_TEXT.into());
    tree.insert(SWITCH.to_owned(), SWITCH_TEXT.into());
    Ok(tree)
}

/// Makes `folder` hold this tree and nothing else. What is there already keeps its time, so that a
/// build has little to do again.
///
/// # Errors
/// A file can't be written or removed.
pub fn write(tree: &Tree, folder: &Path) -> Result<(), OverlayError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| OverlayError::Copy { path, error }
    };
    let mut stale = BTreeSet::new();
    if folder.exists() {
        let mut there = Tree::new();
        for part in PARTS {
            read(folder, part, &mut there)?;
        }
        stale.extend(there.into_keys().filter(|path| !tree.contains_key(path)));
    }
    for path in stale {
        let path = folder.join(path);
        fs::remove_file(&path).map_err(failed(&path))?;
    }
    for (path, text) in tree {
        let path = folder.join(path);
        if fs::read(&path).is_ok_and(|there| there == *text) {
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed(parent))?;
        }
        fs::write(&path, text).map_err(failed(&path))?;
    }
    Ok(())
}

fn read(root: &Path, part: &str, tree: &mut Tree) -> Result<(), OverlayError> {
    let path = root.join(part);
    let failed = |error| OverlayError::Copy { path: path.clone(), error };
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(what) if what.is_file() => {
            tree.insert(part.to_owned(), fs::read(&path).map_err(failed)?);
            return Ok(());
        }
        Ok(_) => {}
    }
    for entry in fs::read_dir(&path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if let Some(name) = name.to_str().filter(|name| *name != "target") {
            read(root, &format!("{part}/{name}"), tree)?;
        }
    }
    Ok(())
}

fn apply(bug: &Bug, edit: &Edit, tree: &mut Tree) -> Result<(), OverlayError> {
    let there = tree.get(&edit.file).map(|text| String::from_utf8_lossy(text).into_owned());
    let text = there.unwrap_or_default();
    let passage = edit.find.trim_end_matches('\n');
    let found = if passage.is_empty() { 0 } else { text.matches(passage).count() };
    if found != 1 {
        let (bug, file) = (bug.id.clone(), edit.file.clone());
        return Err(OverlayError::Passage { bug, file, found, passage: passage.to_owned() });
    }
    let home = if edit.file.starts_with("core/engine/") { "crate" } else { "seriatim_engine" };
    let switch = format!("{home}::planted::is({:?})", bug.id);
    let plant = edit.plant.trim_end_matches('\n').replace(Edit::SWITCH, &switch);
    tree.insert(edit.file.clone(), text.replacen(passage, &plant, 1).into_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
    }

    #[test]
    fn every_bug_fits_the_source_and_says_what_it_breaks() {
        let bugs = Bug::load_all(&root().join("sim/bugs")).unwrap();
        assert!(bugs.len() >= 32, "{} bugs", bugs.len());
        let tree = plant(root(), &bugs).unwrap_or_else(|error| panic!("{error}"));
        let switches = tree.values().filter_map(|text| std::str::from_utf8(text).ok());
        let all = switches.collect::<Vec<_>>().concat();
        for bug in &bugs {
            assert!(all.contains(&format!("planted::is({:?})", bug.id)), "{}", bug.id);
        }
    }

    const TWICE: &str = "pub mod planted;\npub mod run;\npub mod planted;\n";

    #[test]
    fn a_bug_that_does_not_fit_is_refused_with_its_place() {
        for (find, found) in
            [("not there", "0 times"), ("pub mod planted;", "2 times"), ("", "0 times")]
        {
            let (file, plant) = ("sim/src/lib.rs".to_owned(), "if PLANTED {}".to_owned());
            let bug = Bug {
                id: "crooked".to_owned(),
                title: String::new(),
                part: String::new(),
                breaks: "once".to_owned(),
                seen_in: None,
                edits: vec![Edit { file, find: find.to_owned(), plant }],
            };
            let mut tree = Tree::from([("sim/src/lib.rs".to_owned(), TWICE.into())]);
            let error = apply(&bug, &bug.edits[0], &mut tree).unwrap_err().to_string();
            let place = format!("sim/bugs/crooked.toml: this passage is {found} in sim/src/lib.rs");
            assert!(error.starts_with(&place), "{error}");
            assert_eq!(tree["sim/src/lib.rs"], TWICE.as_bytes(), "nothing is changed");
        }
    }
}
