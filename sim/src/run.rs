//! One run: a plan carried out in the simulated world, judged to the end.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use seriatim_engine::entry::ReadCursor;
use seriatim_engine::ids::ShardId;
use seriatim_scenarios::choices::Choices;
use seriatim_scenarios::history::What;
use seriatim_scenarios::judge::{Judge, Verdict};
use seriatim_scenarios::plan::Plan;
use seriatim_world::StoreError;
use seriatim_world::log_store::{LogStore, LogStoreOptions};

use crate::cluster::Cluster;
use crate::faults::{FaultCount, Faults};
use crate::hygiene::{Finding, FindingKind, Hygiene};
use crate::journal::{Journal, Keep};
use crate::peaks::Peaks;
use crate::planted::switch;
use crate::recorder::Recorder;
use crate::supervisor::Supervisor;
use crate::time::SimTime;

/// How a run is carried out. Part of what decides the journal.
#[derive(Debug, Clone)]
pub struct RunOptions {
    pub keep: Keep,
    /// The planted bug that the run has, in a program that has them.
    pub bug: Option<&'static str>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { keep: Keep::Nothing, bug: None }
    }
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct RunResult {
    pub seed: u64,
    pub verdict: Verdict,
    pub journal_hash: u128,
    pub journal_entries: u64,
    pub faults: BTreeMap<&'static str, FaultCount>,
    /// What happened on the network and the disks, by what is counted.
    pub effects: BTreeMap<&'static str, u64>,
    /// Simulated time from the start to the audit.
    pub simulated: Duration,
    /// CPU time of the run's thread.
    pub cpu: Duration,
    /// The last lines of the journal, if they were kept.
    pub lines: Vec<String>,
}

/// Whether convergence has been reached is looked at so often, in simulated time.
const CONVERGENCE_LOOK: u64 = 100_000;

/// After convergence the run goes on so long, for what should not happen any more.
const AFTERMATH: u64 = 1_000_000;

/// Runs a plan on a thread of its own, so that nothing of an earlier run is left in it.
///
/// # Errors
/// The journal's file can't be written, or no thread can be had.
pub fn run(plan: &Arc<Plan>, options: &RunOptions) -> std::io::Result<RunResult> {
    let (plan, options) = (plan.clone(), options.clone());
    let name = format!("{} seed {}", plan.scenario, plan.seed);
    let thread = std::thread::Builder::new().name(name).spawn(move || run_here(&plan, &options))?;
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn run_here(plan: &Arc<Plan>, options: &RunOptions) -> std::io::Result<RunResult> {
    switch::plant(options.bug);
    let journal = Journal::new(options.keep.clone())?;
    let judge = Judge::new(&plan.roster(), &plan.expect, plan.presence_lag(), &plan.noise);
    let recorder = Recorder::new(judge, plan.roster(), journal.clone());
    let choices = Choices::new(plan.seed);
    let hygiene = Hygiene::new();
    let watch = hygiene.watch();
    let mut cluster = Cluster::start(plan, &choices, &journal, &recorder);
    let mut faults = Faults::new(plan);
    let mut supervisor = Supervisor::default();
    let mut peaks = Peaks::default();

    let survived = catch_unwind(AssertUnwindSafe(|| {
        advance(plan, &mut cluster, &mut faults, &mut supervisor, &mut peaks, &recorder);
    }));
    let now = cluster.now();
    peaks.look(now, &cluster, &recorder);
    if survived.is_ok() {
        audit(now, &cluster, plan, &recorder);
    }
    for finding in hygiene.findings() {
        recorder.record(now, told(finding));
    }
    recorder.record(now, What::RunEnded);
    let effects = effects(&cluster, &supervisor);
    cluster.dismantle();
    drop(watch);
    journal.flush()?;
    Ok(RunResult {
        seed: plan.seed,
        verdict: recorder.conclude(),
        journal_hash: journal.hash(),
        journal_entries: journal.entries(),
        faults: faults.counts(),
        effects,
        simulated: now.since(SimTime::ZERO),
        cpu: thread_cpu(),
        lines: journal.lines(),
    })
}

/// What faults and crashes did, of that which can be counted; without what never happened.
fn effects(cluster: &Cluster, supervisor: &Supervisor) -> BTreeMap<&'static str, u64> {
    let net = cluster.plane.counters();
    let mut effects = BTreeMap::from([
        ("connects swallowed", net.syns_lost),
        ("connects refused", net.refused),
        ("bytes held back", net.bytes_held),
        ("bytes lost on the way", net.bytes_dropped),
        ("ends of connections reset", net.resets),
        ("processes started by the supervisor", supervisor.restarts()),
    ]);
    for host in cluster.nodes.values() {
        let disk = host.disk().counters();
        let counts = [
            ("writes lost", disk.writes_lost),
            ("writes torn", disk.writes_torn),
            ("file names lost", disk.names_lost),
            ("disk errors", disk.errors),
            ("writes without room", disk.refused),
            ("disk operations stalled", disk.stalls),
            ("syncs faked", disk.lies),
            ("writes misdirected", disk.writes_misdirected),
            ("bits rotted", disk.bits_rotted),
            ("task turns withheld", host.withheld()),
        ];
        for (what, count) in counts {
            *effects.entry(what).or_default() += count;
        }
    }
    effects.retain(|_, count| *count > 0);
    effects
}

/// Steps through the workload, the faults and the time to converge.
fn advance(
    plan: &Plan,
    cluster: &mut Cluster,
    faults: &mut Faults,
    supervisor: &mut Supervisor,
    peaks: &mut Peaks,
    recorder: &Recorder,
) {
    let end = SimTime::after(plan.end);
    let mut faults_told = false;
    let mut look_at = end;
    let mut stop_at = SimTime::after(plan.end + plan.converge_within);
    let mut converged = false;
    loop {
        let now = cluster.now();
        faults.advance(now, cluster, recorder);
        supervisor.advance(now, cluster, recorder);
        peaks.advance(now, cluster, recorder);
        // What users ask for at the last moment is asked in the step that begins there.
        if !faults_told && faults.are_over() && now > end {
            faults_told = true;
            recorder.record(now, What::FaultsOver);
        }
        if !converged && faults_told && now >= look_at {
            look_at = now.plus(CONVERGENCE_LOOK);
            if recorder.has_converged() {
                converged = true;
                recorder.record(now, What::Converged);
                stop_at = now.plus(AFTERMATH);
            }
        }
        if now >= stop_at {
            return;
        }
        if let Err(error) = cluster.sim.step() {
            panic!("a host stopped the simulation: {error}");
        }
    }
}

/// Takes the power from every message node and reads what its log holds.
fn audit(now: SimTime, cluster: &Cluster, plan: &Plan, recorder: &Recorder) {
    for node in &plan.nodes {
        let Some(host) = cluster.nodes.get(node.name.as_str()) else { continue };
        if host.is_alive() {
            host.power_off(now);
        }
        for shard in &node.shards {
            audit_shard(now, host, *shard, recorder);
        }
    }
    recorder.record(now, What::AuditDone);
}

fn audit_shard(now: SimTime, host: &crate::host::SimHost, shard: ShardId, recorder: &Recorder) {
    let disk = host.disk().audit_copy();
    let read = async {
        let (store, _) = LogStore::open(disk, shard, LogStoreOptions::default()).await?;
        Ok::<_, StoreError>((store.entries().await?, store.read_positions().await?))
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers needs nothing");
    let node: Arc<str> = host.name().into();
    match runtime.block_on(read) {
        Ok((entries, reads)) => {
            for stored in entries {
                let (channel, entry) = (stored.channel, stored.entry);
                recorder.record(now, What::Stored { node: node.clone(), channel, entry });
            }
            for ReadCursor { channel, user, seq } in reads {
                recorder.record(now, What::ReadStored { node: node.clone(), channel, user, seq });
            }
        }
        Err(error) => {
            let message = format!("the audit can't read shard {shard}: {error}");
            recorder.record(now, What::ErrorLogged { node, message });
        }
    }
}

fn told(finding: Finding) -> What {
    let node = finding.place.as_ref().map_or_else(|| "?".into(), |(host, _)| host.clone());
    let message = finding.to_string();
    match finding.kind {
        FindingKind::Panic => What::Panicked { node, message },
        FindingKind::ErrorLog => What::ErrorLogged { node, message },
    }
}

/// The CPU time that this thread has used, from the kernel's scheduler statistics.
fn thread_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split_ascii_whitespace().next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}
