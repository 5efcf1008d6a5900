//! Memory of idle sessions and idle channels in the server process.
//!
//! `cargo bench -p seriatim-node --bench memory`. What the kernel holds for a socket (about 4 KiB)
//! is not in it.

use seriatim_bench::clients::Clients;
use seriatim_bench::cpu::resident_bytes;
use seriatim_bench::is_child;
use seriatim_bench::server::{Layout, Server};
use seriatim_bench::table::print;

/// In one server process; its limit of open files leaves no room for many more.
const SESSIONS: usize = 15_000;

fn main() -> anyhow::Result<()> {
    if is_child()? {
        return Ok(());
    }
    print("Resident memory of the server, per idle session with a user of its own\n");
    print("sessions  channels each  members each   B/session  of 2 KiB");
    let nothing = per_session(0, 10)?;
    let two = per_session(2, 10)?;
    let wide = per_session(2, 1_000)?;
    for (channels, members, bytes) in [(0, 10, nothing), (2, 10, two), (2, 1_000, wide)] {
        print(&format!(
            "{SESSIONS:>8} {channels:>14} {members:>13} {bytes:>11.0} {:>9.2}",
            bytes / 2_048.0
        ));
    }
    let channels = SESSIONS * 2 / 10 - SESSIONS * 2 / 1_000;
    print(&format!(
        "\nper idle channel with sessions: {:.0} B (10 against 1,000 members, at the same sessions)",
        (two - wide) * SESSIONS as f64 / channels as f64
    ));
    Ok(())
}

/// What the server's resident memory grows by for each session that connects.
fn per_session(channels_each: usize, members: usize) -> anyhow::Result<f64> {
    let layout = Layout { users: SESSIONS, members, channels_each, messages: 0 };
    let server = Server::start(env!("CARGO_BIN_EXE_seriatim-server"), &layout)?;
    let pid = server.process.pid();
    let mut clients = Clients::start(0)?;
    // What the first sessions make the allocator and the runtime set up is not theirs.
    clients.connect(&server, (0, 100), members, None)?;
    let before = resident_bytes(pid);
    clients.connect(&server, (100, SESSIONS - 100), members, None)?;
    Ok((resident_bytes(pid) - before) as f64 / (SESSIONS - 100) as f64)
}
