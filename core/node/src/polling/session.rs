//! One polled session: the client's end of its pipe.
//!
//! It reads ahead by one batch, so that a poll finds what came since the last, and answers a poll
//! that waits as soon as there is anything. Of two polls that wait, the older is answered without
//! frames: its client has given it up.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt, DuplexStream, ReadBuf, ReadHalf};
use tokio::sync::{mpsc, oneshot};

use seriatim_engine::levels::Limit;
use seriatim_engine::limits::{
    CLIENT_FRAME_BYTES_MAX, CLIENT_SEND_BUFFER_BYTES, POLL_IDLE_TIMEOUT, POLL_WAIT_MAX,
    SERVER_FRAME_BYTES_MAX,
};
use seriatim_engine::polling::{Batches, UnknownBatch};
use seriatim_engine::time::MonoTime;
use seriatim_engine::websocket::{Decoder, Message, Opcode, Role, encode_frame};
use seriatim_world::Clock;

use super::Command;
use crate::metrics::Metrics;

/// What a client asks for.
#[derive(Debug)]
pub(crate) struct Request {
    /// The last batch that it has. `None`: it asks for none, it only brings frames.
    pub(crate) ack: Option<u64>,
    /// Its frames, in their order.
    pub(crate) frames: Vec<String>,
    /// How long to wait for something to answer with.
    pub(crate) wait: Duration,
    /// The client ends the session.
    pub(crate) close: bool,
}

/// What becomes of a poll.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The frames were handed on.
    Sent,
    Batch {
        /// The last batch that was made; without frames, the one that was acknowledged.
        number: u64,
        frames: Vec<String>,
        /// The session has ended so, and nothing comes behind these frames.
        closed: Option<(u16, String)>,
    },
    /// The session has ended, as its client wished.
    Closed,
    /// Nothing was handed on: what came before is not read, because too much is unread by the
    /// client.
    Full,
    UnknownBatch(UnknownBatch),
}

/// The close code of a session that ended without a close frame.
const NO_CLOSE_FRAME: u16 = 1006;

/// Serves polls until none has come for [`POLL_IDLE_TIMEOUT`].
pub(super) async fn run(
    pipe: DuplexStream,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    mut commands: mpsc::Receiver<Command>,
) {
    let (mut reader, mut writer) = tokio::io::split(pipe);
    let mut session = Session {
        decoder: Decoder::new(Role::Client, SERVER_FRAME_BYTES_MAX),
        batches: Batches::default(),
        outgoing: Vec::new(),
        waiting: None,
        idle_at: clock.mono_now() + POLL_IDLE_TIMEOUT,
        closed: None,
    };
    loop {
        let deadline = session.deadline();
        let (to_write, has_room) = (!session.outgoing.is_empty(), session.has_room());
        tokio::select! {
            biased;
            Some(command) = commands.recv() => {
                if command.request.close {
                    drop(command.reply.send(Reply::Closed));
                    return;
                }
                session.take(clock.mono_now(), command);
            }
            written = writer.write(&session.outgoing), if to_write => match written {
                Ok(count) => {
                    session.outgoing.drain(..count);
                }
                // Why it ended is still to be read.
                Err(_) => session.outgoing.clear(),
            },
            bytes = read(&mut reader), if has_room => session.heard(&bytes),
            () = clock.sleep_until(deadline) => {
                if session.waiting.is_none() {
                    metrics.hit(Limit::PollIdleTime);
                    return;
                }
            }
        }
        session.answer(clock.mono_now());
    }
}

/// What came; nothing when the pipe has ended. Holds no buffer while it waits.
async fn read(reader: &mut ReadHalf<DuplexStream>) -> Vec<u8> {
    std::future::poll_fn(|context| {
        let mut scratch = [MaybeUninit::uninit(); CLIENT_SEND_BUFFER_BYTES];
        let mut scratch = ReadBuf::uninit(&mut scratch);
        // A pipe does not fail, it ends.
        drop(ready!(Pin::new(&mut *reader).poll_read(context, &mut scratch)));
        Poll::Ready(scratch.filled().to_vec())
    })
    .await
}

struct Session {
    decoder: Decoder,
    batches: Batches,
    /// WebSocket frames that the pipe has not taken. At most what one poll brought is added to less
    /// than a frame's limit.
    outgoing: Vec<u8>,
    waiting: Option<Waiting>,
    /// When the session ends, unless a poll comes or waits.
    idle_at: MonoTime,
    closed: Option<(u16, String)>,
}

struct Waiting {
    reply: oneshot::Sender<Reply>,
    until: MonoTime,
}

impl Session {
    fn deadline(&self) -> MonoTime {
        self.waiting.as_ref().map_or(self.idle_at, |waiting| waiting.until)
    }

    fn has_room(&self) -> bool {
        self.closed.is_none() && self.batches.has_room()
    }

    fn take(&mut self, now: MonoTime, Command { request, reply }: Command) {
        self.idle_at = now + POLL_IDLE_TIMEOUT;
        if let Some(ack) = request.ack
            && let Err(error) = self.batches.acknowledge(ack)
        {
            // Whoever asked may be gone.
            drop(reply.send(Reply::UnknownBatch(error)));
            return;
        }
        if !request.frames.is_empty() && self.outgoing.len() >= CLIENT_FRAME_BYTES_MAX {
            drop(reply.send(Reply::Full));
            return;
        }
        for frame in request.frames {
            // Masks protect proxies from chosen bytes; there are none on a pipe.
            encode_frame(Opcode::Text, frame.as_bytes(), Some([0; 4]), &mut self.outgoing);
        }
        if request.ack.is_none() {
            drop(reply.send(Reply::Sent));
            return;
        }
        let until = now + request.wait.min(POLL_WAIT_MAX);
        if let Some(older) = self.waiting.replace(Waiting { reply, until }) {
            let number = self.batches.number();
            drop(older.reply.send(Reply::Batch { number, frames: Vec::new(), closed: None }));
        }
    }

    /// Takes what the session's other end wrote; nothing means that it has ended.
    fn heard(&mut self, mut bytes: &[u8]) {
        if bytes.is_empty() {
            self.closed.get_or_insert_with(|| (NO_CLOSE_FRAME, String::new()));
        }
        while !bytes.is_empty() {
            match self.decoder.decode(&mut bytes) {
                Ok(Some(Message::Text(text))) => self.batches.push(text),
                Ok(Some(Message::Close(close))) => {
                    self.closed = Some(close.unwrap_or((NO_CLOSE_FRAME, String::new())));
                }
                // We send no pings, so that no pongs come.
                Ok(None | Some(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => {}
                Err(error) => unreachable!("our own frames break RFC 6455: {error}"),
            }
        }
    }

    /// Answers the poll that waits, if there is something to tell or its time is up.
    fn answer(&mut self, now: MonoTime) {
        let Some(waiting) = self.waiting.take() else { return };
        let frames = self.batches.due().map(|(_, frames)| frames.to_vec());
        let closed = self.closed.clone().filter(|_| self.batches.is_last());
        if frames.is_none() && closed.is_none() && now < waiting.until {
            self.waiting = Some(waiting);
            return;
        }
        self.idle_at = now + POLL_IDLE_TIMEOUT;
        let (number, frames) = (self.batches.number(), frames.unwrap_or_default());
        drop(waiting.reply.send(Reply::Batch { number, frames, closed }));
    }
}
