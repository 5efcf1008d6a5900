//! Copies a log directory while a server writes to it, without a word to that server.
//!
//! What makes the copy a log again is the set of files: runs and segments replace each other, so a
//! run without what it replaces, or with half of it, is another log. Every file is opened between
//! two listings that are the same: then all of them were there at one moment, and what is open can
//! be read to its end though the server has removed it since. Runs and full segments no longer
//! change; the last segment and the read positions grow at their end only, so any beginning of them
//! is what a crash could have left. Nothing is hard-linked: the server would go on in the copy.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use super::disk::{create_directory, sync_directory};

/// How often the directory is listed again because it changed meanwhile. It changes when a segment
/// is full or a run is written, some times a minute at most.
const ATTEMPTS_MAX: u32 = 1_000;

/// Copied at once.
const CHUNK_BYTES: usize = 1 << 20;

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    pub files: u64,
    pub bytes: u64,
}

/// A file of the log, open for reading.
struct Source {
    name: String,
    file: File,
    /// How long it was when it was opened.
    bytes: u64,
}

/// Copies the log of every shard in `from` to `to`, which it makes, and syncs the copy. All that
/// was durable before the call is in it. `progress` is told after each mebibyte how many bytes are
/// copied, of how many.
///
/// # Errors
/// `AlreadyExists` when there is a `to`; whatever the file system reports. What was copied by then
/// stays.
pub fn copy_log(from: &Path, to: &Path, mut progress: impl FnMut(u64, u64)) -> io::Result<Copied> {
    let sources = open_all(from)?;
    let bytes_total = sources.iter().map(|source| source.bytes).sum();
    if to.exists() {
        let message = format!("{} exists already", to.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    create_directory(to)?;
    let mut copied = Copied::default();
    let mut chunk = vec![0; CHUNK_BYTES];
    for Source { name, file, bytes } in sources {
        let mut target = OpenOptions::new().write(true).create_new(true).open(to.join(name))?;
        let mut rest = file.take(bytes);
        loop {
            let length = rest.read(&mut chunk)?;
            let Some(read) = chunk.get(..length).filter(|read| !read.is_empty()) else { break };
            target.write_all(read)?;
            copied.bytes += read.len() as u64;
            progress(copied.bytes, bytes_total);
        }
        target.sync_all()?;
        copied.files += 1;
    }
    sync_directory(to)?;
    Ok(copied)
}

/// Opens every file of the log as it was at one moment.
fn open_all(directory: &Path) -> io::Result<Vec<Source>> {
    settled(|| list(directory), |name| open(directory, name))
}

/// Opens all that is listed, again and again until nothing has come or gone meanwhile.
fn settled<T>(
    mut list: impl FnMut() -> io::Result<Vec<String>>,
    mut open: impl FnMut(&str) -> io::Result<T>,
) -> io::Result<Vec<T>> {
    let mut names = list()?;
    for _ in 0..ATTEMPTS_MAX {
        let opened: io::Result<Vec<T>> = names.iter().map(|name| open(name)).collect();
        let listed = std::mem::replace(&mut names, list()?);
        match opened {
            Ok(opened) if listed == names => return Ok(opened),
            Ok(_) => {}
            // It was replaced since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let message = format!("the log's files changed {ATTEMPTS_MAX} times while they were listed");
    Err(io::Error::new(io::ErrorKind::TimedOut, message))
}

/// The names of the log's files, sorted. Those that somebody is still writing count for nothing.
fn list(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        if let Ok(name) = entry?.file_name().into_string()
            && name.starts_with("shard-")
            && !name.ends_with(".tmp")
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn open(directory: &Path, name: &str) -> io::Result<Source> {
    let file = File::open(directory.join(name))?;
    let bytes = file.metadata()?.len();
    Ok(Source { name: name.to_owned(), file, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opens files by number out of listings that follow each other.
    fn opened(listings: &[&[&str]], gone: &str) -> io::Result<Vec<String>> {
        let mut listings = listings.iter().cycle();
        let mut list = || Ok(listings.next().unwrap().iter().map(|name| (*name).into()).collect());
        settled(&mut list, |name| match name {
            _ if name == gone => Err(io::ErrorKind::NotFound.into()),
            "broken" => Err(io::ErrorKind::PermissionDenied.into()),
            name => Ok(name.to_owned()),
        })
    }

    #[test]
    fn files_are_those_of_one_moment() {
        assert_eq!(opened(&[&["1", "2"], &["1", "2"]], "").unwrap(), ["1", "2"]);
        let came = opened(&[&["1"], &["1", "2"], &["1", "2"]], "");
        assert_eq!(came.unwrap(), ["1", "2"]);
        let replaced = opened(&[&["1", "2"], &["1-2"], &["1-2"]], "2");
        assert_eq!(replaced.unwrap(), ["1-2"]);
    }

    #[test]
    fn a_log_that_never_settles_or_cant_be_read_is_no_copy() {
        let restless = opened(&[&["1"], &["2"]], "").unwrap_err();
        assert_eq!(restless.kind(), io::ErrorKind::TimedOut);
        let broken = opened(&[&["1", "broken"]], "").unwrap_err();
        assert_eq!(broken.kind(), io::ErrorKind::PermissionDenied);
    }
}
