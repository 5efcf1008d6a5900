//! The owner's part in membership: who may change it, and what each change leads to.
//!
//! A change is made once, as a message is sent once: its nonce is logged with its entry. It names
//! how things shall be, not what to do: when they are so already, it is confirmed with the position
//! that made them so. What is right is judged by what has been **numbered**, durable or not, because
//! the entry that is numbered next comes after all of that. Readers and gateways are served by what
//! is **durable**.

use std::collections::{BTreeMap, BTreeSet};

use super::refusal::Refusal;
use super::{Channel, Effect, Owner, Waiting};
use crate::entry::{ChannelKind, Content, Entry};
use crate::frame::RejectCode;
use crate::ids::{ChannelId, ChannelKey, Nonce, SeqNo, UserId, UserKey};
use crate::levels::Limit;
use crate::limits::{CHANNELS_OF_USER_MAX, CREATED_MEMBERS_MAX};
use crate::link::{FromOwner, LinkId, Ticket};
use crate::membership::{Change, Origin, Standing, direct_channel, is_direct_name};
use crate::nonces::NonceKey;
use crate::presence::Input;
use crate::time::{MonoTime, WallTime};

/// How users stand to channels by entries that the store does not hold yet.
#[derive(Debug, Default)]
pub(super) struct Changing {
    by_user: BTreeMap<UserKey, BTreeMap<ChannelId, Standing>>,
}

/// Somebody wants a change.
pub(super) struct Wanted {
    pub(super) channel: ChannelKey,
    pub(super) by: UserId,
    pub(super) nonce: Nonce,
    pub(super) change: Change,
}

/// What a change comes to.
enum Outcome {
    /// It is so since this position.
    SoSince(SeqNo),
    /// It takes an entry of its own: of this change, which is the one that was asked for in its
    /// plainest form.
    Takes(Change),
}

impl Changing {
    fn set(&mut self, user: UserKey, channel: &ChannelId, standing: Standing) {
        self.by_user.entry(user).or_default().insert(channel.clone(), standing);
    }

    fn of(&self, user: &UserKey) -> impl Iterator<Item = (&ChannelId, Standing)> {
        self.by_user.get(user).into_iter().flatten().map(|(channel, standing)| (channel, *standing))
    }

    fn standing(&self, user: &UserKey, channel: &ChannelId) -> Option<Standing> {
        self.by_user.get(user)?.get(channel).copied()
    }

    /// The store holds the change that led to `standing`. A later one may be on its way.
    fn is_durable(&mut self, user: &UserKey, channel: &ChannelId, standing: Standing) {
        let Some(channels) = self.by_user.get_mut(user) else { return };
        if channels.get(channel) == Some(&standing) {
            channels.remove(channel);
        }
        if channels.is_empty() {
            self.by_user.remove(user);
        }
    }
}

impl Owner {
    pub(super) fn change(
        &mut self,
        wall: WallTime,
        link: LinkId,
        ticket: Ticket,
        wanted: Wanted,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let Wanted { channel: key, by, nonce, change } = wanted;
        let nonce_key = NonceKey::new(&key, &by, &nonce);
        if self.answer_again(&key, nonce_key, (link, ticket), effects)? {
            return Ok(());
        }
        let change = match self.outcome(&key, &by, change) {
            Ok(Outcome::SoSince(seq)) => {
                let waiting = (link, ticket);
                return self.confirm(wall, (key, by, nonce), (seq, waiting), effects);
            }
            Ok(Outcome::Takes(change)) => change,
            Err(refusal) => return Err(self.refuse_for_good(nonce_key, refusal)),
        };
        let channel = self
            .channels
            .entry(key.clone())
            .or_insert_with(|| Channel::new(SeqNo::ZERO, Origin::default()));
        let entry =
            channel.sequencer.assign(wall, content(change, by, nonce)).map_err(Refusal::busy)?;
        self.counts.in_flight.set(channel.sequencer.in_flight());
        self.nonces.record(nonce_key, entry.seq, wall, self.clock.at(self.now));
        channel.origin.apply(&entry.content);
        channel.wait(entry.seq, Waiting { link, ticket, duplicate: false });
        for (user, standing) in standings(&entry) {
            self.changing.set(user_key(&key, user), &key.channel, standing);
        }
        self.append(key, entry, effects);
        Ok(())
    }

    /// The store holds `entry`: whoever it makes a member, or ends to be one, is one from here on,
    /// or is none, and their gateways are told.
    pub(super) fn changed(
        &mut self,
        now: MonoTime,
        key: &ChannelKey,
        entry: &Entry,
        effects: &mut Vec<Effect>,
    ) {
        if entry.seq == SeqNo::ZERO.next() {
            let channel = self.channels.get(key).expect("an appended channel exists");
            self.listing.made(key, channel.origin.kind);
        }
        for (user, standing) in standings(entry) {
            self.membership.set(key, user, standing);
            let (user, channel) = (user_key(key, user), key.channel.clone());
            self.changing.is_durable(&user, &channel, standing);
            if let Standing::Member { .. } = standing {
                self.presence(now, Input::Joined { user: user.clone() }, effects);
            }
            let Some(links) = self.open.get(&user) else { continue };
            let links = links.clone();
            let frame = match standing {
                Standing::Member { from: seq } => FromOwner::Joined { user, channel, seq },
                Standing::Former { until } => FromOwner::Left { user, channel, until },
                Standing::Stranger => unreachable!("no entry makes a stranger"),
            };
            effects.push(Effect::Send { links, frame });
        }
    }

    /// By what has been numbered.
    pub(super) fn is_member(&self, channel: &ChannelKey, user: &UserId) -> bool {
        matches!(self.standing(channel, user), Standing::Member { .. })
    }

    fn standing(&self, channel: &ChannelKey, user: &UserId) -> Standing {
        self.changing
            .standing(&user_key(channel, user), &channel.channel)
            .unwrap_or_else(|| self.membership.standing(channel, user))
    }

    fn outcome(&self, key: &ChannelKey, by: &UserId, change: Change) -> Result<Outcome, Refusal> {
        match change {
            Change::Create { kind, members } => self.create(key, by, kind, members),
            Change::Join => self.join(key, by),
            Change::Leave => self.leave(key, by),
            Change::Add { user } => self.add(key, by, user),
            Change::Remove { user } if user == *by => self.leave(key, by),
            Change::Remove { user } => self.remove(key, by, user),
        }
    }

    fn create(
        &self,
        key: &ChannelKey,
        by: &UserId,
        kind: ChannelKind,
        members: Vec<UserId>,
    ) -> Result<Outcome, Refusal> {
        let members: BTreeSet<UserId> = members.into_iter().chain([by.clone()]).collect();
        check_founders(&key.channel, kind, &members)?;
        if let Some(channel) = self.channels.get(key) {
            // A direct channel is the same, whichever of its members made it.
            let own = kind == ChannelKind::Direct || channel.origin.creator.as_ref() == Some(by);
            let all = members.iter().all(|one| self.standing(key, one) != Standing::Stranger);
            if channel.origin.kind == kind && own && all {
                return Ok(Outcome::SoSince(SeqNo::ZERO.next()));
            }
            let message = format!("there is another channel {}; choose another name", key.channel);
            return Err(Refusal::new(RejectCode::NameTaken, message));
        }
        for user in &members {
            self.has_room(key, user)?;
        }
        let members = members.into_iter().collect();
        Ok(Outcome::Takes(Change::Create { kind, members }))
    }

    fn join(&self, key: &ChannelKey, user: &UserId) -> Result<Outcome, Refusal> {
        if let Standing::Member { from } = self.standing(key, user) {
            return Ok(Outcome::SoSince(from));
        }
        let is_public = match self.channels.get(key) {
            Some(channel) => channel.origin.kind == ChannelKind::Public,
            None => !is_direct_name(&key.channel),
        };
        if !is_public {
            let message = format!("{} is not public; a member has to add you", key.channel);
            return Err(Refusal::new(RejectCode::Forbidden, message));
        }
        self.has_room(key, user)?;
        Ok(Outcome::Takes(Change::Join))
    }

    fn leave(&self, key: &ChannelKey, user: &UserId) -> Result<Outcome, Refusal> {
        match self.standing(key, user) {
            Standing::Stranger => Err(Refusal::not_member(key)),
            Standing::Former { until } => Ok(Outcome::SoSince(until)),
            Standing::Member { .. } => {
                self.check_not_direct(key)?;
                Ok(Outcome::Takes(Change::Leave))
            }
        }
    }

    fn add(&self, key: &ChannelKey, by: &UserId, user: UserId) -> Result<Outcome, Refusal> {
        let standing = self.standing(key, &user);
        if let Standing::Member { from } = standing
            && self.saw(key, by, from)
        {
            return Ok(Outcome::SoSince(from));
        }
        self.check_member(key, by)?;
        self.check_not_direct(key)?;
        self.has_room(key, &user)?;
        Ok(Outcome::Takes(Change::Add { user }))
    }

    fn remove(&self, key: &ChannelKey, by: &UserId, user: UserId) -> Result<Outcome, Refusal> {
        let standing = self.standing(key, &user);
        if let Standing::Former { until } = standing
            && self.saw(key, by, until)
        {
            return Ok(Outcome::SoSince(until));
        }
        self.check_member(key, by)?;
        self.check_not_direct(key)?;
        let origin = self.channels.get(key).map(|channel| &channel.origin);
        let is_public = origin.is_some_and(|origin| origin.kind == ChannelKind::Public);
        let is_creator = origin.is_some_and(|origin| origin.creator.as_ref() == Some(by));
        if is_public && !is_creator {
            let message = format!("only who made {} may remove others from it", key.channel);
            return Err(Refusal::new(RejectCode::Forbidden, message));
        }
        match standing {
            Standing::Member { .. } => Ok(Outcome::Takes(Change::Remove { user })),
            Standing::Former { .. } | Standing::Stranger => {
                let message = format!("{user} is not in channel {}", key.channel);
                Err(Refusal::new(RejectCode::BadMembers, message))
            }
        }
    }

    /// Whether `user` is in the channel, or was at `seq`. Of what was done by then they may hear that
    /// it is done: it may be their own request, whose reply was lost before they were out.
    fn saw(&self, channel: &ChannelKey, user: &UserId, seq: SeqNo) -> bool {
        match self.standing(channel, user) {
            Standing::Stranger => false,
            Standing::Member { .. } => true,
            Standing::Former { until } => seq <= until,
        }
    }

    fn check_member(&self, key: &ChannelKey, user: &UserId) -> Result<(), Refusal> {
        if self.is_member(key, user) { Ok(()) } else { Err(Refusal::not_member(key)) }
    }

    fn check_not_direct(&self, key: &ChannelKey) -> Result<(), Refusal> {
        let channel = self.channels.get(key);
        if channel.is_none_or(|channel| channel.origin.kind != ChannelKind::Direct) {
            return Ok(());
        }
        let message = "a direct channel keeps its members; make another one".to_owned();
        Err(Refusal::new(RejectCode::Forbidden, message))
    }

    /// Whether the user may be in one more channel.
    fn has_room(&self, key: &ChannelKey, user: &UserId) -> Result<(), Refusal> {
        let user = user_key(key, user);
        let mut count = self.membership.count_of(&user);
        for (channel, standing) in self.changing.of(&user) {
            let key = ChannelKey { workspace: key.workspace.clone(), channel: channel.clone() };
            let is_counted = self.membership.joined(&key, &user.user).is_some();
            match standing {
                Standing::Member { .. } => count += usize::from(!is_counted),
                Standing::Former { .. } | Standing::Stranger => count -= usize::from(is_counted),
            }
        }
        if count < CHANNELS_OF_USER_MAX {
            return Ok(());
        }
        let message = format!("{} is in {CHANNELS_OF_USER_MAX} channels, the most", user.user);
        let limit = Some(Limit::ChannelsOfUser);
        Err(Refusal { limit, ..Refusal::new(RejectCode::Forbidden, message) })
    }
}

/// Whether a channel of this name and kind may begin with these members.
fn check_founders(
    channel: &ChannelId,
    kind: ChannelKind,
    members: &BTreeSet<UserId>,
) -> Result<(), Refusal> {
    if members.len() > CREATED_MEMBERS_MAX {
        let message = format!(
            "a channel begins with at most {CREATED_MEMBERS_MAX} members; add others later"
        );
        let limit = Some(Limit::CreatedMembers);
        return Err(Refusal { limit, ..Refusal::new(RejectCode::BadMembers, message) });
    }
    let is_direct = kind == ChannelKind::Direct;
    if is_direct && members.len() < 2 {
        let message = "a direct channel needs somebody else as a member".to_owned();
        return Err(Refusal::new(RejectCode::BadMembers, message));
    }
    if is_direct && *channel != direct_channel(members) {
        let message = "a direct channel's name follows from its members; leave it out".to_owned();
        return Err(Refusal::new(RejectCode::BadMembers, message));
    }
    if !is_direct && is_direct_name(channel) {
        let message = format!("{channel} is a name for direct channels; choose another");
        return Err(Refusal::new(RejectCode::Forbidden, message));
    }
    Ok(())
}

/// The entry that makes a change.
fn content(change: Change, by: UserId, nonce: Nonce) -> Content {
    match change {
        Change::Create { kind, members } => Content::Created { by, nonce, kind, members },
        Change::Join => Content::Joined { user: by, nonce },
        Change::Leave => Content::Left { user: by, nonce },
        Change::Add { user } => Content::Added { user, by, nonce },
        Change::Remove { user } => Content::Removed { user, by, nonce },
    }
}

/// How users stand to the channel after this entry that changed how they do.
fn standings(entry: &Entry) -> impl Iterator<Item = (&UserId, Standing)> {
    let begins = entry.content.begins().iter();
    let begins = begins.map(|user| (user, Standing::Member { from: entry.seq }));
    let ends = entry.content.ends().into_iter();
    begins.chain(ends.map(|user| (user, Standing::Former { until: entry.seq })))
}

fn user_key(channel: &ChannelKey, user: &UserId) -> UserKey {
    UserKey { workspace: channel.workspace.clone(), user: user.clone() }
}
