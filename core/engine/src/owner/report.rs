//! What an owner shows to whoever runs it. Looking changes nothing.
//!
//! Every answer is a page, and goes through [`ADMIN_LOOKS_MAX`] rows at most: the shard waits while
//! it is made.

use std::ops::Bound;

use serde::Serialize;

use super::{Channel, Owner};
use crate::admin::{Page, Window};
use crate::entry::ChannelKind;
use crate::frame::PresenceState;
use crate::ids::{ChannelId, ChannelKey, SeqNo, UserId, WorkspaceId};
use crate::limits::ADMIN_LOOKS_MAX;

/// A workspace that has a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkspaceRow {
    pub workspace: WorkspaceId,
    /// So many at least.
    pub channels: usize,
    /// There are no more than these.
    pub counted: bool,
}

/// A user who is a member of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserRow {
    pub user: UserId,
    pub presence: PresenceState,
    pub channels: usize,
    /// Gateways with a session of theirs.
    pub gateways: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChannelRow {
    pub channel: ChannelId,
    pub kind: ChannelKind,
    /// Its newest durable entry.
    pub head: SeqNo,
    /// None: the workspace has too many users to count them in passing.
    pub members: Option<usize>,
    /// Gateways that are told of its entries.
    pub gateways: usize,
}

/// One channel with some of its members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChannelReport {
    pub channel: ChannelId,
    pub kind: ChannelKind,
    pub creator: Option<UserId>,
    pub head: SeqNo,
    /// Entries that are numbered and not durable.
    pub in_flight: usize,
    pub gateways: usize,
    pub members: Page<UserId, MemberRow>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberRow {
    pub user: UserId,
    /// The first entry of their stay.
    pub from: SeqNo,
    /// How far they have read.
    pub read: SeqNo,
}

impl Owner {
    /// Workspaces of the shard. A page may end before its limit: it takes time to count channels.
    pub fn report_workspaces(
        &self,
        window: &Window<WorkspaceId>,
    ) -> Page<WorkspaceId, WorkspaceRow> {
        let mut after = window.after.clone();
        let mut looks = ADMIN_LOOKS_MAX;
        let rows = std::iter::from_fn(|| {
            let workspace = self.workspace_after(after.as_ref())?;
            let channels = self.channels_after(&workspace, None).take(looks.max(1)).count();
            let counted = channels < looks;
            looks = looks.saturating_sub(channels.max(1));
            after = Some(workspace.clone());
            Some(WorkspaceRow { workspace, channels, counted })
        });
        let mut page = window.page(rows, |row| row.workspace.clone());
        // Those behind the one that was not counted to its end were not counted at all.
        if let Some(last) = page.rows.iter().position(|row| !row.counted) {
            if last + 1 < page.rows.len() {
                page.next = page.rows.get(last).map(|row| row.workspace.clone());
            }
            page.rows.truncate(last + 1);
        }
        page
    }

    /// Members of the workspace's channels.
    pub fn report_users(
        &self,
        workspace: &WorkspaceId,
        window: &Window<UserId>,
    ) -> Page<UserId, UserRow> {
        let users = self.membership.users_after(workspace, window.after.as_ref());
        let rows = users.map(|(user, channels)| UserRow {
            user: user.user.clone(),
            presence: self.presence.state(user),
            channels: channels.len(),
            gateways: self.open.get(user).map_or(0, Vec::len),
        });
        window.page(rows, |row| row.user.clone())
    }

    pub fn report_channels(
        &self,
        workspace: &WorkspaceId,
        window: &Window<ChannelId>,
    ) -> Page<ChannelId, ChannelRow> {
        let channels = self.channels_after(workspace, window.after.as_ref());
        let rows = channels.map(|(key, channel)| ChannelRow {
            channel: key.channel.clone(),
            kind: channel.origin.kind,
            head: channel.sequencer.head(),
            members: None,
            gateways: self.interest.count(key),
        });
        let mut page = window.page(rows, |row| row.channel.clone());
        self.count_members(workspace, &mut page.rows);
        page
    }

    /// `None`: the shard has no such channel.
    pub fn report_channel(
        &self,
        key: &ChannelKey,
        window: &Window<UserId>,
    ) -> Option<ChannelReport> {
        let channel = self.channels.get(key)?;
        let mut looked = None;
        let mut looks = 0;
        let users = self.membership.users_after(&key.workspace, window.after.as_ref());
        let members = users.take(ADMIN_LOOKS_MAX).filter_map(|(user, channels)| {
            looks += 1;
            looked = Some(user.user.clone());
            let from = *channels.get(&key.channel)?;
            let read = self.read_upto(key, &user.user, from);
            Some(MemberRow { user: user.user.clone(), from, read })
        });
        let mut members = window.page(members, |row| row.user.clone());
        if looks == ADMIN_LOOKS_MAX {
            members.next = members.next.or(looked);
        }
        Some(ChannelReport {
            channel: key.channel.clone(),
            kind: channel.origin.kind,
            creator: channel.origin.creator.clone(),
            head: channel.sequencer.head(),
            in_flight: channel.sequencer.in_flight(),
            gateways: self.interest.count(key),
            members,
        })
    }

    fn workspace_after(&self, after: Option<&WorkspaceId>) -> Option<WorkspaceId> {
        let last = |workspace: &WorkspaceId| ChannelKey {
            workspace: workspace.clone(),
            channel: ChannelId::greatest(),
        };
        let from = after.map_or(Bound::Unbounded, |workspace| Bound::Excluded(last(workspace)));
        let (key, _) = self.channels.range((from, Bound::Unbounded)).next()?;
        Some(key.workspace.clone())
    }

    fn channels_after<'a>(
        &'a self,
        workspace: &'a WorkspaceId,
        after: Option<&ChannelId>,
    ) -> impl Iterator<Item = (&'a ChannelKey, &'a Channel)> {
        let key = |channel: ChannelId| ChannelKey { workspace: workspace.clone(), channel };
        let from = match after {
            Some(channel) => Bound::Excluded(key(channel.clone())),
            None => Bound::Included(key(ChannelId::least())),
        };
        let all = self.channels.range((from, Bound::Unbounded));
        all.take_while(move |(key, _)| key.workspace == *workspace)
    }

    /// In one pass over the workspace's users, if it is a short one.
    fn count_members(&self, workspace: &WorkspaceId, rows: &mut [ChannelRow]) {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return };
        let (first, last) = (first.channel.clone(), last.channel.clone());
        let mut counts = vec![0; rows.len()];
        let mut looks = 0;
        for (_, channels) in self.membership.users_after(workspace, None) {
            looks += 1;
            for (channel, _) in channels.range(&first..=&last) {
                looks += 1;
                let row = rows.binary_search_by(|row| row.channel.cmp(channel));
                if let Some(count) = row.ok().and_then(|row| counts.get_mut(row)) {
                    *count += 1;
                }
            }
            if looks > ADMIN_LOOKS_MAX {
                return;
            }
        }
        for (row, count) in rows.iter_mut().zip(counts) {
            row.members = Some(count);
        }
    }
}
