//! The embedded store: one shard's log in checksummed segment files.
//!
//! A [`LogStore`] appends each batch as one record group with one write and one sync, keeps an
//! index of it in memory, and reads pages of history from disk, each record's checksum verified.
//! The node drives it through [`crate::Store`]; [`LogStore::open`] recovers what a predecessor
//! left behind.
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
//!
//! # Format, version 1
//!
//! All numbers are little endian. Checksums are CRC-32C.
//!
//! A segment is a file `shard-0000.log.00000001` (shard, segment number from 1):
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
//! | … | payload: the records |
//!
//! | bytes | record |
//! |---|---|
//! | 4 | checksum of the rest of the record |
//! | 4 | length of the content |
//! | 1 | kind: 1 claim, 2 message, 3 joined |
//! | … | content |
//!
//! The content of a claim is its epoch (8). The others begin with workspace, channel, seq (8) and
//! wall time (8); then a message has sender, nonce and body (length 4, text), a join has its user.
//! A name or nonce is its length (1) and text.

mod group;
mod history;
mod index;
mod record;
mod recovery;
mod segment;
mod store;

#[cfg(test)]
mod tests;

pub use recovery::RecoveryReport;
pub use segment::SEGMENT_BYTES_MAX;
pub use store::{LogStore, LogStoreOptions};
