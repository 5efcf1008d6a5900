//! One WebSocket connection of a client: handshake, frames out, frames in.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use seriatim_engine::frame::{ClientFrame, ServerFrame};
use seriatim_engine::handshake::{Parsed, client_request, parse_response};
use seriatim_engine::limits::SERVER_FRAME_BYTES_MAX;
use seriatim_engine::websocket::{Decoder, Message, Opcode, Role, encode_frame};
use seriatim_world::{BoxStream, Entropy, World};

/// A read takes at most this many bytes.
const READ_BYTES_MAX: usize = 16 * 1024;

/// An open connection.
pub(crate) struct Connection {
    stream: BoxStream,
    decoder: Decoder,
    /// Frames that are complete and not yet handed on.
    frames: VecDeque<ServerFrame>,
    writing: Bytes,
    waiting: Vec<u8>,
    closed: bool,
}

/// Dials `address` and does the handshake for `path`.
pub(crate) async fn open(world: World, address: String, path: String) -> io::Result<Connection> {
    let mut stream = world.net.connect(&address).await?;
    let mut key = [0; 16];
    let (high, low) = (world.entropy.next_u64(), world.entropy.next_u64());
    for (byte, random) in
        key.iter_mut().zip(high.to_le_bytes().into_iter().chain(low.to_le_bytes()))
    {
        *byte = random;
    }
    stream.write_all(&client_request(&address, &path, key)).await?;
    let mut bytes = Vec::with_capacity(512);
    let consumed = loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match parse_response(&bytes, key).map_err(io::Error::other)? {
            Parsed::Incomplete => {}
            Parsed::Complete { value: (), consumed } => break consumed,
        }
    };
    let mut connection = Connection {
        stream,
        decoder: Decoder::new(Role::Client, SERVER_FRAME_BYTES_MAX),
        frames: VecDeque::new(),
        writing: Bytes::new(),
        waiting: Vec::new(),
        closed: false,
    };
    let unread = bytes.split_off(consumed);
    connection.take(&unread, &*world.entropy)?;
    Ok(connection)
}

impl Connection {
    /// Queues a frame; [`Self::next`] writes it.
    pub(crate) fn send(&mut self, frame: &ClientFrame, entropy: &dyn Entropy) {
        encode_frame(Opcode::Text, &frame.to_json(), Some(mask(entropy)), &mut self.waiting);
    }

    /// The next frame, or `None` when the connection has ended. Writes what is queued meanwhile.
    /// May be dropped and called again.
    pub(crate) async fn next(&mut self, entropy: &dyn Entropy) -> io::Result<Option<ServerFrame>> {
        std::future::poll_fn(|context| self.poll_next(context, entropy)).await
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        entropy: &dyn Entropy,
    ) -> Poll<io::Result<Option<ServerFrame>>> {
        loop {
            self.poll_write(context)?;
            if let Some(frame) = self.frames.pop_front() {
                return Poll::Ready(Ok(Some(frame)));
            }
            if self.closed {
                return Poll::Ready(Ok(None));
            }
            let mut scratch = [std::mem::MaybeUninit::uninit(); READ_BYTES_MAX];
            let mut scratch = ReadBuf::uninit(&mut scratch);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut scratch))?;
            self.closed = scratch.filled().is_empty();
            self.take(scratch.filled(), entropy)?;
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        loop {
            if self.writing.is_empty() {
                if self.waiting.is_empty() {
                    return Ok(());
                }
                self.writing = std::mem::take(&mut self.waiting).into();
            }
            match Pin::new(&mut self.stream).poll_write(context, &self.writing) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => self.writing.advance(count),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(()),
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8], entropy: &dyn Entropy) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.decoder.decode(&mut bytes).map_err(io::Error::other)? {
                Some(Message::Text(text)) => {
                    let frame = ServerFrame::parse(text.as_bytes()).map_err(io::Error::other)?;
                    self.frames.push_back(frame);
                }
                Some(Message::Ping(payload)) => {
                    encode_frame(Opcode::Pong, &payload, Some(mask(entropy)), &mut self.waiting);
                }
                Some(Message::Close(_)) => self.closed = true,
                Some(Message::Binary(_) | Message::Pong(_)) | None => {}
            }
        }
        Ok(())
    }
}

/// Masking keeps proxies from reading frames as HTTP; any unpredictable number does.
fn mask(entropy: &dyn Entropy) -> [u8; 4] {
    let [a, b, c, d, ..] = entropy.next_u64().to_le_bytes();
    [a, b, c, d]
}
