//! CPU time of one delivery, against a bare `send(2)` loop that writes the same bytes.
//!
//! `cargo bench -p seriatim-node --bench fan_out`. In each round the first member of every channel
//! sends, and everybody waits until every member has it: with one message each, every delivery is
//! a write of its own; with 16, those of one session share a write. The server's figure is all of
//! its process: parsing, numbering, making durable, replies to the senders. With numbers behind
//! `--`, only channels of so many members are measured.

use seriatim_bench::clients::Clients;
use seriatim_bench::cpu::Usage;
use seriatim_bench::server::{Layout, Server};
use seriatim_bench::table::{median, print};
use seriatim_bench::{is_child, reference};

/// Members of each channel, users in all, and rounds of a block with 1 and with 16 frames.
const SIZES: [(usize, usize, [usize; 2]); 4] = [
    (10, 1_000, [40, 20]),
    (100, 1_000, [40, 20]),
    (1_000, 1_000, [40, 20]),
    (10_000, 10_000, [4, 2]),
];

/// Each block is measured so often, the server's and the reference's in turn.
const REPEATS: usize = 7;

/// Who sends runs here, who receives on the next one.
const SENDING_CPU: usize = 0;

fn main() -> anyhow::Result<()> {
    if is_child()? {
        return Ok(());
    }
    print("CPU time per delivery of a 200-byte event; medians of alternating blocks\n");
    print("members  users   frames  send loop  server   ratio   server/s/core");
    print("                a write         µs      µs  (higher is better)");
    // Cargo adds flags of its own.
    let only: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    for (members, users, rounds) in SIZES {
        if only.is_empty() || only.contains(&members) {
            measure(members, users, rounds)?;
        }
    }
    Ok(())
}

fn measure(members: usize, users: usize, rounds: [usize; 2]) -> anyhow::Result<()> {
    let layout = Layout { users, members, channels_each: 1, messages: 0 };
    let server = Server::start(env!("CARGO_BIN_EXE_seriatim-server"), &layout)?;
    server.process.pin(SENDING_CPU)?;
    let mut clients = Clients::start(0)?;
    clients.process.pin(SENDING_CPU + 1)?;
    clients.connect(&server, (0, users), members, None)?;

    let (mut reference, address) = reference::start()?;
    reference.pin(SENDING_CPU)?;
    let mut bare = Clients::start(1)?;
    bare.process.pin(SENDING_CPU + 1)?;
    reference.tell(&users.to_string())?;
    bare.dial(&address, users)?;
    reference.line()?;

    for (rounds, frames) in rounds.into_iter().zip([1, 16]) {
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..REPEATS {
            clients.ping()?;
            let us = |clients: &mut Clients, pid| {
                let before = Usage::of(pid, SENDING_CPU);
                let done = clients.rounds(rounds, frames, reference::EVENT_BYTES)?;
                let nanos = Usage::of(pid, SENDING_CPU).since(&before);
                anyhow::Ok(nanos as f64 / done.deliveries as f64 / 1_000.0)
            };
            let (server, bare) =
                (us(&mut clients, server.process.pid())?, us(&mut bare, reference.pid())?);
            ours.push(server);
            theirs.push(bare);
            ratios.push(bare / server);
        }
        let (ours, theirs, ratio) = (median(ours), median(theirs), median(ratios));
        print(&format!(
            "{members:>7} {users:>6} {frames:>8} {theirs:>10.3} {ours:>7.3} {ratio:>7.2} {:>15.0}",
            1e6 / ours
        ));
    }
    Ok(())
}
