//! Members that take nothing, and one that is far behind, in a live channel: the others and they
//! themselves get everything, and what waits for them is bounded. The bench of the same name is the
//! large version of it.

use std::sync::{Arc, Mutex, MutexGuard};

use seriatim_bench::cpu::resident_bytes;
use seriatim_bench::server::{Layout, Server, WORKSPACE};
use seriatim_engine::frame::{ClientFrame, LogFrame, Resume, ServerFrame};
use seriatim_engine::handshake::client_request;
use seriatim_engine::ids::{ChannelId, Nonce, SeqNo, UserId, WorkspaceId};
use seriatim_engine::limits::SESSION_QUEUE_BYTES_MAX;
use seriatim_engine::time::WallTime;
use seriatim_engine::token::{Claims, TokenKey};
use seriatim_engine::websocket::{Decoder, Message, Opcode, Role, encode_frame};
use seriatim_world::{BoxStream, World};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};

use crate::user::{until, world};
use crate::watching::{get, sample};

const MEMBERS: usize = 240;
const STALLED: usize = 40;
const BACKLOG: u64 = 5_000;
const SENDS: u64 = 150;

/// Sends without an answer.
const TOGETHER: u64 = 10;

/// Far more in all than a stalled socket's two kernels and its queue hold.
const BODY_BYTES: usize = 4_000;

/// One member's bare connection.
struct Member {
    seen: Arc<Mutex<Seen>>,
    requests: mpsc::Sender<ClientFrame>,
}

/// What came.
#[derive(Default)]
struct Seen {
    welcome: bool,
    last: SeqNo,
    accepted: u64,
}

/// How members get in.
struct Door {
    world: World,
    address: String,
    key: TokenKey,
}

impl Door {
    /// Connects the member with this number, from the head on or after `resume`. It reads while
    /// `reading` says so.
    fn enter(
        &self,
        number: usize,
        resume: Option<SeqNo>,
        reading: watch::Receiver<bool>,
    ) -> Member {
        let user = UserId::new(&format!("u{number}")).unwrap();
        let expires_at = WallTime(self.world.clock.wall_now().0 + 3_600_000);
        let workspace = WorkspaceId::new(WORKSPACE).unwrap();
        let token = self.key.sign(&Claims { workspace, user, expires_at });
        let seen = Arc::<Mutex<Seen>>::default();
        let (requests, wanted) = mpsc::channel(1);
        let (world, address) = (self.world.clone(), self.address.clone());
        let session = Session { address, token, reading, wanted, seen: seen.clone() };
        world.clone().spawn.spawn("member", Box::pin(session.run(world, resume)));
        Member { seen, requests }
    }
}

impl Member {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no member panicked")
    }
}

struct Session {
    address: String,
    token: String,
    reading: watch::Receiver<bool>,
    wanted: mpsc::Receiver<ClientFrame>,
    seen: Arc<Mutex<Seen>>,
}

impl Session {
    async fn run(mut self, world: World, resume: Option<SeqNo>) {
        let mut stream = world.net.connect(&self.address).await.unwrap();
        let mut bytes = client_request(&self.address, "/v1/ws", [7; 16]).to_vec();
        let resume = resume.map(|after| Resume::after(channel(), after));
        let (token, client) = (self.token.clone(), String::new());
        let hello = ClientFrame::Hello { token, resume: resume.into_iter().collect(), client };
        write_frame(&hello, &mut bytes);
        stream.write_all(&bytes).await.unwrap();
        self.serve(&mut stream).await;
        // Nothing here takes as long as the server lets a stalled or silent session live, and one
        // that came back would hide that it had been forgotten.
        let _seen = self.seen.lock();
        panic!("the server ended a connection");
    }

    /// Until the server ends the connection.
    async fn serve(&mut self, stream: &mut BoxStream) {
        let (mut decoder, mut head) = (Decoder::new(Role::Client, 1 << 21), Vec::new());
        let mut buffer = vec![0; 16 * 1024];
        loop {
            self.reading.wait_for(|reading| *reading).await.expect("the test holds the sender");
            let count = tokio::select! {
                biased;
                _ = self.reading.changed() => continue,
                read = stream.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(count) => count,
                },
                Some(frame) = self.wanted.recv() => {
                    let mut bytes = Vec::new();
                    write_frame(&frame, &mut bytes);
                    stream.write_all(&bytes).await.unwrap();
                    continue;
                }
            };
            let mut unread = &buffer[..count];
            while head.last_chunk() != Some(b"\r\n\r\n") {
                let Some((byte, rest)) = unread.split_first() else { break };
                head.push(*byte);
                unread = rest;
            }
            while let Some(message) = decoder.decode(&mut unread).unwrap() {
                if let Message::Text(text) = message {
                    self.take(ServerFrame::parse(text.as_bytes()).unwrap());
                }
            }
        }
    }

    fn take(&self, frame: ServerFrame) {
        let mut seen = self.seen.lock().expect("nobody panicked");
        if let ServerFrame::Welcome { channels, .. } = frame {
            let after = channels.first().expect("a member of one channel").after;
            (seen.welcome, seen.last) = (true, after);
        } else if let ServerFrame::Log(
            LogFrame::Message { seq, .. } | LogFrame::Event { seq, .. },
        ) = frame
        {
            assert_eq!(seq, seen.last.next(), "a gap or a repeat");
            seen.last = seq;
        } else if let ServerFrame::Accepted { .. } = frame {
            seen.accepted += 1;
        } else if let ServerFrame::Rejected { message, .. } = frame {
            panic!("a request was refused: {message}");
        }
    }
}

fn channel() -> ChannelId {
    ChannelId::new("a0").unwrap()
}

fn write_frame(frame: &ClientFrame, bytes: &mut Vec<u8>) {
    encode_frame(Opcode::Text, &frame.to_json(), Some([1, 2, 3, 4]), bytes);
}

#[test]
fn members_that_take_nothing_cost_little_and_everyone_gets_everything() {
    let layout = Layout { users: MEMBERS, members: MEMBERS, channels_each: 1, messages: BACKLOG };
    let server = Server::start(env!("CARGO_BIN_EXE_seriatim-server"), &layout).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(chat(&server));
}

async fn chat(server: &Server) {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    let key = TokenKey::new(server.secret().unwrap().as_bytes()).unwrap();
    let door = Door { world: world.clone(), address: server.address.clone(), key };
    let (awake, always) = watch::channel(true);
    let (stall, stalling) = watch::channel(true);
    let live: Vec<Member> =
        (0..MEMBERS - STALLED - 1).map(|number| door.enter(number, None, always.clone())).collect();
    let stalled: Vec<Member> = (MEMBERS - STALLED..MEMBERS)
        .map(|number| door.enter(number, None, stalling.clone()))
        .collect();
    let everyone = || live.iter().chain(&stalled);
    until(&world, "welcomes", || everyone().all(|member| member.seen().welcome)).await;

    stall.send_replace(false);
    let before = resident_bytes(server.process.pid());
    let mut behind = None;
    for number in 0..SENDS {
        if number == SENDS / 3 {
            let joined = SeqNo(MEMBERS as u64);
            behind = Some(door.enter(MEMBERS - STALLED - 1, Some(joined), always.clone()));
        }
        let nonce = Nonce::new(&format!("n{number}")).unwrap();
        let body = "x".repeat(BODY_BYTES).into();
        let send = ClientFrame::Send { id: number, channel: channel(), nonce, body };
        live[0].requests.send(send).await.unwrap();
        until(&world, "accepted", || live[0].seen().accepted + TOGETHER > number).await;
    }
    let behind = behind.unwrap();
    let head = SeqNo(MEMBERS as u64 + BACKLOG + SENDS);
    let reached = |member: &Member| member.seen().last == head;
    until(&world, "all who read", || live.iter().chain([&behind]).all(reached)).await;

    assert!(!stalled.iter().any(reached), "nobody was stalled");
    let figures = get(&world, &server.address, "/metrics").await.body;
    let hits = "seriatim_limit_hits_total{limit=\"SESSION_QUEUE_BYTES_MAX\"}";
    assert!(sample(&figures, hits) >= STALLED as f64, "their queues are bounded");
    let grown = resident_bytes(server.process.pid()).saturating_sub(before);
    // What the pages of the one who was behind leave with the allocator comes on top.
    let bound = 2 * STALLED * SESSION_QUEUE_BYTES_MAX + 16 * 1024 * 1024;
    assert!(grown < bound as u64, "{grown} bytes for {STALLED} stalled members");

    stall.send_replace(true);
    until(&world, "those who were stalled", || stalled.iter().all(reached)).await;
    drop(awake);
}
