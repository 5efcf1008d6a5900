//! Reads scenario files.
//!
//! Strict: an unknown key, a wrong type, a value out of its range or one that makes no sense beside
//! another is an error that names file, line and column and says what to write instead. No text
//! makes it panic.

use std::ops::Range as Bytes;
use std::path::{Path, PathBuf};
use std::time::Duration;

use seriatim_engine::limits::BODY_BYTES_MAX;
use toml::Spanned;

use crate::scenario::{Cluster, Expect, Network, Range, Scenario, StoreKind, Tail, Workload};
use crate::schema;

/// A step of the simulator costs the cube of its hosts, so that a deployment stays below ten.
pub const GATEWAYS_MAX: i64 = 4;
pub const MESSAGE_NODES_MAX: i64 = 3;
/// Many times the message nodes, so that each owns its share.
pub const SHARDS_MAX: i64 = 64;
pub const WORKSPACES_MAX: i64 = 64;
/// What one machine simulates or serves with a client each.
pub const USERS_MAX: i64 = 5_000;
pub const CHANNELS_MAX: i64 = 2_000;
pub const RATE_MAX: i64 = 10_000;
/// The plan of a run is held in memory.
pub const SENDS_MAX: i64 = 2_000_000;
pub const LATENCY_MS_MAX: i64 = 10_000;
/// Beyond it, no link holds anything up.
pub const BYTES_PER_S_MAX: i64 = 1_000_000_000;
/// A run takes a day at most, and so does everything in it: what shows only then (throttled timers
/// against times to live, upgrades by the hour) is worth it, and the history is judged as it comes.
pub const SECONDS_MAX: f64 = 86_400.0;
/// Above it, the step and not the network decides how long everything takes.
pub const TICK_MS_MAX: i64 = 1_000;
pub const FAULTS_MAX: usize = 100;
/// One a minute for a day.
pub const TIMES_MAX: i64 = 1_440;

/// Why a scenario file was not accepted: `file:line:column: message`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct ParseError {
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// Why a scenario file could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Parse(#[from] ParseError),
}

/// Reads the file at `path`; the scenario is named after it.
///
/// # Errors
/// The file cannot be read, or is not a scenario.
pub fn load(path: &Path) -> Result<Scenario, LoadError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    Ok(scenario(&path.display().to_string(), &text)?)
}

/// Reads the text of a scenario file. `file` is its path, for messages and for the name.
///
/// # Errors
/// The text is not a scenario.
pub fn scenario(file: &str, text: &str) -> Result<Scenario, ParseError> {
    let reader = Reader { file, text };
    let raw: schema::File = toml::from_str(text).map_err(|error| {
        reader.fail(error.span().unwrap_or(0..0), error.message().replace('\n', "; "))
    })?;
    let question = match &raw.question {
        Some(question) if !question.get_ref().trim().is_empty() => question.get_ref().clone(),
        Some(question) => {
            return Err(reader.fail(question.span(), "the question is empty; say what is asked"));
        }
        None => {
            let message = "`question` is missing; open the file with the question that it answers, \
                           as in: question = \"What do readers notice when a gateway dies?\"";
            return Err(reader.fail(0..0, message));
        }
    };
    let cluster = reader.cluster(&raw.cluster)?;
    let network = reader.network(&raw.network)?;
    let workload = reader.workload(&raw.workload, &cluster)?;
    let end = workload.warm_up + workload.duration;
    if raw.fault.len() > FAULTS_MAX {
        let span = raw.fault.last().map_or(0..0, Spanned::span);
        return Err(
            reader.fail(span, format!("more than {FAULTS_MAX} faults; use every_s and times"))
        );
    }
    let tick = reader.number_or("tick_ms", raw.simulator.tick_ms.as_ref(), (1, TICK_MS_MAX), 10)?;
    let membership = raw.membership.as_ref();
    let membership = membership.map(|raw| reader.membership(raw, &workload)).transpose()?;
    let presence = raw.presence.as_ref();
    let presence = presence.map(|raw| reader.presence(raw, &workload)).transpose()?;
    let noise = raw.noise.as_ref();
    let noise = noise.map(|raw| reader.noise(raw, &cluster, &workload)).transpose()?;
    let faults = raw
        .fault
        .iter()
        .map(|fault| reader.fault(fault.get_ref(), &cluster, end))
        .collect::<Result<Vec<_>, _>>()?;
    let expect = reader.expect(&raw.expect)?;
    reader.possible(&raw, &faults, &expect)?;
    reader.noisy(&raw.expect, noise.as_ref())?;
    let name = Path::new(file)
        .file_stem()
        .map_or_else(|| file.to_owned(), |stem| stem.to_string_lossy().into_owned());
    let tick = Duration::from_millis(u64::from(tick));
    Ok(Scenario {
        name,
        question,
        cluster,
        network,
        tick,
        workload,
        noise,
        membership,
        presence,
        faults,
        expect,
    })
}

/// The text being read, to point into.
struct Reader<'a> {
    file: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    fn fail(&self, span: Bytes<usize>, message: impl Into<String>) -> ParseError {
        let start = self.text.floor_char_boundary(span.start);
        let before = self.text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        ParseError { file: self.file.to_owned(), line, column, message: message.into() }
    }

    fn number(
        &self,
        key: &str,
        value: &Spanned<i64>,
        min: i64,
        max: i64,
    ) -> Result<u32, ParseError> {
        let found = *value.get_ref();
        match u32::try_from(found) {
            Ok(number) if (min..=max).contains(&found) => Ok(number),
            _ => {
                let message = format!("`{key}` is {found}; give {min} to {max}");
                Err(self.fail(value.span(), message))
            }
        }
    }

    fn number_or(
        &self,
        key: &str,
        value: Option<&Spanned<i64>>,
        (min, max): (i64, i64),
        default: u32,
    ) -> Result<u32, ParseError> {
        value.map_or(Ok(default), |value| self.number(key, value, min, max))
    }

    /// A number from 1 to `max`, if the file gives one.
    fn given(
        &self,
        key: &str,
        value: Option<&Spanned<i64>>,
        max: i64,
    ) -> Result<Option<u32>, ParseError> {
        value.map(|value| self.number(key, value, 1, max)).transpose()
    }

    /// Checks seconds and makes them whole milliseconds.
    fn seconds(
        &self,
        key: &str,
        span: Bytes<usize>,
        seconds: schema::Seconds,
        min: f64,
    ) -> Result<Duration, ParseError> {
        let found = seconds.0;
        // A NaN is in no range.
        if (min..=SECONDS_MAX).contains(&found)
            && let Ok(exact) = Duration::try_from_secs_f64(found)
        {
            let milliseconds = (exact + Duration::from_micros(500)).as_millis();
            return Ok(Duration::from_millis(u64::try_from(milliseconds).expect("a day fits")));
        }
        let message = format!("`{key}` is {found}; give {min} to {SECONDS_MAX} seconds");
        Err(self.fail(span, message))
    }

    fn seconds_or(
        &self,
        key: &str,
        value: Option<&Spanned<schema::Seconds>>,
        min: f64,
        default_s: u64,
    ) -> Result<Duration, ParseError> {
        value.map_or(Ok(Duration::from_secs(default_s)), |value| {
            self.seconds(key, value.span(), *value.get_ref(), min)
        })
    }

    fn seconds_range(
        &self,
        key: &str,
        value: &Spanned<schema::SecondsRange>,
        min: f64,
    ) -> Result<Range<Duration>, ParseError> {
        let range = value.get_ref();
        let range = Range {
            min: self.seconds(key, value.span(), range.min, min)?,
            max: self.seconds(key, value.span(), range.max, min)?,
        };
        self.ordered(key, value.span(), range)
    }

    fn ordered<T: PartialOrd>(
        &self,
        key: &str,
        span: Bytes<usize>,
        range: Range<T>,
    ) -> Result<Range<T>, ParseError> {
        if range.min <= range.max {
            Ok(range)
        } else {
            Err(self.fail(span, format!("`{key}` has min above max; swap them")))
        }
    }

    fn cluster(&self, raw: &schema::Cluster) -> Result<Cluster, ParseError> {
        if let Some(store) = &raw.store
            && store.get_ref() != "local"
        {
            let message = match store.get_ref().as_str() {
                "shared" => "store \"shared\" is not supported yet; write store = \"local\"".into(),
                other => format!("unknown store {other:?}; write store = \"local\""),
            };
            return Err(self.fail(store.span(), message));
        }
        Ok(Cluster {
            gateways: self.number_or("gateways", raw.gateways.as_ref(), (1, GATEWAYS_MAX), 3)?,
            message_nodes: self.number_or(
                "message_nodes",
                raw.message_nodes.as_ref(),
                (1, MESSAGE_NODES_MAX),
                2,
            )?,
            shards: self.number_or("shards", raw.shards.as_ref(), (1, SHARDS_MAX), 8)?,
            store: StoreKind::Local,
            workspaces: self.number_or(
                "workspaces",
                raw.workspaces.as_ref(),
                (1, WORKSPACES_MAX),
                4,
            )?,
            user_rate: self.given("user_rate_per_s", raw.user_rate_per_s.as_ref(), RATE_MAX)?,
            workspace_rate: self.given(
                "workspace_rate_per_s",
                raw.workspace_rate_per_s.as_ref(),
                RATE_MAX,
            )?,
            sync: self.sync(raw)?,
        })
    }

    fn network(&self, raw: &schema::Network) -> Result<Network, ParseError> {
        let bytes = raw.link_bytes_per_s.as_ref();
        let link_bytes_per_s = self.given("link_bytes_per_s", bytes, BYTES_PER_S_MAX)?;
        let Some(latency) = &raw.latency_ms else {
            let latency = Range { min: Duration::from_millis(1), max: Duration::from_millis(20) };
            return Ok(Network { latency, tail: Tail::None, link_bytes_per_s });
        };
        let raw = latency.get_ref();
        let milliseconds = |key, value| {
            let number = self.number(key, value, 0, LATENCY_MS_MAX)?;
            Ok(Duration::from_millis(u64::from(number)))
        };
        let range = Range {
            min: milliseconds("latency_ms.min", &raw.min)?,
            max: milliseconds("latency_ms.max", &raw.max)?,
        };
        let tail = match &raw.tail {
            None => Tail::None,
            Some(tail) => match tail.get_ref().as_str() {
                "none" => Tail::None,
                "heavy" => Tail::Heavy,
                other => {
                    let message = format!("unknown tail {other:?}; write \"none\" or \"heavy\"");
                    return Err(self.fail(tail.span(), message));
                }
            },
        };
        let latency = self.ordered("latency_ms", latency.span(), range)?;
        Ok(Network { latency, tail, link_bytes_per_s })
    }

    fn workload(&self, raw: &schema::Workload, cluster: &Cluster) -> Result<Workload, ParseError> {
        let workspaces = i64::from(cluster.workspaces);
        let users = raw.users.as_ref();
        let users = self.number_or("users", users, (workspaces, USERS_MAX), 100)?;
        let channels = raw.channels.as_ref();
        let channels = self.number_or("channels", channels, (workspaces, CHANNELS_MAX), 25)?;
        let rates = (0, RATE_MAX);
        let workload = Workload {
            users,
            channels,
            members: self.members(raw.members.as_ref(), users / cluster.workspaces)?,
            sends_per_s: self.number_or("sends_per_s", raw.sends_per_s.as_ref(), rates, 20)?,
            reads_per_s: self.number_or("reads_per_s", raw.reads_per_s.as_ref(), rates, 0)?,
            pages_per_s: self.number_or("pages_per_s", raw.pages_per_s.as_ref(), rates, 0)?,
            forgets_per_min: self.number_or(
                "forgets_per_min",
                raw.forgets_per_min.as_ref(),
                rates,
                0,
            )?,
            reconnects_per_min: self.number_or(
                "reconnects_per_min",
                raw.reconnects_per_min.as_ref(),
                rates,
                0,
            )?,
            body_bytes: self.body_bytes(raw.body_bytes.as_ref())?,
            warm_up: self.seconds_or("warm_up_s", raw.warm_up_s.as_ref(), 1.0, 5)?,
            duration: self.seconds_or("duration_s", raw.duration_s.as_ref(), 1.0, 30)?,
        };
        let sends = i64::from(workload.sends_per_s)
            * i64::try_from(workload.duration.as_secs()).expect("a day fits");
        if sends > SENDS_MAX {
            let span = raw.sends_per_s.as_ref().map_or(0..0, Spanned::span);
            let message = format!(
                "{sends} sends in all; the limit is {SENDS_MAX}: lower `sends_per_s` or `duration_s`"
            );
            return Err(self.fail(span, message));
        }
        Ok(workload)
    }

    fn min_max(
        &self,
        key: &str,
        raw: &Spanned<schema::MinMax>,
        max: i64,
    ) -> Result<Range<u32>, ParseError> {
        let (lower, upper) = (&raw.get_ref().min, &raw.get_ref().max);
        let range = Range {
            min: self.number(&format!("{key}.min"), lower, 1, max)?,
            max: self.number(&format!("{key}.max"), upper, 1, max)?,
        };
        self.ordered(key, raw.span(), range)
    }

    /// `available` users are in the smallest workspace, where a channel finds its members.
    fn members(
        &self,
        raw: Option<&Spanned<schema::MinMax>>,
        available: u32,
    ) -> Result<Range<u32>, ParseError> {
        let Some(raw) = raw else {
            return Ok(Range { min: available.min(2), max: available.min(12) });
        };
        let range = self.min_max("members", raw, USERS_MAX)?;
        if range.max > available {
            let message = format!(
                "`members.max` is {} but a workspace has {available} users; lower it, or raise \
                 `users` (they are spread over the workspaces)",
                range.max
            );
            return Err(self.fail(raw.get_ref().max.span(), message));
        }
        Ok(range)
    }

    fn body_bytes(&self, raw: Option<&Spanned<schema::MinMax>>) -> Result<Range<u32>, ParseError> {
        let max = i64::try_from(BODY_BYTES_MAX).expect("a limit of kilobytes");
        raw.map_or(Ok(Range { min: 32, max: 256 }), |raw| self.min_max("body_bytes", raw, max))
    }

    fn expect(&self, raw: &schema::Expect) -> Result<Expect, ParseError> {
        let within = raw.converge_within_s.as_ref();
        let accepted = raw.accepted_min.as_ref();
        let accepted = accepted.map(|raw| self.number("accepted_min", raw, 0, SENDS_MAX));
        let p99 = raw.delivery_ms.as_ref().map(|raw| &raw.get_ref().p99);
        let p99 = p99.map(|raw| self.number("delivery_ms.p99", raw, 1, 3_600_000));
        Ok(Expect {
            converge_within: self.seconds_or("converge_within_s", within, 0.001, 45)?,
            accepted_min: accepted.transpose()?.map(u64::from),
            delivery_p99: p99.transpose()?.map(|ms| Duration::from_millis(u64::from(ms))),
            isolation: self.isolation(raw)?,
            gives_up: self.gives_up(raw)?,
        })
    }
}

mod fault;
mod membership;
mod noise;
mod presence;
#[cfg(test)]
mod tests;
