//! A part of the log is damaged while the server runs: its readers wait, and nobody else.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use seriatim_engine::entry::{Batch, ChannelEntry, Content, Entry};
use seriatim_engine::frame::{ClientFrame, LogFrame, RejectCode, Resume, ServerFrame};
use seriatim_engine::history_bound::HistoryBound;
use seriatim_engine::ids::{ChannelId, ChannelKey, Nonce, SeqNo, ShardId, UserId, WorkspaceId};
use seriatim_engine::time::{LogTime, WallTime};
use seriatim_world::Store as _;
use seriatim_world::log_store::{LogStore, LogStoreOptions};
use seriatim_world::real;

use crate::process::Server;
use crate::strict_client::{Heard, Strict};
use crate::user::world;
use crate::watching::{get, sample};

const MESSAGES: u64 = 40;

fn channel(name: &str) -> ChannelId {
    ChannelId::new(name).unwrap()
}

fn entry(name: &str, seq: u64) -> ChannelEntry {
    let ada = UserId::new("ada").unwrap();
    let nonce = Nonce::new(&format!("{name}-{seq}")).unwrap();
    let content = match seq {
        1 => Content::Joined { user: ada, nonce },
        seq => Content::Message {
            sender: ada,
            nonce,
            body: format!("{name} says {seq}, {}", "x".repeat(100)).into(),
        },
    };
    let workspace = WorkspaceId::new("demo").unwrap();
    let channel = ChannelKey { workspace, channel: channel(name) };
    ChannelEntry { channel, entry: Entry { seq: SeqNo(seq), at: WallTime(1_000 + seq), content } }
}

/// A log with the channels `a` and `b`, most of it in runs.
async fn write_log(directory: &Path) {
    let disk = real::world(directory).unwrap().disk;
    let options = LogStoreOptions { segment_bytes: 2_000, ..LogStoreOptions::default() };
    let shard = ShardId(0);
    let (store, _) = LogStore::open(disk, shard, options).await.unwrap();
    let epoch = store.claim(shard).await.unwrap();
    for seq in 1..=MESSAGES {
        let entries = vec![entry("a", seq), entry("b", seq)];
        store.append(Batch::of_entries(shard, (epoch, LogTime(0)), entries)).await.unwrap();
        store.tidy(LogTime(0)).await.unwrap();
    }
}

/// Where `text` lies in a run.
fn find(directory: &Path, text: &str) -> (PathBuf, u64) {
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes.windows(text.len()).position(|window| window == text.as_bytes());
        if let (Some(at), true) = (found, path.to_string_lossy().contains(".run.")) {
            return (path, at as u64);
        }
    }
    panic!("{text} is in no run");
}

/// Writes over one byte, in place.
fn put((path, at): &(PathBuf, u64), byte: u8) {
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(&[byte], *at).unwrap();
}

fn refused(heard: &Heard, reply_to: Option<u64>, range: &str) -> bool {
    let Heard::Frame(ServerFrame::Rejected { reply_to: to, code, message, retry_after_ms }) = heard
    else {
        return false;
    };
    *to == reply_to
        && *code == RejectCode::Unreadable
        && message.contains(range)
        && retry_after_ms.is_some()
}

async fn ask(client: &mut Strict, frame: ClientFrame) -> Heard {
    client.say(&frame).await;
    client.hear().await
}

#[tokio::test]
async fn only_who_reads_what_is_damaged_waits_and_goes_on_when_it_is_mended() {
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("data"));
    let log = data.join("log");
    std::fs::create_dir_all(&log).unwrap();
    write_log(&log).await;
    let (server, began_at) = (Server::serve(&data), world.clock.mono_now());
    let place = find(&log, "a says 5");
    put(&place, b'e');

    let token = Server::token(&data, "ada");
    let (mut ada, _) = Strict::hello(&world, &server.address, token.clone()).await;
    let history = |id, name, after| {
        ClientFrame::history(id, channel(name), HistoryBound::After(SeqNo(after)))
    };
    let heard = ask(&mut ada, history(1, "a", 0)).await;
    assert!(refused(&heard, Some(1), "channel a after #0"), "{heard:?}");
    let heard = ask(&mut ada, history(2, "a", 5)).await;
    assert!(matches!(heard, Heard::Frame(ServerFrame::Page { .. })), "it is sound: {heard:?}");
    assert_eq!(ada.history(&channel("b")).await.len() as u64, MESSAGES);

    // A session that is behind waits where it is.
    let mut late = Strict::connect(&world, &server.address).await;
    let resume = vec![Resume::after(channel("a"), SeqNo(2))];
    let hello = ClientFrame::Hello { token, resume, client: String::new() };
    let heard = ask(&mut late, hello).await;
    assert!(matches!(heard, Heard::Frame(ServerFrame::Welcome { .. })), "{heard:?}");
    let heard = late.hear().await;
    assert!(refused(&heard, None, "channel a after #2"), "{heard:?}");

    // The channel goes on for everybody else.
    let (nonce, body) = (Nonce::new("new").unwrap(), "all is well".into());
    let heard =
        ask(&mut ada, ClientFrame::Send { id: 9, channel: channel("a"), nonce, body }).await;
    let accepted = ServerFrame::Accepted {
        reply_to: 9,
        channel: channel("a"),
        seq: SeqNo(MESSAGES + 1),
        at_ms: WallTime(0),
        duplicate: false,
    };
    match heard {
        Heard::Frame(ServerFrame::Accepted { reply_to, channel, seq, duplicate, .. }) => {
            let at_ms = WallTime(0);
            let heard = ServerFrame::Accepted { reply_to, channel, seq, at_ms, duplicate };
            assert_eq!(heard, accepted);
        }
        Heard::Frame(_) | Heard::Close(_) | Heard::End => panic!("{heard:?}"),
    }

    put(&place, b'a');
    let mut next = SeqNo(3);
    while next <= SeqNo(MESSAGES + 1) {
        let heard = late.hear().await;
        if let Heard::Frame(ServerFrame::Log(LogFrame::Message { seq, .. })) = heard {
            assert_eq!(seq, next, "a gap or a repeat");
            next = next.next();
        } else {
            assert!(refused(&heard, None, "channel a after #2"), "{heard:?}");
        }
    }
    let figures = get(&world, &server.address, "/metrics").await.body;
    let of_shard = |name: &str| sample(&figures, &format!("seriatim_{name}{{shard=\"0\"}}"));
    assert!(of_shard("log_reads_damaged_total") >= 2.0);
    assert_eq!(of_shard("log_reads_failed_total"), 0.0);
    assert_eq!(of_shard("store_reopened_total"), 0.0, "the store stayed open");
    let lines = server.log();
    let told = lines.lines().filter(|line| line.contains("a read failed")).count();
    let most = 1 + (world.clock.mono_now() - began_at).as_secs() / 10;
    assert!((1..=most).contains(&(told as u64)), "once in ten seconds:\n{lines}");
    server.assert_sound();
}
