//! How a client leaves a connection and comes by the next one.

use std::time::Duration;

use super::{Client, ClientEvent, Effect, Phase};
use crate::frame::GoodbyeCode;
use crate::limits::{CLIENT_BACKOFF_MAX, CLIENT_BACKOFF_MIN};
use crate::placement::scatter;
use crate::time::MonoTime;

impl Client {
    pub(super) fn reconnect(&mut self, now: MonoTime, effects: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Renewing { .. } | Phase::Offline | Phase::Ended) {
            return;
        }
        effects.push(Effect::Disconnect);
        self.close(effects);
        self.wait(now);
    }

    pub(super) fn go_offline(&mut self, effects: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Offline | Phase::Ended) {
            return;
        }
        effects.push(Effect::Disconnect);
        self.close(effects);
        self.phase = Phase::Offline;
    }

    pub(super) fn go_online(&mut self, now: MonoTime) {
        if matches!(self.phase, Phase::Offline) {
            self.failures = 0;
            self.wait(now);
        }
    }

    /// The connection is gone, or never was: back off, and try the next gateway.
    pub(super) fn lost(&mut self, now: MonoTime, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Waiting { .. } | Phase::Renewing { .. } | Phase::Offline | Phase::Ended => {
                return;
            }
            Phase::Connecting { .. } | Phase::Greeting { .. } | Phase::Live { .. } => {}
        }
        self.close(effects);
        self.failures += 1;
        if self.failures > 1 {
            self.gateway = (self.gateway + 1) % self.config.gateways;
        }
        let delay = self.backoff();
        self.wait(now + delay);
    }

    /// The server won't have this client back as it is. A new token may help, if the one that was
    /// refused has ever been good.
    pub(super) fn told_off(
        &mut self,
        code: GoodbyeCode,
        message: String,
        effects: &mut Vec<Effect>,
    ) {
        let of_token = matches!(code, GoodbyeCode::Unauthorized | GoodbyeCode::TokenExpired);
        if of_token && !self.renewed {
            self.renewed = true;
            self.phase = Phase::Renewing { message };
            effects.push(Effect::RenewToken);
        } else {
            self.phase = Phase::Ended;
            effects.push(Effect::Emit(ClientEvent::Ended { message }));
        }
    }

    pub(super) fn renewed(
        &mut self,
        now: MonoTime,
        token: Option<String>,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(token) = &token {
            self.config.token.clone_from(token);
        }
        let Phase::Renewing { message } = &self.phase else { return };
        if token.is_some() {
            self.wait(now);
        } else {
            let message = message.clone();
            self.phase = Phase::Ended;
            effects.push(Effect::Emit(ClientEvent::Ended { message }));
        }
    }

    pub(super) fn close(&mut self, effects: &mut Vec<Effect>) {
        self.close_pages(effects);
        if let Phase::Live { session } = &self.phase {
            effects.push(Effect::Emit(ClientEvent::Closed { session: session.clone() }));
        }
    }

    pub(super) fn wait(&mut self, until: MonoTime) {
        self.phase = Phase::Waiting { until };
    }

    /// Exponential with full jitter (Brooker, AWS Architecture Blog, 2015): a storm of clients
    /// that lost the same gateway comes back spread over the whole interval.
    fn backoff(&mut self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        let most = CLIENT_BACKOFF_MIN.saturating_mul(1 << doublings).min(CLIENT_BACKOFF_MAX);
        let most_ms = u64::try_from(most.as_millis()).expect("seconds fit").max(1);
        self.draws += 1;
        let draw = scatter(self.config.seed ^ scatter(self.draws));
        Duration::from_millis(1 + draw % most_ms)
    }
}
