//! The simulated world: hosts, sockets, disks, clocks and randomness that follow from a seed.
//!
//! The shipped shells run here unchanged. turmoil schedules the hosts, keeps their time and
//! restarts them; its network is not used. Sockets are those of [`net`], which behave as the
//! kernel's do under cuts, resets, kills and power losses; files are those of [`disk`].
//!
//! Whatever happens is written to one [`journal`]; the same seed gives the same journal in every
//! process and thread.

#[cfg(not(tokio_unstable))]
compile_error!(
    "the simulator needs `--cfg tokio_unstable`, which .cargo/config.toml sets: unset RUSTFLAGS \
     (it replaces the configured flags) and run cargo inside the workspace"
);

pub mod campaign;
pub mod cluster;
pub mod disk;
pub mod driver;
pub mod entropy;
pub mod faults;
pub mod host;
pub mod hygiene;
pub mod journal;
pub mod net;
pub mod peaks;
pub mod planted;
pub mod recorder;
pub mod run;
mod shared;
mod slow_reader;
pub mod spawn;
pub mod supervisor;
pub mod time;
