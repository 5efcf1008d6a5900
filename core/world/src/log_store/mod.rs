//! The embedded store: one shard's log in checksummed files.
//!
//! A [`LogStore`] appends each batch as one record group to a **segment** with one write and one
//! sync, and keeps the segment's groups in memory. A full segment is rewritten in the background
//! as a **run**, in which each channel's entries lie together, and goes when its run is durable.
//! Neighbouring runs of one level are merged into one of the next, channel by channel. So a page of
//! history is one read, and opening the log reads the index of each run and the one or two
//! segments that are in none. The node drives it through [`crate::Store`] and spawns
//! [`LogStore::maintain`].
//!
//! # Invariants
//!
//! - **Durable first**: an entry is in the index, and so in any page of history, only after the
//!   sync that covers it.
//! - **Whole or absent**: a group counts only if its checksum does, so a batch is never half there.
//! - **One in doubt**: a group is synced before the next is written, so a crash can spoil the last
//!   group of the last segment only. Anything else that doesn't verify is corruption, and the
//!   store stays shut, its files untouched.
//! - **No hope after a failure**: after a failed or abandoned write, sync, creation or truncation
//!   every append is refused until the store is opened again.
//! - **Runs replace, they never change**: a run is written under a name that counts for nothing,
//!   synced, renamed, and the directory synced, before anything that it replaces is removed. If any
//!   of it but the last step fails, nothing has happened and it is done again from the start.
//! - **Commits don't wait for runs**, unless more full segments wait than
//!   [`LogStoreOptions::segments_waiting_max`].
//!
//! # The directory says what counts
//!
//! A segment is a file `shard-0000.log.00000007` (shard, segment number from 1), a run is a file
//! `shard-0000.run.00000001-00000006`: it replaces segments 1 to 6 and all runs within. At opening,
//! the widest runs must cover segments 1 to n without a gap, segments n + 1 and on must be there
//! without a gap, and everything else is what a crash left and is removed. There is no manifest
//! that could disagree with the files.
//!
//! When the log is not to keep everything, its oldest runs are replaced by one that has no entries,
//! only what outlives them: see `trim.rs`.
//!
//! How far users have read is kept beside the log, in `shard-0000.reads`: see `read_cursors.rs`.
//!
//! # The log's clock
//!
//! Every group says how many seconds the log has had an owner, which the owner counts by a clock that
//! never jumps, going on from what the newest group says. The ages of nonces are told by it alone: wall
//! time is for people.
//!
//! # Format of segments, version 4
//!
//! All numbers are little endian. Checksums are CRC-32C.
//!
//! | bytes | segment header |
//! |---|---|
//! | 8 | `seriatim` |
//! | 4 | format version |
//! | 4 | shard |
//! | 4 | segment number |
//! | 4 | length of the segment before; 0 in the first |
//! | 4 | checksum of the 24 bytes before it |
//!
//! Groups follow the header without gaps, one for each append and each claim:
//!
//! | bytes | group |
//! |---|---|
//! | 8 | marker: bytes that no UTF-8 text contains, so no message can pass for a group |
//! | 4 | checksum of the rest of the group |
//! | 4 | length of the payload |
//! | 4 | shard |
//! | 4 | segment number |
//! | 4 | offset of this group in its file, so a stale group of an earlier life can't pass |
//! | 4 | count of records |
//! | 8 | epoch of the writer |
//! | 4 | the log's time in seconds |
//! | … | payload: the records |
//!
//! | bytes | record |
//! |---|---|
//! | 4 | checksum of the rest of the record |
//! | 4 | length of the content |
//! | 1 | kind: 1 claim, 2 message, 3 joined, 4 created, 5 added, 6 left, 7 removed, 9 confirmation |
//! | … | content |
//!
//! The content of a claim is its epoch (8). The others begin with workspace, channel, seq (8), wall
//! time (8), and the user and nonce of the request; then a message has its body (length 4, text),
//! `created` the kind (1) and the members (count 4, names), `added` and `removed` whom. A name or
//! nonce is its length (1) and text. A confirmation is no entry: it says that a request for what was
//! so already was answered with the entry at its seq.
//!
//! # Format of runs, version 4
//!
//! | bytes | run |
//! |---|---|
//! | 8 | `seri-run` |
//! | … | for each channel, in the order of names: its records as they were in the log, by seq; and if they have more than one stride of 8 KiB, a block of marks for every 170 strides |
//! | … | blocks of state: the records that are not messages once more, channel by channel |
//! | … | blocks of nonces, sorted: key (16, big endian), seq (8; its highest bit marks a confirmation's), wall time (8), the log's time (4) |
//! | … | blocks of channels: name, first seq, count, offset and bytes of the records, latest wall time (8 each), count of marks (4) |
//! | 8 | `seri-end`: the footer |
//! | 4 each | format version, shard, first segment, last segment, level, length of the last segment, the log's time at its end |
//! | 8 each | epoch, latest wall time, count of entries, count of nonces, end of the records, bytes of state, of nonces, of channels |
//! | 4 | checksum of the footer before it |
//!
//! The run of what was trimmed has level 4294967295, no records, and channels with
//! a count of 0, whose first seq is the one after the last that is gone; its nonces need no record.
//!
//! A mark is the seq and the offset at which a stride begins and the latest wall time up to its
//! end. A block is a checksum (4), a length (4) and that many bytes; the checksum also covers the
//! run, the kind of section and the offset, so a block that strayed does not verify. A record that
//! strayed has another channel or seq than the one that is looked for.

mod block;
mod channel_name;
mod check;
mod directory;
mod extent;
mod flush;
mod footer;
mod group;
mod history;
mod index;
mod maintenance;
mod merge;
mod options;
mod pace;
mod page;
mod peek;
mod read_cursors;
mod record;
mod recovery;
mod replay;
mod restore;
mod retention;
mod run;
mod run_name;
mod run_writer;
mod segment;
mod store;
mod trim;

#[cfg(test)]
mod tests;

pub use check::{CheckReport, Damage, LostEntries, Progress, check, shards};
pub use maintenance::Upkeep;
pub use options::LogStoreOptions;
pub use recovery::RecoveryReport;
pub use retention::Retention;
pub use segment::SEGMENT_BYTES_MAX;
pub use store::LogStore;
pub use trim::TrimReport;
