//! A few simulated hosts on one bench, stepped by hand.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use seriatim_scenarios::choices::Choices;
use seriatim_sim::disk::{DiskConfig, SimDisk};
use seriatim_sim::host::SimHost;
use seriatim_sim::hygiene::Hygiene;
use seriatim_sim::journal::{Journal, Keep};
use seriatim_sim::net::{NetConfig, Plane};
use seriatim_sim::time::SimTime;
use seriatim_world::World;
use seriatim_world::clock::sleep;
use seriatim_world::net::BoxStream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Every segment takes 10 ms, and nothing is cut short.
pub(crate) fn plain() -> NetConfig {
    NetConfig {
        latency_us_min: 10_000,
        latency_us_max: 10_000,
        heavy_tail: false,
        short_io: false,
        ..NetConfig::default()
    }
}

/// What the hosts noted, each with its time in milliseconds.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Vec<(u64, String)>>>);

impl Notes {
    pub(crate) fn add(&self, world: &World, text: impl Into<String>) {
        let at_ms = u64::try_from(world.clock.mono_now().0.as_millis()).unwrap();
        self.0.lock().unwrap().push((at_ms, text.into()));
    }

    pub(crate) fn all(&self) -> Vec<(u64, String)> {
        self.0.lock().unwrap().clone()
    }

    /// The texts, without their times.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.all().into_iter().map(|(_, text)| text).collect()
    }

    /// When `text` was noted first.
    pub(crate) fn time_of(&self, text: &str) -> Option<u64> {
        self.all().into_iter().find(|(_, noted)| noted == text).map(|(at_ms, _)| at_ms)
    }
}

pub(crate) struct Lab {
    sim: turmoil::Sim<'static>,
    pub(crate) plane: Plane,
    pub(crate) journal: Journal,
    pub(crate) choices: Choices,
    pub(crate) notes: Notes,
    pub(crate) hygiene: Hygiene,
    hosts: BTreeMap<&'static str, SimHost>,
    tick_ms: u64,
    elapsed_ms: u64,
}

impl Lab {
    pub(crate) fn new(seed: u64, config: NetConfig, tick_ms: u64) -> Self {
        let choices = Choices::new(seed);
        let journal = Journal::new(Keep::Newest { max: 100_000 }).unwrap();
        let mut builder = turmoil::Builder::new();
        builder
            .epoch(UNIX_EPOCH + Duration::from_secs(1_767_225_600))
            .rng_seed(seed)
            .simulation_duration(Duration::from_secs(1_000_000))
            .tick_duration(Duration::from_millis(tick_ms));
        Self {
            sim: builder.build(),
            plane: Plane::new(&choices, &journal, config),
            journal,
            choices,
            notes: Notes::default(),
            hygiene: Hygiene::new(),
            hosts: BTreeMap::new(),
            tick_ms,
            elapsed_ms: 0,
        }
    }

    /// A lab whose times are exact to the millisecond.
    pub(crate) fn exact() -> Self {
        Self::new(1, plain(), 1)
    }

    /// Adds a host that runs `software` at each boot, and boots it.
    pub(crate) fn host<F, Fut>(&mut self, name: &'static str, software: F)
    where
        F: Fn(World, Notes) -> Fut + Clone + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let disk = SimDisk::new(name, &self.choices, &self.journal, DiskConfig::default());
        let host = SimHost::new(name, &self.plane, disk, &self.choices);
        host.boot(self.now());
        let (notes, held) = (self.notes.clone(), host.clone());
        self.sim.host(name, move || {
            let (software, notes) = (software.clone(), notes.clone());
            let running = held.run(move |world| software(world, notes));
            async move {
                running.await;
                std::future::pending().await
            }
        });
        self.hosts.insert(name, host);
    }

    pub(crate) fn at(&self, name: &str) -> &SimHost {
        self.hosts.get(name).unwrap()
    }

    pub(crate) fn now(&self) -> SimTime {
        SimTime(self.elapsed_ms * 1_000)
    }

    /// Steps until `ms` have passed since the start.
    pub(crate) fn run_until(&mut self, ms: u64) {
        let _watch = self.hygiene.watch();
        while self.elapsed_ms < ms {
            self.sim.step().unwrap();
            self.elapsed_ms += self.tick_ms;
        }
    }

    pub(crate) fn kill(&mut self, name: &str) {
        self.at(name).kill(self.now());
        self.sim.crash(name);
    }

    pub(crate) fn power_off(&mut self, name: &str) {
        self.at(name).power_off(self.now());
        self.sim.crash(name);
    }

    pub(crate) fn boot(&mut self, name: &str) {
        self.at(name).boot(self.now());
        self.sim.bounce(name);
    }

    /// Journal lines of `host` from `from_ms` on whose kind starts with `kind`.
    pub(crate) fn lines(&self, host: &str, kind: &str, from_ms: u64) -> Vec<String> {
        let matches = |line: &String| {
            let mut words = line.split(' ');
            let at: f64 = words.next().unwrap().parse().unwrap();
            at * 1_000.0 >= from_ms as f64
                && words.next() == Some(host)
                && words.next().is_some_and(|word| word.starts_with(kind))
        };
        self.journal.lines().into_iter().filter(matches).collect()
    }
}

pub(crate) async fn wait_until(world: &World, ms: u64) {
    let now = world.clock.mono_now();
    let deadline = Duration::from_millis(ms);
    sleep(&*world.clock, deadline.saturating_sub(now.0)).await;
}

/// Accepts connections on port 80 and notes what each sends, to its end.
pub(crate) async fn note_all(world: World, notes: Notes) {
    let mut listener = world.net.bind("0.0.0.0:80").await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        notes.add(&world, "accepted");
        let (own, notes) = (world.clone(), notes.clone());
        let task = async move { note_stream(&own, &notes, "server", stream).await };
        world.spawn.spawn("reader", Box::pin(task));
    }
}

/// Notes everything that `stream` gives, to its end or error.
pub(crate) async fn note_stream(world: &World, notes: &Notes, who: &str, mut stream: BoxStream) {
    let mut buffer = vec![0; 4_096];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => return notes.add(world, format!("{who} end")),
            Ok(count) => {
                let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                notes.add(world, format!("{who} read {text}"));
            }
            Err(error) => {
                notes.add(world, format!("{who} {:?}", error.kind()));
                return;
            }
        }
    }
}

/// Writes `texts` at their times, then keeps the stream open.
pub(crate) async fn write_at_times(world: &World, stream: &mut BoxStream, texts: &[(u64, &str)]) {
    for (ms, text) in texts {
        wait_until(world, *ms).await;
        stream.write_all(text.as_bytes()).await.unwrap();
    }
}
