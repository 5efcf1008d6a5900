//! What is said from the wrong workspace, and that it comes to nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use seriatim_engine::entry::ChannelKind;
use seriatim_engine::frame::{ClientFrame, PresenceState, Resume};
use seriatim_engine::history_bound::HistoryBound;
use seriatim_engine::ids::{ChannelId, Nonce, SeqNo, UserId};
use seriatim_engine::limits::{HEARTBEAT, PRESENCE_GRACE, USER_BURST_MAX};
use seriatim_engine::membership::direct_channel;
use seriatim_engine::time::WallTime;

use crate::deployment::Deployment;

/// The workspace of the prober, and the one that is none of their business.
const HERE: &str = "here";
const THERE: &str = "there";

/// The prober's session, and those of ada and bob in the other workspace.
const PROBER: u64 = 1;
const ADA: u64 = 2;
const BOB: u64 = 3;

/// Says the same as the prober, as ada in the other workspace.
const CONTROL: u64 = 4;

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn channel(name: &str) -> ChannelId {
    ChannelId::new(name).unwrap()
}

fn send(id: u64, to: &ChannelId, nonce: &str, body: &str) -> ClientFrame {
    ClientFrame::Send { id, channel: to.clone(), nonce: self::nonce(nonce), body: body.into() }
}

fn nonce(text: &str) -> Nonce {
    Nonce::new(text).unwrap()
}

fn join(channel: ChannelId) -> ClientFrame {
    ClientFrame::Join { id: 1, channel, nonce: nonce("j") }
}

fn add(id: u64, channel: ChannelId, name: &str) -> ClientFrame {
    ClientFrame::AddMember { id, channel, nonce: nonce("a"), user: user(name) }
}

fn create(channel: Option<ChannelId>, kind: ChannelKind) -> ClientFrame {
    let (nonce, members) = (nonce("c"), vec![user("ada"), user("bob")]);
    ClientFrame::CreateChannel { id: 1, channel, nonce, kind, members }
}

fn direct() -> ChannelId {
    direct_channel(&[user("ada"), user("bob")])
}

/// In both workspaces, with other members and messages; in the other one only; ada's and bob's.
fn channels() -> [ChannelId; 3] {
    [channel("general"), channel("board"), direct()]
}

/// The type of a frame. A new one has to be given a place here, and a probe.
fn name(frame: &ClientFrame) -> &'static str {
    match frame {
        ClientFrame::Hello { .. } => "hello",
        ClientFrame::Send { .. } => "send",
        ClientFrame::Join { .. } => "join",
        ClientFrame::CreateChannel { .. } => "create_channel",
        ClientFrame::Leave { .. } => "leave",
        ClientFrame::AddMember { .. } => "add_member",
        ClientFrame::RemoveMember { .. } => "remove_member",
        ClientFrame::History { .. } => "history",
        ClientFrame::ListChannels { .. } => "list_channels",
        ClientFrame::Ping => "ping",
        ClientFrame::Heartbeat { .. } => "heartbeat",
        ClientFrame::PresenceSubscribe { .. } => "presence_subscribe",
        ClientFrame::Typing { .. } => "typing",
        ClientFrame::Read { .. } => "read",
    }
}

/// `hello` and `ping` apart: the first opens every probe's session, the second names nothing.
const PROBED: [&str; 12] = [
    "add_member",
    "create_channel",
    "heartbeat",
    "history",
    "join",
    "leave",
    "list_channels",
    "presence_subscribe",
    "read",
    "remove_member",
    "send",
    "typing",
];

/// Frames that name what exists in the other workspace. Each is a probe of its own.
fn probes() -> Vec<Vec<ClientFrame>> {
    let mut probes = Vec::new();
    for channel in channels() {
        let own = || channel.clone();
        probes.extend([
            // The nonce of ada's first message there.
            vec![send(1, &channel, "n0", "from the wrong side")],
            // And that of ada's joining there.
            vec![join(own())],
            vec![ClientFrame::Leave { id: 1, channel: own(), nonce: nonce("l") }],
            vec![add(1, own(), "eve")],
            vec![add(1, own(), "ada")],
            vec![ClientFrame::RemoveMember {
                id: 1,
                channel: own(),
                nonce: nonce("r"),
                user: user("bob"),
            }],
            vec![ClientFrame::history(1, own(), HistoryBound::After(SeqNo(0)))],
            vec![ClientFrame::history(1, own(), HistoryBound::Before(SeqNo(u64::MAX)))],
            vec![ClientFrame::history(1, own(), HistoryBound::Since(WallTime(0)))],
            vec![ClientFrame::Typing { channel: own() }],
            vec![ClientFrame::Read { channel: own(), seq: SeqNo(2) }],
        ]);
    }
    probes.extend([
        vec![create(Some(channel("general")), ChannelKind::Public)],
        vec![create(Some(channel("board")), ChannelKind::Private)],
        vec![create(None, ChannelKind::Direct)],
        vec![ClientFrame::ListChannels { id: 1, after: None, limit: None }],
        vec![ClientFrame::PresenceSubscribe { id: 1, users: vec![user("ada"), user("bob")] }],
        vec![ClientFrame::Heartbeat { state: PresenceState::Active, background: true }],
    ]);
    probes
}

fn resume() -> Vec<Resume> {
    channels().map(|channel| Resume { channel, after: Some(SeqNo(0)), since_ms: None }).into()
}

/// What there is in a workspace before anybody probes: `general` with what `bodies` say.
fn furnish(deployment: &mut Deployment, workspace: &str, (ada, bob): (u64, u64), bodies: &[&str]) {
    for (session, name) in [(ada, "ada"), (bob, "bob")] {
        deployment.enter(session, workspace, name, Vec::new());
        deployment.say(session, &join(channel("general")));
    }
    for (number, body) in bodies.iter().enumerate() {
        deployment.say(ada, &send(2, &channel("general"), &format!("n{number}"), body));
    }
}

/// What the other workspace does meanwhile.
fn live_on(deployment: &mut Deployment) {
    let active = ClientFrame::Heartbeat { state: PresenceState::Active, background: false };
    for channel in channels() {
        deployment.say(BOB, &send(7, &channel, "live", "a secret of that day"));
        deployment.say(BOB, &ClientFrame::Typing { channel: channel.clone() });
        deployment.say(ADA, &ClientFrame::Read { channel, seq: SeqNo(3) });
    }
    deployment.say(BOB, &active);
    deployment.say(BOB, &add(8, channel("board"), "mallory"));
    deployment.wait(Duration::from_secs(3));
    let watch = ClientFrame::PresenceSubscribe { id: 9, users: vec![user("ada"), user("mallory")] };
    deployment.say(BOB, &watch);
    let away = ClientFrame::Heartbeat { state: PresenceState::Away, background: false };
    deployment.say(ADA, &away);
    deployment.wait(Duration::from_secs(3));
}

/// One day: who is there, and who says `probe`.
struct Day<'a> {
    /// The other workspace has users and channels.
    furnished: bool,
    prober: &'a str,
    probe: &'a [ClientFrame],
    /// The prober belongs to the other workspace.
    from_there: bool,
}

impl Day<'_> {
    fn run(&self) -> Deployment {
        let mut deployment = Deployment::new();
        let sessions: &[u64] = if self.furnished { &[11, 12, ADA, BOB] } else { &[11, 12] };
        furnish(&mut deployment, HERE, (11, 12), &["ours", "ours too"]);
        if self.furnished {
            furnish(&mut deployment, THERE, (ADA, BOB), &["a secret", "another", "and another"]);
            deployment.say(ADA, &create(Some(channel("board")), ChannelKind::Private));
            deployment.say(ADA, &create(None, ChannelKind::Direct));
            for (number, channel) in channels().iter().enumerate() {
                deployment.say(ADA, &send(3, channel, "n0", &format!("secret {number}")));
            }
        }
        // So that everything is known of everybody's presence.
        let mut waited = Duration::ZERO;
        while waited < PRESENCE_GRACE {
            deployment.wait(HEARTBEAT);
            waited += HEARTBEAT;
            for session in sessions {
                deployment.say(*session, &ClientFrame::Ping);
            }
        }
        let (session, workspace) = if self.from_there { (CONTROL, THERE) } else { (PROBER, HERE) };
        deployment.enter(session, workspace, self.prober, resume());
        for frame in self.probe {
            deployment.say(session, frame);
        }
        deployment.wait(Duration::from_secs(3));
        if self.furnished {
            live_on(&mut deployment);
        } else {
            deployment.wait(Duration::from_secs(6));
        }
        for session in sessions {
            let over = deployment.heard(*session).iter().any(|frame| frame == "closed");
            assert!(!over, "session {session} has ended");
        }
        deployment
    }
}

fn from_here<'a>(prober: &'a str, probe: &'a [ClientFrame]) -> Day<'a> {
    Day { furnished: true, prober, probe, from_there: false }
}

#[test]
fn every_frame_that_names_something_has_a_probe() {
    let probed: BTreeSet<&str> = probes().iter().flatten().map(name).collect();
    assert!(probed.into_iter().eq(PROBED));
}

#[test]
fn who_asks_for_what_is_in_another_workspace_hears_what_they_would_if_it_were_not_there() {
    for prober in ["ada", "mallory"] {
        for probe in probes() {
            let day = from_here(prober, &probe);
            let heard = day.run();
            let unfurnished = Day { furnished: false, ..day }.run();
            assert_eq!(heard.heard(PROBER), unfurnished.heard(PROBER), "{prober}: {probe:?}");
            assert!(!heard.heard(PROBER).is_empty(), "{prober} heard nothing: {probe:?}");
        }
    }
}

#[test]
fn what_is_said_in_one_workspace_has_no_effect_in_another() {
    for prober in ["ada", "mallory"] {
        let quiet = from_here(prober, &[]).run();
        for probe in probes() {
            let probed = from_here(prober, &probe).run();
            for session in [ADA, BOB] {
                assert_eq!(probed.heard(session), quiet.heard(session), "{prober}: {probe:?}");
            }
            assert_eq!(probed.stored(THERE), quiet.stored(THERE), "{prober}: {probe:?}");
        }
    }
}

#[test]
fn the_probes_are_well_aimed() {
    let quiet = Day { from_there: true, ..from_here("ada", &[]) }.run();
    for probe in probes() {
        let there = Day { from_there: true, ..from_here("ada", &probe) }.run();
        let sessions = [CONTROL, ADA, BOB];
        let heard = sessions.iter().any(|one| there.heard(*one) != quiet.heard(*one));
        assert!(heard, "nobody would notice: {probe:?}");
    }
}

#[test]
fn who_uses_up_their_rate_leaves_that_of_their_namesake_alone() {
    let probe: Vec<ClientFrame> = (0..=u64::from(USER_BURST_MAX))
        .map(|id| {
            let nonce = nonce(&format!("l{id}"));
            ClientFrame::Leave { id, channel: channel("board"), nonce }
        })
        .collect();
    let (probed, quiet) = (from_here("bob", &probe).run(), from_here("bob", &[]).run());
    let limited = probed.heard(PROBER).iter().any(|frame| frame.contains("rate_limited"));
    assert!(limited, "the probe is too short");
    assert_eq!(probed.heard(BOB), quiet.heard(BOB));
}
