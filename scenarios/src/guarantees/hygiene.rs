//! `hygiene`: no panic in any task, no error-level log line, no task that outlives its node.

use crate::history::{Event, What};

use super::{Findings, Guarantee, Seen};

/// Judges `hygiene`.
#[derive(Debug)]
pub struct Hygiene {
    findings: Findings,
}

impl Hygiene {
    pub const NAME: &'static str = "hygiene";
}

impl Default for Hygiene {
    fn default() -> Self {
        Self { findings: Findings::new(Self::NAME) }
    }
}

impl Guarantee for Hygiene {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn observe(&mut self, seen: &Seen<'_>) {
        let Event { at, what } = seen.event;
        let dirt = matches!(
            what,
            What::Panicked { .. } | What::ErrorLogged { .. } | What::TaskLeaked { .. }
        );
        if dirt {
            self.findings.report(*at, || what.to_string(), [seen.event]);
        }
    }

    fn conclude(&mut self) {}

    fn findings(&self) -> &Findings {
        &self.findings
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;

    #[test]
    fn a_healthy_history_is_clean() {
        assert_eq!(judged(Hygiene::default(), healthy()), [""; 0]);
    }

    #[test]
    fn panics_errors_and_leaks_are_told() {
        let dirt = [
            What::Panicked { node: "gateway-1".into(), message: "index out of bounds".into() },
            What::ErrorLogged { node: "messages-1".into(), message: "log is broken".into() },
            What::TaskLeaked { node: "gateway-2".into(), name: "reader".into() },
        ];
        for what in dirt {
            let expected = what.to_string();
            let found = judged(Hygiene::default(), healthy().before(&What::FaultsOver, [what]));
            assert_eq!(found, [expected]);
        }
    }

    #[test]
    fn the_sixth_violation_is_counted_but_not_told() {
        let dirt = (0..9).map(|n| What::TaskLeaked { node: "n".into(), name: n.to_string() });
        let mut hygiene = Hygiene::default();
        feed(&mut hygiene, healthy().before(&What::FaultsOver, dirt));
        assert_eq!((hygiene.findings.violations().len(), hygiene.findings.count()), (5, 9));
    }
}
