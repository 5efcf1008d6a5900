//! What was asked of one channel, when, and what was answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use seriatim_engine::entry::Asked;
use seriatim_engine::ids::{Nonce, SeqNo, UserId};

use crate::history::{ClientIndex, Event};

/// The requests of one channel.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Changes of membership, in the order in which they were asked for.
    changes: BTreeMap<(UserId, Asked), Vec<Request>>,
    /// When each send without an answer was asked for.
    sends: BTreeMap<(ClientIndex, Nonce), Duration>,
}

#[derive(Debug)]
struct Request {
    client: ClientIndex,
    invoked_at: Duration,
    answered_at: Option<Duration>,
}

/// What a client was told about something that it had asked for.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) user: UserId,
    pub(super) asked: Asked,
    pub(super) invoked_at: Duration,
    pub(super) told: Told,
    /// The event that told it.
    pub(super) event: Arc<Event>,
}

#[derive(Debug)]
pub(super) enum Told {
    /// It has this position: its own entry, or what made it so already.
    Accepted { seq: SeqNo, duplicate: bool },
    /// The code of the refusal.
    Refused(String),
}

impl Requests {
    pub(super) fn sends(&mut self, at: Duration, client: ClientIndex, nonce: &Nonce) {
        self.sends.entry((client, nonce.clone())).or_insert(at);
    }

    pub(super) fn asks(&mut self, at: Duration, client: ClientIndex, by: &UserId, asked: &Asked) {
        let request = Request { client, invoked_at: at, answered_at: None };
        self.changes.entry(key(by, asked)).or_default().push(request);
    }

    /// The client's oldest request of this wording is answered. Gives when it was asked for.
    pub(super) fn answered(
        &mut self,
        at: Duration,
        client: ClientIndex,
        by: &UserId,
        asked: &Asked,
    ) -> Option<Duration> {
        if let Asked::Send(nonce) = asked {
            return self.sends.remove(&(client, nonce.clone()));
        }
        let mut requests = self.changes.get_mut(&key(by, asked))?.iter_mut();
        let request = requests.find(|one| one.client == client && one.answered_at.is_none())?;
        request.answered_at = Some(at);
        Some(request.invoked_at)
    }

    /// The earliest time at which a request may have been made that led to such a change after
    /// `after`. None if every one was answered before.
    pub(super) fn made(&self, by: &UserId, asked: &Asked, after: Duration) -> Option<Duration> {
        let requests = self.changes.get(&key(by, asked)).into_iter().flatten();
        let open = requests.filter(|one| one.answered_at.is_none_or(|at| at >= after));
        open.map(|one| one.invoked_at).min()
    }

    pub(super) fn has_asked(&self, by: &UserId, asked: &Asked) -> bool {
        self.changes.contains_key(&key(by, asked))
    }
}

/// To remove oneself is to leave.
pub(super) fn plain(by: &UserId, asked: &Asked) -> Asked {
    if *asked == Asked::Remove(by.clone()) { Asked::Leave } else { asked.clone() }
}

fn key(by: &UserId, asked: &Asked) -> (UserId, Asked) {
    (by.clone(), plain(by, asked))
}
