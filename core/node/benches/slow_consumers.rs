//! Clients that are far behind, and clients that don't read: what they get, and what they cost.
//!
//! `cargo bench -p seriatim-node --bench slow_consumers`. Every client checks that each entry is
//! the one after the last: a gap or a repeat ends the bench with an error.

use seriatim_bench::clients::{Clients, Done};
use seriatim_bench::cpu::{resident_bytes, socket_buffer_bytes};
use seriatim_bench::is_child;
use seriatim_bench::server::{Layout, Server};
use seriatim_bench::table::{median, print};

const SERVER: &str = env!("CARGO_BIN_EXE_seriatim-server");

fn main() -> anyhow::Result<()> {
    if is_child()? {
        return Ok(());
    }
    catch_up()?;
    stalled()
}

/// Some clients resume 100,000 messages behind while others chat in the channel.
fn catch_up() -> anyhow::Result<()> {
    const MEMBERS: usize = 20;
    const BEHIND: usize = 4;
    const MESSAGES: u64 = 100_000;
    let layout = Layout { users: MEMBERS, members: MEMBERS, channels_each: 1, messages: MESSAGES };
    let server = Server::start(SERVER, &layout)?;
    let mut live = Clients::start(0)?;
    live.connect(&server, (0, MEMBERS - BEHIND), MEMBERS, None)?;
    let quiet = live.rounds(200, 1, 200)?;

    let mut behind = Clients::start(1)?;
    live.begin_rounds(2_000, 1, 200)?;
    behind.connect(&server, (MEMBERS - BEHIND, BEHIND), MEMBERS, Some(MEMBERS as u64))?;
    let head = MEMBERS as u64 + MESSAGES + 200;
    behind.begin_reading(head)?;
    let (entries, nanos) = behind.end_reading()?;
    let busy = live.end_rounds()?;
    let end = live.head()?;
    behind.begin_reading(end)?;
    behind.end_reading()?;
    print(&format!(
        "catch-up: {BEHIND} clients read {entries} entries without a gap while the channel was \
         live: {:.0} entries/s in all",
        entries as f64 / (nanos as f64 / 1e9)
    ));
    print(&format!(
        "          live members meanwhile: p50 {:.1} ms, p99 {:.1} ms; before: p50 {:.1}, p99 {:.1}\n",
        ms(busy.latency_us_p50),
        ms(busy.latency_us_p99),
        ms(quiet.latency_us_p50),
        ms(quiet.latency_us_p99)
    ));
    Ok(())
}

/// A thousand members of a channel of 10,000 stop reading, and read again, many times: rounds with
/// and without them alternate, so that what else the machine does hits both alike.
fn stalled() -> anyhow::Result<()> {
    const MEMBERS: usize = 10_000;
    const STALLED: usize = 1_000;
    /// Two of these fill what the kernel holds for a client, some twenty more the session's queue.
    const EVENT_BYTES: usize = 4_000;
    const FILLING: usize = 30;
    /// Compared one by one with as many in which everybody reads.
    const ROUNDS: usize = 10;
    const REPEATS: usize = 10;
    let layout = Layout { users: MEMBERS, members: MEMBERS, channels_each: 1, messages: 0 };
    let server = Server::start(SERVER, &layout)?;
    let pid = server.process.pid();
    let mut fast = Clients::start(0)?;
    fast.connect(&server, (0, MEMBERS - STALLED), MEMBERS, None)?;
    let mut slow = Clients::start(1)?;
    server.process.pin(0)?;
    fast.process.pin(1)?;
    slow.process.pin(1)?;
    slow.limit_receive_buffer(8 * 1024)?;
    slow.connect(&server, (MEMBERS - STALLED, STALLED), MEMBERS, None)?;
    let ping = |fast: &mut Clients, slow: &mut Clients| fast.ping().and_then(|()| slow.ping());
    // The first round makes the server and the allocator set up what they keep.
    ping(&mut fast, &mut slow)?;
    read_along(&mut fast, &mut slow, 3, EVENT_BYTES)?;

    let (mut filling, mut beside) = (Ratios::default(), Ratios::default());
    let (mut server_bytes, mut kernel_bytes) = (Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        ping(&mut fast, &mut slow)?;
        let alone = read_along(&mut fast, &mut slow, ROUNDS, EVENT_BYTES)?;
        ping(&mut fast, &mut slow)?;
        let (resident, kernel) = (resident_bytes(pid), socket_buffer_bytes());
        filling.add(&fast.rounds(FILLING, 1, EVENT_BYTES)?, &alone);
        beside.add(&fast.rounds(ROUNDS, 1, EVENT_BYTES)?, &alone);
        let each = |now: u64, before: u64| now.saturating_sub(before) as f64 / STALLED as f64;
        server_bytes.push(each(resident_bytes(pid), resident));
        kernel_bytes.push(each(socket_buffer_bytes(), kernel));
        let head = fast.head()?;
        slow.begin_reading(head)?;
        slow.end_reading()?;
    }
    print(&format!(
        "stalled: {STALLED} of {MEMBERS} members take no byte of {} events, {REPEATS} times; the \
         p99 of each round of the others, against a round in which all read:",
        FILLING + ROUNDS
    ));
    filling.print("while buffers and queues fill");
    beside.print("once they are full");
    print(&format!(
        "         server memory {:.1} KiB each, most {:.1}; kernel buffers of both ends {:.1} KiB \
         each",
        median(server_bytes.clone()) / 1_024.0,
        server_bytes.iter().copied().fold(0.0, f64::max) / 1_024.0,
        median(kernel_bytes) / 1_024.0
    ));
    print("         all caught up afterwards without a gap");
    Ok(())
}

/// The p99 of rounds, each against one of another block.
#[derive(Default)]
struct Ratios {
    all: Vec<f64>,
    ms: Vec<f64>,
    reference_ms: Vec<f64>,
}

impl Ratios {
    fn add(&mut self, rounds: &Done, reference: &Done) {
        for (round, reference) in rounds.round_us_p99.iter().zip(&reference.round_us_p99) {
            self.all.push(*round as f64 / *reference as f64);
            self.ms.push(ms(*round));
            self.reference_ms.push(ms(*reference));
        }
    }

    fn print(mut self, when: &str) {
        self.all.sort_by(f64::total_cmp);
        let quartile =
            |number: usize| self.all.get(self.all.len() * number / 4).copied().unwrap_or(f64::NAN);
        print(&format!(
            "         {when}: x {:.2} (middle half {:.2} to {:.2}, {} rounds; medians {:.1} and \
             {:.1} ms)",
            quartile(2),
            quartile(1),
            quartile(3),
            self.all.len(),
            median(self.ms.clone()),
            median(self.reference_ms.clone())
        ));
    }
}

/// Everybody reads.
fn read_along(
    fast: &mut Clients,
    slow: &mut Clients,
    rounds: usize,
    bytes: usize,
) -> anyhow::Result<Done> {
    let head = fast.head()?;
    slow.begin_reading(head + rounds as u64)?;
    let done = fast.rounds(rounds, 1, bytes)?;
    slow.end_reading()?;
    Ok(done)
}

fn ms(us: u64) -> f64 {
    us as f64 / 1_000.0
}
