//! Changes of members that had been made already when they were asked for.
//!
//! They alter nothing, so no entry is numbered for them. That they were answered is logged all the
//! same: an attempt of one that comes late, when things have changed, must alter nothing either.

use std::collections::{BTreeMap, VecDeque};

use super::{Effect, Owner, Refusal, reply};
use crate::entry::Confirmation;
use crate::ids::{ChannelKey, Nonce, SeqNo, UserId};
use crate::limits::IN_FLIGHT_MAX;
use crate::link::{FromOwner, LinkId, Ticket};
use crate::nonces::NonceKey;
use crate::time::WallTime;

/// What the store was given and does not hold yet: at most [`IN_FLIGHT_MAX`].
#[derive(Debug, Default)]
pub(super) struct Confirming {
    /// Oldest first.
    order: VecDeque<NonceKey>,
    open: BTreeMap<NonceKey, Open>,
}

#[derive(Debug)]
struct Open {
    seq: SeqNo,
    at: WallTime,
    waiting: Vec<(LinkId, Ticket)>,
}

impl Confirming {
    /// Whether the request is one of these. Then it waits with the attempts before it.
    pub(super) fn joins(&mut self, nonce: NonceKey, waiting: (LinkId, Ticket)) -> bool {
        let open = self.open.get_mut(&nonce);
        open.map(|open| open.waiting.push(waiting)).is_some()
    }
}

impl Owner {
    /// What `by` asked for is so since `seq`: answered once the store holds that it was.
    pub(super) fn confirm(
        &mut self,
        at: WallTime,
        (key, by, nonce): (ChannelKey, UserId, Nonce),
        (seq, waiting): (SeqNo, (LinkId, Ticket)),
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        if self.confirming.order.len() >= IN_FLIGHT_MAX {
            return Err(Refusal::no_room_to_confirm());
        }
        let nonce_key = NonceKey::new(&key, &by, &nonce);
        self.nonces.record(nonce_key, seq, at, self.clock.at(self.now));
        self.confirming.order.push_back(nonce_key);
        self.confirming.open.insert(nonce_key, Open { seq, at, waiting: vec![waiting] });
        effects.push(Effect::Confirm(Confirmation { channel: key, seq, at, by, nonce }));
        Ok(())
    }

    pub(super) fn confirmed(&mut self, count: usize, effects: &mut Vec<Effect>) {
        for _ in 0..count {
            let next = self.confirming.order.pop_front();
            let open = next.and_then(|nonce| self.confirming.open.remove(&nonce));
            let Open { seq, at, waiting } = open.expect("the store holds more than was confirmed");
            for (link, ticket) in waiting {
                let accepted = FromOwner::Accepted { ticket, seq, at, duplicate: true };
                reply(link, accepted, effects);
            }
        }
    }
}
