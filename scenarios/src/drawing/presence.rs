//! Draws what clients do about presence: second devices, states, hidden tabs, absences, whom they
//! watch, and typing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use seriatim_engine::frame::PresenceState;
use seriatim_engine::ids::{ChannelKey, UserId, UserKey};

use super::{moment, scale, sends};
use crate::choices::{ChoiceStream, Choices};
use crate::plan::{Action, Op, PlannedChannel, PlannedUser};
use crate::scenario::{Presence, Scenario};

/// Adds second clients to `clients`, which has one for each user, and operations to all of them.
pub(super) fn add(
    scenario: &Scenario,
    wanted: &Presence,
    choices: &Choices,
    channels: &[PlannedChannel],
    clients: &mut Vec<PlannedUser>,
) {
    add_second_devices(scenario, wanted, choices, clients);
    let circles = Circles::new(channels, clients);
    let draw = |site, rate| events(scenario, choices, (site, rate), clients.len());
    let mut added: Vec<(usize, Op)> = Vec::new();
    let mut changes: Vec<(usize, Duration, Change)> = Vec::new();
    for (index, client) in clients.iter().enumerate() {
        let mut stream = choices.stream("presence", index as u64);
        let at = client.operations.first().map_or(Duration::ZERO, |connect| connect.at);
        let hidden = stream.below(100) < u64::from(wanted.hidden_percent);
        changes.push((index, at, Change::Hidden(hidden)));
        let users = circles.some(&client.key, wanted.watched, &mut stream);
        added.push((index, Op { at, action: Action::Watch { users } }));
    }
    for (index, at, mut stream) in draw("state", wanted.states_per_min) {
        changes.push((index, at, Change::State(*stream.pick(&STATES))));
    }
    for (index, at, mut stream) in draw("hide", wanted.hides_per_min) {
        changes.push((index, at, Change::Hidden(stream.chance(0.5))));
    }
    for (index, at, mut stream) in draw("absence", wanted.absences_per_min) {
        let away = scale(stream.next_u64(), wanted.absence.min, wanted.absence.max);
        // Convergence is demanded of everybody.
        let back_at = (at + away).min(scenario.workload_end());
        added.push((index, Op { at, action: Action::GoOffline }));
        added.push((index, Op { at: back_at, action: Action::GoOnline }));
    }
    for (index, at, mut stream) in draw("watch", wanted.watches_per_min) {
        let key = clients.get(index).map(|client| &client.key).expect("below the length");
        let users = circles.some(key, wanted.watched, &mut stream);
        added.push((index, Op { at, action: Action::Watch { users } }));
    }
    for (index, at, mut stream) in draw("typing", wanted.typing_per_min) {
        let key = clients.get(index).map(|client| &client.key).expect("below the length");
        if let Some(channels) = circles.channels.get(key) {
            let channel = stream.pick(channels).clone();
            added.push((index, Op { at, action: Action::Type { channel } }));
        }
    }
    added.extend(said(changes));
    for (index, operation) in added {
        clients.get_mut(index).expect("below the length").operations.push(operation);
    }
}

/// Mostly there or away; sometimes logged out.
const STATES: [PresenceState; 8] = [
    PresenceState::Active,
    PresenceState::Away,
    PresenceState::Active,
    PresenceState::Away,
    PresenceState::Active,
    PresenceState::Away,
    PresenceState::Active,
    PresenceState::Offline,
];

enum Change {
    State(PresenceState),
    Hidden(bool),
}

/// What each client says after each of its changes.
fn said(mut changes: Vec<(usize, Duration, Change)>) -> Vec<(usize, Op)> {
    changes.sort_by_key(|(index, at, _)| (*index, *at));
    let mut now: BTreeMap<usize, (PresenceState, bool)> = BTreeMap::new();
    changes
        .into_iter()
        .map(|(index, at, change)| {
            let (state, background) = now.entry(index).or_insert((PresenceState::Active, false));
            match change {
                Change::State(said) => *state = said,
                Change::Hidden(hidden) => *background = hidden,
            }
            let (state, background) = (*state, *background);
            (index, Op { at, action: Action::SetPresence { state, background } })
        })
        .collect()
}

/// Which client does something when, and the choices that remain of it.
fn events<'a>(
    scenario: &'a Scenario,
    choices: &'a Choices,
    (site, rate_per_min): (&'a str, u32),
    clients: usize,
) -> impl Iterator<Item = (usize, Duration, ChoiceStream)> + 'a {
    let workload = &scenario.workload;
    (0..sends(u64::from(rate_per_min), 60_000, workload.duration)).map(move |entity| {
        let mut stream = choices.stream(site, entity);
        let at = moment(&mut stream, workload.warm_up, scenario.workload_end());
        let client = stream.below(clients as u64);
        (usize::try_from(client).expect("below a length"), at, stream)
    })
}

fn add_second_devices(
    scenario: &Scenario,
    wanted: &Presence,
    choices: &Choices,
    clients: &mut Vec<PlannedUser>,
) {
    let gateways = u64::from(scenario.cluster.gateways);
    let mut second = Vec::new();
    for (entity, first) in (0..).zip(clients.iter()) {
        let mut stream = choices.stream("second_device", entity);
        if stream.below(100) >= u64::from(wanted.second_device_percent) {
            continue;
        }
        let others = stream.below((gateways - 1).max(1)) + 1;
        let home_gateway = (first.home_gateway as u64 + others) % gateways;
        let at = moment(&mut stream, Duration::ZERO, scenario.workload.warm_up / 4);
        second.push(PlannedUser {
            key: first.key.clone(),
            home_gateway: usize::try_from(home_gateway).expect("below four"),
            operations: vec![Op { at, action: Action::Connect }],
        });
    }
    clients.extend(second);
}

/// Who shares channels with whom, by the plan.
struct Circles {
    channels: BTreeMap<UserKey, Vec<ChannelKey>>,
    companions: BTreeMap<UserKey, BTreeSet<UserId>>,
    everybody: BTreeSet<UserKey>,
}

impl Circles {
    fn new(channels: &[PlannedChannel], clients: &[PlannedUser]) -> Self {
        let everybody = clients.iter().map(|client| client.key.clone()).collect();
        let mut circles =
            Self { channels: BTreeMap::new(), companions: BTreeMap::new(), everybody };
        let key_of = |index: u32| clients.get(usize::try_from(index).expect("a u32 fits"));
        for channel in channels {
            let members: Vec<&UserKey> = channel
                .members
                .iter()
                .filter_map(|member| key_of(member.0))
                .map(|client| &client.key)
                .collect();
            for member in &members {
                let companions = circles.companions.entry((*member).clone()).or_default();
                companions.extend(members.iter().map(|other| other.user.clone()));
                let channels = circles.channels.entry((*member).clone()).or_default();
                channels.push(channel.key.clone());
            }
        }
        circles
    }

    /// `count` users for `watcher` to watch: a stranger if there is one, and companions.
    fn some(&self, watcher: &UserKey, count: u32, stream: &mut ChoiceStream) -> Arc<[UserId]> {
        let count = usize::try_from(count).expect("a u32 fits");
        let companions = self.companions.get(watcher);
        let mut known: Vec<&UserId> =
            companions.into_iter().flatten().filter(|user| **user != watcher.user).collect();
        let strangers: Vec<&UserId> = self
            .everybody
            .iter()
            .filter(|user| user.workspace == watcher.workspace && user.user != watcher.user)
            .map(|user| &user.user)
            .filter(|user| companions.is_none_or(|known| !known.contains(*user)))
            .collect();
        let mut chosen: Vec<UserId> = Vec::new();
        if count > 0 && !strangers.is_empty() {
            chosen.push((*stream.pick(&strangers)).clone());
        }
        while chosen.len() < count && !known.is_empty() {
            let at = stream.below(known.len() as u64);
            let user = known.swap_remove(usize::try_from(at).expect("below a length"));
            chosen.push(user.clone());
        }
        chosen.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;
    use crate::plan::Plan;

    const TEXT: &str = "question = \"?\"\n[workload]\nusers = 40\nchannels = 8\n\
        duration_s = 120\n[presence]\nsecond_device_percent = 50\nhidden_percent = 30\n\
        watched = 4\nstates_per_min = 60\nhides_per_min = 20\nabsences_per_min = 10\n\
        watches_per_min = 10\ntyping_per_min = 30\n";

    fn plan(seed: u64) -> Plan {
        let scenario = parse::scenario("test", TEXT).unwrap_or_else(|error| panic!("{error}"));
        Plan::draw(&scenario, seed)
    }

    fn actions(plan: &Plan) -> impl Iterator<Item = &Action> {
        plan.users.iter().flat_map(|user| &user.operations).map(|operation| &operation.action)
    }

    #[test]
    fn everything_that_is_asked_for_is_drawn() {
        let plan = plan(1);
        let count = |wanted: fn(&Action) -> bool| actions(&plan).filter(|one| wanted(one)).count();
        assert_eq!(count(|one| matches!(one, Action::GoOffline)), 20);
        assert_eq!(count(|one| matches!(one, Action::GoOnline)), 20);
        let clients = plan.users.len();
        let said = count(|one| matches!(one, Action::SetPresence { .. }));
        assert_eq!(said, clients + 120 + 40);
        let hidden = count(|one| matches!(one, Action::SetPresence { background: true, .. }));
        assert!((said / 6..said * 2 / 3).contains(&hidden), "{hidden} of {said}");
        assert_eq!(count(|one| matches!(one, Action::Watch { .. })), clients + 20);
        assert!(count(|one| matches!(one, Action::Type { .. })) > 30);
        for user in &plan.users {
            assert!(user.operations.is_sorted_by_key(|operation| operation.at));
            assert_eq!(user.operations[0].action, Action::Connect);
        }
    }

    #[test]
    fn second_devices_belong_to_users_and_start_at_another_gateway() {
        let plan = plan(2);
        let (first, second) = plan.users.split_at(40);
        assert!((10..30).contains(&second.len()), "{}", second.len());
        for client in second {
            let own = first.iter().find(|user| user.key == client.key).unwrap();
            assert_ne!(own.home_gateway, client.home_gateway);
        }
    }

    #[test]
    fn watchers_watch_a_stranger_and_people_with_whom_they_share_a_channel() {
        let plan = plan(3);
        let shares = |one: &UserKey, other: &UserId| {
            plan.channels.iter().any(|channel| {
                let members: Vec<&UserKey> = channel
                    .members
                    .iter()
                    .map(|member| &plan.users[usize::try_from(member.0).unwrap()].key)
                    .collect();
                members.contains(&one) && members.iter().any(|member| member.user == *other)
            })
        };
        for client in &plan.users {
            for operation in &client.operations {
                let Action::Watch { users } = &operation.action else { continue };
                assert!(users.len() <= 4 && !users.contains(&client.key.user));
                let strangers = users.iter().filter(|user| !shares(&client.key, user)).count();
                assert!(strangers <= 1, "{strangers} of {users:?}");
            }
        }
        let watches =
            |action: &Action| matches!(action, Action::Watch { users } if users.len() > 1);
        assert!(actions(&plan).any(watches));
    }

    #[test]
    fn presence_leaves_everything_else_as_it_was() {
        let scenario = parse::scenario("test", TEXT).unwrap();
        let without = parse::scenario("test", TEXT.split("[presence]").next().unwrap()).unwrap();
        let (with, without) = (Plan::draw(&scenario, 4), Plan::draw(&without, 4));
        for (with, without) in with.users.iter().zip(&without.users) {
            let sends = |user: &PlannedUser| {
                let sends = user.operations.iter().cloned();
                sends.filter(|op| matches!(op.action, Action::Send { .. })).collect::<Vec<_>>()
            };
            assert_eq!(sends(with), sends(without));
        }
    }
}
