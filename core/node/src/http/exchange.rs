//! A connection that carries plain requests, one answer each, in order.
//!
//! The connection is kept for the next request unless the peer asks otherwise. Everything that the
//! peer may make us hold or wait for is bounded: the size of a request, the time until it is
//! there, the time between requests, and the time in which the answer is read.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use seriatim_engine::handshake::{Afterwards, Request, Response};
use seriatim_engine::levels::Limit;
use seriatim_engine::limits::{
    HANDSHAKE_TIMEOUT, HTTP_ANSWER_TIMEOUT, HTTP_BODY_BYTES_MAX, HTTP_IDLE_TIMEOUT,
};
use seriatim_world::{BoxStream, clock};

use super::head::{self, Head};
use super::{Context, router};
use crate::pump;

/// Serves the connection until either side ends it. `first` has been read off it; `unread` came
/// behind.
///
/// # Errors
/// The stream failed, or the peer took too long.
pub(super) async fn run(
    context: &Context,
    stream: BoxStream,
    first: Box<Request>,
    unread: Vec<u8>,
) -> io::Result<()> {
    let mut exchange = Exchange { context, stream, unread };
    let mut next = Some(first);
    while let Some(request) = next.take() {
        let (response, afterwards) = exchange.serve(&request).await?;
        exchange.answer(&response, afterwards).await?;
        if afterwards == Afterwards::Close {
            return pump::finish(&mut exchange.stream, &*context.world.clock).await;
        }
        next = exchange.next().await?;
    }
    Ok(())
}

struct Exchange<'a> {
    context: &'a Context,
    stream: BoxStream,
    /// What was read and belongs to a body or to the next request.
    unread: Vec<u8>,
}

impl Exchange<'_> {
    async fn serve(&mut self, request: &Request) -> io::Result<(Response, Afterwards)> {
        let bytes = usize::try_from(request.content_length).unwrap_or(usize::MAX);
        if bytes > HTTP_BODY_BYTES_MAX {
            self.context.metrics.hit(Limit::HttpBodyBytes);
            // The body is not read, so nothing behind it can be.
            let remedy = format!("a body has at most {HTTP_BODY_BYTES_MAX} bytes; send less");
            return Ok((Response::text(413, &remedy), Afterwards::Close));
        }
        let context = self.context;
        let body = self.body(bytes, request.expects_continue);
        let body = within(context, Limit::HandshakeTime, HANDSHAKE_TIMEOUT, body).await?;
        context.metrics.gauges().plain_requests.add(1);
        Ok((router::answer(context, request, body).await, request.afterwards()))
    }

    async fn body(&mut self, bytes: usize, expects_continue: bool) -> io::Result<Bytes> {
        if expects_continue && self.unread.len() < bytes {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            self.stream.flush().await?;
        }
        while self.unread.len() < bytes {
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.unread.drain(..bytes).collect())
    }

    async fn answer(&mut self, response: &Response, afterwards: Afterwards) -> io::Result<()> {
        let bytes = response.encode(afterwards);
        let write = async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        };
        within(self.context, Limit::HttpAnswerTime, HTTP_ANSWER_TIMEOUT, write).await
    }

    /// The next request's head; `None` when the connection is over.
    async fn next(&mut self) -> io::Result<Option<Box<Request>>> {
        if self.unread.is_empty() {
            let first = self.stream.read_buf(&mut self.unread);
            let first = clock::timeout(&*self.context.world.clock, HTTP_IDLE_TIMEOUT, first);
            match first.await {
                Ok(read) => {
                    if read? == 0 {
                        return Ok(None);
                    }
                }
                Err(clock::TimedOut) => {
                    self.context.metrics.hit(Limit::HttpIdleTime);
                    return Ok(None);
                }
            }
        }
        let head = head::read(&mut self.stream, &mut self.unread);
        match within(self.context, Limit::HandshakeTime, HANDSHAKE_TIMEOUT, head).await? {
            Head::Request(request) => Ok(Some(request)),
            Head::Refused(error) => {
                self.context.count_refused(&error);
                let refusal = Response::text(error.status(), &error.to_string());
                self.answer(&refusal, Afterwards::Close).await?;
                pump::finish(&mut self.stream, &*self.context.world.clock).await?;
                Ok(None)
            }
            Head::End => Ok(None),
        }
    }
}

async fn within<T>(
    context: &Context,
    limit: Limit,
    time: Duration,
    future: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    clock::timeout(&*context.world.clock, time, future).await.unwrap_or_else(|clock::TimedOut| {
        context.metrics.hit(limit);
        let message = format!("the peer hit {}, {} s", limit.name(), time.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, message))
    })
}
