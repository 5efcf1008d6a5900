//! `seriatim-server backup`: copies the data folder of a server, which may be running.
//!
//! The copy is made beside its place, verified, and only then given its name: what has the name is
//! whole.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use seriatim_world::{Clock as _, real};

use crate::check::{Check, Damaged};
use crate::cli::{Usage, say};
use crate::{admin_secret, secret};

/// How often a long copy tells how far it has come.
const TOLD_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The server's data folder. The server may be running, and is not disturbed.
    #[arg(long, default_value = "data")]
    data: PathBuf,
    /// The folder to make. It must not exist yet.
    to: PathBuf,
}

impl Backup {
    /// An error is [`Damaged`] when the copy is not sound.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let Self { data, to } = self;
        let draft = draft(&to)?;
        if !data.is_dir() {
            return Err(Usage(format!("{} is no data folder", data.display())).into());
        }
        for folder in [&to, &draft] {
            if folder.exists() {
                let folder = folder.display();
                let message = format!("{folder} exists already; remove it, or give another folder");
                return Err(Usage(message).into());
            }
        }
        fs::create_dir_all(&draft).with_context(|| format!("can't make {}", draft.display()))?;
        let log = data.join("log");
        let copied = if log.is_dir() {
            let copied = real::copy_log(&log, &draft.join("log"), progress());
            copied.with_context(|| format!("copying {} to {}", log.display(), draft.display()))?
        } else {
            real::Copied::default()
        };
        if copied.files > 0 {
            verify(&draft)?;
        }
        // Without keys the copy is of no use to anybody, and with them it is a secret: they come
        // last, and only their owner may read them.
        for path in [secret::path, admin_secret::path] {
            if path(&data).exists() {
                secret::write(&draft, &path(&draft), &secret::read(&path(&data))?)?;
            }
        }
        let named = fs::rename(&draft, &to).and_then(|()| sync(&to));
        named.with_context(|| format!("giving {} its name", to.display()))?;
        say(&format!(
            "{} holds {} files of the log, {} bytes, all sound, and the keys. To go back to it, \
             stop the server and start it on a copy of this folder.",
            to.display(),
            copied.files,
            copied.bytes
        ));
        Ok(())
    }
}

/// Where the copy is until it is whole.
fn draft(to: &Path) -> anyhow::Result<PathBuf> {
    let Some(name) = to.file_name() else {
        bail!(Usage(format!("{} can't be made; give the name of a folder", to.display())));
    };
    let mut name = name.to_owned();
    name.push(".partial");
    Ok(to.with_file_name(name))
}

fn verify(draft: &Path) -> anyhow::Result<()> {
    let check = Check::of(draft);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let reports = runtime.block_on(check.check())?;
    let damaged = reports.iter().filter(|(_, report)| !report.damages.is_empty());
    let shards: Vec<String> = damaged.map(|(shard, _)| shard.to_string()).collect();
    if shards.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the copy in {} is kept, but not sound: `check {0}` tells what is wrong. The files of shard \
         {} were copied as they are, so the server's own are likely to be",
        draft.display(),
        shards.join(", ")
    );
    Err(Damaged(message).into())
}

/// Makes the folder's name durable.
fn sync(folder: &Path) -> std::io::Result<()> {
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Tells now and then how many bytes are copied, of how many.
fn progress() -> impl FnMut(u64, u64) {
    let clock = real::RealClock::new();
    let mut told_at = clock.mono_now();
    move |bytes, total| {
        let now = clock.mono_now();
        if now - told_at >= TOLD_EVERY {
            told_at = now;
            // Nobody may be watching.
            drop(writeln!(
                std::io::stderr().lock(),
                "{} of {} MiB copied",
                bytes >> 20,
                total >> 20
            ));
        }
    }
}
