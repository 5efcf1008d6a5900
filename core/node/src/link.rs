//! Links between gateways and owners: length-prefixed postcard frames over a stream.
//!
//! Both ends close a link that has been silent too long or on which too much is queued; the
//! gateway dials again.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use seriatim_engine::ids::{NodeId, ShardId};
use seriatim_engine::levels::Limit;
use seriatim_engine::limits::{
    LINK_BACKOFF_MAX, LINK_CONNECT_TIMEOUT, LINK_FRAME_BYTES_MAX, LINK_HEARTBEAT,
    LINK_QUEUE_BYTES_MAX, LINK_TIMEOUT,
};
use seriatim_engine::link::{FromOwner, LINK_VERSION, LinkHello, LinkId, ToOwner};
use seriatim_engine::time::MonoTime;
use seriatim_world::{BoxStream, World, clock};

use crate::config::LinkAddress;
use crate::gateway::Arrival as GatewayArrival;
use crate::messages::Arrival as OwnerArrival;
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::pump::{Progress, Pump};

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("{0}")]
    Stream(#[from] std::io::Error),
    #[error("nothing came for {} s", LINK_TIMEOUT.as_secs())]
    Silent,
    #[error("no connection within {} s", LINK_CONNECT_TIMEOUT.as_secs())]
    ConnectTimeout,
    #[error("a frame of {0} bytes is longer than the limit of {LINK_FRAME_BYTES_MAX}")]
    FrameTooLong(usize),
    #[error("not a frame: {0}")]
    Malformed(#[from] postcard::Error),
    #[error("the peer speaks version {0} of the link protocol, this node {LINK_VERSION}")]
    Version(u32),
    #[error("shard {0} is not owned here")]
    NotOwned(ShardId),
    #[error("the peer closed the link")]
    Closed,
    #[error("the node is stopping")]
    Stopping,
}

impl LinkError {
    /// Counts the limit that was hit, if one was.
    pub(crate) fn count(&self, metrics: &Metrics) {
        match self {
            Self::Silent => metrics.hit(Limit::LinkTime),
            Self::ConnectTimeout => metrics.hit(Limit::LinkConnectTime),
            Self::FrameTooLong(_) => metrics.hit(Limit::LinkFrameBytes),
            Self::Stream(_)
            | Self::Malformed(_)
            | Self::Version(_)
            | Self::NotOwned(_)
            | Self::Closed
            | Self::Stopping => {}
        }
    }
}

/// Queues `frame`; closes the link when too much is queued.
pub(crate) fn send(outbox: &Outbox, frame: Bytes, metrics: &Metrics) {
    let bytes = outbox.push(frame);
    if bytes <= LINK_QUEUE_BYTES_MAX {
        metrics.gauges().link_queue_bytes.set(bytes);
    } else {
        metrics.hit(Limit::LinkQueueBytes);
        tracing::warn!(bytes_max = LINK_QUEUE_BYTES_MAX, "link queue is full, closing the link");
        outbox.abandon();
    }
}

pub(crate) fn encode(frame: &impl Serialize) -> Bytes {
    let body = postcard::to_stdvec(frame).expect("link frames have no unserialisable parts");
    debug_assert!(body.len() <= LINK_FRAME_BYTES_MAX, "the peer would close the link");
    let mut bytes = BytesMut::with_capacity(4 + body.len());
    bytes.put_u32_le(u32::try_from(body.len()).expect("pages and batches are bounded"));
    bytes.extend_from_slice(&body);
    bytes.freeze()
}

/// Takes whole frames off the front of what was read.
#[derive(Default)]
struct Frames {
    buffer: Vec<u8>,
    start: usize,
}

impl Frames {
    fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, LinkError> {
        let unread = self.buffer.get(self.start..).unwrap_or_default();
        let Some((length, rest)) = unread.split_first_chunk::<4>() else { return self.compact() };
        let length = u32::from_le_bytes(*length) as usize;
        if length > LINK_FRAME_BYTES_MAX {
            return Err(LinkError::FrameTooLong(length));
        }
        let Some(body) = rest.get(..length) else { return self.compact() };
        let frame = postcard::from_bytes(body)?;
        self.start += 4 + length;
        Ok(Some(frame))
    }

    fn compact<T>(&mut self) -> Result<Option<T>, LinkError> {
        self.buffer.drain(..self.start);
        self.start = 0;
        Ok(None)
    }
}

/// One end of a link.
struct Link {
    pump: Pump,
    frames: Frames,
    clock: Arc<dyn clock::Clock>,
    heard_at: MonoTime,
}

impl Link {
    fn new(world: &World, stream: BoxStream, outbox: Outbox) -> Self {
        let clock = world.clock.clone();
        let heard_at = clock.mono_now();
        // Both ends go on reading while they wait to write, or they could wait for each other.
        let pump = Pump::new(stream, outbox, clock.clone(), LINK_TIMEOUT);
        Self { pump, frames: Frames::default(), clock, heard_at }
    }

    /// The next frame, or `None` at `wake`. May be dropped and called again.
    async fn next<T: DeserializeOwned>(&mut self, wake: MonoTime) -> Result<Option<T>, LinkError> {
        loop {
            if let Some(frame) = self.frames.next()? {
                return Ok(Some(frame));
            }
            let deadline = wake.min(self.heard_at + LINK_TIMEOUT);
            let progress = tokio::select! {
                biased;
                progress = self.pump.read(&mut self.frames.buffer) => Some(progress?),
                () = self.clock.sleep_until(deadline) => None,
            };
            let now = self.clock.mono_now();
            match progress {
                Some(Progress::Read) => self.heard_at = now,
                Some(Progress::End | Progress::Closed) => return Err(LinkError::Closed),
                None if self.heard_at + LINK_TIMEOUT <= now => return Err(LinkError::Silent),
                None => return Ok(None),
            }
        }
    }
}

/// What a dialling gateway needs.
pub(crate) struct Dialler {
    pub(crate) world: World,
    pub(crate) gateway: NodeId,
    pub(crate) shard: ShardId,
    pub(crate) address: LinkAddress,
    /// Where an owner in this process takes links.
    pub(crate) local: mpsc::Sender<BoxStream>,
    pub(crate) inbox: mpsc::Sender<GatewayArrival>,
    pub(crate) metrics: Metrics,
}

/// Bytes in flight on a link inside the process.
const LOCAL_LINK_BYTES: usize = 256 * 1024;

impl Dialler {
    /// Keeps a link to the shard's owner up until the gateway is gone.
    pub(crate) async fn run(self) {
        let mut failures = 0_u32;
        loop {
            let outbox = Outbox::default();
            let (error, was_up) = self.hold(&outbox).await;
            if matches!(error, LinkError::Stopping) {
                return;
            }
            error.count(&self.metrics);
            tracing::info!(shard = self.shard.0, %error, was_up, "link to the owner is down");
            failures = if was_up { 0 } else { failures.saturating_add(1) };
            let most =
                LINK_BACKOFF_MAX.min(std::time::Duration::from_millis(50) * (1 << failures.min(6)));
            let share = self.world.entropy.next_u64() % 1_000;
            clock::sleep(&*self.world.clock, most.mul_f64(0.5 + share as f64 / 2_000.0)).await;
        }
    }

    /// Dials and serves one link. Also tells whether it was up.
    async fn hold(&self, outbox: &Outbox) -> (LinkError, bool) {
        let stream = match self.connect().await {
            Ok(stream) => stream,
            Err(error) => return (error, false),
        };
        let hello =
            LinkHello { version: LINK_VERSION, gateway: self.gateway.clone(), shard: self.shard };
        outbox.push(encode(&hello));
        outbox.push(encode(&ToOwner::Ping));
        let mut link = Link::new(&self.world, stream, outbox.clone());
        // The owner's first pong proves that it is there and serves the shard.
        let mut up = false;
        let error = loop {
            let wake = link.clock.mono_now() + LINK_HEARTBEAT;
            let arrival = match link.next::<FromOwner>(wake).await {
                Ok(Some(frame)) if up => GatewayArrival::Link { shard: self.shard, frame },
                Ok(Some(_)) => {
                    up = true;
                    GatewayArrival::LinkUp { shard: self.shard, outbox: outbox.clone() }
                }
                Ok(None) => {
                    send(outbox, encode(&ToOwner::Ping), &self.metrics);
                    continue;
                }
                Err(error) => break error,
            };
            if self.inbox.send(arrival).await.is_err() {
                return (LinkError::Stopping, up);
            }
        };
        let down = GatewayArrival::LinkDown { shard: self.shard };
        if up && self.inbox.send(down).await.is_err() {
            return (LinkError::Stopping, up);
        }
        (error, up)
    }

    async fn connect(&self) -> Result<BoxStream, LinkError> {
        match &self.address {
            LinkAddress::Local => {
                let (ours, theirs) = tokio::io::duplex(LOCAL_LINK_BYTES);
                self.local.send(Box::new(theirs)).await.map_err(|_| LinkError::Stopping)?;
                Ok(Box::new(ours))
            }
            LinkAddress::Remote(address) => {
                let connect = self.world.net.connect(address);
                let stream = clock::timeout(&*self.world.clock, LINK_CONNECT_TIMEOUT, connect)
                    .await
                    .map_err(|_| LinkError::ConnectTimeout)??;
                Ok(stream)
            }
        }
    }
}

/// Serves one link at the owner's end. `inbox_of` finds the shard's owner.
pub(crate) async fn accept(
    world: World,
    stream: BoxStream,
    id: LinkId,
    inbox_of: impl Fn(ShardId) -> Option<mpsc::Sender<OwnerArrival>>,
) -> Result<(), LinkError> {
    let outbox = Outbox::default();
    let mut link = Link::new(&world, stream, outbox.clone());
    let deadline = link.clock.mono_now() + LINK_TIMEOUT;
    let hello: LinkHello = link.next(deadline).await?.ok_or(LinkError::Silent)?;
    if hello.version != LINK_VERSION {
        return Err(LinkError::Version(hello.version));
    }
    let inbox = inbox_of(hello.shard).ok_or(LinkError::NotOwned(hello.shard))?;
    let up = OwnerArrival::LinkUp { link: id, outbox };
    inbox.send(up).await.map_err(|_| LinkError::Stopping)?;
    let error = loop {
        let wake = link.clock.mono_now() + LINK_TIMEOUT;
        match link.next::<ToOwner>(wake).await {
            Ok(Some(frame)) => {
                let arrival = OwnerArrival::Frame { link: id, frame };
                inbox.send(arrival).await.map_err(|_| LinkError::Stopping)?;
            }
            Ok(None) => {}
            Err(error) => break error,
        }
    };
    inbox.send(OwnerArrival::LinkDown { link: id }).await.map_err(|_| LinkError::Stopping)?;
    Err(error)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn hits(metrics: &Metrics, limit: &str) -> bool {
        let line = format!("seriatim_limit_hits_total{{limit=\"{limit}\"}} 1\n");
        metrics.text(Duration::ZERO).contains(&line)
    }

    #[test]
    fn a_link_on_which_too_much_waits_is_closed() {
        let (outbox, metrics) = (Outbox::default(), Metrics::default());
        let frame = Bytes::from(vec![0; LINK_FRAME_BYTES_MAX]);
        for _ in 0..LINK_QUEUE_BYTES_MAX / LINK_FRAME_BYTES_MAX {
            send(&outbox, frame.clone(), &metrics);
        }
        assert!(!hits(&metrics, "LINK_QUEUE_BYTES_MAX"));
        send(&outbox, Bytes::from_static(b"x"), &metrics);
        assert!(hits(&metrics, "LINK_QUEUE_BYTES_MAX"));
        assert_eq!(outbox.push(frame), 0, "it takes no more");
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_by_its_length_alone() {
        let mut frames = Frames::default();
        let bytes = u32::try_from(LINK_FRAME_BYTES_MAX).unwrap();
        frames.buffer.extend(bytes.to_le_bytes());
        assert!(matches!(frames.next::<ToOwner>(), Ok(None)), "the rest may come");
        frames.buffer = (bytes + 1).to_le_bytes().into();
        let error = frames.next::<ToOwner>().unwrap_err();
        let metrics = Metrics::default();
        error.count(&metrics);
        assert!(hits(&metrics, "LINK_FRAME_BYTES_MAX"), "{error}");
    }
}
