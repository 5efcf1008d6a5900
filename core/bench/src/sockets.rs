//! Non-blocking TCP sockets and epoll, as bare as the safe wrappers have them.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use anyhow::Context;
use rustix::event::epoll;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, accept_with, bind, connect,
    getsockname, listen, recv, send, socket_with, sockopt,
};
use seriatim_engine::limits::CLIENT_SEND_BUFFER_BYTES;

/// The most events of one wait.
const EVENTS_MAX: usize = 1_024;

/// Which sockets can be read.
pub(crate) struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poll {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS_MAX) })
    }

    pub(crate) fn add(&self, socket: &OwnedFd, number: usize) -> anyhow::Result<()> {
        let data = epoll::EventData::new_u64(number as u64);
        Ok(epoll::add(&self.epoll, socket, data, epoll::EventFlags::IN)?)
    }

    /// The numbers of sockets that can be read, once there are any.
    pub(crate) fn wait(&mut self) -> anyhow::Result<Vec<usize>> {
        self.events.clear();
        loop {
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), None) {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let number = |event: &epoll::Event| usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
        Ok(self.events.iter().map(number).collect())
    }
}

/// A listener on a free port of 127.0.0.1, and its address.
pub(crate) fn listener() -> anyhow::Result<(OwnedFd, String)> {
    let socket = stream_socket(SocketFlags::CLOEXEC)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    // As the server's.
    sockopt::set_socket_send_buffer_size(&socket, CLIENT_SEND_BUFFER_BYTES)?;
    listen(&socket, 4_096)?;
    let address = SocketAddrV4::try_from(getsockname(&socket)?)?.to_string();
    Ok((socket, address))
}

pub(crate) fn accept(listener: &OwnedFd) -> anyhow::Result<OwnedFd> {
    let socket = accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    Ok(socket)
}

/// Connects from `source`, which is not 127.0.0.1.
pub(crate) fn dial(
    address: &str,
    source: Ipv4Addr,
    receive_buffer: Option<usize>,
) -> anyhow::Result<OwnedFd> {
    let socket = stream_socket(SocketFlags::CLOEXEC)?;
    if let Some(bytes) = receive_buffer {
        sockopt::set_socket_recv_buffer_size(&socket, bytes)?;
    }
    bind(&socket, &SocketAddrV4::new(source, 0))?;
    let address: SocketAddrV4 = address.parse().with_context(|| format!("address {address}"))?;
    connect(&socket, &address)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

fn stream_socket(flags: SocketFlags) -> anyhow::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?)
}

/// Sends all of `bytes`, waiting while the socket is full.
pub(crate) fn send_all(socket: &OwnedFd, mut bytes: &[u8]) -> anyhow::Result<()> {
    while !bytes.is_empty() {
        match send(socket, bytes, SendFlags::NOSIGNAL) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(rustix::io::Errno::AGAIN) => {
                let mut full = [rustix::event::PollFd::new(socket, rustix::event::PollFlags::OUT)];
                rustix::event::poll(&mut full, None)?;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads what is there; `None` when nothing is. An end is an error: nobody here expects one.
pub(crate) fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> anyhow::Result<Option<usize>> {
    match recv(socket, buffer, RecvFlags::empty()) {
        Ok((0, _)) => anyhow::bail!("the server closed a connection"),
        Ok((count, _)) => Ok(Some(count)),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
