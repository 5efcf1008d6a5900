//! Draws who comes and goes: members who depart and return, visitors, and users who try what they
//! may not.

use std::time::Duration;

use seriatim_engine::entry::ChannelKind;
use seriatim_engine::ids::{Nonce, UserId};
use seriatim_engine::membership::Change;

use super::pages::of_stranger;
use super::{moment, scale, sends, user_mut};
use crate::body;
use crate::choices::{ChoiceStream, Choices};
use crate::history::ClientIndex;
use crate::plan::{Action, Op, PlannedChannel, PlannedUser};
use crate::scenario::{Membership, Scenario};

/// Who is going to be removed without hearing of it hangs up at most so long before.
const HANGS_UP_BEFORE: Duration = Duration::from_secs(2);

/// Of which kind the channel with index `entity` is.
pub(super) fn kind(wanted: Option<&Membership>, choices: &Choices, entity: u64) -> ChannelKind {
    let percent = wanted.map_or(0, |wanted| wanted.private_percent);
    let is_private = choices.stream("private", entity).below(100) < u64::from(percent);
    if is_private { ChannelKind::Private } else { ChannelKind::Public }
}

/// Adds operations to `users`, one client each.
pub(super) fn add(
    scenario: &Scenario,
    wanted: &Membership,
    choices: &Choices,
    channels: &[PlannedChannel],
    users: &mut [PlannedUser],
) {
    let mut plan = Added { scenario, users };
    let workload = &scenario.workload;
    let events = |site, rate_per_min: u32| {
        (0..sends(u64::from(rate_per_min), 60_000, workload.duration)).map(move |entity| {
            let mut stream = choices.stream(site, entity);
            let at = moment(&mut stream, workload.warm_up, scenario.workload_end());
            let channel = stream.pick(channels);
            (entity, at, channel, stream)
        })
    };
    for (entity, at, channel, mut stream) in events("departure", wanted.departures_per_min) {
        plan.departure(wanted, (entity, at), channel, &mut stream);
    }
    for (entity, at, channel, mut stream) in events("visit", wanted.visits_per_min) {
        plan.visit(wanted, (entity, at), channel, &mut stream);
    }
    for (entity, at, channel, mut stream) in events("trespass", wanted.trespasses_per_min) {
        plan.trespass((entity, at), channel, &mut stream);
    }
}

/// The plan, as far as it is drawn.
struct Added<'a> {
    scenario: &'a Scenario,
    users: &'a mut [PlannedUser],
}

impl Added<'_> {
    /// A member leaves or is removed, tries in vain to take part, and comes back.
    fn departure(
        &mut self,
        wanted: &Membership,
        (entity, at): (u64, Duration),
        channel: &PlannedChannel,
        stream: &mut ChoiceStream,
    ) {
        let member = *stream.pick(&channel.members);
        let other = other_than(member, channel, stream);
        let hangs_up = stream.below(100) < u64::from(wanted.unaware_percent);
        let away = scale(stream.next_u64(), wanted.departure.min, wanted.departure.max);
        let back_at = self.by_the_end(at + away);
        let leaves = stream.chance(0.5) && !hangs_up;
        let out = format!("d{entity}-out");
        match remover(member, other, channel) {
            Some(by) if !leaves => self.change(at, by, channel, (out, self.removal(member))),
            Some(_) | None => self.change(at, member, channel, (out, Change::Leave)),
        }
        if hangs_up {
            let gone_at = at - scale(stream.next_u64(), Duration::ZERO, HANGS_UP_BEFORE.min(at));
            let here_at = scale(stream.next_u64(), at, at + away * 2);
            self.act(gone_at, member, Action::GoOffline);
            self.act(self.by_the_end(here_at), member, Action::GoOnline);
        } else if stream.chance(0.5) {
            let amid = scale(stream.next_u64(), at, back_at);
            self.send(amid, member, channel, &format!("d{entity}"), stream);
            self.read(amid, member, channel, entity);
        }
        self.enter((back_at, format!("d{entity}-in")), member, other, channel, stream);
    }

    /// Somebody comes in, says something and goes.
    fn visit(
        &mut self,
        wanted: &Membership,
        (entity, at): (u64, Duration),
        channel: &PlannedChannel,
        stream: &mut ChoiceStream,
    ) {
        let Some(visitor) = self.outsider(channel, stream) else { return };
        let host = *stream.pick(&channel.members);
        let stay = scale(stream.next_u64(), wanted.visit.min, wanted.visit.max);
        let until = self.by_the_end(at + stay);
        self.enter((at, format!("v{entity}-in")), visitor, Some(host), channel, stream);
        let amid = scale(stream.next_u64(), at, until);
        self.send(amid, visitor, channel, &format!("v{entity}"), stream);
        self.read(amid, visitor, channel, entity);
        let out = format!("v{entity}-out");
        match remover(visitor, Some(host), channel) {
            Some(by) if stream.chance(0.5) => {
                self.change(until, by, channel, (out, self.removal(visitor)));
            }
            Some(_) | None => self.change(until, visitor, channel, (out, Change::Leave)),
        }
    }

    /// Somebody from outside tries to take part.
    fn trespass(
        &mut self,
        (entity, at): (u64, Duration),
        channel: &PlannedChannel,
        stream: &mut ChoiceStream,
    ) {
        let Some(outsider) = self.outsider(channel, stream) else { return };
        let member = *stream.pick(&channel.members);
        let own = self.user(outsider);
        let nonce = format!("t{entity}");
        match stream.below(6) {
            0 => self.send(at, outsider, channel, &nonce, stream),
            1 => self.read(at, outsider, channel, entity),
            2 => self.change(at, outsider, channel, (nonce, Change::Leave)),
            3 => self.change(at, outsider, channel, (nonce, Change::Add { user: own })),
            4 => self.change(at, outsider, channel, (nonce, self.removal(member))),
            // To join what is public is no trespass.
            _ if channel.kind == ChannelKind::Public => {
                self.change(at, outsider, channel, (nonce, self.removal(member)));
            }
            _ => self.change(at, outsider, channel, (nonce, Change::Join)),
        }
    }

    /// The user joins, or is added by `host`: the only way into what is private.
    fn enter(
        &mut self,
        (at, nonce): (Duration, String),
        user: ClientIndex,
        host: Option<ClientIndex>,
        channel: &PlannedChannel,
        stream: &mut ChoiceStream,
    ) {
        let joins = stream.chance(0.5) && channel.kind == ChannelKind::Public;
        match host {
            Some(host) if !joins => {
                let change = Change::Add { user: self.user(user) };
                self.change(at, host, channel, (nonce, change));
            }
            Some(_) | None => self.change(at, user, channel, (nonce, Change::Join)),
        }
    }

    fn send(
        &mut self,
        at: Duration,
        sender: ClientIndex,
        channel: &PlannedChannel,
        nonce: &str,
        stream: &mut ChoiceStream,
    ) {
        let sizes = self.scenario.workload.body_bytes;
        let bytes = stream.between(u64::from(sizes.min), u64::from(sizes.max));
        let body = body::text(nonce, usize::try_from(bytes).expect("within limits"), stream);
        let nonce = Nonce::new(nonce).expect("a sound nonce");
        let action = Action::Send { channel: channel.key.clone(), nonce, body: body.into() };
        self.act(at, sender, action);
    }

    /// Reads a page, of each kind in `turn`.
    fn read(&mut self, at: Duration, reader: ClientIndex, channel: &PlannedChannel, turn: u64) {
        let (channel, page) = (channel.key.clone(), of_stranger(turn));
        self.act(at, reader, Action::ReadLog { channel, page });
    }

    fn change(
        &mut self,
        at: Duration,
        by: ClientIndex,
        channel: &PlannedChannel,
        (nonce, change): (String, Change),
    ) {
        let nonce = Nonce::new(&nonce).expect("a sound nonce");
        self.act(at, by, Action::Change { channel: channel.key.clone(), nonce, change });
    }

    fn act(&mut self, at: Duration, by: ClientIndex, action: Action) {
        user_mut(self.users, by).operations.push(Op { at, action });
    }

    fn removal(&self, of: ClientIndex) -> Change {
        Change::Remove { user: self.user(of) }
    }

    fn user(&self, client: ClientIndex) -> UserId {
        let index = usize::try_from(client.0).expect("a u32 fits");
        self.users.get(index).expect("members are users").key.user.clone()
    }

    /// A user of the channel's workspace who is none of its planned members.
    fn outsider(&self, channel: &PlannedChannel, stream: &mut ChoiceStream) -> Option<ClientIndex> {
        let clients = (0..).map(ClientIndex).zip(&*self.users);
        let outsiders: Vec<ClientIndex> = clients
            .filter(|(client, user)| {
                user.key.workspace == channel.key.workspace && !channel.members.contains(client)
            })
            .map(|(client, _)| client)
            .collect();
        (!outsiders.is_empty()).then(|| *stream.pick(&outsiders))
    }

    /// Convergence is demanded from then on.
    fn by_the_end(&self, at: Duration) -> Duration {
        at.min(self.scenario.workload_end())
    }
}

/// Another planned member, if there is one.
fn other_than(
    member: ClientIndex,
    channel: &PlannedChannel,
    stream: &mut ChoiceStream,
) -> Option<ClientIndex> {
    let others: Vec<ClientIndex> =
        channel.members.iter().copied().filter(|other| *other != member).collect();
    (!others.is_empty()).then(|| *stream.pick(&others))
}

/// Who may remove `member`: anybody else from what is private, who made it from what is public.
fn remover(
    member: ClientIndex,
    other: Option<ClientIndex>,
    channel: &PlannedChannel,
) -> Option<ClientIndex> {
    let may = if channel.kind == ChannelKind::Public { Some(channel.creator) } else { other };
    may.filter(|by| *by != member)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::parse;
    use crate::plan::Plan;

    const TEXT: &str = "question = \"?\"\n[workload]\nusers = 40\nchannels = 12\n\
        members = { min = 2, max = 8 }\nduration_s = 60\n[membership]\nprivate_percent = 50\n\
        departures_per_min = 60\nunaware_percent = 50\nvisits_per_min = 30\n\
        trespasses_per_min = 60\n";

    fn plan(text: &str, seed: u64) -> Plan {
        let scenario = parse::scenario("test", text).unwrap_or_else(|error| panic!("{error}"));
        Plan::draw(&scenario, seed)
    }

    fn changes(plan: &Plan) -> Vec<(ClientIndex, Duration, &PlannedChannel, &Change)> {
        let mut changes = Vec::new();
        for (client, user) in (0..).map(ClientIndex).zip(&plan.users) {
            for operation in &user.operations {
                if let Action::Change { channel: key, change, .. } = &operation.action {
                    let channel = plan.channels.iter().find(|channel| channel.key == *key);
                    changes.push((client, operation.at, channel.unwrap(), change));
                }
            }
        }
        changes
    }

    #[test]
    fn what_is_private_is_made_by_one_member_with_the_others_in_it() {
        let plan = plan(TEXT, 1);
        let private = plan.channels.iter().filter(|one| one.kind == ChannelKind::Private).count();
        assert!((1..12).contains(&private), "{private} of 12");
        for (client, at, channel, change) in changes(&plan) {
            assert_eq!(channel.key.workspace, plan.users[client.0 as usize].key.workspace);
            if at < Duration::from_secs(5) {
                let creates = matches!(change, Change::Create { members, .. }
                    if members.len() == channel.members.len() && client == channel.creator);
                let joins = *change == Change::Join && channel.members.contains(&client);
                assert!(if channel.kind == ChannelKind::Private { creates } else { joins });
            }
        }
    }

    #[test]
    fn every_way_in_and_out_is_drawn_and_nothing_after_the_workload() {
        let plan = plan(TEXT, 2);
        let kinds: BTreeSet<&str> = changes(&plan)
            .iter()
            .map(|(_, at, _, change)| {
                assert!(*at <= plan.workload_end);
                match change {
                    Change::Create { .. } => "create",
                    Change::Join => "join",
                    Change::Leave => "leave",
                    Change::Add { .. } => "add",
                    Change::Remove { .. } => "remove",
                }
            })
            .collect();
        assert_eq!(kinds.len(), 5, "{kinds:?}");
        let actions = || plan.users.iter().flat_map(|user| &user.operations).map(|op| &op.action);
        let away = actions().filter(|action| **action == Action::GoOffline).count();
        assert!((15..45).contains(&away), "{away} of 60");
        assert_eq!(away, actions().filter(|action| **action == Action::GoOnline).count());
        assert!(actions().any(|action| matches!(action, Action::ReadLog { .. })));
    }

    #[test]
    fn coming_and_going_leaves_everything_else_as_it_was() {
        let with = plan(TEXT, 3);
        let without = plan(TEXT.split("[membership]").next().unwrap(), 3);
        for (with, without) in with.users.iter().zip(&without.users) {
            let sends = |user: &PlannedUser| {
                let is_planned = |op: &&Op| {
                    matches!(&op.action, Action::Send { nonce, .. }
                        if nonce.as_str().starts_with('u'))
                };
                user.operations.iter().filter(is_planned).cloned().collect::<Vec<_>>()
            };
            assert_eq!(sends(with), sends(without));
        }
    }
}
