//! Why an owner turns a request down, in words for whoever asked.

use super::Unreadable;
use crate::frame::RejectCode;
use crate::history_bound::HistoryBound;
use crate::ids::{ChannelId, ChannelKey};
use crate::levels::Limit;
use crate::limits::{BODY_BYTES_MAX, IN_FLIGHT_MAX, LINK_READS_MAX};
use crate::sequencer::Busy;

/// A request that did not happen.
pub(super) struct Refusal {
    pub(super) code: RejectCode,
    pub(super) message: String,
    /// The limit that was hit, if one was.
    pub(super) limit: Option<Limit>,
}

impl Refusal {
    pub(super) fn new(code: RejectCode, message: String) -> Self {
        Self { code, message, limit: None }
    }

    pub(super) fn not_member(channel: &ChannelKey) -> Self {
        let message = format!("you are not in channel {}; join it first", channel.channel);
        Self::new(RejectCode::NotMember, message)
    }

    /// `code` is what the first attempt was told.
    pub(super) fn refused_before(code: RejectCode) -> Self {
        let message = "a request with this nonce was refused before, and stays so: ask again with \
                       another nonce"
            .to_owned();
        Self::new(code, message)
    }

    pub(super) fn no_room_to_refuse() -> Self {
        let message = "too many requests were refused for good lately".to_owned();
        Self { limit: Some(Limit::Refusals), ..Self::new(RejectCode::Busy, message) }
    }

    pub(super) fn no_room_to_confirm() -> Self {
        let message = format!("{IN_FLIGHT_MAX} confirmations wait for the store");
        Self { limit: Some(Limit::InFlight), ..Self::new(RejectCode::Busy, message) }
    }

    pub(super) fn bad_body(bytes: usize) -> Self {
        let message = format!("a body has 1 to {BODY_BYTES_MAX} bytes, this one has {bytes}");
        Self::new(RejectCode::BadBody, message)
    }

    pub(super) fn link_reads() -> Self {
        let message = format!("{LINK_READS_MAX} pages are being read for this gateway already");
        let limit = Some(Limit::LinkReads);
        Self { limit, ..Self::new(RejectCode::Busy, message) }
    }

    /// What of the channel can't be read, and why.
    pub(super) fn unreadable(channel: &ChannelId, what: &HistoryBound, why: Unreadable) -> Self {
        let why = match why {
            Unreadable::Damaged => "what the server has stored of them is damaged",
            Unreadable::Failed => "the server's disk failed",
        };
        let message = format!("the entries of channel {channel} {what} can't be read: {why}");
        Self::new(RejectCode::Unreadable, message)
    }

    pub(super) fn busy(busy: Busy) -> Self {
        Self { limit: Some(Limit::InFlight), ..Self::new(RejectCode::Busy, busy.to_string()) }
    }
}
