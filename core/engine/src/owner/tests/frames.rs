//! No frame of a link is longer than a link carries, whatever it holds.

use proptest::prelude::*;

use super::*;
use crate::entry::ChannelKind;
use crate::frame::PresenceState;
use crate::ids::ConnectionId;
use crate::limits::{
    CHANNELS_OF_USER_MAX, CREATED_MEMBERS_MAX, LINK_FRAME_BYTES_MAX, NAME_BYTES_MAX,
    NONCE_BYTES_MAX, PAGE_BYTES_MAX, PRESENCE_BATCH_MAX, PRESENCE_WATCHED_MAX, STORE_BATCH_MAX,
};
use crate::link::Told;
use crate::presence::{Beat, SessionId, Watched};

/// The longest name that ends with this number.
fn longest(number: usize) -> String {
    format!("{number:0>NAME_BYTES_MAX$}")
}

fn longest_user(number: usize) -> UserId {
    user(&longest(number))
}

fn longest_channel(number: usize) -> ChannelId {
    ChannelId::new(&longest(number)).unwrap()
}

fn longest_key(number: usize) -> UserKey {
    let workspace = WorkspaceId::new(&longest(0)).unwrap();
    UserKey { workspace, user: longest_user(number) }
}

fn bytes(frame: &impl serde::Serialize) -> usize {
    postcard::to_stdvec(frame).unwrap().len()
}

fn longest_nonce() -> Nonce {
    Nonce::new(&"n".repeat(NONCE_BYTES_MAX)).unwrap()
}

fn message(body: &Arc<str>) -> Content {
    Content::Message { sender: longest_user(0), nonce: longest_nonce(), body: body.clone() }
}

fn created() -> Content {
    let members = (0..CREATED_MEMBERS_MAX).map(longest_user).collect();
    let (by, nonce, kind) = (longest_user(0), longest_nonce(), ChannelKind::Private);
    Content::Created { by, nonce, kind, members }
}

fn entry(content: Content) -> Entry {
    Entry { seq: SeqNo(u64::MAX), at: WallTime(u64::MAX), content }
}

/// The frames of a commit of messages with bodies of these sizes, and the positions in them.
fn published(bodies: &[usize]) -> (Vec<usize>, Vec<u64>) {
    let mut owner = with_ada();
    owner.ask(ToOwner::Subscribe { channel: channel() });
    for (number, bytes) in bodies.iter().enumerate() {
        let mut frame = submit(1, "ada", &format!("n{number}"));
        if let ToOwner::Submit { body, .. } = &mut frame {
            *body = "x".repeat(*bytes).into();
        }
        owner.ask(frame);
    }
    let (mut sizes, mut seqs) = (Vec::new(), Vec::new());
    for effect in owner.feed(Input::Stored { count: bodies.len() }) {
        let Effect::Send { frame, .. } = effect else { continue };
        sizes.push(bytes(&frame));
        if let FromOwner::Entries { entries, .. } = frame {
            seqs.extend(entries.iter().map(|entry| entry.seq.0));
        }
    }
    (sizes, seqs)
}

#[test]
fn a_commit_of_the_longest_messages_is_published_in_frames_that_a_link_carries() {
    let (sizes, seqs) = published(&[BODY_BYTES_MAX; STORE_BATCH_MAX]);
    assert!(sizes.iter().all(|bytes| *bytes <= LINK_FRAME_BYTES_MAX), "{:?}", sizes.iter().max());
    assert!(seqs.into_iter().eq(2..2 + STORE_BATCH_MAX as u64), "each once, in order");
}

#[test]
fn a_commit_of_ordinary_messages_is_one_frame() {
    let entries = vec![entry(message(&"x".repeat(40).into())); STORE_BATCH_MAX];
    assert_eq!(in_frames(entries).len(), 1);
}

proptest! {
    #[test]
    fn a_commit_is_published_in_order_in_frames_that_stay_below_twice_the_batch(
        bodies in proptest::collection::vec(
            prop_oneof![1_usize..200, 1_000_usize..=BODY_BYTES_MAX],
            1..200,
        ),
    ) {
        let (sizes, seqs) = published(&bodies);
        let most = LINK_BATCH_BYTES_MAX + 2 * BODY_BYTES_MAX;
        prop_assert!(sizes.iter().all(|bytes| *bytes <= most), "{:?}", sizes);
        prop_assert!(seqs.into_iter().eq(2..2 + bodies.len() as u64));
    }
}

#[test]
fn what_an_entry_takes_is_estimated_from_above() {
    let (user, nonce) = (|| longest_user(1), longest_nonce);
    let contents = [
        message(&"x".into()),
        message(&"x".repeat(BODY_BYTES_MAX).into()),
        created(),
        Content::Joined { user: user(), nonce: nonce() },
        Content::Added { user: user(), by: user(), nonce: nonce() },
        Content::Left { user: user(), nonce: nonce() },
        Content::Removed { user: user(), by: user(), nonce: nonce() },
    ];
    for entry in contents.map(entry) {
        let (takes, estimate) = (bytes(&entry), entry.link_bytes());
        assert!(takes <= estimate && estimate < takes + 1_024, "{takes} and {estimate}: {entry:?}");
    }
}

#[test]
fn the_largest_frames_of_every_other_kind_stay_below_the_limit() {
    let ticket = Ticket(u64::MAX);
    let at_most = |count: usize| 0..count;
    let opened = |number| OpenedChannel {
        channel: longest_channel(number),
        joined: SeqNo(u64::MAX),
        read: SeqNo(u64::MAX),
        head: SeqNo(u64::MAX),
        trimmed_upto: Some(SeqNo(u64::MAX)),
    };
    let ended = |number| EndedChannel { channel: longest_channel(number), until: SeqNo(u64::MAX) };
    // The store gives one entry more than fits.
    let mut page = vec![entry(created()); PAGE_ENTRIES_MAX];
    page.push(entry(message(&"x".repeat(PAGE_BYTES_MAX + BODY_BYTES_MAX).into())));
    let told = |number| Told {
        user: longest_key(number),
        state: PresenceState::Active,
        connections: vec![ConnectionId(u64::MAX)],
    };
    let from_owner = [
        FromOwner::Opened {
            ticket,
            channels: at_most(CHANNELS_OF_USER_MAX).map(opened).collect(),
            ended: at_most(CHANNELS_OF_USER_MAX).map(ended).collect(),
        },
        FromOwner::Page {
            ticket,
            entries: page,
            trimmed_upto: Some(SeqNo(u64::MAX)),
            head: SeqNo(u64::MAX),
        },
        FromOwner::Presence { told: at_most(PRESENCE_BATCH_MAX).map(told).collect() },
    ];
    let beat = |number| Beat {
        user: longest_key(number),
        session: SessionId(u64::MAX),
        number: u64::MAX,
        state: PresenceState::Active,
        background: true,
        age_ms: u64::MAX,
    };
    let watched =
        |number| Watched { user: longest_user(number), told: Some(PresenceState::Active) };
    let to_owner = [
        ToOwner::Open {
            ticket,
            user: longest_key(0),
            resumed: at_most(CHANNELS_OF_USER_MAX).map(longest_channel).collect(),
        },
        ToOwner::Watch {
            connection: ConnectionId(u64::MAX),
            watcher: longest_key(0),
            users: at_most(PRESENCE_WATCHED_MAX).map(watched).collect(),
        },
        ToOwner::Beats { beats: at_most(PRESENCE_BATCH_MAX).map(beat).collect() },
    ];
    let sizes = from_owner.iter().map(bytes).chain(to_owner.iter().map(bytes));
    // Half, so that one more field in each doesn't bring it over.
    for bytes in sizes {
        assert!(bytes <= LINK_FRAME_BYTES_MAX / 2, "a frame of {bytes} bytes");
    }
}
