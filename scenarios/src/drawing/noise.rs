//! Draws who makes noise, and what they send.

use std::collections::BTreeSet;
use std::time::Duration;

use seriatim_engine::ids::ChannelKey;

use super::{add_send, moment, sends};
use crate::choices::Choices;
use crate::history::ClientIndex;
use crate::plan::{PlannedChannel, PlannedFault, PlannedNoise, PlannedUser};
use crate::scenario::{Noise, Range, Scenario};

/// After a fault has healed, clients dial again and catch up for so long at most: twice their
/// longest wait between two attempts.
const RECOVERY: Duration = Duration::from_secs(16);

/// Whether the channel with this index is a hot one: the first few outside the busy workspaces.
pub(super) fn is_hot(scenario: &Scenario, index: u32) -> bool {
    let Some(noise) = &scenario.noise else { return false };
    let is_calm = |channel: u32| channel % scenario.cluster.workspaces >= noise.busy_workspaces;
    let before = (0..index).filter(|channel| is_calm(*channel)).count();
    is_calm(index) && u32::try_from(before).is_ok_and(|before| before < noise.hot_channels)
}

fn is_noisy(scenario: &Scenario, index: u32) -> bool {
    let Some(noise) = &scenario.noise else { return false };
    index % scenario.cluster.workspaces < noise.busy_workspaces || is_hot(scenario, index)
}

/// Who the noise-makers are, and when others are slow for another reason.
pub(super) fn planned(
    scenario: &Scenario,
    choices: &Choices,
    channels: &[PlannedChannel],
    faults: &[PlannedFault],
) -> PlannedNoise {
    let noisy = (0..).zip(channels).filter(|(index, _)| is_noisy(scenario, *index));
    let channels: BTreeSet<ChannelKey> = noisy.map(|(_, channel)| channel.key.clone()).collect();
    let disturbance = |fault: &PlannedFault| Range { min: fault.at, max: fault.heal_at + RECOVERY };
    PlannedNoise {
        at: scenario.noise.as_ref().map(|noise| noise.at),
        channels,
        slow_readers: slow_readers(scenario, choices),
        slow_bytes_per_s: scenario.noise.as_ref().map_or(0, |noise| noise.slow_bytes_per_s),
        disturbances: faults.iter().map(disturbance).collect(),
    }
}

/// Users are ranked by a choice of their own, so that one more makes nobody else slow or fast.
fn slow_readers(scenario: &Scenario, choices: &Choices) -> BTreeSet<ClientIndex> {
    let count = scenario.noise.as_ref().map_or(0, |noise| noise.slow_readers);
    let rank = |user: u32| (choices.value("slow-reader", u64::from(user), 0), user);
    let mut ranked: Vec<(u64, u32)> = (0..scenario.workload.users).map(rank).collect();
    ranked.sort_unstable();
    let count = usize::try_from(count).expect("a u32 fits");
    ranked.into_iter().take(count).map(|(_, user)| ClientIndex(user)).collect()
}

/// Each message of the noise has a moment and a channel of its own, as those of the workload have.
pub(super) fn add(
    scenario: &Scenario,
    noise: &Noise,
    choices: &Choices,
    channels: &[PlannedChannel],
    users: &mut [PlannedUser],
) {
    let noisy = (0..).zip(channels).filter(|(index, _)| is_noisy(scenario, *index));
    let noisy: Vec<&PlannedChannel> = noisy.map(|(_, channel)| channel).collect();
    let until = scenario.workload_end();
    for send in 0..sends(u64::from(noise.sends_per_s), 1_000, until - noise.at) {
        let mut stream = choices.stream("noise", send);
        let at = moment(&mut stream, noise.at, until);
        let channel = *stream.pick(&noisy);
        add_send(scenario, &mut stream, channel, users, at, &format!("noise-{send}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;
    use crate::plan::{Action, Plan};

    fn plan(noise: &str) -> Plan {
        let text = format!(
            "question = \"?\"\n[workload]\nusers = 20\nchannels = 12\nsends_per_s = 10\n\
             members = {{ min = 2, max = 3 }}\nwarm_up_s = 4\nduration_s = 10\n{noise}"
        );
        Plan::draw(&parse::scenario("test", &text).unwrap_or_else(|error| panic!("{error}")), 1)
    }

    #[test]
    fn noise_goes_to_noisy_channels_in_its_time_and_leaves_the_rest_as_it_was() {
        let noise = "[noise]\nat_s = 9\nhot_channels = 2\nbusy_workspaces = 1\nsends_per_s = 30\n";
        let (quiet, noisy) = (plan(""), plan(noise));
        assert_eq!(quiet.noise, PlannedNoise::default());
        let names: Vec<&str> =
            noisy.noise.channels.iter().map(|key| key.channel.as_str()).collect();
        // Channels 0, 4 and 8 are of the first of four workspaces; 1 and 2 are the hot ones.
        assert_eq!(names, ["c0", "c4", "c8", "c1", "c2"]);
        assert_eq!((noisy.channels[1].members.len(), noisy.channels[2].members.len()), (5, 5));
        assert_eq!(noisy.channels[3], quiet.channels[3]);
        let sends = |plan: &Plan, noise: bool| {
            let all = plan.users.iter().flat_map(|user| &user.operations).cloned();
            all.filter_map(|operation| {
                let Action::Send { channel, nonce, .. } = operation.action else { return None };
                let is_wanted = nonce.as_str().contains("noise") == noise;
                is_wanted.then_some((operation.at, channel))
            })
            .collect::<Vec<_>>()
        };
        let (others, made) = (sends(&noisy, false), sends(&noisy, true));
        assert_eq!((others.len(), made.len()), (100, 150));
        assert_eq!(sends(&quiet, true), []);
        for (at, channel) in made {
            assert!((9..14).contains(&at.as_secs()) && noisy.noise.channels.contains(&channel));
        }
    }

    #[test]
    fn slow_readers_are_drawn_and_nothing_else_changes() {
        let noise = |count| format!("[noise]\nat_s = 9\nslow_readers = {count}\n");
        let (quiet, few, more) = (plan(""), plan(&noise(3)), plan(&noise(4)));
        assert_eq!((&few.users, &few.channels), (&quiet.users, &quiet.channels));
        assert_eq!((few.noise.slow_readers.len(), few.noise.channels.len()), (3, 0));
        assert!(few.noise.slow_readers.is_subset(&more.noise.slow_readers));
        assert_eq!(more.noise.slow_bytes_per_s, 2_000);
    }

    #[test]
    fn what_a_fault_disturbs_is_known() {
        let faulty = "[[fault]]\nkind = \"partition\"\ntarget = \"clients\"\nat_s = 6\nfor_s = 2\n";
        let seconds =
            |from, until| Range { min: Duration::from_secs(from), max: Duration::from_secs(until) };
        assert_eq!(plan(faulty).noise.disturbances, [seconds(6, 24)]);
    }
}
