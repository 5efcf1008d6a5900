//! The shape of one `[[fault]]`: the keys of all kinds; which kind takes which is judged later.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use toml::Spanned;

use super::{Seconds, SecondsRange};
use crate::fault::Key;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    pub(crate) kind: Spanned<String>,
    pub(crate) target: Spanned<String>,
    pub(crate) at_s: Spanned<SecondsRange>,
    pub(crate) for_s: Option<Spanned<SecondsRange>>,
    pub(crate) every_s: Option<Spanned<Seconds>>,
    pub(crate) times: Option<Spanned<i64>>,
    direction: Option<Spanned<Value>>,
    latency_ms: Option<Spanned<Value>>,
    bytes_per_s: Option<Spanned<Value>>,
    loss_percent: Option<Spanned<Value>>,
    moment: Option<Spanned<Value>>,
    how: Option<Spanned<Value>>,
    down_ms: Option<Spanned<Value>>,
    up_ms: Option<Spanned<Value>>,
    gap_ms: Option<Spanned<Value>>,
    cpu_percent: Option<Spanned<Value>>,
    operation: Option<Spanned<Value>>,
    failures: Option<Spanned<Value>>,
    stall_ms: Option<Spanned<Value>>,
    free_bytes: Option<Spanned<Value>>,
    bits: Option<Spanned<Value>>,
    offset_ms: Option<Spanned<Value>>,
    drift_ppm: Option<Spanned<Value>>,
    users: Option<Spanned<Value>>,
}

impl Fault {
    /// What the file gives for `key`.
    pub(crate) fn value(&self, key: Key) -> Option<&Spanned<Value>> {
        match key {
            Key::Direction => &self.direction,
            Key::LatencyMs => &self.latency_ms,
            Key::BytesPerS => &self.bytes_per_s,
            Key::LossPercent => &self.loss_percent,
            Key::Moment => &self.moment,
            Key::How => &self.how,
            Key::DownMs => &self.down_ms,
            Key::UpMs => &self.up_ms,
            Key::GapMs => &self.gap_ms,
            Key::CpuPercent => &self.cpu_percent,
            Key::Operation => &self.operation,
            Key::Failures => &self.failures,
            Key::StallMs => &self.stall_ms,
            Key::FreeBytes => &self.free_bytes,
            Key::Bits => &self.bits,
            Key::OffsetMs => &self.offset_ms,
            Key::DriftPpm => &self.drift_ppm,
            Key::Users => &self.users,
        }
        .as_ref()
    }
}

/// What a key of one kind may hold.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// One number, or from one to another.
    Number {
        min: i64,
        max: i64,
    },
    Word(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MinMax {
    min: i64,
    max: i64,
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, { min = …, max = … } or a word")
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number { min: value, max: value })
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Word(value.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        let range = MinMax::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Value::Number { min: range.min, max: range.max })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}
