//! What one session may, and what it surely does, contribute to its user's presence.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use seriatim_engine::frame::PresenceState;
use seriatim_engine::limits::{PRESENCE_BACKGROUND_TTL, PRESENCE_TTL};

use crate::history::{ClientIndex, Event, What};

use super::Weather;

/// A session counts so long after it was heard; the second, in the background.
pub(super) const TIMES_TO_LIVE: [Duration; 2] = [PRESENCE_TTL, PRESENCE_BACKGROUND_TTL];

/// Signs of life closer together than this are one.
const SIGNS_APART: Duration = Duration::from_secs(1);

/// What a client says in the last moment before its session closes may never leave it.
const CUT_OFF: Duration = Duration::from_secs(1);

/// A session, as its client tells of it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: ClientIndex,
    pub(super) name: Arc<str>,
    pub(super) closed_at: Option<Duration>,
    /// Heartbeats that may count, oldest first; those in a row that say the same are one.
    runs: VecDeque<Run>,
    /// The number of the first of `runs`.
    first_run: u64,
    /// Signs of life of which it isn't known yet whether they arrived.
    pending: VecDeque<Sign>,
    /// The last that its gateway surely heard.
    heard: Option<Sign>,
    sure: Option<Sure>,
}

#[derive(Debug)]
struct Run {
    state: PresenceState,
    background: bool,
    said_at: Duration,
    repeated_at: Duration,
    /// When it was surely known to the owner.
    known_at: Option<Duration>,
}

/// A frame of the client, after the heartbeat with this number.
#[derive(Debug, Clone, Copy)]
struct Sign {
    at: Duration,
    run: u64,
    time_to_live: Duration,
}

/// A time in which the session surely counts.
#[derive(Debug, Clone, Copy)]
struct Sure {
    from: Duration,
    until: Duration,
    /// The owner heard of it last.
    told_at: Duration,
    /// What it heard.
    run: u64,
}

fn time_to_live(background: bool) -> Duration {
    if background { PRESENCE_BACKGROUND_TTL } else { PRESENCE_TTL }
}

impl Session {
    pub(super) fn new(client: ClientIndex, name: Arc<str>) -> Self {
        Self {
            client,
            name,
            closed_at: None,
            runs: VecDeque::new(),
            first_run: 0,
            pending: VecDeque::new(),
            heard: None,
            sure: None,
        }
    }

    /// True when it says something else than the last.
    pub(super) fn heartbeat(
        &mut self,
        at: Duration,
        state: PresenceState,
        background: bool,
    ) -> bool {
        let same = |run: &Run| run.state == state && run.background == background;
        if let Some(run) = self.runs.back_mut().filter(|run| same(run)) {
            run.repeated_at = at;
            self.said(at);
            false
        } else {
            let (said_at, repeated_at) = (at, at);
            self.runs.push_back(Run { state, background, said_at, repeated_at, known_at: None });
            // However soon after another sign: it says something else.
            self.pending.push_back(self.sign(at));
            true
        }
    }

    /// The client sent something.
    pub(super) fn said(&mut self, at: Duration) {
        let told = self.pending.back().is_some_and(|last| at < last.at + SIGNS_APART);
        if !self.runs.is_empty() && !told {
            self.pending.push_back(self.sign(at));
        }
    }

    fn sign(&self, at: Duration) -> Sign {
        let background = self.runs.back().is_some_and(|run| run.background);
        let run = self.first_run + self.runs.len() as u64 - 1;
        Sign { at, run, time_to_live: time_to_live(background) }
    }

    /// Takes note of what is known to have arrived by `now`.
    pub(super) fn ripen(&mut self, now: Duration, weather: &Weather) {
        while let Some(sign) = self.pending.front().copied() {
            let known_at = sign.at + weather.lag;
            if now < known_at {
                break;
            }
            self.pending.pop_front();
            let cut_off = self.closed_at.is_some_and(|closed| closed < sign.at + CUT_OFF);
            if cut_off || weather.hearing.broken(sign.at, known_at) {
                continue;
            }
            self.heard = Some(sign);
            if !weather.all.broken(sign.at, known_at) {
                self.known(sign, known_at);
            }
        }
        // What its gateway heard meanwhile, the owner is told when the link is back; but of a
        // session that has closed by then, a new owner hears from nobody.
        if let Some(sign) = self.heard
            && let Some(since) = weather.all.since(now)
            && since > sign.at
            && since + weather.lag <= now
            && self.closed_at.is_none_or(|closed| since < closed)
            && !weather.hearing.broken(sign.at, now)
        {
            self.known(sign, since + weather.lag);
        }
        self.forget(weather.horizon(now));
    }

    fn known(&mut self, sign: Sign, at: Duration) {
        let until = sign.at + sign.time_to_live;
        let run = sign.run;
        self.sure = match self.sure {
            Some(sure) if at <= sure.until => {
                Some(Sure { from: sure.from, until, told_at: at.max(sure.told_at), run })
            }
            Some(_) | None => (at <= until).then_some(Sure { from: at, until, told_at: at, run }),
        };
        let index = usize::try_from(sign.run.saturating_sub(self.first_run)).ok();
        if sign.run >= self.first_run
            && let Some(run) = index.and_then(|index| self.runs.get_mut(index))
        {
            run.known_at.get_or_insert(at);
        }
    }

    /// Drops heartbeats that a later one had replaced before `horizon`.
    fn forget(&mut self, horizon: Duration) {
        let known = |run: &Run| run.known_at.is_some_and(|at| at <= horizon);
        while self.runs.iter().skip(1).any(known) {
            self.runs.pop_front();
            self.first_run += 1;
        }
    }

    /// It can't count at `horizon` or later.
    pub(super) fn is_over(&self, horizon: Duration, weather: &Weather) -> bool {
        self.may_count_until(weather).is_some_and(|until| until < horizon)
    }

    /// None: nobody knows.
    fn may_count_until(&self, weather: &Weather) -> Option<Duration> {
        let last_heard_at = weather.all.settled_after(self.closed_at?)?;
        let hidden = self.runs.iter().any(|run| run.background);
        Some(last_heard_at + time_to_live(hidden) + weather.lag)
    }

    /// The states that it may contribute at some moment from `from` on.
    pub(super) fn may(&self, from: Duration, weather: &Weather) -> Vec<PresenceState> {
        if self.is_over(from, weather) {
            return Vec::new();
        }
        self.current(from).map(|run| run.state).collect()
    }

    /// The least that it contributes at every moment from `from` to `upto`. With `fresh`, as an
    /// owner knows it that may have been started anew in the last trouble.
    pub(super) fn surely(
        &self,
        (from, upto): (Duration, Duration),
        fresh: bool,
        weather: &Weather,
    ) -> PresenceState {
        let counts = self.sure.is_some_and(|sure| {
            sure.from <= from
                && upto <= self.lives_until(&sure)
                && !(fresh && weather.all.broken(sure.told_at, upto))
        });
        let least = self.current(from).map(|run| run.state).min();
        least.filter(|_| counts).unwrap_or(PresenceState::Offline)
    }

    /// A later heartbeat that no longer says `background`, and may have arrived, ends it sooner.
    fn lives_until(&self, sure: &Sure) -> Duration {
        let later = usize::try_from((sure.run + 1).saturating_sub(self.first_run));
        let later = self.runs.iter().skip(later.unwrap_or(usize::MAX));
        let shown = later.filter(|run| !run.background);
        shown.map(|run| run.said_at + PRESENCE_TTL).fold(sure.until, Duration::min)
    }

    /// Heartbeats that none had surely replaced at `from`.
    fn current(&self, from: Duration) -> impl Iterator<Item = &Run> {
        let known = |run: &Run| run.known_at.is_some_and(|at| at <= from);
        let replaced = self.runs.iter().rposition(known).unwrap_or(0);
        self.runs.iter().skip(replaced)
    }

    /// The heartbeats that may count from `from` on, as events.
    pub(super) fn evidence(&self, from: Duration) -> impl Iterator<Item = Event> {
        self.current(from).map(|run| Event {
            at: run.repeated_at,
            what: What::Heartbeat {
                client: self.client,
                session: self.name.clone(),
                state: run.state,
                background: run.background,
            },
        })
    }
}
