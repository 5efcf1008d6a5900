//! The files that describe planted bugs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use seriatim_scenarios::guarantees;

/// One way to break the product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bug {
    /// The file's stem, such as "answer-before-sync".
    pub id: String,
    /// What is wrong, in one line.
    pub title: String,
    /// The part that has it, such as "storage".
    pub part: String,
    /// The guarantee that it breaks first of all. The hunt takes any but `hygiene`.
    pub breaks: String,
    /// Where the like was seen, if the file names it.
    pub seen_in: Option<String>,
    pub edits: Vec<Edit>,
}

/// A passage of the source, and what replaces it in the copy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// From the top of the repository.
    pub file: String,
    /// As it stands there, exactly once.
    pub find: String,
    /// What stands in its place; [`Edit::SWITCH`] in it is whether the bug is switched on.
    pub plant: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    title: String,
    part: String,
    breaks: String,
    seen_in: Option<String>,
    edit: Vec<Edit>,
}

/// A folder or a file of planted bugs can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BugError {
    #[error("can't read {path}: {error}; the bugs lie in the repository that this was built from")]
    Read { path: PathBuf, error: std::io::Error },
    #[error("{path}: {message}")]
    Parse { path: PathBuf, message: String },
}

impl Edit {
    /// In an edit's text: whether the bug is switched on.
    pub const SWITCH: &str = "PLANTED";
}

impl Bug {
    /// The bugs of a folder, in the order of their names.
    ///
    /// # Errors
    /// The folder or a file can't be read, or a file isn't a bug.
    pub fn load_all(folder: &Path) -> Result<Vec<Self>, BugError> {
        let read = |error| BugError::Read { path: folder.to_owned(), error };
        let mut paths = BTreeSet::new();
        for entry in std::fs::read_dir(folder).map_err(read)? {
            let path = entry.map_err(read)?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                paths.insert(path);
            }
        }
        paths.iter().map(|path| Self::load(path)).collect()
    }

    fn load(path: &Path) -> Result<Self, BugError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| BugError::Read { path: path.to_owned(), error })?;
        let wrong = |message: String| BugError::Parse { path: path.to_owned(), message };
        let file: File = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if !guarantees::NAMES.contains(&file.breaks.as_str()) {
            return Err(wrong(format!("breaks = {:?} is no guarantee", file.breaks)));
        }
        if let Some(edit) = file.edit.iter().find(|edit| !edit.plant.contains(Edit::SWITCH)) {
            let switch = Edit::SWITCH;
            return Err(wrong(format!("the edit of {} has no {switch} in it", edit.file)));
        }
        let id = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        let File { title, part, breaks, seen_in, edit: edits } = file;
        Ok(Self { id, title, part, breaks, seen_in, edits })
    }
}
