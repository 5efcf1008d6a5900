//! How a client leaves a connection and comes by the next one.

use std::time::Duration;

use super::{Client, ClientEvent, Effect, Phase};
use crate::limits::{CLIENT_BACKOFF_MAX, CLIENT_BACKOFF_MIN};
use crate::placement::scatter;
use crate::time::MonoTime;

impl Client {
    pub(super) fn reconnect(&mut self, now: MonoTime, effects: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Offline | Phase::Ended) {
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
            Phase::Waiting { .. } | Phase::Offline | Phase::Ended => return,
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

    pub(super) fn close(&mut self, effects: &mut Vec<Effect>) {
        for view in self.channels.values_mut() {
            view.filled();
        }
        self.fills.clear();
        self.refill_at = None;
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
