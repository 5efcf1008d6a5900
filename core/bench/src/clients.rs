//! Many bare clients in one process: handshake, `hello`, and then frames are counted and their
//! positions checked.

use std::io::BufRead as _;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use anyhow::{Context, bail, ensure};
use seriatim_engine::frame::{ClientFrame, Resume};
use seriatim_engine::handshake::client_request;
use seriatim_engine::ids::{ChannelId, Nonce, SeqNo, UserId, WorkspaceId};
use seriatim_engine::time::WallTime;
use seriatim_engine::token::{Claims, TokenKey};
use seriatim_engine::websocket::{Opcode, encode_frame};
use seriatim_world::{Clock as _, real::RealClock};

use crate::child::{self, Process, numbers};
use crate::cpu::now_ns;
use crate::frames::{Frames, number};
use crate::server::{Server, WORKSPACE};
use crate::sockets::{Poll, dial, receive, send_all};

pub(crate) const ROLE: &str = "clients";

/// So many connections are opened together: fewer than wait for a handshake at most.
const OPENED_TOGETHER: usize = 128;

/// What one read takes at most.
const READ_BYTES_MAX: usize = 256 * 1024;

/// Clients that are silent for 45 s are taken for dead, and connecting many takes its time.
const PING_INTERVAL_NS: u64 = 10_000_000_000;

/// A process full of clients.
pub struct Clients {
    pub process: Process,
    /// The second number of its clients' addresses.
    octet: u8,
}

/// What some rounds came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Messages that clients received.
    pub deliveries: u64,
    pub nanos: u64,
    /// From the sender's `send` to a member's read: the middle one, and the 99th of 100.
    pub latency_us_p50: u64,
    pub latency_us_p99: u64,
    /// The 99th of 100 of each round.
    pub round_us_p99: Vec<u64>,
}

impl Clients {
    /// Starts a process without clients. `number` tells it from others, from 0.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(number: u8) -> anyhow::Result<Self> {
        Ok(Self { process: Process::start_role(ROLE)?, octet: number + 2 })
    }

    /// Connects the users `first..first + count`, whose channels have `members` each, and waits
    /// for their `welcome`. `resume` is the position from which they go on; without it, the head.
    ///
    /// # Errors
    /// The server refuses one.
    pub fn connect(
        &mut self,
        server: &Server,
        (first, count): (usize, usize),
        members: usize,
        resume: Option<u64>,
    ) -> anyhow::Result<()> {
        let (address, secret, octet) = (&server.address, server.secret()?, self.octet);
        let resume = resume.map_or("-".to_owned(), |after| after.to_string());
        let line = format!("connect {address} {octet} {secret} {first} {count} {members} {resume}");
        ensure!(self.process.ask(&line)? == "connected", "the clients did not connect");
        Ok(())
    }

    /// Connects `count` sockets to the reference, which says nothing.
    ///
    /// # Errors
    /// No connection.
    pub fn dial(&mut self, address: &str, count: usize) -> anyhow::Result<()> {
        let line = format!("dial {address} {} {count}", self.octet);
        ensure!(self.process.ask(&line)? == "connected", "the clients did not connect");
        Ok(())
    }

    /// In each round the first member of every channel sends `frames` messages, which make events
    /// of `bytes`, and all wait until every member has them.
    ///
    /// # Errors
    /// A message is missing, repeated or out of order.
    pub fn rounds(&mut self, rounds: usize, frames: u8, bytes: usize) -> anyhow::Result<Done> {
        self.begin_rounds(rounds, frames, bytes)?;
        self.end_rounds()
    }

    /// As [`Self::rounds`], and doesn't wait.
    ///
    /// # Errors
    /// The process ended.
    pub fn begin_rounds(&mut self, rounds: usize, frames: u8, bytes: usize) -> anyhow::Result<()> {
        self.process.tell(&format!("rounds {rounds} {frames} {bytes}"))
    }

    /// Waits for the end of what [`Self::begin_rounds`] began.
    ///
    /// # Errors
    /// A message is missing, repeated or out of order.
    pub fn end_rounds(&mut self) -> anyhow::Result<Done> {
        let answer = self.process.line()?;
        match *numbers(&answer)? {
            [deliveries, nanos, latency_us_p50, latency_us_p99, ref rounds @ ..] => {
                let round_us_p99 = rounds.to_vec();
                Ok(Done { deliveries, nanos, latency_us_p50, latency_us_p99, round_us_p99 })
            }
            _ => bail!("a process of the bench said {answer:?}"),
        }
    }

    /// Begins to read until every client has the entry at `head`; [`Self::end_reading`] waits.
    ///
    /// # Errors
    /// The process ended.
    pub fn begin_reading(&mut self, head: u64) -> anyhow::Result<()> {
        self.process.tell(&format!("read {head}"))
    }

    /// Waits until every client has what it was to read; gives the entries read and the time.
    ///
    /// # Errors
    /// An entry is missing, repeated or out of order.
    pub fn end_reading(&mut self) -> anyhow::Result<(u64, u64)> {
        let answer = self.process.line()?;
        match *numbers(&answer)? {
            [entries, nanos] => Ok((entries, nanos)),
            _ => bail!("a process of the bench said {answer:?}"),
        }
    }

    /// The newest entry that the first client has.
    ///
    /// # Errors
    /// The process ended.
    pub fn head(&mut self) -> anyhow::Result<u64> {
        let answer = self.process.ask("head")?;
        numbers(&answer)?.first().copied().context("no head")
    }

    /// Lets the kernel hold this many bytes for each client that connects from now on and doesn't
    /// read (it doubles the figure).
    ///
    /// # Errors
    /// The process ended.
    pub fn limit_receive_buffer(&mut self, bytes: usize) -> anyhow::Result<()> {
        self.process.ask(&format!("buffer {bytes}")).map(|_| ())
    }

    /// Every client says that it is there, and hears it: nobody is taken for dead.
    ///
    /// # Errors
    /// The server closed a connection.
    pub fn ping(&mut self) -> anyhow::Result<()> {
        self.process.ask("ping").map(|_| ())
    }
}

/// Does what it is told, line by line, until its input ends.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut load = Load::new()?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match *words.as_slice() {
            ["connect", address, octet, secret, first, count, members, resume] => {
                let who = Who { first: first.parse()?, members: members.parse()? };
                load.connect(address, octet.parse()?, secret, &who, count.parse()?, resume)?
            }
            ["dial", address, octet, count] => {
                load.dial(address, octet.parse()?, count.parse()?)?
            }
            ["rounds", rounds, frames, bytes] => {
                load.rounds(rounds.parse()?, frames.parse()?, bytes.parse()?)?
            }
            ["read", head] => load.read(head.parse()?)?,
            ["head"] => format!("head {}", load.clients.first().map_or(0, |client| client.last)),
            ["buffer", bytes] => {
                load.receive_buffer = Some(bytes.parse()?);
                "limited".to_owned()
            }
            ["ping"] => load.ping()?,
            _ => bail!("a bench said {line:?} to its clients"),
        };
        child::say(&answer)?;
    }
    Ok(())
}

/// Which users the clients of a process are.
struct Who {
    first: usize,
    members: usize,
}

struct Load {
    poll: Poll,
    clients: Vec<Client>,
    buffer: Vec<u8>,
    sent: u64,
    pinged_at: u64,
    receive_buffer: Option<usize>,
    heard: Heard,
}

struct Client {
    socket: OwnedFd,
    frames: Frames,
    /// Of its channel `a`; empty for a client of the reference.
    channel: String,
    user: String,
    publishes: bool,
    /// The position of its newest entry.
    last: u64,
}

/// What came, in all.
#[derive(Debug, Default)]
struct Heard {
    messages: u64,
    /// Of the messages of this round.
    latencies_us: Vec<u32>,
    replies: u64,
    pongs: u64,
    welcomes: u64,
}

impl Load {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            clients: Vec::new(),
            buffer: vec![0; READ_BYTES_MAX],
            sent: 0,
            pinged_at: now_ns(),
            receive_buffer: None,
            heard: Heard::default(),
        })
    }

    fn connect(
        &mut self,
        address: &str,
        octet: u8,
        secret: &str,
        who: &Who,
        count: usize,
        resume: &str,
    ) -> anyhow::Result<String> {
        let key = TokenKey::new(secret.as_bytes())?;
        let expires_at = WallTime(RealClock::new().wall_now().0 + 3_600_000);
        let mut opened = 0;
        while opened < count {
            let together = OPENED_TOGETHER.min(count - opened);
            for number in who.first + opened..who.first + opened + together {
                let (user, channel) = (format!("u{number}"), format!("a{}", number / who.members));
                let workspace = WorkspaceId::new(WORKSPACE)?;
                let claims = Claims { workspace, user: UserId::new(&user)?, expires_at };
                let resume = match resume.parse() {
                    Ok(after) => {
                        vec![Resume::after(ChannelId::new(&channel)?, SeqNo(after))]
                    }
                    Err(_) => Vec::new(),
                };
                let hello =
                    ClientFrame::Hello { token: key.sign(&claims), resume, client: String::new() };
                let mut bytes = client_request(address, "/v1/ws", [7; 16]).to_vec();
                write_frame(&hello, &mut bytes);
                let publishes = number % who.members == 0;
                self.open(address, octet, Client::new(user, channel, publishes), &bytes)?;
            }
            opened += together;
            let welcomes = self.clients.len() as u64;
            self.read_until(|heard| heard.welcomes == welcomes)?;
            if now_ns() - self.pinged_at > PING_INTERVAL_NS {
                self.ping()?;
            }
        }
        Ok("connected".to_owned())
    }

    fn dial(&mut self, address: &str, octet: u8, count: usize) -> anyhow::Result<String> {
        for number in 0..count {
            self.open(address, octet, Client::new(String::new(), String::new(), number == 0), &[])?;
        }
        Ok("connected".to_owned())
    }

    fn open(
        &mut self,
        address: &str,
        octet: u8,
        client: impl FnOnce(OwnedFd) -> Client,
        bytes: &[u8],
    ) -> anyhow::Result<()> {
        // An address for each: the kernel takes long to find a port that thousands don't use.
        let [_, _, high, low] = u32::try_from(self.clients.len() + 1)?.to_be_bytes();
        let source = Ipv4Addr::new(127, octet, high, low);
        let socket = dial(address, source, self.receive_buffer)?;
        send_all(&socket, bytes)?;
        self.poll.add(&socket, self.clients.len())?;
        self.clients.push(client(socket));
        Ok(())
    }

    fn rounds(&mut self, rounds: usize, frames: u8, bytes: usize) -> anyhow::Result<String> {
        let started = now_ns();
        let before = self.heard.messages;
        let (mut all, mut round_p99) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            self.heard.latencies_us.clear();
            let mut replies = self.heard.replies;
            for client in self.clients.iter().filter(|client| client.publishes) {
                send_all(&client.socket, &client.publication(frames, bytes, &mut self.sent)?)?;
                replies += if client.is_bare() { 0 } else { u64::from(frames) };
            }
            let due = self.heard.messages + self.clients.len() as u64 * u64::from(frames);
            self.read_until(|heard| heard.messages >= due && heard.replies >= replies)?;
            self.heard.latencies_us.sort_unstable();
            round_p99.push(percentile(&self.heard.latencies_us, 99).to_string());
            all.extend_from_slice(&self.heard.latencies_us);
        }
        let nanos = now_ns() - started;
        all.sort_unstable();
        Ok(format!(
            "done {} {nanos} {} {} {}",
            self.heard.messages - before,
            percentile(&all, 50),
            percentile(&all, 99),
            round_p99.join(" ")
        ))
    }

    fn read(&mut self, head: u64) -> anyhow::Result<String> {
        let started = now_ns();
        let before = self.heard.messages;
        while let Some(missing) = self
            .clients
            .iter()
            .map(|client| head.saturating_sub(client.last))
            .max()
            .filter(|one| *one > 0)
        {
            // At least so many more, or it would not be complete.
            let due = self.heard.messages + missing;
            self.read_until(|heard| heard.messages >= due)?;
        }
        Ok(format!("read {} {}", self.heard.messages - before, now_ns() - started))
    }

    fn ping(&mut self) -> anyhow::Result<String> {
        let mut ping = Vec::new();
        write_frame(&ClientFrame::Ping, &mut ping);
        let mut pinged = self.heard.pongs;
        for client in self.clients.iter().filter(|client| !client.is_bare()) {
            send_all(&client.socket, &ping)?;
            pinged += 1;
        }
        self.read_until(|heard| heard.pongs == pinged)?;
        self.pinged_at = now_ns();
        Ok("pinged".to_owned())
    }

    /// Reads from all sockets until what was heard is enough.
    fn read_until(&mut self, enough: impl Fn(&Heard) -> bool) -> anyhow::Result<()> {
        while !enough(&self.heard) {
            for number in self.poll.wait()? {
                let client = self.clients.get_mut(number).context("a client of ours")?;
                if let Some(count) = receive(&client.socket, &mut self.buffer)? {
                    let bytes = self.buffer.get(..count).unwrap_or_default();
                    client.take(bytes, &mut self.heard)?;
                }
            }
        }
        Ok(())
    }
}

/// Of latencies in their order; 0 of none.
fn percentile(latencies: &[u32], percent: usize) -> u32 {
    let index = (latencies.len() * percent / 100).min(latencies.len().saturating_sub(1));
    latencies.get(index).copied().unwrap_or(0)
}

impl Client {
    fn new(user: String, channel: String, publishes: bool) -> impl FnOnce(OwnedFd) -> Self {
        move |socket| Self { socket, frames: Frames::default(), channel, user, publishes, last: 0 }
    }

    /// Whether it talks to the reference.
    fn is_bare(&self) -> bool {
        self.channel.is_empty()
    }

    /// The bytes that make everybody be sent `frames` events of `event_bytes` each.
    fn publication(
        &self,
        frames: u8,
        event_bytes: usize,
        sent: &mut u64,
    ) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if self.is_bare() {
            bytes.push(frames);
            return Ok(bytes);
        }
        for number in 1..=u64::from(frames) {
            *sent += 1;
            let nonce = format!("{}-{sent}", self.user);
            let around = format!(
                r#"{{"type":"message","channel":"{}","seq":{},"sender":"{}","nonce":"{nonce}","body":"","at_ms":1767225600000}}"#,
                self.channel,
                self.last + number,
                self.user,
            );
            let body = format!("{:.<1$}", now_ns(), event_bytes.saturating_sub(around.len()));
            let channel = ChannelId::new(&self.channel)?;
            let (nonce, body) = (Nonce::new(&nonce)?, body.into());
            write_frame(&ClientFrame::Send { id: *sent, channel, nonce, body }, &mut bytes);
        }
        Ok(bytes)
    }

    fn take(&mut self, mut bytes: &[u8], heard: &mut Heard) -> anyhow::Result<()> {
        if bytes.starts_with(b"HTTP/1.1 ") {
            ensure!(bytes.starts_with(b"HTTP/1.1 101"), "refused: {}", bytes.escape_ascii());
            let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
            bytes = bytes.get(end.context("a handshake in two pieces")? + 4..).unwrap_or_default();
        }
        let (last, mut wrong) = (&mut self.last, None);
        self.frames.take(bytes, |payload| {
            if let Err(error) = count(payload, last, heard) {
                wrong = Some(error);
            }
        });
        match wrong {
            Some(error) => Err(error.context(format!("client {}", self.user))),
            None => Ok(()),
        }
    }
}

/// Counts a frame; an entry must be the next of its channel.
fn count(payload: &[u8], last: &mut u64, heard: &mut Heard) -> anyhow::Result<()> {
    let is = |kind: &str| payload.starts_with(format!(r#"{{"type":"{kind}""#).as_bytes());
    if payload.starts_with(b"x") {
        heard.messages += 1;
    } else if is("message") || is("event") {
        let seq = number(payload, r#""seq":"#).context("an entry without a position")?;
        ensure!(seq == *last + 1, "entry {seq} came after {last}");
        *last = seq;
        heard.messages += 1;
        if let Some(sent_ns) = number(payload, r#""body":""#) {
            let micros = now_ns().saturating_sub(sent_ns) / 1_000;
            heard.latencies_us.push(u32::try_from(micros).unwrap_or(u32::MAX));
        }
    } else if is("accepted") {
        heard.replies += 1;
    } else if is("pong") {
        heard.pongs += 1;
    } else if is("welcome") {
        *last = number(payload, r#""after":"#).unwrap_or(0);
        heard.welcomes += 1;
    } else if is("rejected") || is("goodbye") {
        bail!("the server said {}", payload.escape_ascii());
    }
    Ok(())
}

fn write_frame(frame: &ClientFrame, bytes: &mut Vec<u8>) {
    encode_frame(Opcode::Text, &frame.to_json(), Some([1, 2, 3, 4]), bytes);
}
