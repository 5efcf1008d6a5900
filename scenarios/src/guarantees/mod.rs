//! What the system promises, and the judges of it.
//!
//! One file per guarantee. A judge reads the history once, keeps no body that it was not given
//! already (texts are shared), and reports a violation with the few events that prove it. Each is
//! linear in the history and bounded in what it reports.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::history::{ClientIndex, Event, Roster};
use crate::plan::PlannedNoise;
use crate::scenario::Expect;

mod attendance;
mod bounded;
mod contiguous_delivery;
mod convergence;
mod dense_order;
#[cfg(test)]
pub(crate) mod fixture;
mod hygiene;
mod isolation;
mod log_reads;
mod membership;
mod no_invention;
mod no_lost_ack;
mod once;
mod positions;
mod presence;
mod ranges;
mod read_cursors;
mod real_time_order;
mod seen;
mod sender_order;

pub use bounded::Bounded;
pub use contiguous_delivery::ContiguousDelivery;
pub use convergence::Convergence;
pub use dense_order::DenseOrder;
pub use hygiene::Hygiene;
pub use isolation::Isolation;
pub use log_reads::LogReads;
pub use membership::Membership;
pub use no_invention::NoInvention;
pub use no_lost_ack::NoLostAck;
pub use once::Once;
pub(crate) use positions::Positions;
pub use presence::Presence;
pub use read_cursors::ReadCursors;
pub use real_time_order::RealTimeOrder;
pub(crate) use seen::Recognizer;
pub use seen::{ChannelNumber, Seen};
pub use sender_order::SenderOrder;

/// The names of the guarantees, in the order in which they are told everywhere.
pub const NAMES: [&str; 15] = [
    DenseOrder::NAME,
    RealTimeOrder::NAME,
    SenderOrder::NAME,
    NoLostAck::NAME,
    Once::NAME,
    NoInvention::NAME,
    ContiguousDelivery::NAME,
    LogReads::NAME,
    Membership::NAME,
    Presence::NAME,
    Convergence::NAME,
    ReadCursors::NAME,
    Isolation::NAME,
    Bounded::NAME,
    Hygiene::NAME,
];

/// Violations that one guarantee tells in full; further ones are counted.
pub const VIOLATIONS_MAX: usize = 5;

/// Facts of one violation. What one proves needs two or three; convergence lists clients.
const WITNESS_MAX: usize = 10;

/// Every guarantee, in the order of [`NAMES`].
pub fn all(
    roster: &Roster,
    expect: &Expect,
    presence_lag: Duration,
    noise: &PlannedNoise,
) -> Vec<Box<dyn Guarantee>> {
    vec![
        Box::new(DenseOrder::new(roster.clone())),
        Box::new(RealTimeOrder::new(roster.clone())),
        Box::new(SenderOrder::default()),
        Box::new(NoLostAck::new(roster.clone())),
        Box::new(Once::new(roster.clone())),
        Box::new(NoInvention::new(roster.clone())),
        Box::new(ContiguousDelivery::default()),
        Box::new(LogReads::default()),
        Box::new(Membership::new(roster.clone())),
        Box::new(Presence::new(roster, presence_lag)),
        Box::new(Convergence::new(roster, expect.converge_within)),
        Box::new(ReadCursors::new(roster.clone())),
        Box::new(Isolation::new(roster.clone(), expect.isolation, noise.clone())),
        Box::new(Bounded::default()),
        Box::new(Hygiene::default()),
    ]
}

/// Judges whether one promise was kept.
pub trait Guarantee: Send {
    /// One of [`NAMES`].
    fn name(&self) -> &'static str;

    /// Takes the next event of the history.
    fn observe(&mut self, seen: &Seen<'_>);

    /// Judges what only the whole history shows. Nothing is observed after it.
    fn conclude(&mut self);

    fn findings(&self) -> &Findings;
}

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    pub guarantee: &'static str,
    /// When it was seen, since the run's start; at its end for what only the end shows.
    #[serde(rename = "at_us", serialize_with = "microseconds")]
    pub at: Duration,
    pub message: String,
    /// The events that prove it, earliest first.
    pub witness: Vec<String>,
}

fn microseconds<S: Serializer>(at: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u128(at.as_micros())
}

/// What one guarantee found.
#[derive(Debug, Clone)]
pub struct Findings {
    guarantee: &'static str,
    violations: Vec<Violation>,
    count: u64,
}

impl Findings {
    fn new(guarantee: &'static str) -> Self {
        Self { guarantee, violations: Vec::new(), count: 0 }
    }

    /// The first [`VIOLATIONS_MAX`].
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// All, told or not.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Renders the message and the witness only while they are told.
    fn report<'a>(
        &mut self,
        at: Duration,
        message: impl FnOnce() -> String,
        witness: impl IntoIterator<Item = &'a Event>,
    ) {
        self.report_lines(at, message, witness.into_iter().map(Event::to_string));
    }

    fn report_lines(
        &mut self,
        at: Duration,
        message: impl FnOnce() -> String,
        witness: impl IntoIterator<Item = String>,
    ) {
        self.count += 1;
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation {
                guarantee: self.guarantee,
                at,
                message: message(),
                witness: witness.into_iter().take(WITNESS_MAX).collect(),
            });
        }
    }
}

/// The item with index `at`, made and filled up to when missing. `at` comes from the roster or
/// from a channel number, so that the vector grows no longer than those.
pub(crate) fn slot<T: Default>(items: &mut Vec<T>, at: u32) -> &mut T {
    let at = usize::try_from(at).expect("a u32 fits");
    if items.len() <= at {
        items.resize_with(at + 1, T::default);
    }
    items.get_mut(at).expect("just made")
}

/// # Panics
/// The history names a client that the roster doesn't: the world is wrong, not the system.
pub(crate) fn user_of(roster: &Roster, client: ClientIndex) -> &seriatim_engine::ids::UserKey {
    roster.user(client).expect("every client of the history is in the roster")
}
