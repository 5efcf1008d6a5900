//! The reference client of seriatim: connects, resumes from what it has, re-sorts, fills gaps,
//! retries with the same nonce, and backs off with jitter.
//!
//! [`start`] runs a client as a task; commands go in through its [`Handle`], events come out
//! through a function. All decisions are those of [`seriatim_engine::client::Client`].

mod connection;
mod handle;
mod run;

pub use handle::{Handle, Refused};
pub use run::{ClientOptions, TokenSource, start};
pub use seriatim_engine::client::{ClientEvent, Command};
