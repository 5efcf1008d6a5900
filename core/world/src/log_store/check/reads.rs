//! Verifies how far users have read: the file's header, its groups and every position in them.

use super::Check;
use super::findings::unreadable;
use crate::DiskFile;
use crate::log_store::group::{decode, find_after};
use crate::log_store::read_cursors::{Positions, file_name, place, raise};
use crate::log_store::record::length_u32;
use crate::log_store::segment::{SEGMENT_HEADER_BYTES, decode_header};

impl Check {
    pub(super) async fn reads(&mut self, file: &dyn DiskFile) {
        let name = file_name(self.shard);
        let length = file.length().await.unwrap_or(u64::MAX);
        if u32::try_from(length).is_err() {
            return self.findings.of_reads(&name, 0, "the file is longer than it may be");
        }
        let wanted = usize::try_from(length).unwrap_or(usize::MAX);
        match file.read_at(0, wanted).await {
            Ok(bytes) if bytes.len() == wanted => self.read_groups(&bytes),
            Ok(_) => self.findings.of_reads(&name, 0, "the file became shorter while it was read"),
            Err(error) => self.findings.of_reads(&name, 0, &unreadable(&error)),
        }
    }

    fn read_groups(&mut self, bytes: &[u8]) {
        let (name, place) = (file_name(self.shard), place(self.shard));
        // The file is named once its header and first groups are durable.
        if let Err(flaw) = decode_header(bytes, place) {
            self.findings.of_reads(&name, 0, flaw.what());
        }
        let (mut positions, mut next) = (Positions::new(), SEGMENT_HEADER_BYTES);
        while (next as usize) < bytes.len() {
            let group = decode(bytes, place, next);
            match group.and_then(|group| Ok((group.reads()?, group.end()))) {
                Ok((reads, end)) => {
                    reads.into_iter().for_each(|read| raise(&mut positions, read));
                    next = end;
                }
                Err(flaw) => match find_after(bytes, place, next) {
                    Some(after) => {
                        self.findings.of_reads(&name, u64::from(next), flaw);
                        next = after;
                    }
                    // A crash may have cut the last one short, of which nobody was told.
                    None => {
                        self.report.torn_bytes += u64::from(length_u32(bytes.len()) - next);
                        break;
                    }
                },
            }
        }
        self.report.read_positions = positions.len() as u64;
    }
}
