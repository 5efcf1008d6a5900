//! Reads `[membership]`.

use std::time::Duration;

use toml::Spanned;

use super::{ParseError, RATE_MAX, Reader};
use crate::scenario::{Membership, Range, Workload};
use crate::schema;

/// All departures, visits and trespasses of a run, each: its plan is held in memory.
const EVENTS_MAX: u128 = 200_000;

impl Reader<'_> {
    pub(super) fn membership(
        &self,
        raw: &schema::Membership,
        workload: &Workload,
    ) -> Result<Membership, ParseError> {
        let percent =
            |key, value: &Option<Spanned<i64>>| self.number_or(key, value.as_ref(), (0, 100), 0);
        let rate = |key, value: &Option<Spanned<i64>>| {
            let rate = self.number_or(key, value.as_ref(), (0, RATE_MAX), 0)?;
            let count = u128::from(rate) * workload.duration.as_millis() / 60_000;
            if count > EVENTS_MAX {
                let span = value.as_ref().map_or(0..0, Spanned::span);
                let message = format!(
                    "`{key}` makes {count} in all; the limit is {EVENTS_MAX}: lower it or \
                     `duration_s`"
                );
                return Err(self.fail(span, message));
            }
            Ok(rate)
        };
        let seconds = |key, value: &Option<Spanned<schema::SecondsRange>>| match value {
            Some(range) => self.seconds_range(key, range, 0.001),
            None => Ok(Range { min: Duration::from_secs(1), max: Duration::from_secs(10) }),
        };
        Ok(Membership {
            private_percent: percent("private_percent", &raw.private_percent)?,
            departures_per_min: rate("departures_per_min", &raw.departures_per_min)?,
            departure: seconds("departure_s", &raw.departure_s)?,
            unaware_percent: percent("unaware_percent", &raw.unaware_percent)?,
            visits_per_min: rate("visits_per_min", &raw.visits_per_min)?,
            visit: seconds("visit_s", &raw.visit_s)?,
            trespasses_per_min: rate("trespasses_per_min", &raw.trespasses_per_min)?,
        })
    }
}
