//! The decisions of seriatim, as plain machines.
//!
//! Nothing here owns a socket, a clock, a disk or a random generator, and nothing awaits. A machine
//! is fed an input and the time; it appends effects for its shell to carry out, in order. The same
//! machines run in the server, in the reference client and in every simulation.

pub mod admin;
pub mod catch_up;
pub mod client;
pub mod client_session;
pub mod entry;
pub mod fanout;
pub mod followers;
pub mod frame;
pub mod gateway;
pub mod handshake;
pub mod histogram;
pub mod history_bound;
pub mod ids;
pub mod levels;
pub mod limits;
pub mod link;
pub mod membership;
pub mod nonces;
pub mod owner;
pub mod placement;
pub mod polling;
pub mod presence;
pub mod read_cursors;
pub mod refusals;
pub mod sequencer;
pub mod session;
pub mod slots;
pub mod time;
pub mod token;
pub mod websocket;
