//! Reads one `[[fault]]`: what the table of kinds allows, and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Spanned;

use super::{ParseError, Reader, TIMES_MAX};
use crate::fault::{FaultKind, FaultTarget, Key, Knob, Lasting, Role, Setting, Values, Word};
use crate::guarantees::NAMES;
use crate::scenario::{Cluster, Expect, Fault, Range};
use crate::schema;

/// Crashes of one crash loop.
const CRASHES_MAX: u128 = 1_000;

impl Reader<'_> {
    pub(super) fn fault(
        &self,
        raw: &schema::Fault,
        cluster: &Cluster,
        end: Duration,
    ) -> Result<Fault, ParseError> {
        let kind: FaultKind = raw.kind.get_ref().parse().map_err(|_| {
            let known = FaultKind::ALL.map(FaultKind::as_str).join(", ");
            let message = format!("unknown fault {:?}; known are {known}", raw.kind.get_ref());
            self.fail(raw.kind.span(), message)
        })?;
        let target = self.fault_target(kind, &raw.target, cluster)?;
        let at = self.seconds_range("at_s", &raw.at_s, 0.0)?;
        let lasts = match (&raw.for_s, kind.lasts()) {
            (Some(lasts), true) => self.seconds_range("for_s", lasts, 0.001)?,
            (None, false) => Range { min: Duration::ZERO, max: Duration::ZERO },
            (Some(lasts), false) => {
                let why = match kind.spec().lasting {
                    Lasting::Own => "is over when it is through with its targets",
                    Lasting::Once | Lasting::For => "is over at once",
                };
                let message = format!("{kind} {why}; take `for_s` away");
                return Err(self.fail(lasts.span(), message));
            }
            (None, true) => {
                let message = format!("{kind} lasts; say for how long, as in: for_s = 5");
                return Err(self.fail(raw.kind.span(), message));
            }
        };
        let settings = self.settings(kind, raw)?;
        let longest = match kind.spec().lasting {
            Lasting::Once => Duration::ZERO,
            Lasting::For => lasts.max,
            Lasting::Own => longest_round(target, &settings, cluster),
        };
        self.crashes(kind, raw, &settings, lasts)?;
        let (every, times) = self.repetition(raw, longest)?;
        let last = at.max + every * (times - 1);
        if last >= end {
            let message = format!(
                "the fault would begin at {} s, but the run's work is over at {} s; begin earlier, \
                 repeat less often or raise `duration_s`",
                last.as_secs_f64(),
                end.as_secs_f64()
            );
            return Err(self.fail(raw.at_s.span(), message));
        }
        Ok(Fault { kind, target, at, lasts, every, times, settings })
    }

    /// Every key that the kind has, as given or by default; any other is refused.
    fn settings(
        &self,
        kind: FaultKind,
        raw: &schema::Fault,
    ) -> Result<BTreeMap<Key, Setting>, ParseError> {
        let mut settings = BTreeMap::new();
        for key in Key::ALL {
            match (kind.knob(key), raw.value(key)) {
                (Some(knob), given) => {
                    let setting = match given {
                        Some(given) => self.setting(knob, given)?,
                        None => default(knob),
                    };
                    settings.insert(key, setting);
                }
                (None, Some(given)) => {
                    let known: Vec<&str> =
                        kind.spec().knobs.iter().map(|knob| knob.key.as_str()).collect();
                    let known = match known.as_slice() {
                        [] => "it has no keys of its own".to_owned(),
                        known => format!("it takes {}", known.join(", ")),
                    };
                    let message = format!("{kind} has no `{key}`, take it away; {known}");
                    return Err(self.fail(given.span(), message));
                }
                (None, None) => {}
            }
        }
        Ok(settings)
    }

    fn setting(&self, knob: &Knob, raw: &Spanned<schema::Value>) -> Result<Setting, ParseError> {
        let key = knob.key;
        match (knob.values, raw.get_ref()) {
            (Values::Number { min, max, .. }, schema::Value::Number { min: lower, max: upper }) => {
                for found in [lower, upper] {
                    if !(min..=max).contains(found) {
                        let message = format!("`{key}` is {found}; give {min} to {max}");
                        return Err(self.fail(raw.span(), message));
                    }
                }
                let range = Range { min: *lower, max: *upper };
                Ok(Setting::Number(self.ordered(key.as_str(), raw.span(), range)?))
            }
            (Values::Word { words, .. }, schema::Value::Word(found)) => {
                match words.iter().find(|word| word.as_str() == found) {
                    Some(word) => Ok(Setting::Word(*word)),
                    None => {
                        let message = format!("`{key}` is {found:?}; write {}", listed(words));
                        Err(self.fail(raw.span(), message))
                    }
                }
            }
            (Values::Number { min, max, .. }, schema::Value::Word(found)) => {
                let message = format!("`{key}` is {found:?}; give a number from {min} to {max}");
                Err(self.fail(raw.span(), message))
            }
            (Values::Word { words, .. }, schema::Value::Number { .. }) => {
                let message = format!("`{key}` takes a word; write {}", listed(words));
                Err(self.fail(raw.span(), message))
            }
        }
    }

    /// The guarantees that the scenario gives up, each by its name.
    pub(super) fn gives_up(&self, raw: &schema::Expect) -> Result<Vec<&'static str>, ParseError> {
        let given_up = |name: &Spanned<String>| {
            let found = NAMES.into_iter().find(|known| known == name.get_ref());
            found.ok_or_else(|| {
                let message = format!(
                    "there is no guarantee {:?} to give up; known are {}",
                    name.get_ref(),
                    NAMES.join(", ")
                );
                self.fail(name.span(), message)
            })
        };
        raw.gives_up.iter().flatten().map(given_up).collect()
    }

    /// A fault that makes promises impossible needs a scenario that gives them up, in so many
    /// words.
    pub(super) fn possible(
        &self,
        raw: &schema::File,
        faults: &[Fault],
        expect: &Expect,
    ) -> Result<(), ParseError> {
        let cuts_power = faults.iter().any(cuts_power_of_messages);
        for (fault, raw) in faults.iter().zip(&raw.fault) {
            // Nothing is lost that the kernel still holds.
            let is_harmless = fault.kind == FaultKind::LyingFsync && !cuts_power;
            let voids = if is_harmless { &[] } else { fault.kind.spec().voids };
            let missing: Vec<String> = voids
                .iter()
                .filter(|name| !expect.gives_up.contains(name))
                .map(|name| format!("\"{name}\""))
                .collect();
            if !missing.is_empty() {
                let message = format!(
                    "{} can destroy the only copy of what was accepted, which nobody can make \
                     good; give the promises up under [expect]: gives_up = [{}]",
                    fault.kind,
                    missing.join(", ")
                );
                return Err(self.fail(raw.get_ref().kind.span(), message));
            }
        }
        Ok(())
    }

    /// A plan is held in memory, so a crash loop has a bound.
    fn crashes(
        &self,
        kind: FaultKind,
        raw: &schema::Fault,
        settings: &BTreeMap<Key, Setting>,
        lasts: Range<Duration>,
    ) -> Result<(), ParseError> {
        if kind != FaultKind::CrashLoop {
            return Ok(());
        }
        let shortest = bounds(settings, Key::UpMs).0 + bounds(settings, Key::DownMs).0;
        let crashes = lasts.max.as_millis() / shortest.as_millis().max(1);
        if crashes > CRASHES_MAX {
            let message = format!(
                "{crashes} crashes in a row; the limit is {CRASHES_MAX}: lower `for_s` or raise \
                 `up_ms` or `down_ms`"
            );
            let span = raw.for_s.as_ref().map_or_else(|| raw.kind.span(), Spanned::span);
            return Err(self.fail(span, message));
        }
        Ok(())
    }

    fn repetition(
        &self,
        raw: &schema::Fault,
        longest: Duration,
    ) -> Result<(Duration, u32), ParseError> {
        match (&raw.every_s, &raw.times) {
            (None, None) => Ok((Duration::ZERO, 1)),
            (Some(every), None) => {
                let message = "`every_s` needs `times`: how often it happens in all";
                Err(self.fail(every.span(), message))
            }
            (None, Some(times)) => {
                let message = "`times` needs `every_s`: from one beginning to the next";
                Err(self.fail(times.span(), message))
            }
            (Some(every), Some(times)) => {
                let span = every.span();
                let every = self.seconds("every_s", span.clone(), *every.get_ref(), 0.001)?;
                if every <= longest {
                    let message = "`every_s` must be longer than `for_s` or the whole round, so \
                                   that one is over before the next begins";
                    return Err(self.fail(span, message));
                }
                Ok((every, self.number("times", times, 1, TIMES_MAX)?))
            }
        }
    }

    fn fault_target(
        &self,
        kind: FaultKind,
        raw: &Spanned<String>,
        cluster: &Cluster,
    ) -> Result<FaultTarget, ParseError> {
        let text = raw.get_ref();
        let target: FaultTarget = text.parse().map_err(|_| {
            let message = format!("unknown target {text:?}; {kind} takes {}", kind.targets());
            self.fail(raw.span(), message)
        })?;
        for node in target.nodes() {
            let (count, key) = match node.role {
                Role::Gateway => (cluster.gateways, "gateways"),
                Role::Messages => (cluster.message_nodes, "message_nodes"),
            };
            if node.number.is_some_and(|number| number > count) {
                let message = format!("there is no {node}: the cluster has {key} = {count}");
                return Err(self.fail(raw.span(), message));
            }
        }
        if kind.accepts(target) {
            Ok(target)
        } else {
            let message = format!("{kind} cannot hit {text:?}; it takes {}", kind.targets());
            Err(self.fail(raw.span(), message))
        }
    }
}

/// It may take the power from a message node.
fn cuts_power_of_messages(fault: &Fault) -> bool {
    let hits_messages = match fault.target {
        FaultTarget::Node(node) => node.role == Role::Messages,
        FaultTarget::All(role) => role == Role::Messages,
        FaultTarget::Cluster => true,
        FaultTarget::Link(..) | FaultTarget::ClientsOf(_) | FaultTarget::Clients => false,
    };
    let by_power = fault.settings.get(&Key::How) == Some(&Setting::Word(Word::PowerLoss));
    hits_messages && (fault.kind == FaultKind::PowerLoss || by_power)
}

fn default(knob: &Knob) -> Setting {
    match knob.values {
        Values::Number { default: (min, max), .. } => Setting::Number(Range { min, max }),
        Values::Word { default, .. } => Setting::Word(default),
    }
}

fn listed(words: &[Word]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ")
}

/// The least and the most milliseconds of `key`, as durations.
fn bounds(settings: &BTreeMap<Key, Setting>, key: Key) -> (Duration, Duration) {
    match settings.get(&key) {
        Some(Setting::Number(Range { min, max })) => {
            let duration = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
            (duration(*min), duration(*max))
        }
        Some(Setting::Word(_)) | None => (Duration::ZERO, Duration::ZERO),
    }
}

/// The longest that a round over all nodes of `target` can take.
fn longest_round(
    target: FaultTarget,
    settings: &BTreeMap<Key, Setting>,
    cluster: &Cluster,
) -> Duration {
    let nodes = match target {
        FaultTarget::All(Role::Gateway) => cluster.gateways,
        FaultTarget::All(Role::Messages) => cluster.message_nodes,
        FaultTarget::Cluster => cluster.gateways + cluster.message_nodes,
        FaultTarget::Node(_)
        | FaultTarget::Link(..)
        | FaultTarget::ClientsOf(_)
        | FaultTarget::Clients => 1,
    };
    (bounds(settings, Key::DownMs).1 + bounds(settings, Key::GapMs).1) * nodes
}
