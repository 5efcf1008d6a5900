//! Reads `[presence]`.

use std::time::Duration;

use seriatim_engine::limits::PRESENCE_WATCHED_MAX;
use toml::Spanned;

use super::{ParseError, RATE_MAX, Reader};
use crate::scenario::{Presence, Range, Workload};
use crate::schema;

/// All changes of presence in a run: its plan is held in memory.
const CHANGES_MAX: u128 = 2_000_000;

impl Reader<'_> {
    pub(super) fn presence(
        &self,
        raw: &schema::Presence,
        workload: &Workload,
    ) -> Result<Presence, ParseError> {
        let percent = |key, value: &Option<Spanned<i64>>, default| {
            self.number_or(key, value.as_ref(), (0, 100), default)
        };
        let rate = |key, value: &Option<Spanned<i64>>| {
            let rate = self.number_or(key, value.as_ref(), (0, RATE_MAX), 0)?;
            let count = u128::from(rate) * workload.duration.as_millis() / 60_000;
            if count > CHANGES_MAX {
                let span = value.as_ref().map_or(0..0, Spanned::span);
                let message = format!(
                    "`{key}` makes {count} changes; the limit is {CHANGES_MAX}: lower it or \
                     `duration_s`"
                );
                return Err(self.fail(span, message));
            }
            Ok(rate)
        };
        let watched_max = i64::try_from(PRESENCE_WATCHED_MAX).expect("hundreds");
        let absence = match &raw.absence_s {
            Some(range) => self.seconds_range("absence_s", range, 0.001)?,
            None => Range { min: Duration::from_secs(5), max: Duration::from_secs(120) },
        };
        Ok(Presence {
            second_device_percent: percent(
                "second_device_percent",
                &raw.second_device_percent,
                25,
            )?,
            watched: self.number_or("watched", raw.watched.as_ref(), (0, watched_max), 5)?,
            hidden_percent: percent("hidden_percent", &raw.hidden_percent, 0)?,
            states_per_min: rate("states_per_min", &raw.states_per_min)?,
            hides_per_min: rate("hides_per_min", &raw.hides_per_min)?,
            absences_per_min: rate("absences_per_min", &raw.absences_per_min)?,
            absence,
            watches_per_min: rate("watches_per_min", &raw.watches_per_min)?,
            typing_per_min: rate("typing_per_min", &raw.typing_per_min)?,
        })
    }
}
