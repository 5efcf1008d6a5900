//! Reads `[noise]`, what makes contention, and the bound of `isolation`.

use std::time::Duration;

use toml::Spanned;

use super::{
    CHANNELS_MAX, LATENCY_MS_MAX, ParseError, RATE_MAX, Reader, SENDS_MAX, WORKSPACES_MAX,
};
use crate::scenario::{Cluster, IsolationBound, Noise, Range, Workload};
use crate::schema;

/// An hour: as long as a latency is told apart.
const BOUND_MS_MAX: i64 = 3_600_000;

/// A hundredfold. What may be so much slower is no bound.
const PERCENT_MAX: i64 = 10_000;

/// A slow line's worth: a small page of the log a second.
const SLOW_BYTES: u32 = 2_000;

/// Who reads as fast as that is not slow.
const SLOW_BYTES_MAX: i64 = 1_000_000;

/// Quiet at least so long before the noise, and noise at least so long: what is compared needs some
/// messages on either side.
const PHASE_MIN: Duration = Duration::from_secs(1);

impl Reader<'_> {
    pub(super) fn noise(
        &self,
        raw: &Spanned<schema::Noise>,
        cluster: &Cluster,
        workload: &Workload,
    ) -> Result<Noise, ParseError> {
        let (span, raw) = (raw.span(), raw.get_ref());
        let at = self.seconds("noise.at_s", raw.at_s.span(), *raw.at_s.get_ref(), 0.0)?;
        let quiet_from = workload.warm_up;
        let end = quiet_from + workload.duration;
        let (first, last) = (quiet_from + PHASE_MIN, end.saturating_sub(PHASE_MIN));
        if !(first..=last).contains(&at) {
            let message = format!(
                "the noise begins at {} s; give {} to {} s: messages are sent from {} s to {} s, \
                 and there must be quiet before the noise",
                at.as_secs_f64(),
                first.as_secs_f64(),
                last.as_secs_f64(),
                quiet_from.as_secs_f64(),
                end.as_secs_f64()
            );
            return Err(self.fail(raw.at_s.span(), message));
        }
        let hot = raw.hot_channels.as_ref();
        let hot_channels = self.number_or("hot_channels", hot, (0, CHANNELS_MAX), 0)?;
        let busy = raw.busy_workspaces.as_ref();
        let busy_workspaces = self.number_or("busy_workspaces", busy, (0, WORKSPACES_MAX), 0)?;
        let slow = raw.slow_readers.as_ref();
        let others_too = i64::from(workload.users / 2);
        let slow_readers = self.number_or("slow_readers", slow, (0, others_too), 0)?;
        let slow_bytes = raw.slow_bytes_per_s.as_ref();
        let slow_bytes_per_s =
            self.number_or("slow_bytes_per_s", slow_bytes, (1, SLOW_BYTES_MAX), SLOW_BYTES)?;
        if hot_channels + busy_workspaces + slow_readers == 0 {
            let message = "nobody makes the noise; give `hot_channels`, `busy_workspaces` or \
                           `slow_readers`";
            return Err(self.fail(span, message));
        }
        let quiet = (0..workload.channels)
            .filter(|channel| channel % cluster.workspaces >= busy_workspaces)
            .count();
        if usize::try_from(hot_channels).is_ok_and(|hot| hot >= quiet) {
            let message = "no channel is left that is not noisy; raise `channels` or `workspaces`, \
                           or lower `hot_channels` or `busy_workspaces`";
            return Err(self.fail(span, message));
        }
        let sends_per_s = match &raw.sends_per_s {
            Some(raw) if hot_channels + busy_workspaces > 0 => {
                self.number("noise.sends_per_s", raw, 1, RATE_MAX)?
            }
            Some(raw) => {
                let message = "`sends_per_s` go into noisy channels, and there are none; give \
                               `hot_channels` or `busy_workspaces`, or take it away";
                return Err(self.fail(raw.span(), message));
            }
            None if hot_channels + busy_workspaces > 0 => {
                let message = "the noisy channels are silent; give `sends_per_s`";
                return Err(self.fail(span, message));
            }
            None => 0,
        };
        let sends = |per_s: u32, time: Duration| i64::from(per_s) * whole_s(time);
        let all = sends(workload.sends_per_s, workload.duration) + sends(sends_per_s, end - at);
        if all > SENDS_MAX {
            let message = format!(
                "{all} sends in all; the limit is {SENDS_MAX}: lower `noise.sends_per_s` or \
                 `duration_s`"
            );
            return Err(self.fail(span, message));
        }
        Ok(Noise { at, hot_channels, busy_workspaces, slow_readers, slow_bytes_per_s, sends_per_s })
    }

    /// How long a disk takes to sync.
    pub(super) fn sync(
        &self,
        raw: &schema::Cluster,
    ) -> Result<Option<Range<Duration>>, ParseError> {
        let Some(sync) = &raw.sync_ms else { return Ok(None) };
        let Range { min, max } = self.min_max("sync_ms", sync, LATENCY_MS_MAX)?;
        let milliseconds = |number: u32| Duration::from_millis(u64::from(number));
        Ok(Some(Range { min: milliseconds(min), max: milliseconds(max) }))
    }

    pub(super) fn isolation(
        &self,
        raw: &schema::Expect,
    ) -> Result<Option<IsolationBound>, ParseError> {
        let Some(raw) = &raw.isolation else { return Ok(None) };
        let raw = raw.get_ref();
        let milliseconds = |key: &str, value: &Spanned<i64>| {
            let number = self.number(key, value, 1, BOUND_MS_MAX)?;
            Ok(Duration::from_millis(u64::from(number)))
        };
        let longest = raw.max_ms.as_ref();
        let percent = raw.p99_percent.as_ref();
        let percent =
            percent.map(|raw| self.number("isolation.p99_percent", raw, 100, PERCENT_MAX));
        Ok(Some(IsolationBound {
            p99: milliseconds("isolation.p99_ms", &raw.p99_ms)?,
            max: longest.map(|raw| milliseconds("isolation.max_ms", raw)).transpose()?,
            p99_percent: percent.transpose()?,
        }))
    }

    /// A bound for the others needs some who make noise.
    pub(super) fn noisy(
        &self,
        raw: &schema::Expect,
        noise: Option<&Noise>,
    ) -> Result<(), ParseError> {
        let Some(isolation) = &raw.isolation else { return Ok(()) };
        if noise.is_some() {
            return Ok(());
        }
        let message = "`isolation` bounds what others notice of noise, and nobody makes any; add \
                       [noise], or take it away";
        Err(self.fail(isolation.span(), message))
    }
}

fn whole_s(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).expect("a day fits")
}
