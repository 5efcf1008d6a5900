//! Draws who reads the log, by a position or a time, and who forgets where they were.

use std::time::Duration;

use seriatim_engine::ids::ChannelKey;

use super::{moment, scale, sends, user_mut};
use crate::choices::{ChoiceStream, Choices};
use crate::plan::{Action, Op, Page, PlannedChannel, PlannedUser};
use crate::scenario::Scenario;

/// Which page is read by who has nothing of the channel: of each kind, in turn.
pub(super) fn of_stranger(turn: u64) -> Page {
    match turn % 3 {
        0 => Page::After { permille: 0 },
        1 => Page::Newest,
        _ => Page::Since { ago: Duration::ZERO },
    }
}

/// Members read pages of their channels' logs, and forget what they have of them.
pub(super) fn add(
    scenario: &Scenario,
    choices: &Choices,
    channels: &[PlannedChannel],
    users: &mut [PlannedUser],
) {
    let workload = &scenario.workload;
    let mut add =
        |site, count, action: &dyn Fn(&mut ChoiceStream, ChannelKey, Duration) -> Action| {
            for entity in 0..count {
                let mut stream = choices.stream(site, entity);
                let at = moment(&mut stream, workload.warm_up, scenario.workload_end());
                let channel = stream.pick(channels);
                let reader = *stream.pick(&channel.members);
                let ago = ago(&mut stream, at);
                let action = action(&mut stream, channel.key.clone(), ago);
                user_mut(users, reader).operations.push(Op { at, action });
            }
        };
    let pages = sends(u64::from(workload.pages_per_s), 1_000, workload.duration);
    add("page", pages, &|stream, channel, ago| {
        let (kind, permille) = (stream.below(4), stream.below(1_001));
        let page = match kind {
            0 => Page::Newest,
            1 => Page::Before { permille },
            2 => Page::After { permille },
            _ => Page::Since { ago },
        };
        Action::ReadLog { channel, page }
    });
    let forgets = sends(u64::from(workload.forgets_per_min), 60_000, workload.duration);
    add("forget", forgets, &|_, channel, ago| Action::ResumeSince { channel, ago });
}

/// How long before the newest entry that was delivered: often not at all, so that it is itself
/// the first that is as late.
fn ago(stream: &mut ChoiceStream, at: Duration) -> Duration {
    let (some_time, ago) = (stream.chance(0.5), scale(stream.next_u64(), Duration::ZERO, at));
    if some_time { ago } else { Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::ClientIndex;
    use crate::parse;
    use crate::plan::Plan;

    const TEXT: &str = "question = \"?\"\n[workload]\nduration_s = 20\nsends_per_s = 3\n";

    fn plan(keys: &str) -> Plan {
        let text = format!("{TEXT}{keys}");
        Plan::draw(&parse::scenario("test", &text).unwrap_or_else(|error| panic!("{error}")), 1)
    }

    #[test]
    fn members_read_every_kind_of_page_and_forget_and_the_rest_is_as_it_was() {
        let (with, without) = (plan("pages_per_s = 10\nforgets_per_min = 60\n"), plan(""));
        let (mut kinds, mut forgets) = ([0; 4], 0);
        for (index, user) in (0..).map(ClientIndex).zip(&with.users) {
            let mut rest = user.clone();
            rest.operations.retain(|operation| {
                let channel = if let Action::ReadLog { channel, page } = &operation.action {
                    let kind = match page {
                        Page::Newest => 0,
                        Page::Before { .. } => 1,
                        Page::After { .. } => 2,
                        Page::Since { .. } => 3,
                    };
                    kinds[kind] += 1;
                    channel
                } else if let Action::ResumeSince { channel, ago } = &operation.action {
                    assert!(*ago < operation.at);
                    forgets += 1;
                    channel
                } else {
                    return true;
                };
                let channel = with.channels.iter().find(|one| one.key == *channel).unwrap();
                assert!(channel.members.contains(&index));
                false
            });
            assert_eq!(Some(&rest), without.users.get(index.0 as usize));
        }
        assert!(kinds.iter().all(|count| *count > 25), "{kinds:?}");
        assert_eq!((kinds.iter().sum::<u32>(), forgets), (200, 20));
    }
}
