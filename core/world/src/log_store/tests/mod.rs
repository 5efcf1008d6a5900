//! Tests of the log store as a whole, on a disk that can fail.

mod background_faults;
mod backup;
mod clock;
mod crash;
mod damaged_runs;
mod durability;
mod failure;
mod memory_disk;
mod read_positions;
mod reading;
mod rot;
mod sample;
mod trimming;

pub(super) use sample::{changes, confirmation, joined, message};
