//! What an owner shows to operators.

use super::*;
use crate::admin::Window;
use crate::limits::{ADMIN_LOOKS_MAX, ADMIN_ROWS_MAX};
use crate::membership::Stay;

fn seed(workspace: &str, channel: &str, head: u64, members: &[&str]) -> ChannelSeed {
    let channel = ChannelKey {
        workspace: WorkspaceId::new(workspace).unwrap(),
        channel: ChannelId::new(channel).unwrap(),
    };
    let stays = members.iter().map(|name| (user(name), Stay::begun(SeqNo(1)))).collect();
    let roster = Roster { stays, ..Roster::default() };
    ChannelSeed { channel, head: SeqNo(head), trimmed_upto: SeqNo::ZERO, roster }
}

fn owner() -> Owner {
    let seeds = [
        seed("a", "one", 3, &["ada", "bob"]),
        seed("a", "two", 5, &["bob"]),
        seed("a.b", "one", 1, &["zed"]),
        seed("b", "one", 9, &["eve"]),
    ];
    Owner::new(seeds, Nonces::default())
}

fn all<K>() -> Window<K> {
    Window::new(None, None)
}

fn workspace(name: &str) -> WorkspaceId {
    WorkspaceId::new(name).unwrap()
}

#[test]
fn workspaces_are_shown_in_order_and_page_by_page() {
    let owner = owner();
    let page = owner.report_workspaces(&all());
    let rows = page.rows.iter().map(|row| (row.workspace.as_str(), row.channels, row.counted));
    assert_eq!(rows.collect::<Vec<_>>(), [("a", 2, true), ("a.b", 1, true), ("b", 1, true)]);
    assert_eq!(page.next, None);

    let first = owner.report_workspaces(&Window::new(None, Some(2)));
    assert_eq!((first.rows.len(), &first.next), (2, &Some(workspace("a.b"))));
    let second = owner.report_workspaces(&Window::new(first.next, Some(2)));
    assert_eq!((second.rows.len(), second.next), (1, None));
    assert_eq!(second.rows[0].workspace, workspace("b"));
}

#[test]
fn users_and_channels_are_those_of_the_workspace_and_no_other() {
    let mut owner = owner();
    let ada = UserKey { workspace: workspace("a"), user: user("ada") };
    owner.ask(ToOwner::Open { ticket: Ticket(1), user: ada, resumed: Vec::new() });
    let general = ChannelKey { workspace: workspace("a"), channel: ChannelId::new("two").unwrap() };
    owner.ask(ToOwner::Subscribe { channel: general });

    let users = owner.report_users(&workspace("a"), &all());
    let rows = users.rows.iter().map(|row| (row.user.as_str(), row.channels, row.gateways));
    assert_eq!(rows.collect::<Vec<_>>(), [("ada", 1, 1), ("bob", 2, 0)]);
    let after_ada = owner.report_users(&workspace("a"), &Window::new(Some(user("ada")), None));
    assert_eq!(after_ada.rows, users.rows[1..]);

    let channels = owner.report_channels(&workspace("a"), &all());
    let rows = channels.rows.iter();
    let rows = rows.map(|row| (row.channel.as_str(), row.head.0, row.members, row.gateways));
    assert_eq!(rows.collect::<Vec<_>>(), [("one", 3, Some(2), 0), ("two", 5, Some(1), 1)]);
    assert_eq!(owner.report_channels(&workspace("a-b"), &all()).rows, []);
}

#[test]
fn a_channel_is_shown_with_its_members_and_how_far_they_have_read() {
    let owner = with_ada();
    let report = owner.report_channel(&channel(), &all()).unwrap();
    assert_eq!((report.head, report.creator), (SeqNo(1), Some(user("ada"))));
    let members = report.members.rows.iter();
    let members = members.map(|row| (row.user.as_str(), row.from.0, row.read.0));
    assert_eq!(members.collect::<Vec<_>>(), [("ada", 1, 0)]);

    let other = ChannelKey { workspace: workspace("elsewhere"), ..channel() };
    assert_eq!(owner.report_channel(&other, &all()), None);
}

#[test]
fn no_answer_goes_through_more_than_so_many_rows() {
    let names: Vec<String> = (0..ADMIN_LOOKS_MAX + 10).map(|at| format!("u{at:06}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let last = names[names.len() - 1];
    let many = (0..ADMIN_LOOKS_MAX + 10).map(|at| seed("many", &format!("c{at:06}"), 1, &[]));
    let others = [seed("full", "one", 1, &names), seed("full", "two", 1, &[last])];
    let owner =
        Owner::new(many.chain(others).chain([seed("zed", "one", 1, &[])]), Nonces::default());

    let page = owner.report_workspaces(&all());
    let rows = page.rows.iter().map(|row| (row.workspace.as_str(), row.counted));
    assert_eq!(rows.collect::<Vec<_>>(), [("full", true), ("many", false)]);
    let page = owner.report_workspaces(&Window::new(page.next, None));
    assert_eq!(page.rows[0].workspace, workspace("zed"), "the next page goes on behind it");

    let channels = owner.report_channels(&workspace("full"), &all());
    assert_eq!(channels.rows.iter().map(|row| row.members).collect::<Vec<_>>(), [None, None]);

    let two = ChannelKey { workspace: workspace("full"), channel: ChannelId::new("two").unwrap() };
    let members = owner.report_channel(&two, &all()).unwrap().members;
    assert_eq!(members.rows, [], "the only member comes too late");
    let members = owner.report_channel(&two, &Window::new(members.next, None)).unwrap().members;
    assert_eq!(members.rows[0].user.as_str(), last);
    assert_eq!(members.next, None);

    let users = owner.report_users(&workspace("full"), &all());
    assert_eq!(users.rows.len(), ADMIN_ROWS_MAX);
}
