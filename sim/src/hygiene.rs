//! What no run may show, whatever its faults: panics and logged errors.
//!
//! Both are reported by code that knows neither host nor simulation (a panic hook, a log layer),
//! so the host being polled is kept in a thread-local: one simulation runs on one thread.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Once};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry;

use crate::shared::Shared;
use crate::time::{SimClock, SimTime};

/// A run that goes wrong over and over need not be told more than so often.
const FINDINGS_MAX: usize = 100;

/// What sort of thing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingKind {
    /// A task panicked.
    Panic,
    /// Something was logged at level ERROR: a broken promise.
    ErrorLog,
}

/// Something that no run may show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub kind: FindingKind,
    /// The host being run and its time; `None` outside all hosts.
    pub place: Option<(Arc<str>, SimTime)>,
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            FindingKind::Panic => "panic",
            FindingKind::ErrorLog => "error log",
        };
        match &self.place {
            Some((host, at)) => write!(f, "{kind} on {host} at {at}: {}", self.text),
            None => write!(f, "{kind}: {}", self.text),
        }
    }
}

/// The findings of one run. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hygiene(Shared<Vec<Finding>>);

thread_local! {
    static WATCHED: RefCell<Option<Hygiene>> = const { RefCell::new(None) };
    static POLLED: RefCell<Option<SimClock>> = const { RefCell::new(None) };
}

impl Default for Hygiene {
    fn default() -> Self {
        Self::new()
    }
}

impl Hygiene {
    /// Nothing found yet.
    pub fn new() -> Self {
        Self(Shared::new(Vec::new()))
    }

    /// Collects this thread's panics and error logs until the guard is dropped. Panics collected
    /// are not printed; those of other threads are, as before.
    pub fn watch(&self) -> Watch {
        let layer = ErrorLayer.with_filter(LevelFilter::ERROR);
        let subscriber = tracing::subscriber::set_default(registry().with(layer));
        Watch { _subscriber: Some(subscriber), _previous: self.collect() }
    }

    /// As [`Hygiene::watch`], for a caller whose own subscriber has an [`ErrorLayer`].
    pub fn watch_panics(&self) -> Watch {
        Watch { _subscriber: None, _previous: self.collect() }
    }

    fn collect(&self) -> Restore {
        install_panic_hook();
        Restore(WATCHED.with(|watched| watched.replace(Some(self.clone()))))
    }

    /// What was found, in order; at most 100 of it.
    pub fn findings(&self) -> Vec<Finding> {
        self.0.lock().clone()
    }

    fn add(&self, kind: FindingKind, text: String) {
        let place =
            POLLED.with_borrow(|clock| clock.as_ref().map(|c| (c.host().name().clone(), c.now())));
        let mut findings = self.0.lock();
        if findings.len() < FINDINGS_MAX {
            findings.push(Finding { kind, place, text });
        }
    }
}

/// Ends the collecting when dropped.
#[must_use = "nothing is collected after it is dropped"]
pub struct Watch {
    _subscriber: Option<DefaultGuard>,
    _previous: Restore,
}

struct Restore(Option<Hygiene>);

impl Drop for Restore {
    fn drop(&mut self) {
        WATCHED.with(|watched| watched.replace(self.0.take()));
    }
}

/// Runs `poll` with `clock`'s host as the one that findings are laid to.
pub(crate) fn polled_as<T>(clock: &SimClock, poll: impl FnOnce() -> T) -> T {
    struct Leave(Option<SimClock>);
    impl Drop for Leave {
        fn drop(&mut self) {
            POLLED.with(|polled| polled.replace(self.0.take()));
        }
    }
    let _leave = Leave(POLLED.with(|polled| polled.replace(Some(clock.clone()))));
    poll()
}

fn report(kind: FindingKind, text: impl FnOnce() -> String) -> bool {
    let hygiene = WATCHED.with_borrow(Clone::clone);
    let found = hygiene.is_some();
    if let Some(hygiene) = hygiene {
        hygiene.add(kind, text());
    }
    found
}

fn install_panic_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !report(FindingKind::Panic, || panic.to_string()) {
                previous(panic);
            }
        }));
    });
}

/// Collects events of level ERROR for the [`Hygiene`] that watches the thread.
#[derive(Debug, Clone, Copy, Default)]
pub struct ErrorLayer;

impl<S: Subscriber> Layer<S> for ErrorLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if *event.metadata().level() == Level::ERROR {
            report(FindingKind::ErrorLog, || {
                let mut text = Text(event.metadata().target().to_owned());
                event.record(&mut text);
                text.0
            });
        }
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
        written.expect("writing to a string cannot fail");
    }
}
