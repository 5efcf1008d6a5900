//! `presence`: users are seen as they are.
//!
//! A user is online if and only if a session of theirs lives, as present as their most present
//! session; offline is seen within the time to live and a sweep, and not before, so that neither
//! heartbeats on their way nor a reconnect make anybody flap. Only people who share a channel are
//! told, and only members hear who is writing.
//!
//! What a client is told is false unless some combination of what each session of the user may
//! have contributed, within the time that word takes, has it as its maximum ([`session`]). What was
//! said amid a fault may have arrived or not ([`calm`]); what was not told is judged once it is
//! overdue, and after a fault only when a new owner's grace is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use seriatim_engine::frame::PresenceState;
use seriatim_engine::ids::{UserId, UserKey};
use seriatim_engine::limits::{CLIENT_SILENCE_BACKGROUND_MAX, CLIENT_SILENCE_MAX, PRESENCE_GRACE};

use crate::history::{ClientIndex, Event, Roster, What};

use super::{ChannelNumber, Findings, Guarantee, Seen, slot, user_of};

mod calm;
mod session;
mod shares;
#[cfg(test)]
mod tests;
mod typing;

use calm::Calm;
use session::Session;
use shares::Shares;
use typing::Typing;

/// A new owner's grace begins with the first that it hears, a heartbeat after its start at most.
const GRACE_OVER: Duration = PRESENCE_GRACE.saturating_add(Duration::from_secs(20));

/// A client whose gateway has died may not know for so long, and is told nothing meanwhile.
const DEATH_FOUND_OUT: Duration = CLIENT_SILENCE_MAX;

/// The same for a hidden tab, which looks once a minute.
const DEATH_FOUND_OUT_HIDDEN: Duration =
    CLIENT_SILENCE_BACKGROUND_MAX.saturating_add(Duration::from_secs(60));

/// Judges `presence`.
#[derive(Debug)]
pub struct Presence {
    roster: Roster,
    numbers: BTreeMap<UserKey, UserNumber>,
    users: Vec<User>,
    clients: Vec<Client>,
    weather: Weather,
    shares: Shares,
    typing: Typing,
    /// When to look whether what is told of a user is overdue.
    checks: BTreeSet<(Duration, UserNumber)>,
    findings: Findings,
}

/// A user's place among the users of the roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct UserNumber(u32);

#[derive(Debug, Default)]
struct User {
    user: Option<UserId>,
    sessions: Vec<Session>,
    /// Clients that watch it.
    watchers: BTreeSet<ClientIndex>,
}

#[derive(Debug, Default)]
struct Client {
    session: Option<Arc<str>>,
    opened_at: Duration,
    /// It has said so during the session.
    was_hidden: bool,
    watched: BTreeMap<UserNumber, View>,
    /// When it said whom it watches, and whom it had watched until then.
    watched_since: Duration,
    before: BTreeSet<UserNumber>,
}

impl Client {
    /// Its gateway may have died, before `heard_since`, and it doesn't know yet.
    fn may_be_deaf(&self, at: Duration, heard_since: Duration) -> bool {
        let found_out = if self.was_hidden { DEATH_FOUND_OUT_HIDDEN } else { DEATH_FOUND_OUT };
        self.opened_at < heard_since && at < heard_since + found_out
    }
}

/// What a client was told of a user.
#[derive(Debug, Clone, Copy, Default)]
struct View {
    told: Option<(PresenceState, Duration)>,
    /// That something else is overdue has been reported.
    reported: bool,
}

/// When what is said arrives.
#[derive(Debug)]
pub(super) struct Weather {
    /// So long, at most, while nothing is wrong.
    lag: Duration,
    all: Calm,
    /// Between clients and gateways, and in these.
    hearing: Calm,
    /// Of each fault: it lies behind the gateways.
    behind_gateways: BTreeMap<String, bool>,
}

impl Weather {
    /// True when trouble is over, but for settling.
    fn observe(&mut self, at: Duration, what: &What) -> bool {
        if let What::FaultBegan { name, behind_gateways } = what {
            self.behind_gateways.insert(name.clone(), *behind_gateways);
            self.begins(at, *behind_gateways);
        } else if let What::FaultHealed { name } = what {
            let behind_gateways = self.behind_gateways.get(name) == Some(&true);
            return self.ends(at, behind_gateways);
        } else if let What::NodeEnded { .. } = what {
            self.begins(at, false);
        } else if let What::NodeRevived { .. } = what {
            return self.ends(at, false);
        }
        false
    }

    fn begins(&mut self, at: Duration, behind_gateways: bool) {
        self.all.trouble_begins(at);
        if !behind_gateways {
            self.hearing.trouble_begins(at);
        }
    }

    fn ends(&mut self, at: Duration, behind_gateways: bool) -> bool {
        if !behind_gateways {
            self.hearing.trouble_ends(at);
        }
        self.all.trouble_ends(at)
    }

    /// When what arrives at `now` may have begun its way.
    fn window(&self, now: Duration) -> Duration {
        self.all.window(now, self.lag)
    }

    /// Nothing that was replaced before matters any more.
    fn horizon(&self, now: Duration) -> Duration {
        self.window(now).saturating_sub(self.lag)
    }
}

impl Presence {
    pub const NAME: &'static str = "presence";

    /// Word of a state takes `lag` at most while nothing is wrong.
    pub fn new(roster: &Roster, lag: Duration) -> Self {
        let mut numbers = BTreeMap::new();
        for (_, user) in roster.iter() {
            let next = UserNumber(u32::try_from(numbers.len()).expect("users are counted in u32"));
            numbers.entry(user.clone()).or_insert(next);
        }
        let mut users: Vec<User> = Vec::new();
        for (key, number) in &numbers {
            slot(&mut users, number.0).user = Some(key.user.clone());
        }
        let checks = numbers.values().map(|user| (GRACE_OVER + 3 * lag, *user)).collect();
        Self {
            roster: roster.clone(),
            numbers,
            users,
            clients: Vec::new(),
            weather: Weather {
                lag,
                all: Calm::default(),
                hearing: Calm::default(),
                behind_gateways: BTreeMap::new(),
            },
            shares: Shares::default(),
            typing: Typing::default(),
            checks,
            findings: Findings::new(Self::NAME),
        }
    }

    fn number_of(&self, client: ClientIndex) -> UserNumber {
        *self.numbers.get(user_of(&self.roster, client)).expect("the roster's users have numbers")
    }

    /// The user whom a client means by a name.
    fn named(&self, client: ClientIndex, user: &UserId) -> Option<UserNumber> {
        let workspace = user_of(&self.roster, client).workspace.clone();
        self.numbers.get(&UserKey { workspace, user: user.clone() }).copied()
    }

    fn user_mut(&mut self, number: UserNumber) -> &mut User {
        slot(&mut self.users, number.0)
    }

    /// The open session of a client.
    fn session_mut(&mut self, client: ClientIndex) -> Option<&mut Session> {
        let number = self.number_of(client);
        let sessions = self.user_mut(number).sessions.iter_mut();
        sessions.rev().find(|session| session.client == client && session.closed_at.is_none())
    }

    fn check_at(&mut self, at: Duration, number: UserNumber) {
        self.checks.insert((at + 3 * self.weather.lag, number));
    }

    fn opened(&mut self, at: Duration, client: ClientIndex, session: &Arc<str>) {
        let number = self.number_of(client);
        self.user_mut(number).sessions.push(Session::new(client, session.clone()));
        let client = slot(&mut self.clients, client.0);
        client.session = Some(session.clone());
        (client.opened_at, client.was_hidden) = (at, false);
    }

    fn closed(&mut self, at: Duration, client: ClientIndex) {
        let number = self.number_of(client);
        if let Some(session) = self.session_mut(client) {
            session.closed_at = Some(at);
        }
        self.watch_nobody(client);
        slot(&mut self.clients, client.0).session = None;
        for time_to_live in session::TIMES_TO_LIVE {
            self.check_at(at + time_to_live, number);
        }
        let horizon = self.weather.horizon(at);
        let weather = &self.weather;
        let user = slot(&mut self.users, number.0);
        user.sessions.retain(|session| !session.is_over(horizon, weather));
    }

    fn watch_nobody(&mut self, client: ClientIndex) {
        let watched = std::mem::take(&mut slot(&mut self.clients, client.0).watched);
        for number in watched.keys() {
            self.user_mut(*number).watchers.remove(&client);
        }
        slot(&mut self.clients, client.0).before = watched.into_keys().collect();
    }

    fn watches(&mut self, at: Duration, client: ClientIndex, users: &[UserId]) {
        self.watch_nobody(client);
        for number in users.iter().filter_map(|user| self.named(client, user)).collect::<Vec<_>>() {
            self.user_mut(number).watchers.insert(client);
            slot(&mut self.clients, client.0).watched.insert(number, View::default());
            self.check_at(at, number);
        }
        slot(&mut self.clients, client.0).watched_since = at;
    }

    fn heartbeat(&mut self, event: &Event, client: ClientIndex) {
        let What::Heartbeat { state, background, .. } = &event.what else { return };
        let number = self.number_of(client);
        slot(&mut self.clients, client.0).was_hidden |= *background;
        let weather = &self.weather;
        let user = slot(&mut self.users, number.0);
        let sessions = user.sessions.iter_mut().rev();
        let session = { sessions }.find(|one| one.client == client && one.closed_at.is_none());
        let Some(session) = session else { return };
        session.ripen(event.at, weather);
        if session.heartbeat(event.at, *state, *background) {
            self.check_at(event.at, number);
        }
    }

    /// What a client was told must be what the user may have been.
    fn told(&mut self, event: &Event, client: ClientIndex, user: &UserId, state: PresenceState) {
        let own = user_of(&self.roster, client).clone();
        let Some(number) = self.named(client, user) else {
            let message = || format!("{client} was told of {user}, whom nobody acts for");
            self.findings.report(event.at, message, [event]);
            return;
        };
        let from = self.weather.window(event.at);
        let watcher = slot(&mut self.clients, client.0);
        let late = watcher.before.contains(&number) && from <= watcher.watched_since;
        if !watcher.watched.contains_key(&number) && !late {
            let message = || format!("{client} was told of {user}, whom it does not watch");
            self.findings.report(event.at, message, [event]);
            return;
        }
        let key = UserKey { workspace: own.workspace.clone(), user: user.clone() };
        if !self.shares.may(&own, &key, from) {
            let message =
                || format!("{client} was told of {user}, with whom {} shares no channel", own.user);
            self.findings.report(event.at, message, [event]);
        }
        let view = watcher.watched.get_mut(&number);
        let fresh = view.as_ref().is_none_or(|view| view.told.is_none());
        if let Some(view) = view {
            *view = View { told: Some((state, event.at)), reported: false };
        }
        self.judge_told(event, number, (from, fresh), state);
    }

    fn judge_told(
        &mut self,
        event: &Event,
        number: UserNumber,
        (from, fresh): (Duration, bool),
        state: PresenceState,
    ) {
        let weather = &self.weather;
        let sessions = &mut slot(&mut self.users, number.0).sessions;
        for session in sessions.iter_mut() {
            session.ripen(event.at, weather);
        }
        let surely = |session: &Session| session.surely((from, event.at), fresh, weather);
        if let Some(higher) = sessions.iter().find(|session| surely(session) > state) {
            let message = || {
                let (client, surely) = (higher.client, surely(higher).as_str());
                format!("told {} while {client} is {surely}", state.as_str())
            };
            let witness: Vec<Event> = higher.evidence(from).chain([event.clone()]).collect();
            self.findings.report(event.at, message, &witness);
        }
        let may = |session: &Session| session.may(from, weather).contains(&state);
        if state > PresenceState::Offline && !sessions.iter().any(may) {
            let message = || format!("told {} but no session can be", state.as_str());
            let evidence = sessions.iter().flat_map(|session| session.evidence(from));
            let witness: Vec<Event> = evidence.chain([event.clone()]).collect();
            self.findings.report(event.at, message, &witness);
        }
    }

    /// Only members hear who is writing, and soon or never.
    fn typing_told(
        &mut self,
        event: &Event,
        client: ClientIndex,
        user: &UserId,
        channel: ChannelNumber,
    ) {
        let own = user_of(&self.roster, client);
        let from = self.weather.window(event.at);
        if !self.typing.typed_since(from, &own.workspace, user, channel) {
            let message = || format!("{client} was told that {user} is writing, who is not");
            self.findings.report(event.at, message, [event]);
        }
        if !self.shares.may_be_in(own, channel, from) {
            let message = || format!("{client} was told who is writing where it is no member");
            self.findings.report(event.at, message, [event]);
        }
    }

    /// Looks at all users whose time has come.
    fn check_due(&mut self, now: Duration) {
        while self.checks.first().is_some_and(|(at, _)| *at <= now) {
            let Some((at, number)) = self.checks.pop_first() else { return };
            self.check(at, number);
        }
    }

    /// Whoever watches the user must know by `at` how it is.
    fn check(&mut self, at: Duration, number: UserNumber) {
        let weather = &self.weather;
        let lag = weather.lag;
        // Amid trouble nothing is overdue; everybody is looked at after it.
        let Some(calm_since) = weather.all.since(at).filter(|since| *since + 3 * lag <= at) else {
            return;
        };
        let heard_since = weather.hearing.since(at).unwrap_or(at);
        let graceful = at < calm_since + GRACE_OVER + 3 * lag;
        let user = slot(&mut self.users, number.0);
        for session in &mut user.sessions {
            session.ripen(at, weather);
        }
        let from = at.saturating_sub(2 * lag);
        let sessions = user.sessions.iter();
        let least = sessions.clone().map(|session| session.surely((from, at), true, weather));
        let least = least.max().unwrap_or(PresenceState::Offline);
        let may = sessions.flat_map(|session| session.may(at.saturating_sub(lag), weather));
        let most = may.max().unwrap_or(PresenceState::Offline);
        let Some(name) = &user.user else { return };
        let mut overdue = Vec::new();
        for client in &user.watchers {
            let watcher = slot(&mut self.clients, client.0);
            let own = user_of(&self.roster, *client);
            let key = UserKey { workspace: own.workspace.clone(), user: name.clone() };
            let shared = self.shares.surely(own, &key, from);
            if from < watcher.watched_since || !shared || watcher.may_be_deaf(at, heard_since) {
                continue;
            }
            let Some(view) = watcher.watched.get_mut(&number) else { continue };
            let late = match view.told {
                None => least > PresenceState::Offline || !graceful,
                Some((state, _)) => state < least || (state > most && !graceful),
            };
            if late && !view.reported {
                view.reported = true;
                overdue.push((*client, view.told));
            }
        }
        for (client, told) in overdue {
            self.report_overdue(at, client, number, told);
        }
    }

    fn report_overdue(
        &mut self,
        at: Duration,
        client: ClientIndex,
        number: UserNumber,
        told: Option<(PresenceState, Duration)>,
    ) {
        let user = slot(&mut self.users, number.0);
        let Some(name) = &user.user else { return };
        let watcher = slot(&mut self.clients, client.0);
        let session = watcher.session.clone().unwrap_or_else(|| "".into());
        let what = match told {
            Some((state, _)) => {
                let user = name.clone();
                What::PresenceTold { client, session, user, state }
            }
            None => What::Watching { client, session, users: [name.clone()].into() },
        };
        let told_at = told.map_or(watcher.watched_since, |(_, at)| at);
        let from = at.saturating_sub(self.weather.lag);
        let mut witness = vec![Event { at: told_at, what }];
        witness.extend(user.sessions.iter().flat_map(|session| session.evidence(from)));
        witness.sort_by_key(|event| event.at);
        let message = || match told {
            Some((state, _)) => {
                format!("{client} still sees {name} {}, which is over", state.as_str())
            }
            None => format!("{client} was never told how {name} is"),
        };
        self.findings.report(at, message, &witness);
    }

    fn membership(&mut self, seen: &Seen<'_>) {
        let Some(channel) = seen.channel else { return };
        let (at, what) = (seen.event.at, &seen.event.what);
        if let What::ChangeInvoked { client, asked, .. } = what {
            self.shares.asked(user_of(&self.roster, *client), channel, asked);
        }
        let (Some(entry), Some(key)) = (what.entry(), what.channel()) else { return };
        if seen.repeats {
            return;
        }
        for user in self.shares.entry(at, &key.workspace, channel, entry) {
            self.check_circle(at, &UserKey { workspace: key.workspace.clone(), user });
        }
    }

    /// The user may know, and be known to, other people than before.
    fn check_circle(&mut self, at: Duration, user: &UserKey) {
        let Some(number) = self.numbers.get(user).copied() else { return };
        self.check_at(at, number);
        let own = self.roster.iter().filter(|(_, key)| *key == user);
        for client in own.map(|(client, _)| client).collect::<Vec<_>>() {
            let watched = slot(&mut self.clients, client.0).watched.keys().copied();
            for number in watched.collect::<Vec<_>>() {
                self.check_at(at, number);
            }
        }
    }
}

impl Guarantee for Presence {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn observe(&mut self, seen: &Seen<'_>) {
        let Event { at, what } = seen.event;
        let at = *at;
        self.check_due(at);
        if self.weather.observe(at, what) {
            let settled = at + calm::SETTLING;
            for number in self.numbers.values().copied().collect::<Vec<_>>() {
                self.check_at(settled, number);
                self.check_at(settled + DEATH_FOUND_OUT, number);
                self.check_at(settled + GRACE_OVER, number);
                self.check_at(settled + DEATH_FOUND_OUT_HIDDEN, number);
            }
        }
        self.membership(seen);
        if let What::SessionOpened { client, session, .. } = what {
            self.opened(at, *client, session);
        } else if let What::SessionClosed { client, .. } = what {
            self.closed(at, *client);
        } else if let What::Heartbeat { client, .. } = what {
            self.heartbeat(seen.event, *client);
        } else if let What::Sent { client, .. } = what {
            if let Some(session) = self.session_mut(*client) {
                session.said(at);
            }
        } else if let What::Watching { client, users, .. } = what {
            self.watches(at, *client, users);
        } else if let What::PresenceTold { client, user, state, .. } = what {
            self.told(seen.event, *client, user, *state);
        } else if let (What::Typed { client, .. }, Some(channel)) = (what, seen.channel) {
            self.typing.typed(at, user_of(&self.roster, *client), channel);
        } else if let (What::TypingTold { client, user, .. }, Some(channel)) = (what, seen.channel)
        {
            self.typing_told(seen.event, *client, user, channel);
        }
    }

    /// Whatever is overdue has been found by then.
    fn conclude(&mut self) {}

    fn findings(&self) -> &Findings {
        &self.findings
    }
}
