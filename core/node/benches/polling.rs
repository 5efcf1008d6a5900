//! What polling costs against a WebSocket: bytes on the wire both ways, and the delay of messages.
//!
//! `cargo bench -p seriatim-node --bench polling`. Readers of every kind are members of one channel
//! and get the same messages at the same time: by WebSocket, by long polling, and by asking every
//! second or five. Bytes are what the sockets were given and gave, HTTP heads included, TCP's own
//! not. Requests have the head that Chromium 150 sends from a page, but for one kind of reader that
//! sends the least that HTTP/1.1 allows. Connections are open before anything is counted.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use seriatim_bench::cpu::now_ns;
use seriatim_bench::server::{Layout, Server};
use seriatim_bench::table::print;
use seriatim_engine::ids::{UserId, WorkspaceId};
use seriatim_engine::limits::HEARTBEAT;
use seriatim_engine::time::WallTime;
use seriatim_engine::token::{Claims, TokenKey};
use seriatim_world::clock::sleep;
use seriatim_world::{BoxStream, World, real};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};

const SERVER: &str = env!("CARGO_BIN_EXE_seriatim-server");

/// Of each kind.
const READERS: usize = 10;

/// Bytes of a message's body.
const BODY_BYTES: usize = 100;

/// How often the user writes, in messages a minute, and for how many seconds that is measured.
const LOADS: [(u64, u64); 4] = [(0, 30), (6, 45), (60, 30), (600, 15)];

/// What a page's request carries besides what HTTP demands.
const BROWSER_HEAD: &str = "Connection: keep-alive\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\
    sec-ch-ua-platform: \"Linux\"\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 \
    (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36\r\nsec-ch-ua: \"Chromium\";v=\"150\", \
    \"Not?A_Brand\";v=\"24\"\r\nContent-Type: application/json\r\nsec-ch-ua-mobile: ?0\r\nAccept: */*\
    \r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\n";

/// How a reader gets what is new.
#[derive(Debug, Clone, Copy)]
enum Kind {
    WebSocket,
    LongPolling,
    /// By a request every so many seconds, with a head of this sort.
    Asking {
        every_s: u64,
        head: &'static str,
    },
}

const KINDS: [(&str, Kind); 5] = [
    ("WebSocket", Kind::WebSocket),
    ("long polling", Kind::LongPolling),
    ("every 5 s", Kind::Asking { every_s: 5, head: BROWSER_HEAD }),
    ("every 1 s", Kind::Asking { every_s: 1, head: BROWSER_HEAD }),
    ("every 1 s, bare head", Kind::Asking { every_s: 1, head: "" }),
];

/// The answer to a poll.
#[derive(Debug, Deserialize)]
struct Answer {
    connection: String,
    batch: u64,
    frames: Vec<Frame>,
    closed: Option<Value>,
}

/// A frame from the server; only messages have a body.
#[derive(Debug, Deserialize)]
struct Frame {
    body: Option<String>,
}

/// What the readers of one kind saw.
#[derive(Debug, Default)]
struct Tally {
    bytes: AtomicU64,
    delays_ns: Mutex<Vec<u64>>,
}

impl Tally {
    /// Takes what was counted since the last time: bytes, and delays in order.
    fn take(&self) -> (u64, Vec<u64>) {
        let mut delays = std::mem::take(&mut *self.delays_ns.lock().expect("no reader panics"));
        delays.sort_unstable();
        (self.bytes.swap(0, Ordering::Relaxed), delays)
    }

    fn hear(&self, frame: &Frame) {
        let body = frame.body.as_deref().unwrap_or_default();
        let sent_at = body.split(' ').next().and_then(|first| first.parse::<u64>().ok());
        if let Some(sent_at) = sent_at {
            let delay = now_ns().saturating_sub(sent_at);
            self.delays_ns.lock().expect("no reader panics").push(delay);
        }
    }
}

/// A stream whose bytes are counted, both ways.
struct Counted {
    stream: BoxStream,
    tally: Arc<Tally>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let count = buffer.filled().len() - before;
        self.tally.bytes.fetch_add(count as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.tally.bytes.fetch_add(count as u64, Ordering::Relaxed);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Where a reader connects, and as whom.
#[derive(Clone)]
struct Reader {
    world: World,
    address: String,
    token: String,
    tally: Arc<Tally>,
}

impl Reader {
    async fn connect(&self) -> anyhow::Result<Counted> {
        let stream = self.world.net.connect(&self.address).await?;
        Ok(Counted { stream, tally: self.tally.clone() })
    }

    fn hello(&self) -> Value {
        json!({ "type": "hello", "token": self.token, "client": "bench 1" })
    }

    async fn web_socket(&self) -> anyhow::Result<WebSocketStream<Counted>> {
        let stream = self.connect().await?;
        let uri = format!("ws://{}/v1/ws", self.address);
        let (mut socket, _) = ClientBuilder::new().uri(&uri)?.connect_on(stream).await?;
        socket.send(Message::text(self.hello().to_string())).await?;
        Ok(socket)
    }

    /// Reads by WebSocket for ever, with a heartbeat as often as the server asks for it.
    async fn listen(self) -> anyhow::Result<()> {
        let mut socket = self.web_socket().await?;
        let mut beat_at = self.world.clock.mono_now() + HEARTBEAT;
        loop {
            tokio::select! {
                biased;
                () = self.world.clock.sleep_until(beat_at) => {
                    socket.send(Message::text(heartbeat().to_string())).await?;
                    beat_at = beat_at + HEARTBEAT;
                }
                message = socket.next() => {
                    let message = message.context("the server closed the connection")??;
                    let text = message.as_text().context("text only")?;
                    self.tally.hear(&serde_json::from_str(text)?);
                }
            }
        }
    }

    /// Polls for ever: `every`, or again at once where the server may wait.
    async fn poll(self, every: Option<Duration>, head: &'static str) -> anyhow::Result<()> {
        let mut http = Http { stream: self.connect().await?, address: self.address.clone(), head };
        let open = json!({ "ack": 0, "frames": [self.hello()], "wait_ms": 5_000 });
        let answer: Answer = http.post(&open).await?;
        let name = answer.connection;
        if every.is_none() {
            // Heartbeats go by another connection, while a poll waits.
            let beats = self.clone().beat(name.clone(), head);
            self.world.spawn.spawn("beats", Box::pin(async { drop(beats.await) }));
        }
        let mut ack = 1;
        let mut beat_at = self.world.clock.mono_now() + HEARTBEAT;
        loop {
            let mut body = json!({ "connection": name, "ack": ack });
            if let Some(every) = every {
                sleep(&*self.world.clock, every).await;
                if self.world.clock.mono_now() >= beat_at {
                    beat_at = beat_at + HEARTBEAT;
                    body = json!({ "connection": name, "ack": ack, "frames": [heartbeat()] });
                }
            } else {
                body = json!({ "connection": name, "ack": ack, "wait_ms": 25_000 });
            }
            let answer: Answer = http.post(&body).await?;
            anyhow::ensure!(answer.closed.is_none(), "the session ended: {:?}", answer.closed);
            ack = answer.batch;
            answer.frames.iter().for_each(|frame| self.tally.hear(frame));
        }
    }

    async fn beat(self, name: String, head: &'static str) -> anyhow::Result<()> {
        // A connection on which nothing is asked for so long would be closed.
        sleep(&*self.world.clock, HEARTBEAT).await;
        let mut http = Http { stream: self.connect().await?, address: self.address.clone(), head };
        loop {
            let body = json!({ "connection": name, "frames": [heartbeat()] });
            let _: Value = http.post(&body).await?;
            sleep(&*self.world.clock, HEARTBEAT).await;
        }
    }

    async fn read(self, kind: Kind, number: usize) -> anyhow::Result<()> {
        match kind {
            Kind::WebSocket => self.listen().await,
            Kind::LongPolling => self.poll(None, BROWSER_HEAD).await,
            Kind::Asking { every_s, head } => {
                let every = Duration::from_secs(every_s);
                // Readers don't ask all at once.
                let part = every * u32::try_from(number)? / u32::try_from(READERS)?;
                sleep(&*self.world.clock, part).await;
                self.poll(Some(every), head).await
            }
        }
    }
}

fn heartbeat() -> Value {
    json!({ "type": "heartbeat", "state": "active", "background": false })
}

/// A connection for plain requests.
struct Http {
    stream: Counted,
    address: String,
    head: &'static str,
}

impl Http {
    async fn post<T: DeserializeOwned>(&mut self, body: &Value) -> anyhow::Result<T> {
        let body = body.to_string();
        let Self { address, head, .. } = self;
        let more = if head.is_empty() {
            String::new()
        } else {
            format!("{head}Origin: http://{address}\r\nReferer: http://{address}/\r\n")
        };
        let request = format!(
            "POST /v1/poll HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n{more}\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        loop {
            anyhow::ensure!(self.stream.read_buf(&mut answer).await? > 0, "no answer");
            let text = std::str::from_utf8(&answer).unwrap_or_default();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            if body.len() >= length.context("a length")?.parse::<usize>()? {
                anyhow::ensure!(head.starts_with("HTTP/1.1 200"), "{text}");
                return Ok(serde_json::from_str(body)?);
            }
        }
    }
}

/// Writes `per_minute` messages for so many seconds, evenly; gives how many.
async fn write(
    world: &World,
    socket: &mut WebSocketStream<Counted>,
    per_minute: u64,
    seconds: u64,
) -> anyhow::Result<u64> {
    // Its session is to outlive the quiet time.
    socket.send(Message::text(heartbeat().to_string())).await?;
    let began = world.clock.mono_now();
    let count = per_minute * seconds / 60;
    for number in 0..count {
        // In the middle of its share of the time, so that the last is read within it, too.
        let at = Duration::from_millis((2 * number + 1) * seconds * 500 / count);
        world.clock.sleep_until(began + at).await;
        let now = now_ns();
        let body = format!("{now} {:.<width$}", "", width = BODY_BYTES.saturating_sub(21));
        let send = json!({
            "type": "send", "id": now, "channel": "a0", "nonce": format!("{now}"), "body": body,
        });
        socket.send(Message::text(send.to_string())).await?;
    }
    world.clock.sleep_until(began + Duration::from_secs(seconds)).await;
    Ok(count)
}

async fn bench(server: &Server) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let world = real::world(directory.path())?;
    let key = TokenKey::new(server.secret()?.as_bytes())?;
    let reader = |user: usize, tally: &Arc<Tally>| -> anyhow::Result<Reader> {
        let token = key.sign(&Claims {
            workspace: WorkspaceId::new("bench")?,
            user: UserId::new(&format!("u{user}"))?,
            expires_at: WallTime(world.clock.wall_now().0 + 3_600_000),
        });
        let (world, address) = (world.clone(), server.address.clone());
        Ok(Reader { world, address, token, tally: tally.clone() })
    };
    let tallies: Vec<Arc<Tally>> = KINDS.iter().map(|_| Arc::default()).collect();
    let (failed, mut failures) = tokio::sync::mpsc::channel(1);
    for (place, ((name, kind), tally)) in KINDS.iter().zip(&tallies).enumerate() {
        for number in 0..READERS {
            let reading = reader(1 + place * READERS + number, tally)?.read(*kind, number);
            let failed = failed.clone();
            let task = async move {
                let error = reading.await.err();
                drop(failed.send(format!("{name}: {error:?}")).await);
            };
            world.spawn.spawn("reader", Box::pin(task));
        }
    }
    let mut writer = reader(0, &Arc::default())?.web_socket().await?;
    // The slowest reader has asked for the first time.
    sleep(&*world.clock, Duration::from_secs(6)).await;
    let cores = std::thread::available_parallelism()?;
    print(&format!("{READERS} readers of each kind, {BODY_BYTES} bytes a message, {cores} cores"));
    for (per_minute, seconds) in LOADS {
        tallies.iter().for_each(|tally| drop(tally.take()));
        let sent = tokio::select! {
            biased;
            failure = failures.recv() => anyhow::bail!("{failure:?}"),
            sent = write(&world, &mut writer, per_minute, seconds) => sent?,
        };
        let taken: Vec<(u64, Vec<u64>)> = tallies.iter().map(|tally| tally.take()).collect();
        print_load(per_minute, seconds, sent, &taken);
    }
    Ok(())
}

fn print_load(per_minute: u64, seconds: u64, sent: u64, taken: &[(u64, Vec<u64>)]) {
    print(&format!("\n{per_minute} messages a minute, for {seconds} s: {sent} messages"));
    print("                        bytes/s a reader   WebSocket saves   delay p50     p99");
    let rate = |bytes: u64| bytes as f64 / seconds as f64 / READERS as f64;
    let web_socket = taken.first().map_or(f64::NAN, |(bytes, _)| rate(*bytes));
    for ((name, _), (bytes, delays)) in KINDS.iter().zip(taken) {
        let part = |share: usize| {
            let at = (delays.len() * share / 100).min(delays.len().saturating_sub(1));
            delays.get(at).map_or("–".to_owned(), |ns| format!("{:.1} ms", *ns as f64 / 1e6))
        };
        let saved = 100.0 * (1.0 - web_socket / rate(*bytes));
        print(&format!(
            "{name:<22} {:>17.1} {saved:>15.1} % {:>13} {:>11}   of {}",
            rate(*bytes),
            part(50),
            part(99),
            delays.len()
        ));
    }
}

fn main() -> anyhow::Result<()> {
    let users = READERS * KINDS.len() + 1;
    let layout = Layout { users, members: users, channels_each: 1, messages: 0 };
    let server = Server::start(SERVER, &layout)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(bench(&server))
}
