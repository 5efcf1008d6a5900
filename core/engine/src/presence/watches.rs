//! Which sessions watch which users, and what each was told.

use std::collections::{BTreeMap, BTreeSet};

use super::{Watched, Watcher};
use crate::frame::PresenceState;
use crate::ids::{ConnectionId, UserId, UserKey};
use crate::link::LinkId;

/// The watches of all links of one owner.
#[derive(Debug, Default)]
pub(super) struct Watches {
    by_watcher: BTreeMap<Watcher, Watch>,
    by_watched: BTreeMap<UserKey, BTreeSet<Watcher>>,
    by_watching_user: BTreeMap<UserKey, BTreeSet<Watcher>>,
}

#[derive(Debug)]
struct Watch {
    user: UserKey,
    told: BTreeMap<UserId, Option<PresenceState>>,
}

impl Watches {
    pub(super) fn is_empty(&self) -> bool {
        self.by_watcher.is_empty()
    }

    /// `watcher`, a session of `user`, watches these and nobody else. An empty list ends it.
    pub(super) fn replace(&mut self, watcher: Watcher, user: UserKey, watched: Vec<Watched>) {
        self.remove(watcher);
        if watched.is_empty() {
            return;
        }
        for one in &watched {
            let key = UserKey { workspace: user.workspace.clone(), user: one.user.clone() };
            self.by_watched.entry(key).or_default().insert(watcher);
        }
        self.by_watching_user.entry(user.clone()).or_default().insert(watcher);
        let told = watched.into_iter().map(|one| (one.user, one.told)).collect();
        self.by_watcher.insert(watcher, Watch { user, told });
    }

    pub(super) fn drop_link(&mut self, link: LinkId) {
        let first = Watcher { link, connection: ConnectionId(0) };
        let last = Watcher { link, connection: ConnectionId(u64::MAX) };
        let gone: Vec<Watcher> =
            self.by_watcher.range(first..=last).map(|(watcher, _)| *watcher).collect();
        for watcher in gone {
            self.remove(watcher);
        }
    }

    /// Who watches `user`.
    pub(super) fn of_user(&self, user: &UserKey) -> Vec<Watcher> {
        self.by_watched.get(user).into_iter().flatten().copied().collect()
    }

    /// The sessions with which `user` watches.
    pub(super) fn of_watching_user(&self, user: &UserKey) -> Vec<Watcher> {
        self.by_watching_user.get(user).into_iter().flatten().copied().collect()
    }

    pub(super) fn all(&self) -> Vec<Watcher> {
        self.by_watcher.keys().copied().collect()
    }

    pub(super) fn watched_by(&self, watcher: Watcher) -> Vec<UserKey> {
        self.by_watcher.get(&watcher).map(Watch::watched).unwrap_or_default()
    }

    /// The user who watches, and what their session was told of `user`.
    pub(super) fn told_mut(
        &mut self,
        watcher: Watcher,
        user: &UserKey,
    ) -> Option<(&UserKey, &mut Option<PresenceState>)> {
        let watch = self.by_watcher.get_mut(&watcher)?;
        Some((&watch.user, watch.told.get_mut(&user.user)?))
    }

    fn remove(&mut self, watcher: Watcher) {
        let Some(watch) = self.by_watcher.remove(&watcher) else { return };
        for user in watch.watched() {
            take(&mut self.by_watched, &user, watcher);
        }
        take(&mut self.by_watching_user, &watch.user, watcher);
    }
}

impl Watch {
    fn watched(&self) -> Vec<UserKey> {
        let key =
            |user: &UserId| UserKey { workspace: self.user.workspace.clone(), user: user.clone() };
        self.told.keys().map(key).collect()
    }
}

fn take(map: &mut BTreeMap<UserKey, BTreeSet<Watcher>>, user: &UserKey, watcher: Watcher) {
    if let Some(watchers) = map.get_mut(user) {
        watchers.remove(&watcher);
        if watchers.is_empty() {
            map.remove(user);
        }
    }
}
