//! Loads on real sockets, for benches that compare the server with a bare loop of system calls.
//!
//! Everything measured runs in processes of its own: the shipped `seriatim-server` ([`server`]),
//! the reference ([`reference`]) and the clients ([`clients`]), which do the handshake and `hello`
//! and then count frames. The bench tells them what to do over pipes ([`child`]) and reads their
//! CPU time from the kernel ([`cpu`]). No benchmark decides whether anything passes.
//!
//! # Traps
//!
//! - Clients bind to addresses of their own: a source port on 127.0.0.1 may be a listener's, and
//!   finding one that thousands of sockets leave free takes the kernel milliseconds.
//! - The kernel does the receiver's half of loopback TCP in the sender's time, but leaves it to
//!   `ksoftirqd` under load; what that used is added to the sender's.
//! - Repeats of what is compared alternate, and medians are compared: single figures stray by
//!   10 % and more on a busy machine.

pub mod child;
pub mod clients;
pub mod cpu;
mod frames;
pub mod reference;
pub mod server;
mod sockets;
pub mod table;

/// Takes over when this process was started as a child of a bench. A bench calls it first, and
/// returns when it says true.
///
/// # Errors
/// What the child reports.
pub fn is_child() -> anyhow::Result<bool> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next().as_deref()) {
        (Some(child::MARK), Some(clients::ROLE)) => clients::run()?,
        (Some(child::MARK), Some(reference::ROLE)) => reference::run()?,
        _ => return Ok(false),
    }
    Ok(true)
}
