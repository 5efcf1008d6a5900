//! The reference: epoll and `send(2)`, writing the same bytes to the same kind of sockets.

use std::io::BufRead as _;
use std::os::fd::OwnedFd;

use anyhow::Context;

use crate::child::{self, Process};
use crate::sockets::{Poll, accept, listener, receive, send_all};

pub(crate) const ROLE: &str = "reference";

/// The JSON of one event: 200 bytes, as the benches make the server's.
pub const EVENT_BYTES: usize = 200;

/// Starts the reference in a process of its own; gives its address too.
///
/// # Errors
/// The process can't be started.
pub fn start() -> anyhow::Result<(Process, String)> {
    let mut process = Process::start_role(ROLE)?;
    let address = process.line()?;
    Ok((process, address))
}

/// Accepts as many sockets as it is told to. From then on, each byte that comes on one of them is
/// a number: so many frames are sent to every socket, in one write each.
pub(crate) fn run() -> anyhow::Result<()> {
    let (listener, address) = listener()?;
    child::say(&address)?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let count: usize = line.trim().parse().context("a number of sockets")?;
    let sockets: Vec<OwnedFd> =
        (0..count).map(|_| accept(&listener)).collect::<anyhow::Result<_>>()?;
    let mut poll = Poll::new()?;
    for (number, socket) in sockets.iter().enumerate() {
        poll.add(socket, number)?;
    }
    child::say("accepted")?;
    let mut frame = vec![0x81, 126, 0, 0];
    frame.splice(2.., u16::try_from(EVENT_BYTES)?.to_be_bytes());
    frame.extend_from_slice(&[b'x'; EVENT_BYTES]);
    let mut byte = [0; 1];
    loop {
        for number in poll.wait()? {
            let socket = sockets.get(number).context("a socket of ours")?;
            // The end of the first client is the end of the bench.
            let Ok(read) = receive(socket, &mut byte) else { return Ok(()) };
            if let (Some(1), [frames]) = (read, byte) {
                let together = frame.repeat(usize::from(frames));
                for socket in &sockets {
                    send_all(socket, &together)?;
                }
            }
        }
    }
}
