//! A server over a log of which the oldest entries are gone tells so, to a strict client and on its
//! page.

use std::path::Path;
use std::time::Duration;

use seriatim_engine::entry::{Batch, ChannelEntry, Content, Entry};
use seriatim_engine::frame::{ClientFrame, LogFrame, Resume, ServerFrame};
use seriatim_engine::history_bound::HistoryBound;
use seriatim_engine::ids::{ChannelId, ChannelKey, Nonce, SeqNo, ShardId, UserId, WorkspaceId};
use seriatim_engine::time::{LogTime, WallTime};
use seriatim_world::Store as _;
use seriatim_world::log_store::{LogStore, LogStoreOptions, Retention};
use seriatim_world::real;

use crate::browser::Browser;
use crate::chat_page::Person;
use crate::process::Server;
use crate::strict_client::{Heard, Strict};
use crate::user::world;

const HEAD: u64 = 40;

fn channel() -> ChannelId {
    ChannelId::new("general").unwrap()
}

fn entry(seq: u64) -> ChannelEntry {
    let ada = UserId::new("ada").unwrap();
    let nonce = Nonce::new(&format!("n{seq}")).unwrap();
    let content = match seq {
        1 => Content::Joined { user: ada, nonce },
        seq => Content::Message { sender: ada, nonce, body: format!("message {seq}").into() },
    };
    let workspace = WorkspaceId::new("demo").unwrap();
    let channel = ChannelKey { workspace, channel: channel() };
    ChannelEntry { channel, entry: Entry { seq: SeqNo(seq), at: WallTime(1_000 + seq), content } }
}

/// An entry every ten seconds, of which the last two minutes are kept. Gives up to where it is gone.
async fn write_log(directory: &Path) -> SeqNo {
    std::fs::create_dir_all(directory).unwrap();
    let disk = real::world(directory).unwrap().disk;
    let retention = Retention { age: Some(Duration::from_secs(120)), bytes: None };
    let options = LogStoreOptions { segment_bytes: 200, retention, ..LogStoreOptions::default() };
    let shard = ShardId(0);
    let (store, _) = LogStore::open(disk, shard, options).await.unwrap();
    let epoch = store.claim(shard).await.unwrap();
    let mut gone = SeqNo::ZERO;
    for (seq, at) in (1..=HEAD).zip((10..).step_by(10)) {
        let batch = Batch::of_entries(shard, (epoch, LogTime(at)), vec![entry(seq)]);
        store.append(batch).await.unwrap();
        let trims = store.tidy(LogTime(at)).await.unwrap();
        let channels = trims.into_iter().flat_map(|trim| trim.channels);
        gone = channels.map(|(_, upto)| upto).max().unwrap_or(gone);
    }
    gone
}

async fn page(client: &mut Strict, bound: HistoryBound) -> (Vec<SeqNo>, bool, Option<SeqNo>) {
    client.say(&ClientFrame::history(1, channel(), bound)).await;
    match client.hear().await {
        Heard::Frame(ServerFrame::Page { messages, more, trimmed_upto, .. }) => {
            (messages.into_iter().map(seq_of).collect(), more, trimmed_upto)
        }
        heard @ (Heard::Frame(_) | Heard::Close(_) | Heard::End) => panic!("no page: {heard:?}"),
    }
}

fn seq_of(frame: LogFrame) -> SeqNo {
    frame.into_entry().1.seq
}

fn behind(gone: SeqNo, upto: u64) -> Vec<SeqNo> {
    (gone.0 + 1..=upto).map(SeqNo).collect()
}

#[tokio::test]
async fn who_asks_for_what_is_gone_is_told_so_and_goes_on_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("data"));
    let gone = write_log(&data.join("log")).await;
    assert!((20..HEAD - 5).contains(&gone.0), "up to {gone} is gone");
    let server = Server::serve(&data);
    let token = Server::token(&data, "ada");

    let mut late = Strict::connect(&world, &server.address).await;
    let resume = vec![Resume::after(channel(), SeqNo(3))];
    late.say(&ClientFrame::Hello { token, resume, client: String::new() }).await;
    let Heard::Frame(ServerFrame::Welcome { channels, .. }) = late.hear().await else {
        panic!("not a welcome");
    };
    assert_eq!(channels[0].trimmed_upto, Some(gone));
    let trimmed = ServerFrame::Trimmed { channel: channel(), upto: gone };
    assert_eq!(late.hear().await, Heard::Frame(trimmed));
    for seq in behind(gone, HEAD) {
        let heard = late.hear().await;
        assert!(
            matches!(&heard, Heard::Frame(ServerFrame::Log(log)) if seq_of(log.clone()) == seq)
        );
    }
    let head = SeqNo(HEAD);
    let caught_up = ServerFrame::CaughtUp { channel: channel(), head };
    assert_eq!(late.hear().await, Heard::Frame(caught_up));

    let all = (behind(gone, HEAD), false, Some(gone));
    assert_eq!(page(&mut late, HistoryBound::After(SeqNo(3))).await, all);
    assert_eq!(page(&mut late, HistoryBound::Since(WallTime(0))).await, all);
    assert_eq!(page(&mut late, HistoryBound::Before(head.next())).await, all);
    let rest = (behind(head.before(), HEAD), false, None);
    assert_eq!(page(&mut late, HistoryBound::After(head.before())).await, rest);
}

#[tokio::test]
async fn the_page_says_that_older_messages_are_gone() {
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("data"));
    let gone = write_log(&data.join("log")).await;
    let server = Server::serve(&data);
    let mut browser = Browser::start(&world, directory.path()).await;
    let ada = Person::arrive(&mut browser, &server.address, &data, "ada").await;

    ada.sees(&mut browser, &format!("message {HEAD}")).await;
    let told = "document.querySelector('#gone')?.checkVisibility()";
    browser.until(&ada.page, "that messages are gone", told).await;
    let text = format!("Up to seq {gone}, the server did not keep what was here");
    assert_eq!(ada.text(&mut browser, "#gone").await, text);
    let earlier = browser.value(&ada.page, "document.querySelector('#earlier').hidden").await;
    assert_eq!(earlier, true, "there is nothing earlier to ask for");
    browser.audit(&ada.page, "a channel whose beginning is gone").await;
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
}
