//! The shell of the owner machine: one task per shard, which is the shard's single writer.
//!
//! While one batch is made durable the next one fills, and reads are served. A store whose write
//! fails is opened again and recovered; every link is dropped then, so that gateways start afresh.
//! A read that fails is its reader's alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use seriatim_engine::entry::{Batch, ChannelEntry, Confirmation, Entry, ReadCursor};
use seriatim_engine::history_bound::HistoryBound;
use seriatim_engine::ids::{ChannelKey, Epoch, SeqNo, ShardId};
use seriatim_engine::limits::{INBOX_MAX, PAGE_BYTES_MAX, STORE_BATCH_MAX};
use seriatim_engine::link::{LinkId, ToOwner};
use seriatim_engine::owner::{ChannelSeed, Effect, Input, Owner, ReadId, Unreadable};
use seriatim_engine::time::{LogClock, LogTime, MonoTime, WallTime};
use seriatim_world::log_store::{LogStore, LogStoreOptions, TrimReport};
use seriatim_world::spawn::{Task, TaskGroup};
use seriatim_world::{BoxFuture, Store, StoreError, World, clock};

use crate::link;
use crate::look::Look;
use crate::metrics::{MeasuredDisk, Metrics};
use crate::outbox::Outbox;

/// What reaches an owner from its links.
#[derive(Debug)]
pub(crate) enum Arrival {
    LinkUp {
        link: LinkId,
        outbox: Outbox,
    },
    Frame {
        link: LinkId,
        frame: ToOwner,
    },
    LinkDown {
        link: LinkId,
    },
    Look(Look<Owner>),
    /// What the log holds at a position; none: nothing, or it can't be read.
    Entry {
        channel: ChannelKey,
        seq: SeqNo,
        answer: oneshot::Sender<Option<Entry>>,
    },
}

/// Waits before a failed store is opened again.
const REOPEN_DELAY: Duration = Duration::from_millis(500);

/// Serves `shard` until the node stops or its data is corrupt.
///
/// # Errors
/// [`StoreError::Corrupt`]: serving what is left would break promises; the data needs a person.
/// [`StoreError::Fenced`]: somebody else is the shard's writer.
pub(crate) async fn run(
    world: World,
    shard: ShardId,
    options: LogStoreOptions,
    metrics: Metrics,
    mut inbox: mpsc::Receiver<Arrival>,
) -> Result<(), StoreError> {
    metrics.owner(shard, |_| {});
    loop {
        let served = serve(&world, shard, &options, &metrics, &mut inbox).await;
        metrics.owner(shard, |owner| owner.store_open = false);
        match served {
            Ok(()) => return Ok(()),
            Err(error @ (StoreError::Corrupt { .. } | StoreError::Fenced { .. })) => {
                return Err(error);
            }
            Err(error @ (StoreError::Failed { .. } | StoreError::Poisoned)) => {
                metrics.owner(shard, |owner| owner.reopened += 1);
                tracing::warn!(shard = shard.0, %error, "the store failed, opening it again");
            }
        }
        clock::sleep(&*world.clock, REOPEN_DELAY).await;
    }
}

async fn serve(
    world: &World,
    shard: ShardId,
    options: &LogStoreOptions,
    metrics: &Metrics,
    inbox: &mut mpsc::Receiver<Arrival>,
) -> Result<(), StoreError> {
    let disk = Arc::new(MeasuredDisk::new(world, metrics, shard));
    let (store, report) = LogStore::open(disk, shard, *options).await?;
    tracing::info!(shard = shard.0, ?report, "store is open");
    let store = Arc::new(store);
    let log_clock = LogClock::new(store.log_time(), world.clock.mono_now());
    let mut tasks = TaskGroup::default();
    let (trimmed, trims) = mpsc::channel(1);
    tasks.add(maintain(world, shard, (store.clone(), log_clock), trimmed));
    let epoch = store.claim(shard).await?;
    let recovered = store.recover(shard, options.nonce_window).await?;
    let seeds = recovered.channels.into_iter().map(|(channel, state)| ChannelSeed {
        channel,
        head: state.head,
        trimmed_upto: state.trimmed_upto,
        roster: state.roster,
    });
    let (read_done, reads) = mpsc::channel(INBOX_MAX);
    // There is one note at a time.
    let (noted, notes) = mpsc::channel(1);
    let shell = Shell {
        world,
        metrics,
        shard,
        epoch,
        store,
        owner: Owner::new(seeds, recovered.nonces)
            .with_reads(recovered.reads)
            .with_clock(log_clock),
        links: BTreeMap::new(),
        batch: Vec::new(),
        trimmed_upto: recovered.trimmed_upto,
        read_done,
        noted,
        unreadable: Complaints::default(),
        tasks,
    };
    metrics.owner(shard, |owner| {
        owner.store_open = true;
        owner.epoch = epoch;
    });
    shell.run(inbox, Answers { reads, notes, trims }).await
}

/// Starts the store's work in the background. When it gives the store up, the next append says so.
fn maintain(
    world: &World,
    shard: ShardId,
    (store, log_clock): (Arc<LogStore>, LogClock),
    trimmed: mpsc::Sender<TrimReport>,
) -> Task {
    let clock = world.clock.clone();
    let work = async move {
        let error = store.maintain(clock, log_clock, trimmed).await;
        tracing::warn!(shard = shard.0, %error, "the store must be opened again");
    };
    world.spawn.spawn("store-maintenance", Box::pin(work))
}

/// What comes from the store.
struct Answers {
    reads: mpsc::Receiver<ReadDone>,
    notes: mpsc::Receiver<Result<(), StoreError>>,
    trims: mpsc::Receiver<TrimReport>,
}

/// What the store answered, and what kept it from reading if something did.
type ReadDone = (Input, Option<StoreError>);

struct Shell<'a> {
    world: &'a World,
    metrics: &'a Metrics,
    shard: ShardId,
    epoch: Epoch,
    store: Arc<LogStore>,
    owner: Owner,
    links: BTreeMap<LinkId, Outbox>,
    /// Waits for the store to be free.
    batch: Vec<Record>,
    /// Everything that was written up to this time of the log is gone.
    trimmed_upto: LogTime,
    read_done: mpsc::Sender<ReadDone>,
    noted: mpsc::Sender<Result<(), StoreError>>,
    unreadable: Complaints,
    tasks: TaskGroup,
}

/// What the store is given, in the order in which the owner gave it.
enum Record {
    Entry(ChannelEntry),
    Confirmation(Confirmation),
}

/// What one batch held.
struct Appended {
    entries: usize,
    confirmations: usize,
}

impl Shell<'_> {
    async fn run(
        mut self,
        inbox: &mut mpsc::Receiver<Arrival>,
        mut answers: Answers,
    ) -> Result<(), StoreError> {
        let mut arrivals = Vec::new();
        let mut effects = Vec::new();
        let mut appending: Option<BoxFuture<'static, Result<Appended, StoreError>>> = None;
        let mut began_at = MonoTime::default();
        loop {
            if appending.is_none() && !self.batch.is_empty() {
                began_at = self.world.clock.mono_now();
                appending = Some(self.append());
            }
            let (deadline, clock) = (self.owner.next_deadline(), self.world.clock.clone());
            let tick = async {
                match deadline {
                    Some(deadline) => clock.sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                // Before everything else, which may never cease.
                () = tick => self.handle(Input::Tick, &mut effects),
                result = wait_for(&mut appending) => {
                    appending = None;
                    let Appended { entries, confirmations } = result?;
                    let took = self.world.clock.mono_now() - began_at;
                    self.measure(entries + confirmations, took);
                    self.handle(Input::Stored { count: entries }, &mut effects);
                    self.handle(Input::Confirmed { count: confirmations }, &mut effects);
                }
                Some(noted) = answers.notes.recv() => {
                    noted?;
                    self.handle(Input::ReadsNoted, &mut effects);
                }
                Some((answer, error)) = answers.reads.recv() => {
                    if let Some(error) = error {
                        self.unreadable.tell(self.world.clock.mono_now(), self.shard, &error);
                    }
                    self.handle(answer, &mut effects);
                }
                Some(trim) = answers.trims.recv() => self.trimmed(trim, &mut effects),
                count = inbox.recv_many(&mut arrivals, STORE_BATCH_MAX),
                    if self.batch.len() < STORE_BATCH_MAX =>
                {
                    if count == 0 {
                        return Ok(());
                    }
                    for arrival in arrivals.drain(..) {
                        self.arrived(arrival, &mut effects);
                    }
                }
            }
            for effect in effects.drain(..) {
                self.carry_out(effect);
            }
            self.publish(inbox.len());
        }
    }

    /// The store let entries go.
    fn trimmed(&mut self, trim: TrimReport, effects: &mut Vec<Effect>) {
        let TrimReport { channels, entries, bytes, upto } = trim;
        self.metrics.owner(self.shard, |owner| {
            owner.trimmed_entries += entries;
            owner.trimmed_bytes += bytes;
        });
        self.trimmed_upto = upto;
        self.handle(Input::Trimmed { channels }, effects);
    }

    /// A batch of `count` records took so long to become durable.
    fn measure(&self, count: usize, took: Duration) {
        self.metrics.owner(self.shard, |owner| {
            owner.batch.record(count as u64);
            owner.commit.record_time(took);
        });
    }

    /// `arrived` wait for the next turn.
    fn publish(&self, arrived: usize) {
        let log_time = self.owner.log_time(self.world.clock.mono_now());
        self.metrics.owner(self.shard, |owner| {
            owner.counts = *self.owner.counts();
            owner.upkeep = self.store.upkeep();
            owner.waiting.set(self.batch.len());
            owner.log_age_s = u64::from(log_time.0.saturating_sub(self.trimmed_upto.0));
            owner.inbox.set(arrived);
        });
    }

    /// Makes what waits longest durable, as one batch.
    fn append(&mut self) -> BoxFuture<'static, Result<Appended, StoreError>> {
        let count = self.batch.len().min(STORE_BATCH_MAX);
        let (mut entries, mut confirmations) = (Vec::with_capacity(count), Vec::new());
        for record in self.batch.drain(..count) {
            match record {
                Record::Entry(entry) => entries.push(entry),
                Record::Confirmation(confirmation) => confirmations.push(confirmation),
            }
        }
        let appended = Appended { entries: entries.len(), confirmations: confirmations.len() };
        let store = self.store.clone();
        let at = self.owner.log_time(self.world.clock.mono_now());
        let batch = Batch { shard: self.shard, epoch: self.epoch, at, entries, confirmations };
        Box::pin(async move { store.append(batch).await.map(|()| appended) })
    }

    fn arrived(&mut self, arrival: Arrival, effects: &mut Vec<Effect>) {
        match arrival {
            Arrival::LinkUp { link, outbox } => {
                self.links.insert(link, outbox);
            }
            // A link that came up before the store was opened again is closed already.
            Arrival::Frame { link, frame } if self.links.contains_key(&link) => {
                self.handle(Input::Frame { link, frame }, effects);
            }
            Arrival::Frame { .. } => {}
            Arrival::Entry { channel, seq, answer } => self.read_entry(channel, seq, answer),
            Arrival::Look(look) => look.take(&self.owner, self.world.clock.mono_now()),
            Arrival::LinkDown { link } => {
                if self.links.remove(&link).is_some() {
                    self.handle(Input::LinkDown { link }, effects);
                }
            }
        }
    }

    fn handle(&mut self, input: Input, effects: &mut Vec<Effect>) {
        let (now, wall) = (self.world.clock.mono_now(), self.world.clock.wall_now());
        self.owner.handle(now, wall, input, effects);
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Append(entry) => self.batch.push(Record::Entry(entry)),
            Effect::Confirm(confirmation) => self.batch.push(Record::Confirmation(confirmation)),
            Effect::Read { read, channel, bound, entries_max } => {
                self.read(read, channel, bound, entries_max);
            }
            Effect::Seek { read, points } => self.seek(read, points),
            Effect::NoteReads(reads) => self.note_reads(reads),
            Effect::Send { links, frame } => {
                let frame = link::encode(&frame);
                for outbox in links.iter().filter_map(|link| self.links.get(link)) {
                    link::send(outbox, frame.clone(), self.metrics);
                }
            }
        }
    }

    fn seek(&mut self, read: ReadId, points: Vec<(ChannelKey, WallTime)>) {
        let (store, done) = (self.store.clone(), self.read_done.clone());
        let seek = async move {
            let answer = match firsts(&*store, &points).await {
                Ok(firsts) => (Input::Sought { read, firsts }, None),
                Err((channel, error)) => {
                    let why = why_unreadable(&error);
                    (Input::SeekFailed { read, channel, why }, Some(error))
                }
            };
            // The owner may have stopped meanwhile.
            drop(done.send(answer).await);
        };
        self.tasks.add(self.world.spawn.spawn("owner-seek", Box::pin(seek)));
    }

    fn note_reads(&mut self, reads: Vec<ReadCursor>) {
        let (store, shard, epoch) = (self.store.clone(), self.shard, self.epoch);
        let done = self.noted.clone();
        let note = async move {
            let noted = store.note_reads(shard, epoch, reads).await;
            // The owner may have stopped meanwhile.
            drop(done.send(noted).await);
        };
        self.tasks.add(self.world.spawn.spawn("owner-note-reads", Box::pin(note)));
    }

    fn read_entry(
        &mut self,
        channel: ChannelKey,
        seq: SeqNo,
        answer: oneshot::Sender<Option<Entry>>,
    ) {
        let store = self.store.clone();
        let read = async move {
            let page =
                store.history(&channel, HistoryBound::After(seq.before()), 1, PAGE_BYTES_MAX).await;
            let entry = page.ok().and_then(|page| page.entries.into_iter().next());
            // Whoever asked may have given up.
            drop(answer.send(entry.filter(|entry| entry.seq == seq)));
        };
        self.tasks.add(self.world.spawn.spawn("owner-read-entry", Box::pin(read)));
    }

    fn read(&mut self, read: ReadId, channel: ChannelKey, bound: HistoryBound, entries_max: usize) {
        let (store, done) = (self.store.clone(), self.read_done.clone());
        let task = self.world.spawn.spawn(
            "owner-read",
            Box::pin(async move {
                let page = store.history(&channel, bound, entries_max, PAGE_BYTES_MAX).await;
                let answer = match page {
                    Ok(page) => (Input::Read { read, page }, None),
                    Err(error) => {
                        let why = why_unreadable(&error);
                        (Input::ReadFailed { read, why }, Some(error))
                    }
                };
                // The owner may have stopped meanwhile; then nobody waits for the page.
                drop(done.send(answer).await);
            }),
        );
        self.tasks.add(task);
    }
}

/// Reads that failed: the log has one line for many.
#[derive(Debug, Default)]
struct Complaints {
    told_at: Option<MonoTime>,
    untold: u64,
}

/// Readers may come back many times a second to what can't be read.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

impl Complaints {
    fn tell(&mut self, now: MonoTime, shard: ShardId, error: &StoreError) {
        if self.told_at.is_some_and(|at| now < at + COMPLAINT_INTERVAL) {
            self.untold += 1;
            return;
        }
        self.told_at = Some(now);
        let others = std::mem::take(&mut self.untold);
        tracing::warn!(shard = shard.0, %error, others, "a read failed, its reader is refused");
    }
}

/// Whatever the reason, what can't be read is refused, and the rest is served.
fn why_unreadable(error: &StoreError) -> Unreadable {
    match error {
        StoreError::Corrupt { .. } => Unreadable::Damaged,
        StoreError::Failed { .. } | StoreError::Poisoned | StoreError::Fenced { .. } => {
            Unreadable::Failed
        }
    }
}

/// Of each channel the first entry that was numbered at its time or later. Or which of them can't
/// be read.
async fn firsts(
    store: &dyn Store,
    points: &[(ChannelKey, WallTime)],
) -> Result<Vec<Option<SeqNo>>, (ChannelKey, StoreError)> {
    let mut firsts = Vec::with_capacity(points.len());
    for (channel, at) in points {
        let page = store.history(channel, HistoryBound::Since(*at), 1, 0).await;
        let page = page.map_err(|error| (channel.clone(), error))?;
        // Whoever goes on at what is gone is told so.
        firsts.push(page.trimmed_upto.or(page.entries.first().map(|entry| entry.seq)));
    }
    Ok(firsts)
}

impl Drop for Shell<'_> {
    fn drop(&mut self) {
        for outbox in self.links.values() {
            outbox.abandon();
        }
    }
}

/// The append's result; pending for ever when there is none.
async fn wait_for(
    appending: &mut Option<BoxFuture<'static, Result<Appended, StoreError>>>,
) -> Result<Appended, StoreError> {
    match appending {
        Some(append) => append.await,
        None => std::future::pending().await,
    }
}
