//! Who said that they are writing, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use seriatim_engine::ids::{UserId, UserKey, WorkspaceId};

use super::super::ChannelNumber;

/// The last time of each user and channel.
#[derive(Debug, Default)]
pub(super) struct Typing {
    typed_at: BTreeMap<(WorkspaceId, UserId, ChannelNumber), Duration>,
}

impl Typing {
    pub(super) fn typed(&mut self, at: Duration, user: &UserKey, channel: ChannelNumber) {
        let key = (user.workspace.clone(), user.user.clone(), channel);
        self.typed_at.insert(key, at);
    }

    pub(super) fn typed_since(
        &self,
        from: Duration,
        workspace: &WorkspaceId,
        user: &UserId,
        channel: ChannelNumber,
    ) -> bool {
        let key = (workspace.clone(), user.clone(), channel);
        self.typed_at.get(&key).is_some_and(|at| from <= *at)
    }
}
