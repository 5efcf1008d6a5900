//! The simulated world by itself: sockets, disks, clocks, crashes, and whether runs repeat.

#[cfg(test)]
mod disks;
#[cfg(test)]
mod lab;
mod paths;
#[cfg(test)]
mod polling;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod slow_peers;
#[cfg(test)]
mod sockets;
