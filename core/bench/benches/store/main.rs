//! The embedded store beside a bare loop that appends the same bytes and syncs them.
//!
//! `cargo bench -p seriatim-bench --bench store`. Flags go after `--`: `--quick` does a tenth of
//! the work with segments of a tenth, so that runs are still merged; `--dir DIR` puts the files on
//! the file system of DIR, and not on that of the folder for temporary files.
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

use appending::Load;

struct Flags {
    /// Messages of the long load; the others follow from it.
    messages: u64,
    options: LogStoreOptions,
    directory: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let flags = flags()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    nonces::measure(flags.messages * 10 / 3)?;
    appending::print_head();
    let long = Load { batch: 128, messages: flags.messages, seconds_max: 80, keep: true };
    let reopened = flags.messages * 2 / 3;
    let short = [
        Load { batch: 16, messages: flags.messages / 10, seconds_max: 20, keep: false },
        Load { batch: 1_024, messages: reopened, seconds_max: 40, keep: true },
    ];
    let mut kept = Vec::new();
    for load in short.into_iter().chain([long]) {
        kept.extend(runtime.block_on(appending::measure(load, flags.options, &flags.directory))?);
    }
    let [reopened, read] = kept.as_mut_slice() else { anyhow::bail!("two stores are kept") };
    runtime.block_on(reading::reopen(reopened))?;
    runtime.block_on(reading::pages(read))?;
    let cores = std::thread::available_parallelism()?;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    print(&format!("\n{cores} cores, load average at the end {}", load.trim()));
    Ok(())
}

fn flags() -> anyhow::Result<Flags> {
    let (options, directory) = (LogStoreOptions::default(), std::env::temp_dir());
    let mut flags = Flags { messages: 3_000_000, options, directory };
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
            _ => anyhow::bail!("{argument} is unknown: there are --quick and --dir DIR"),
        }
    }
    Ok(flags)
}
