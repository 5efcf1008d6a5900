//! Fuzzing of everything that a client's bytes reach in the engine, as an ordinary test.
//!
//! A round is a gateway, its owners and a few clients, all made from one seed. Clients send good,
//! damaged and hostile bytes, which reach the gateway through the decoder as they do in the server;
//! owners answer late, wrongly or never. [`deployment`] tells what must hold throughout. A failing
//! round prints its seed and how to run it again.
//!
//! `SERIATIM_FUZZ_FRAMES` sets how many WebSocket frames are sent, `SERIATIM_FUZZ_SEED` the seed
//! of the first round.

#[cfg(test)]
mod client_text;
#[cfg(test)]
mod client_wire;
#[cfg(test)]
mod connection;
#[cfg(test)]
mod deployment;
#[cfg(test)]
mod owners;
#[cfg(test)]
mod random;
#[cfg(test)]
mod rounds;
