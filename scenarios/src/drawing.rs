//! Makes the decisions of a plan.
//!
//! Every decision has a name of its own ([`crate::choices`]): a user, channel, send or fault that
//! is taken away leaves the others as they were. Times are whole microseconds, computed from whole
//! numbers only, so that every machine draws the same plan.

use std::time::Duration;

use seriatim_engine::entry::ChannelKind;
use seriatim_engine::ids::{
    ChannelId, ChannelKey, NodeId, Nonce, ShardId, UserId, UserKey, WorkspaceId,
};
use seriatim_engine::membership::Change;

use crate::body;
use crate::choices::{ChoiceStream, Choices};
use crate::fault::Role;
use crate::history::ClientIndex;
use crate::plan::{Action, Op, Plan, PlannedChannel, PlannedNode, PlannedRates, PlannedUser};
use crate::scenario::{Cluster, Range, Scenario};

mod fault;
mod membership;
mod noise;
mod pages;
mod presence;

/// Makes every decision of a run of `scenario`.
pub(crate) fn draw(scenario: &Scenario, choices: &Choices) -> Plan {
    let workspaces: Vec<WorkspaceId> = (1..=scenario.cluster.workspaces)
        .map(|number| WorkspaceId::new(&format!("w{number}")).expect("a sound name"))
        .collect();
    let channels = channels(scenario, choices, &workspaces);
    let mut users = users(scenario, choices, &workspaces);
    add_joins(scenario, choices, &channels, &mut users);
    add_sends(scenario, choices, &channels, &mut users);
    if let Some(wanted) = &scenario.noise {
        noise::add(scenario, wanted, choices, &channels, &mut users);
    }
    add_reads(scenario, choices, &channels, &mut users);
    pages::add(scenario, choices, &channels, &mut users);
    add_reconnects(scenario, choices, &mut users);
    if let Some(wanted) = &scenario.membership {
        membership::add(scenario, wanted, choices, &channels, &mut users);
    }
    if let Some(wanted) = &scenario.presence {
        presence::add(scenario, wanted, choices, &channels, &mut users);
    }
    for user in &mut users {
        // Stable: operations of the same moment keep the order in which they were added.
        user.operations.sort_by_key(|operation| operation.at);
    }
    let faults = fault::faults(scenario, choices);
    let faults_end = faults.iter().map(|fault| fault.heal_at).max().unwrap_or_default();
    Plan {
        scenario: scenario.name.clone(),
        seed: choices.seed(),
        nodes: nodes(&scenario.cluster),
        shards: scenario.cluster.shards,
        store: scenario.cluster.store,
        workspaces,
        network: scenario.network.clone(),
        rates: PlannedRates {
            user: scenario.cluster.user_rate,
            workspace: scenario.cluster.workspace_rate,
        },
        sync: scenario.cluster.sync,
        tick: scenario.tick,
        users,
        noise: noise::planned(scenario, choices, &channels, &faults),
        channels,
        faults,
        workload_end: scenario.workload_end(),
        faults_end,
        end: scenario.workload_end().max(faults_end),
        converge_within: scenario.expect.converge_within,
        expect: scenario.expect.clone(),
    }
}

fn nodes(cluster: &Cluster) -> Vec<PlannedNode> {
    let gateways = (1..=cluster.gateways).map(|number| PlannedNode {
        name: node_name(Role::Gateway, number),
        role: Role::Gateway,
        shards: Vec::new(),
    });
    let messages = (1..=cluster.message_nodes).map(|number| PlannedNode {
        name: node_name(Role::Messages, number),
        role: Role::Messages,
        shards: (0..cluster.shards)
            .filter(|shard| shard % cluster.message_nodes == number - 1)
            .map(ShardId)
            .collect(),
    });
    gateways.chain(messages).collect()
}

fn node_name(role: Role, number: u32) -> NodeId {
    NodeId::new(&format!("{role}-{number}")).expect("a sound name")
}

/// The one of `items` whose turn it is, round and round.
fn in_turn<T>(items: &[T], turn: u32) -> &T {
    let turn = usize::try_from(turn).expect("a u32 fits");
    items.get(turn % items.len()).expect("below the length")
}

fn users(scenario: &Scenario, choices: &Choices, workspaces: &[WorkspaceId]) -> Vec<PlannedUser> {
    let connect_until = scenario.workload.warm_up / 4;
    (0..scenario.workload.users)
        .map(|index| {
            let mut stream = choices.stream("user", u64::from(index));
            let home_gateway = stream.below(u64::from(scenario.cluster.gateways));
            let at = moment(&mut stream, Duration::ZERO, connect_until);
            PlannedUser {
                key: UserKey {
                    workspace: in_turn(workspaces, index).clone(),
                    user: UserId::new(&format!("u{index}")).expect("a sound name"),
                },
                home_gateway: usize::try_from(home_gateway).expect("below four"),
                operations: vec![Op { at, action: Action::Connect }],
            }
        })
        .collect()
}

fn channels(
    scenario: &Scenario,
    choices: &Choices,
    workspaces: &[WorkspaceId],
) -> Vec<PlannedChannel> {
    let Range { min, max } = scenario.workload.members;
    (0..scenario.workload.channels)
        .map(|index| {
            let entity = u64::from(index);
            let count =
                choices.stream("member_count", entity).between(u64::from(min), u64::from(max));
            let count = if noise::is_hot(scenario, index) {
                usize::MAX
            } else {
                usize::try_from(count).expect("at most the number of users")
            };
            // Users are ranked by a choice of their own, so that taking one away brings in the
            // next and moves nobody else.
            let mut ranked: Vec<(u64, u32)> = (0..scenario.workload.users)
                .filter(|user| {
                    user % scenario.cluster.workspaces == index % scenario.cluster.workspaces
                })
                .map(|user| (choices.value("member", entity, u64::from(user)), user))
                .collect();
            ranked.sort_unstable();
            let mut members: Vec<ClientIndex> =
                ranked.into_iter().take(count).map(|(_, user)| ClientIndex(user)).collect();
            members.sort_unstable();
            let asks_at =
                |member: &&ClientIndex| choices.value("join", entity, u64::from(member.0));
            let creator = *members.iter().min_by_key(asks_at).expect("a channel has members");
            PlannedChannel {
                kind: membership::kind(scenario.membership.as_ref(), choices, entity),
                creator,
                key: ChannelKey {
                    workspace: in_turn(workspaces, index).clone(),
                    channel: ChannelId::new(&format!("c{index}")).expect("a sound name"),
                },
                members,
            }
        })
        .collect()
}

fn user_mut(users: &mut [PlannedUser], client: ClientIndex) -> &mut PlannedUser {
    let index = usize::try_from(client.0).expect("a u32 fits");
    users.get_mut(index).expect("members are users")
}

/// Joins are asked for in the middle of the warm-up: after every connect, and a quarter of the
/// warm-up before the first send. What is private its creator makes, with all others in it.
fn add_joins(
    scenario: &Scenario,
    choices: &Choices,
    channels: &[PlannedChannel],
    users: &mut [PlannedUser],
) {
    let warm_up = scenario.workload.warm_up;
    for (entity, channel) in (0..).zip(channels) {
        for member in &channel.members {
            let drawn = choices.value("join", entity, u64::from(member.0));
            let at = scale(drawn, warm_up / 4, warm_up * 3 / 4);
            let change = match channel.kind {
                ChannelKind::Public => Change::Join,
                ChannelKind::Private | ChannelKind::Direct if *member == channel.creator => {
                    let (kind, members) = (channel.kind, names(users, &channel.members));
                    Change::Create { kind, members }
                }
                ChannelKind::Private | ChannelKind::Direct => continue,
            };
            let nonce = Nonce::new("first").expect("a sound nonce");
            let action = Action::Change { channel: channel.key.clone(), nonce, change };
            user_mut(users, *member).operations.push(Op { at, action });
        }
    }
}

fn names(users: &[PlannedUser], clients: &[ClientIndex]) -> Vec<UserId> {
    let index = |client: &ClientIndex| usize::try_from(client.0).expect("a u32 fits");
    let user = |client| users.get(index(client)).expect("members are users");
    clients.iter().map(|client| user(client).key.user.clone()).collect()
}

/// Each send has a moment of its own, uniform over the duration: together they come as a Poisson
/// process does, given their number.
fn add_sends(
    scenario: &Scenario,
    choices: &Choices,
    channels: &[PlannedChannel],
    users: &mut [PlannedUser],
) {
    let workload = &scenario.workload;
    let (from, until) = (workload.warm_up, scenario.workload_end());
    for send in 0..sends(u64::from(workload.sends_per_s), 1_000, workload.duration) {
        let mut stream = choices.stream("send", send);
        let at = moment(&mut stream, from, until);
        let channel = stream.pick(channels);
        add_send(scenario, &mut stream, channel, users, at, &send.to_string());
    }
}

/// One message of a drawn member. `name` is unique in the run.
fn add_send(
    scenario: &Scenario,
    stream: &mut ChoiceStream,
    channel: &PlannedChannel,
    users: &mut [PlannedUser],
    at: Duration,
    name: &str,
) {
    let sizes = scenario.workload.body_bytes;
    let sender = *stream.pick(&channel.members);
    let bytes = stream.between(u64::from(sizes.min), u64::from(sizes.max));
    let nonce = format!("u{}-{name}", sender.0);
    let body = body::text(&nonce, usize::try_from(bytes).expect("within limits"), stream);
    let action = Action::Send {
        channel: channel.key.clone(),
        nonce: Nonce::new(&nonce).expect("a sound nonce"),
        body: body.into(),
    };
    user_mut(users, sender).operations.push(Op { at, action });
}

fn add_reads(
    scenario: &Scenario,
    choices: &Choices,
    channels: &[PlannedChannel],
    users: &mut [PlannedUser],
) {
    let workload = &scenario.workload;
    for read in 0..sends(u64::from(workload.reads_per_s), 1_000, workload.duration) {
        let mut stream = choices.stream("read", read);
        let at = moment(&mut stream, workload.warm_up, scenario.workload_end());
        let channel = stream.pick(channels);
        let reader = *stream.pick(&channel.members);
        let action = Action::MarkRead { channel: channel.key.clone() };
        user_mut(users, reader).operations.push(Op { at, action });
    }
}

fn add_reconnects(scenario: &Scenario, choices: &Choices, users: &mut [PlannedUser]) {
    let workload = &scenario.workload;
    for entity in 0..sends(u64::from(workload.reconnects_per_min), 60_000, workload.duration) {
        let mut stream = choices.stream("reconnect", entity);
        let at = moment(&mut stream, workload.warm_up, scenario.workload_end());
        let user = stream.below(users.len() as u64);
        let client = ClientIndex(u32::try_from(user).expect("users are counted in u32"));
        user_mut(users, client).operations.push(Op { at, action: Action::Reconnect });
    }
}

/// How many come in `duration` at a rate of `count` in `period_ms`.
fn sends(count: u64, period_ms: u64, duration: Duration) -> u64 {
    let total = u128::from(count) * duration.as_millis() / u128::from(period_ms);
    u64::try_from(total).expect("rates and durations are limited")
}

/// A moment from `from` until before `until`.
fn moment(stream: &mut ChoiceStream, from: Duration, until: Duration) -> Duration {
    scale(stream.next_u64(), from, until)
}

/// Maps 64 uniform bits to the microseconds from `from` until before `until`.
fn scale(drawn: u64, from: Duration, until: Duration) -> Duration {
    let microseconds = until.saturating_sub(from).as_micros();
    let offset = (u128::from(drawn) * microseconds) >> 64;
    from + Duration::from_micros(u64::try_from(offset).expect("runs are limited to hours"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn scenario(text: &str) -> Scenario {
        let text = format!("question = \"?\"\n{text}");
        parse::scenario("test", &text).unwrap_or_else(|error| panic!("{error}"))
    }

    const SMALL: &str = "[workload]\nusers = 40\nchannels = 10\nmembers = { min = 2, max = 10 }\n\
        sends_per_s = 20\nbody_bytes = { min = 1, max = 300 }\nwarm_up_s = 4\nduration_s = 10\n\
        reconnects_per_min = 30\n";

    #[test]
    fn the_same_seed_draws_the_same_plan_and_another_seed_another() {
        let scenario = scenario(SMALL);
        assert_eq!(Plan::draw(&scenario, 1), Plan::draw(&scenario, 1));
        assert_ne!(Plan::draw(&scenario, 1), Plan::draw(&scenario, 2));
    }

    #[test]
    fn users_act_in_order_connect_first_join_in_the_warm_up_and_send_only_to_their_channels() {
        let plan = Plan::draw(&scenario(SMALL), 3);
        let (mut sends, mut reconnects) = (0, 0);
        for (index, user) in (0..).map(ClientIndex).zip(&plan.users) {
            assert!(user.operations.is_sorted_by_key(|operation| operation.at));
            assert_eq!(user.operations[0].action, Action::Connect);
            for operation in &user.operations {
                let member_of = |key: &ChannelKey| {
                    let channel = plan.channels.iter().find(|channel| channel.key == *key);
                    channel.is_some_and(|channel| channel.members.contains(&index))
                };
                match &operation.action {
                    Action::Connect => assert!(operation.at < Duration::from_secs(1)),
                    Action::Change { channel, change, .. } => {
                        assert_eq!(*change, Change::Join);
                        assert!(member_of(channel) && channel.workspace == user.key.workspace);
                        assert!((1..3).contains(&operation.at.as_secs()));
                    }
                    Action::Send { channel, nonce, body } => {
                        sends += 1;
                        assert!(member_of(channel));
                        assert!((4..14).contains(&operation.at.as_secs()));
                        assert!((1..=300).contains(&body.len()));
                        assert!(nonce.as_str().starts_with(&format!("u{}-", index.0)));
                    }
                    Action::Reconnect => reconnects += 1,
                    Action::GoOffline
                    | Action::GoOnline
                    | Action::SetPresence { .. }
                    | Action::Watch { .. }
                    | Action::Type { .. } => panic!("presence without being asked for"),
                    Action::MarkRead { .. }
                    | Action::ReadLog { .. }
                    | Action::ResumeSince { .. } => panic!("a read without being asked for"),
                }
            }
        }
        assert_eq!((sends, reconnects), (200, 5));
    }

    #[test]
    fn sends_are_spread_over_the_whole_duration() {
        let plan = Plan::draw(&scenario(SMALL), 5);
        let mut per_second = [0; 10];
        for operation in plan.users.iter().flat_map(|user| &user.operations) {
            if matches!(operation.action, Action::Send { .. }) {
                per_second[usize::try_from(operation.at.as_secs()).unwrap() - 4] += 1;
            }
        }
        assert!(per_second.iter().all(|count| (5..=40).contains(count)), "{per_second:?}");
    }

    #[test]
    fn a_changed_fault_leaves_every_operation_as_it_was() {
        let fault =
            "[[fault]]\nkind = \"reset\"\ntarget = \"gateway:any\"\nat_s = { min = 5, max = 9 }\n";
        let (without, with) =
            (Plan::draw(&scenario(SMALL), 1), Plan::draw(&scenario(&format!("{SMALL}{fault}")), 1));
        assert_eq!(without.users, with.users);
        assert_eq!((without.faults.len(), with.faults.len()), (0, 1));
    }

    #[test]
    fn taking_users_away_moves_no_other_user() {
        let more = Plan::draw(&scenario(&SMALL.replace("users = 40", "users = 41")), 1);
        let fewer = Plan::draw(&scenario(SMALL), 1);
        for (fewer, more) in fewer.users.iter().zip(&more.users) {
            assert_eq!(fewer.home_gateway, more.home_gateway);
            assert_eq!(fewer.operations[0], more.operations[0]);
        }
    }

    #[test]
    fn every_shard_has_one_owner() {
        let plan = Plan::draw(&scenario("[cluster]\nmessage_nodes = 3\nshards = 8\n"), 1);
        let mut shards: Vec<u32> =
            plan.nodes.iter().flat_map(|node| &node.shards).map(|shard| shard.0).collect();
        shards.sort_unstable();
        assert_eq!(shards, (0..8).collect::<Vec<u32>>());
        let names: Vec<&str> = plan.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names[3..], ["messages-1", "messages-2", "messages-3"]);
        assert_eq!(plan.nodes[4].shards, [ShardId(1), ShardId(4), ShardId(7)]);
    }
}
