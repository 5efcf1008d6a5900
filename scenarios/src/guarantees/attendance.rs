//! Which clients took part until the end.

use crate::history::{ClientIndex, What};

use super::slot;

/// Follows sessions until the clients' part of the run is over: at `Converged`, or else when the
/// audit or the end comes. What closes after that says nothing about the system.
#[derive(Debug, Default)]
pub(super) struct Attendance {
    clients: Vec<Client>,
    over: bool,
}

#[derive(Debug, Default, Clone, Copy)]
struct Client {
    sessions: u32,
    gone: bool,
}

impl Attendance {
    pub(super) fn observe(&mut self, what: &What) {
        if self.over {
            return;
        }
        match what {
            What::SessionOpened { client, .. } => slot(&mut self.clients, client.0).sessions += 1,
            What::SessionClosed { client, .. } => {
                let client = slot(&mut self.clients, client.0);
                client.sessions = client.sessions.saturating_sub(1);
            }
            What::ClientDown { client } | What::ClientStopped { client } => {
                slot(&mut self.clients, client.0).gone = true;
            }
            What::Converged | What::Stored { .. } | What::AuditDone | What::RunEnded => {
                self.over = true;
            }
            What::Invoked { .. }
            | What::ChangeInvoked { .. }
            | What::Sent { .. }
            | What::Accepted { .. }
            | What::Rejected { .. }
            | What::SessionChannel { .. }
            | What::SessionLeft { .. }
            | What::Received { .. }
            | What::Delivered { .. }
            | What::PageAsked { .. }
            | What::PageRead { .. }
            | What::PageEnded { .. }
            | What::PageRefused { .. }
            | What::Forgot { .. }
            | What::FaultBegan { .. }
            | What::FaultHealed { .. }
            | What::FaultsOver
            | What::Heartbeat { .. }
            | What::Watching { .. }
            | What::PresenceTold { .. }
            | What::Typed { .. }
            | What::TypingTold { .. }
            | What::NodeEnded { .. }
            | What::NodeRevived { .. }
            | What::ReadMarked { .. }
            | What::ReadTold { .. }
            | What::ReadStored { .. }
            | What::Panicked { .. }
            | What::ErrorLogged { .. }
            | What::Peak { .. }
            | What::TaskLeaked { .. } => {}
        }
    }

    /// It died or was stopped.
    pub(super) fn is_gone(&self, client: ClientIndex) -> bool {
        self.client(client).gone
    }

    /// It was there at the end, with a session.
    pub(super) fn is_present(&self, client: ClientIndex) -> bool {
        let client = self.client(client);
        !client.gone && client.sessions > 0
    }

    fn client(&self, client: ClientIndex) -> Client {
        let index = usize::try_from(client.0).expect("a u32 fits");
        self.clients.get(index).copied().unwrap_or_default()
    }
}
