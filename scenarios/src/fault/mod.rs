//! The faults that a scenario can ask for, and what they can be aimed at.
//!
//! One place per kind: [`kinds`] tells its name, what it does, what it may hit, which keys it
//! takes, whether it lasts, and whether a real deployment can be given it. The parser, the drawing
//! and the table in docs/scenarios.md follow from it. How a world inflicts a fault is that world's
//! business.

use std::fmt;
use std::str::FromStr;

mod kinds;
mod settings;
mod spec;
pub mod table;
mod target;

pub use kinds::FaultKind;
pub use settings::{Setting, Settings};
pub use spec::{Aim, FaultSpec, Key, Knob, Lasting, Values, Word};
pub use target::{FaultTarget, NodeRef, Role};

impl FaultKind {
    /// Its name in scenario files and reports.
    pub fn as_str(self) -> &'static str {
        self.spec().name
    }

    /// It has an end of its own (`for_s`); the others are over at once, or when all is done.
    pub fn lasts(self) -> bool {
        self.spec().lasting == Lasting::For
    }

    /// It takes the process of its target down.
    pub fn stops_node(self) -> bool {
        self.spec().stops_node
    }

    /// A real deployment on one machine can be given it.
    pub fn applies_in_real_world(self) -> bool {
        self.spec().real.is_some()
    }

    /// It can be aimed at `target`.
    pub fn accepts(self, target: FaultTarget) -> bool {
        self.spec().aims.iter().any(|aim| aim.covers(target))
    }

    /// What it can be aimed at, for people.
    pub fn targets(self) -> String {
        let aims = self.spec().aims;
        let last = aims.len().saturating_sub(1);
        let told = aims.iter().enumerate().map(|(index, aim)| match index {
            0 => aim.example().to_owned(),
            _ if index == last => format!(" or {}", aim.example()),
            _ => format!(", {}", aim.example()),
        });
        told.collect()
    }

    /// The knob that `key` turns, if this kind has it.
    pub fn knob(self, key: Key) -> Option<&'static Knob> {
        self.spec().knobs.iter().find(|knob| knob.key == key)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FaultKind {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownName)
    }
}

/// The text names nothing that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not known")]
pub struct UnknownName;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_as_it_is_written() {
        for kind in FaultKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!("fire".parse::<FaultKind>(), Err(UnknownName));
    }

    #[test]
    fn only_nodes_can_be_killed_and_only_clients_can_storm() {
        let node: FaultTarget = "messages:1".parse().unwrap();
        let link: FaultTarget = "gateway:1-messages:1".parse().unwrap();
        assert!(FaultKind::Sigkill.accepts(node));
        assert!(!FaultKind::PowerLoss.accepts(link));
        assert!(!FaultKind::ReconnectStorm.accepts(node));
        assert!(FaultKind::ReconnectStorm.accepts(FaultTarget::Clients));
        assert!(FaultKind::Partition.accepts(link));
        assert_eq!(FaultKind::Wipe.targets(), "a gateway (\"gateway:1\", \"gateway:any\")");
    }

    #[test]
    fn every_default_is_a_value_that_may_be_given() {
        for kind in FaultKind::ALL {
            for knob in kind.spec().knobs {
                match knob.values {
                    Values::Number { min, max, default } => {
                        assert!(min <= default.0 && default.0 <= default.1, "{kind} {knob:?}");
                        assert!(default.1 <= max, "{kind} {knob:?}");
                    }
                    Values::Word { words, default } => {
                        assert!(words.contains(&default), "{kind} {knob:?}");
                    }
                }
                assert_eq!(kind.knob(knob.key).map(|found| found.about), Some(knob.about));
            }
        }
    }
}
