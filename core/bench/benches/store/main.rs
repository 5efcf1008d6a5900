//! The embedded store beside a bare loop that appends the same bytes and syncs them.
//!
//! `cargo bench -p seriatim-bench --bench store`. Flags go after `--`: `--quick` does a tenth of
//! the work with segments of a tenth, so that runs are still merged; `--dir DIR` puts the files on
//! the file system of DIR, and not on that of the folder for temporary files; `--batch N`, 16, 128
//! or 1024, makes only the load with batches of N, and what is read from its store: for profiles.
//!
//! The store has the options, the disk and the single thread that the server gives it, and its
//! background work runs beside the appends. Rounds of the store and of the bare loop alternate.
//! CPU time and written bytes are the kernel's counts for this process (all threads; whole pages),
//! up to the moment at which no flush and no merge is left to do.

mod appending;
mod bare;
mod messages;
mod nonces;
mod reading;

use std::path::PathBuf;

use anyhow::Context as _;
use seriatim_bench::table::print;
use seriatim_world::log_store::LogStoreOptions;

use appending::{Load, Then};

struct Flags {
    /// Messages of the long load; the others follow from it.
    messages: u64,
    options: LogStoreOptions,
    directory: PathBuf,
    /// The only load that is made.
    batch: Option<usize>,
}

fn main() -> anyhow::Result<()> {
    let flags = flags()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if flags.batch.is_none() {
        nonces::measure(flags.messages * 10 / 3)?;
    }
    appending::print_head();
    let loads = [
        Load { batch: 16, messages: flags.messages / 10, seconds_max: 20, then: Then::Nothing },
        Load {
            batch: 1_024,
            messages: flags.messages * 2 / 3,
            seconds_max: 40,
            then: Then::Reopen,
        },
        Load { batch: 128, messages: flags.messages, seconds_max: 80, then: Then::ReadPages },
    ];
    let mut filled = Vec::new();
    for load in loads {
        if flags.batch.is_none_or(|batch| batch == load.batch) {
            let then = load.then;
            let measured = appending::measure(load, flags.options, &flags.directory);
            filled.push((then, runtime.block_on(measured)?));
        }
    }
    for (then, store) in &mut filled {
        match then {
            Then::Nothing => {}
            Then::Reopen => runtime.block_on(reading::reopen(store))?,
            Then::ReadPages => runtime.block_on(reading::pages(store))?,
        }
    }
    let cores = std::thread::available_parallelism()?;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    print(&format!("\n{cores} cores, load average at the end {}", load.trim()));
    Ok(())
}

fn flags() -> anyhow::Result<Flags> {
    let (options, directory) = (LogStoreOptions::default(), std::env::temp_dir());
    let mut flags = Flags { messages: 3_000_000, options, directory, batch: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // What `cargo bench` adds.
            "--bench" => {}
            "--quick" => {
                flags.messages /= 10;
                flags.options.segment_bytes /= 10;
            }
            "--dir" => flags.directory = arguments.next().context("--dir needs a folder")?.into(),
            "--batch" => {
                let size = arguments.next().and_then(|size| size.parse().ok());
                let size = size.filter(|size| [16, 128, 1_024].contains(size));
                flags.batch = Some(size.context("--batch needs 16, 128 or 1024")?);
            }
            _ => {
                anyhow::bail!("{argument} is unknown: there are --quick, --dir DIR and --batch N")
            }
        }
    }
    Ok(flags)
}
