//! What was asked of one channel, when, and what was answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use seriatim_engine::entry::{Asked, Wish};
use seriatim_engine::ids::{Nonce, SeqNo, UserId};

use crate::history::{ClientIndex, Event};

/// The requests of one channel.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Changes of membership, by user and nonce.
    changes: BTreeMap<(UserId, Nonce), Request>,
    /// When each send without an answer was asked for.
    sends: BTreeMap<(ClientIndex, Nonce), Duration>,
}

#[derive(Debug)]
struct Request {
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

    pub(super) fn asks(&mut self, at: Duration, by: &UserId, nonce: &Nonce) {
        let request = Request { invoked_at: at, answered_at: None };
        self.changes.entry((by.clone(), nonce.clone())).or_insert(request);
    }

    /// The request is answered. Gives when it was asked for.
    pub(super) fn answered(
        &mut self,
        at: Duration,
        client: ClientIndex,
        by: &UserId,
        asked: &Asked,
    ) -> Option<Duration> {
        if asked.wish == Wish::Send {
            return self.sends.remove(&(client, asked.nonce.clone()));
        }
        let request = self.changes.get_mut(&(by.clone(), asked.nonce.clone()))?;
        request.answered_at.get_or_insert(at);
        Some(request.invoked_at)
    }

    /// When the change was asked for, if it may have been made after `after`: it was not answered
    /// before.
    pub(super) fn made(&self, by: &UserId, nonce: &Nonce, after: Duration) -> Option<Duration> {
        let request = self.changes.get(&(by.clone(), nonce.clone()))?;
        request.answered_at.is_none_or(|at| at >= after).then_some(request.invoked_at)
    }

    pub(super) fn has_asked(&self, by: &UserId, nonce: &Nonce) -> bool {
        self.changes.contains_key(&(by.clone(), nonce.clone()))
    }
}

/// To remove oneself is to leave.
pub(super) fn plain(by: &UserId, asked: &Asked) -> Asked {
    let leaves = asked.wish == Wish::Remove(by.clone());
    let wish = if leaves { Wish::Leave } else { asked.wish.clone() };
    Asked { wish, ..asked.clone() }
}
