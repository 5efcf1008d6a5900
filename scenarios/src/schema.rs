//! The shape of a scenario file, as TOML has it: keys and types, no limits yet.
//!
//! Every value keeps its place in the text, so that [`crate::parse`] can point at it.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use toml::Spanned;

mod fault;

pub(crate) use fault::{Fault, Value};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) question: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) cluster: Cluster,
    #[serde(default)]
    pub(crate) network: Network,
    #[serde(default)]
    pub(crate) simulator: Simulator,
    #[serde(default)]
    pub(crate) workload: Workload,
    pub(crate) noise: Option<Spanned<Noise>>,
    pub(crate) membership: Option<Membership>,
    pub(crate) presence: Option<Presence>,
    #[serde(default)]
    pub(crate) fault: Vec<Spanned<Fault>>,
    #[serde(default)]
    pub(crate) expect: Expect,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cluster {
    pub(crate) gateways: Option<Spanned<i64>>,
    pub(crate) message_nodes: Option<Spanned<i64>>,
    pub(crate) shards: Option<Spanned<i64>>,
    pub(crate) store: Option<Spanned<String>>,
    pub(crate) workspaces: Option<Spanned<i64>>,
    pub(crate) user_rate_per_s: Option<Spanned<i64>>,
    pub(crate) workspace_rate_per_s: Option<Spanned<i64>>,
    pub(crate) sync_ms: Option<Spanned<MinMax>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Network {
    pub(crate) latency_ms: Option<Spanned<Latency>>,
    pub(crate) link_bytes_per_s: Option<Spanned<i64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Latency {
    pub(crate) min: Spanned<i64>,
    pub(crate) max: Spanned<i64>,
    pub(crate) tail: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Workload {
    pub(crate) users: Option<Spanned<i64>>,
    pub(crate) channels: Option<Spanned<i64>>,
    pub(crate) members: Option<Spanned<MinMax>>,
    pub(crate) sends_per_s: Option<Spanned<i64>>,
    pub(crate) reads_per_s: Option<Spanned<i64>>,
    pub(crate) pages_per_s: Option<Spanned<i64>>,
    pub(crate) forgets_per_min: Option<Spanned<i64>>,
    pub(crate) reconnects_per_min: Option<Spanned<i64>>,
    pub(crate) body_bytes: Option<Spanned<MinMax>>,
    pub(crate) warm_up_s: Option<Spanned<Seconds>>,
    pub(crate) duration_s: Option<Spanned<Seconds>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Noise {
    pub(crate) at_s: Spanned<Seconds>,
    pub(crate) hot_channels: Option<Spanned<i64>>,
    pub(crate) busy_workspaces: Option<Spanned<i64>>,
    pub(crate) slow_readers: Option<Spanned<i64>>,
    pub(crate) slow_bytes_per_s: Option<Spanned<i64>>,
    pub(crate) sends_per_s: Option<Spanned<i64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Simulator {
    pub(crate) tick_ms: Option<Spanned<i64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Membership {
    pub(crate) private_percent: Option<Spanned<i64>>,
    pub(crate) departures_per_min: Option<Spanned<i64>>,
    pub(crate) departure_s: Option<Spanned<SecondsRange>>,
    pub(crate) unaware_percent: Option<Spanned<i64>>,
    pub(crate) visits_per_min: Option<Spanned<i64>>,
    pub(crate) visit_s: Option<Spanned<SecondsRange>>,
    pub(crate) trespasses_per_min: Option<Spanned<i64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Presence {
    pub(crate) second_device_percent: Option<Spanned<i64>>,
    pub(crate) watched: Option<Spanned<i64>>,
    pub(crate) hidden_percent: Option<Spanned<i64>>,
    pub(crate) states_per_min: Option<Spanned<i64>>,
    pub(crate) hides_per_min: Option<Spanned<i64>>,
    pub(crate) absences_per_min: Option<Spanned<i64>>,
    pub(crate) absence_s: Option<Spanned<SecondsRange>>,
    pub(crate) watches_per_min: Option<Spanned<i64>>,
    pub(crate) typing_per_min: Option<Spanned<i64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MinMax {
    pub(crate) min: Spanned<i64>,
    pub(crate) max: Spanned<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    pub(crate) converge_within_s: Option<Spanned<Seconds>>,
    pub(crate) accepted_min: Option<Spanned<i64>>,
    pub(crate) delivery_ms: Option<Spanned<DeliveryMs>>,
    pub(crate) isolation: Option<Spanned<Isolation>>,
    pub(crate) gives_up: Option<Vec<Spanned<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeliveryMs {
    pub(crate) p99: Spanned<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Isolation {
    pub(crate) p99_ms: Spanned<i64>,
    pub(crate) max_ms: Option<Spanned<i64>>,
    pub(crate) p99_percent: Option<Spanned<i64>>,
}

/// A number of seconds, whole or not, as the file has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seconds(pub(crate) f64);

/// One number of seconds, or from one to another.
#[derive(Debug)]
pub(crate) struct SecondsRange {
    pub(crate) min: Seconds,
    pub(crate) max: Seconds,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecondsMinMax {
    min: Seconds,
    max: Seconds,
}

struct SecondsVisitor;

impl Visitor<'_> for SecondsVisitor {
    type Value = Seconds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds")
    }

    fn visit_i64<E>(self, value: i64) -> Result<Seconds, E> {
        // Beyond 2^53 this rounds; the limits of every key are far below.
        Ok(Seconds(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Seconds, E> {
        Ok(Seconds(value))
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecondsVisitor)
    }
}

struct SecondsRangeVisitor;

impl<'de> Visitor<'de> for SecondsRangeVisitor {
    type Value = SecondsRange;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds, or { min = …, max = … }")
    }

    fn visit_i64<E>(self, value: i64) -> Result<SecondsRange, E> {
        let both = Seconds(value as f64);
        Ok(SecondsRange { min: both, max: both })
    }

    fn visit_f64<E>(self, value: f64) -> Result<SecondsRange, E> {
        Ok(SecondsRange { min: Seconds(value), max: Seconds(value) })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecondsRange, A::Error> {
        let range = SecondsMinMax::deserialize(MapAccessDeserializer::new(map))?;
        Ok(SecondsRange { min: range.min, max: range.max })
    }
}

impl<'de> Deserialize<'de> for SecondsRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecondsRangeVisitor)
    }
}
