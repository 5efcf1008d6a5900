//! Reads files again when they change, while the server runs: certificates and token secrets.
//!
//! It looks at what the file system says of them rather than at a signal: that works for files that
//! are replaced by a program, by a mounted volume or by hand, alike.

use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use seriatim_world::{Clock, clock};

/// How often to look: a few system calls, and nobody waits long for a change.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Some files that make one thing.
pub(crate) struct Renewal {
    /// What they make, for the log.
    what: &'static str,
    files: Vec<PathBuf>,
    seen: Vec<Option<Stamp>>,
    reload: Box<dyn FnMut() -> anyhow::Result<()>>,
}

/// Changes when a file does.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    bytes: u64,
    /// A file that was renamed into place is another.
    inode: u64,
}

impl Renewal {
    /// `reload` reads `files` again; they have just been read for the first time.
    pub(crate) fn new(
        what: &'static str,
        files: Vec<PathBuf>,
        reload: impl FnMut() -> anyhow::Result<()> + 'static,
    ) -> Self {
        let seen = stamps(&files);
        Self { what, files, seen, reload: Box::new(reload) }
    }

    /// Reloads if a file has changed since the last look.
    fn look(&mut self) {
        let stamps = stamps(&self.files);
        if stamps == self.seen {
            return;
        }
        self.seen = stamps;
        match (self.reload)() {
            Ok(()) => tracing::info!(what = self.what, "changed files were read again"),
            Err(error) => tracing::warn!(
                what = self.what,
                error = format!("{error:#}"),
                "changed files can't be used; what was read before stays in use"
            ),
        }
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    let stamp = |file: &PathBuf| {
        let metadata = fs::metadata(file).ok()?;
        let modified = metadata.modified().ok()?;
        Some(Stamp { modified, bytes: metadata.len(), inode: metadata.ino() })
    };
    files.iter().map(stamp).collect()
}

/// Looks after `renewals` for as long as it is polled.
pub(crate) async fn run(clock: &dyn Clock, mut renewals: Vec<Renewal>) -> Infallible {
    loop {
        clock::sleep(clock, LOOK_INTERVAL).await;
        for renewal in &mut renewals {
            renewal.look();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn files_are_read_again_once_for_each_change() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        fs::write(&one, "a").unwrap();
        let reads = Rc::new(Cell::new(0));
        let counted = reads.clone();
        let reload = move || {
            counted.set(counted.get() + 1);
            anyhow::ensure!(counted.get() != 2, "half written");
            Ok(())
        };
        let mut renewal = Renewal::new("test", vec![one.clone(), other.clone()], reload);
        let mut look = || {
            renewal.look();
            renewal.look();
            reads.get()
        };

        assert_eq!(look(), 0);
        fs::write(&one, "ab").unwrap();
        assert_eq!(look(), 1, "one grew");
        fs::write(&other, "").unwrap();
        assert_eq!(look(), 2, "the other came");
        let draft = folder.path().join("draft");
        fs::write(&draft, "cd").unwrap();
        fs::rename(&draft, &one).unwrap();
        assert_eq!(look(), 3, "one was replaced by a file of the same size");
        fs::remove_file(&other).unwrap();
        assert_eq!(look(), 4, "the other went");
    }
}
