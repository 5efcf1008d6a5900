//! Who is in which channel, as the log says.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::entry::{ChannelKind, Content, Entry, Wish};
use crate::ids::{ChannelId, ChannelKey, SeqNo, UserId, UserKey, WorkspaceId};

/// What a user wants of a channel's membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The channel, with these members from its first entry on.
    Create {
        kind: ChannelKind,
        members: Vec<UserId>,
    },
    Join,
    Leave,
    Add {
        user: UserId,
    },
    Remove {
        user: UserId,
    },
}

impl Change {
    pub fn wish(&self) -> Wish {
        match self {
            Self::Create { .. } => Wish::Create,
            Self::Join => Wish::Join,
            Self::Leave => Wish::Leave,
            Self::Add { user } => Wish::Add(user.clone()),
            Self::Remove { user } => Wish::Remove(user.clone()),
        }
    }
}

/// What the names of direct channels begin with, and no others.
const DIRECT_PREFIX: &str = "dm.";

/// The name of the direct channel of `members`, in whatever order they are named.
pub fn direct_channel<'a>(members: impl IntoIterator<Item = &'a UserId>) -> ChannelId {
    let mut names: Vec<&str> = members.into_iter().map(UserId::as_str).collect();
    names.sort_unstable();
    names.dedup();
    // No name has a line break, so no two lists make one text.
    let hash = Sha256::digest(names.join("\n"));
    let hex: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    ChannelId::new(&format!("{DIRECT_PREFIX}{hex}")).expect("hexadecimal digits make a name")
}

/// Whether only a direct channel may have this name.
pub fn is_direct_name(channel: &ChannelId) -> bool {
    channel.as_str().starts_with(DIRECT_PREFIX)
}

/// One stay of a user in a channel: a member from `from` up to and including `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stay {
    pub from: SeqNo,
    /// None while it lasts.
    pub until: Option<SeqNo>,
}

impl Stay {
    pub fn begun(from: SeqNo) -> Self {
        Self { from, until: None }
    }

    /// It has not ended.
    pub fn lasts(&self) -> bool {
        self.until.is_none()
    }
}

/// Of which kind a channel is, and whose.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Origin {
    pub kind: ChannelKind,
    /// Who made it: by `create_channel`, or by being the first to join. None before the first
    /// entry.
    pub creator: Option<UserId>,
}

impl Origin {
    /// Takes the channel's next entry into account.
    pub fn apply(&mut self, content: &Content) {
        match content {
            Content::Created { by, kind, .. } => {
                *self = Self { kind: *kind, creator: Some(by.clone()) };
            }
            Content::Joined { user, .. } if self.creator.is_none() => {
                self.creator = Some(user.clone())
            }
            Content::Message { .. }
            | Content::Joined { .. }
            | Content::Added { .. }
            | Content::Left { .. }
            | Content::Removed { .. } => {}
        }
    }
}

/// What a channel's entries say about the channel itself.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Roster {
    pub origin: Origin,
    /// The newest stay of everybody who ever was a member.
    pub stays: BTreeMap<UserId, Stay>,
}

impl Roster {
    /// Takes the channel's next entry into account.
    pub fn apply(&mut self, entry: &Entry) {
        self.origin.apply(&entry.content);
        for user in entry.content.begins() {
            // Who is a member already stays one since when they are.
            let stay = self.stays.entry(user.clone()).or_insert(Stay::begun(entry.seq));
            if !stay.lasts() {
                *stay = Stay::begun(entry.seq);
            }
        }
        if let Some(stay) = entry.content.ends().and_then(|user| self.stays.get_mut(user)) {
            stay.until = stay.until.or(Some(entry.seq));
        }
    }
}

/// The memberships of one shard, as the durable log says.
#[derive(Debug, Default)]
pub struct Membership {
    /// Of each user, the channels that they are in, with the position from which on.
    by_user: BTreeMap<UserKey, BTreeMap<ChannelId, SeqNo>>,
    /// Of each user, the channels that they were in last up to a position.
    ended: BTreeMap<UserKey, BTreeMap<ChannelId, SeqNo>>,
}

/// How a user stands to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Stranger,
    Member {
        from: SeqNo,
    },
    /// A member up to and including `until`.
    Former {
        until: SeqNo,
    },
}

impl From<Stay> for Standing {
    fn from(Stay { from, until }: Stay) -> Self {
        until.map_or(Self::Member { from }, |until| Self::Former { until })
    }
}

impl Membership {
    /// From the log's next entry on, or as it was recovered.
    pub fn set(&mut self, channel: &ChannelKey, user: &UserId, standing: Standing) {
        let key = user_key(channel, user);
        take(&mut self.by_user, &key, &channel.channel);
        take(&mut self.ended, &key, &channel.channel);
        let (into, seq) = match standing {
            Standing::Stranger => return,
            Standing::Member { from } => (&mut self.by_user, from),
            Standing::Former { until } => (&mut self.ended, until),
        };
        into.entry(key).or_default().insert(channel.channel.clone(), seq);
    }

    pub fn standing(&self, channel: &ChannelKey, user: &UserId) -> Standing {
        let key = user_key(channel, user);
        let found = |map: &BTreeMap<UserKey, BTreeMap<ChannelId, SeqNo>>| {
            map.get(&key)?.get(&channel.channel).copied()
        };
        if let Some(from) = found(&self.by_user) {
            Standing::Member { from }
        } else if let Some(until) = found(&self.ended) {
            Standing::Former { until }
        } else {
            Standing::Stranger
        }
    }

    /// The position from which on the user is a member, if they are one.
    pub fn joined(&self, channel: &ChannelKey, user: &UserId) -> Option<SeqNo> {
        self.by_user.get(&user_key(channel, user))?.get(&channel.channel).copied()
    }

    /// The user's channels, each with the position from which on they are a member.
    pub fn of(&self, user: &UserKey) -> impl Iterator<Item = (&ChannelId, SeqNo)> {
        self.by_user.get(user).into_iter().flatten().map(|(channel, seq)| (channel, *seq))
    }

    /// The workspace's users after one who are in a channel, with their channels.
    pub fn users_after<'a>(
        &'a self,
        workspace: &'a WorkspaceId,
        after: Option<&UserId>,
    ) -> impl Iterator<Item = (&'a UserKey, &'a BTreeMap<ChannelId, SeqNo>)> {
        let key = |user: UserId| UserKey { workspace: workspace.clone(), user };
        let from = match after {
            Some(user) => Bound::Excluded(key(user.clone())),
            None => Bound::Included(key(UserId::least())),
        };
        let all = self.by_user.range((from, Bound::Unbounded));
        all.take_while(move |(user, _)| user.workspace == *workspace)
    }

    /// How many channels the user is in.
    pub fn count_of(&self, user: &UserKey) -> usize {
        self.by_user.get(user).map_or(0, BTreeMap::len)
    }

    /// Whether some channel has both as members.
    pub fn share_a_channel(&self, one: &UserKey, other: &UserKey) -> bool {
        let (Some(ones), Some(others)) = (self.by_user.get(one), self.by_user.get(other)) else {
            return false;
        };
        let (few, many) = if ones.len() < others.len() { (ones, others) } else { (others, ones) };
        one.workspace == other.workspace && few.keys().any(|channel| many.contains_key(channel))
    }
}

fn take(
    map: &mut BTreeMap<UserKey, BTreeMap<ChannelId, SeqNo>>,
    user: &UserKey,
    channel: &ChannelId,
) {
    if let Some(channels) = map.get_mut(user) {
        channels.remove(channel);
        if channels.is_empty() {
            map.remove(user);
        }
    }
}

fn user_key(channel: &ChannelKey, user: &UserId) -> UserKey {
    UserKey { workspace: channel.workspace.clone(), user: user.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Nonce;
    use crate::time::WallTime;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn nonce() -> Nonce {
        Nonce::new("n").unwrap()
    }

    fn roster(contents: impl IntoIterator<Item = Content>) -> Roster {
        let mut roster = Roster::default();
        for (seq, content) in (1..).zip(contents) {
            roster.apply(&Entry { seq: SeqNo(seq), at: WallTime(0), content });
        }
        roster
    }

    #[test]
    fn a_stay_ends_with_its_leave_and_a_join_begins_another() {
        let joined = || Content::Joined { user: user("ada"), nonce: nonce() };
        let left = || Content::Left { user: user("ada"), nonce: nonce() };
        let stay = |contents: Vec<Content>| roster(contents).stays.get(&user("ada")).copied();

        assert_eq!(stay(vec![joined(), joined()]), Some(Stay::begun(SeqNo(1))));
        let ended = Stay { from: SeqNo(1), until: Some(SeqNo(2)) };
        assert_eq!(stay(vec![joined(), left()]), Some(ended));
        assert_eq!(stay(vec![joined(), left(), left()]), Some(ended));
        assert_eq!(stay(vec![joined(), left(), joined()]), Some(Stay::begun(SeqNo(3))));
    }

    #[test]
    fn a_channel_is_of_who_created_it_or_joined_it_first() {
        let created = Content::Created {
            by: user("eve"),
            nonce: nonce(),
            kind: ChannelKind::Private,
            members: vec![user("ada"), user("eve")],
        };
        let added = Content::Added { user: user("bob"), by: user("ada"), nonce: nonce() };
        let private = roster([created, added]);
        assert_eq!(
            (private.origin.kind, private.origin.creator),
            (ChannelKind::Private, Some(user("eve")))
        );
        let froms = private.stays.into_iter().map(|(user, stay)| (user, stay.from.0));
        let expected = [(user("ada"), 1), (user("bob"), 2), (user("eve"), 1)];
        assert_eq!(Vec::from_iter(froms), expected);

        let joins = ["bob", "ada"].map(|name| Content::Joined { user: user(name), nonce: nonce() });
        let public = roster(joins);
        assert_eq!(
            (public.origin.kind, public.origin.creator),
            (ChannelKind::Public, Some(user("bob")))
        );
    }

    #[test]
    fn a_direct_channel_is_named_by_its_members_in_any_order() {
        let name = |names: &[&str]| {
            let users: Vec<UserId> = names.iter().map(|name| user(name)).collect();
            direct_channel(&users)
        };
        assert_eq!(name(&["ada", "bob"]), name(&["bob", "ada", "bob"]));
        assert_ne!(name(&["ada", "bob"]), name(&["ada", "bob", "eve"]));
        assert_ne!(name(&["ada", "bob"]), name(&["adabob"]));
        assert!(is_direct_name(&name(&["ada", "bob"])));
        let known = "dm.28979bd60d9e538455c75bb52a1ab981";
        assert_eq!(name(&["ada", "bob"]).as_str(), known);
    }
}
