//! Frames read as documented, and what is none is told by name.

use super::*;

fn channel() -> ChannelId {
    ChannelId::new("general").unwrap()
}

#[test]
fn frames_read_as_documented() {
    let send = br#"{"type":"send","id":7,"channel":"general","nonce":"n1","body":"hi"}"#;
    assert_eq!(
        ClientFrame::parse(send).unwrap(),
        ClientFrame::Send {
            id: 7,
            channel: channel(),
            nonce: Nonce::new("n1").unwrap(),
            body: "hi".into()
        }
    );
    assert_eq!(ClientFrame::parse(br#"{"type":"ping"}"#).unwrap(), ClientFrame::Ping);
    assert_eq!(
        ClientFrame::parse(br#"{"type":"heartbeat","state":"away"}"#).unwrap(),
        ClientFrame::Heartbeat { state: PresenceState::Away, background: false }
    );
    assert_eq!(
        ClientFrame::parse(br#"{"type":"list_channels","id":3}"#).unwrap(),
        ClientFrame::ListChannels { id: 3, after: None, limit: None }
    );
    let presence =
        ServerFrame::Presence { user: UserId::new("ada").unwrap(), state: PresenceState::Offline };
    assert_eq!(
        String::from_utf8(presence.to_json()).unwrap(),
        r#"{"type":"presence","user":"ada","state":"offline"}"#
    );
}

#[test]
fn log_frames_carry_their_own_type() {
    let entry = Entry {
        seq: SeqNo(3),
        at: WallTime(5),
        content: Content::Joined {
            user: UserId::new("ada").unwrap(),
            nonce: Nonce::new("n").unwrap(),
        },
    };
    let frame = ServerFrame::Log(LogFrame::new(channel(), &entry));
    let json = String::from_utf8(frame.to_json()).unwrap();
    assert_eq!(
        json,
        r#"{"type":"event","channel":"general","seq":3,"kind":"joined","user":"ada","nonce":"n","at_ms":5}"#
    );
    assert_eq!(ServerFrame::parse(json.as_bytes()).unwrap(), frame);
}

#[test]
fn every_entry_comes_back_from_its_frame() {
    let user = |name: &str| UserId::new(name).unwrap();
    let nonce = || Nonce::new("n").unwrap();
    let (ada, bob) = (user("ada"), user("bob"));
    let (kind, members) = (ChannelKind::Direct, vec![ada.clone(), bob.clone()]);
    let contents = [
        Content::Message { sender: ada.clone(), nonce: nonce(), body: "hi".into() },
        Content::Created { by: bob.clone(), nonce: nonce(), kind, members },
        Content::Joined { user: ada.clone(), nonce: nonce() },
        Content::Added { user: ada.clone(), by: bob.clone(), nonce: nonce() },
        Content::Left { user: ada.clone(), nonce: nonce() },
        Content::Removed { user: ada, by: bob, nonce: nonce() },
    ];
    for content in contents {
        let entry = Entry { seq: SeqNo(3), at: WallTime(5), content };
        let json = ServerFrame::Log(LogFrame::new(channel(), &entry)).to_json();
        let ServerFrame::Log(frame) = ServerFrame::parse(&json).unwrap() else {
            panic!("another frame: {}", String::from_utf8_lossy(&json));
        };
        assert_eq!(frame.into_entry(), (channel(), entry));
    }
}

#[test]
fn a_bad_frame_still_names_its_request() {
    let error = ClientFrame::parse(br#"{"type":"send","id":9,"channel":"a b"}"#).unwrap_err();
    assert_eq!(error.id, Some(9));
    assert!(error.message.contains("character"), "{}", error.message);
    assert_eq!(ClientFrame::parse(b"{").unwrap_err().id, None);
    let unknown = ClientFrame::parse(br#"{"type":"dance"}"#).unwrap_err();
    assert!(unknown.message.contains("unknown variant"), "{}", unknown.message);
}

#[test]
fn a_bad_frame_is_not_sent_back_many_times_its_size() {
    // The parser shows this character as `\u{7f}`.
    let long = "\u{7f}".repeat(60_000);
    let text = format!(r#"{{"type":"join","channel":"general","id":"{long}"}}"#);
    let error = ClientFrame::parse(text.as_bytes()).unwrap_err();
    assert!(error.message.len() <= FRAME_ERROR_BYTES_MAX, "{} bytes", error.message.len());
    assert!(error.message.starts_with("invalid type: string"), "{}", error.message);
    let unknown = format!(r#"{{"type":"{}"}}"#, "é".repeat(30_000));
    let error = ClientFrame::parse(unknown.as_bytes()).unwrap_err();
    assert!(error.message.ends_with("é…"), "{}", error.message);
}
