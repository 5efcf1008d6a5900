//! The shipped server, in a process of its own, on a log that has the members in it already.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use seriatim_engine::entry::{Batch, ChannelEntry, Content, Entry};
use seriatim_engine::ids::{ChannelId, ChannelKey, Nonce, SeqNo, ShardId, UserId, WorkspaceId};
use seriatim_engine::time::{LogTime, WallTime};
use seriatim_world::log_store::{LogStore, LogStoreOptions};
use seriatim_world::{Store as _, real};
use tempfile::TempDir;

use crate::child::Process;

/// The workspace of every user.
pub const WORKSPACE: &str = "bench";

/// Who is in which channel: user `i` is in the channels `a` and, if there are two each, `b` with
/// the number `i / members`.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    pub users: usize,
    /// Of each channel.
    pub members: usize,
    /// Of each user: 0 to 2.
    pub channels_each: usize,
    /// Messages in each channel from before.
    pub messages: u64,
}

impl Layout {
    fn entries(&self, now: WallTime) -> anyhow::Result<Vec<ChannelEntry>> {
        let workspace = WorkspaceId::new(WORKSPACE)?;
        let mut entries = Vec::new();
        for kind in ["a", "b"].into_iter().take(self.channels_each) {
            for first in (0..self.users).step_by(self.members) {
                let name = format!("{kind}{}", first / self.members);
                let channel =
                    ChannelKey { workspace: workspace.clone(), channel: ChannelId::new(&name)? };
                let mut seq = SeqNo::ZERO;
                let mut add = |content| {
                    seq = seq.next();
                    let entry = Entry { seq, at: now, content };
                    entries.push(ChannelEntry { channel: channel.clone(), entry });
                };
                for user in first..(first + self.members).min(self.users) {
                    let user = UserId::new(&format!("u{user}"))?;
                    add(Content::Joined { user, nonce: Nonce::new("join")? });
                }
                for number in 0..self.messages {
                    add(Content::Message {
                        sender: UserId::new(&format!("u{first}"))?,
                        nonce: Nonce::new(&format!("old-{number}"))?,
                        body: "x".repeat(100).into(),
                    });
                }
            }
        }
        Ok(entries)
    }
}

/// A running server with its data. Dropping it ends both.
pub struct Server {
    pub process: Process,
    /// Where it listens.
    pub address: String,
    data: TempDir,
}

impl Server {
    /// Starts `program` as `serve` would, with nothing in its log but what `layout` says.
    ///
    /// # Errors
    /// The log can't be written, or the server doesn't start.
    pub fn start(program: &str, layout: &Layout) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        prepare(&data.path().join("log"), layout)?;
        let mut command = Command::new(program);
        // What is measured is what the machine can, not what one user may.
        command.args(["--log-level", "warn", "serve", "--user-rate", "10000000:10000000"]);
        command.args([
            "--workspace-rate",
            "10000000:10000000",
            "--listen",
            "127.0.0.1:0",
            "--data",
        ]);
        command.arg(data.path());
        let mut process = Process::start(command)?;
        let address = loop {
            let line = process.line()?;
            if let Some(url) = line.split_whitespace().find(|word| word.starts_with("ws://")) {
                break url.trim_start_matches("ws://").trim_end_matches("/v1/ws").to_owned();
            }
        };
        Ok(Self { process, address, data })
    }

    /// The secret that signs tokens.
    ///
    /// # Errors
    /// The file is not there.
    pub fn secret(&self) -> anyhow::Result<String> {
        let path = self.data.path().join("token.key");
        let secret = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(secret.trim().to_owned())
    }
}

/// Joins everybody by writing the log: over the wire each join would be told to all before it.
fn prepare(directory: &Path, layout: &Layout) -> anyhow::Result<()> {
    const BATCH: usize = 1_024;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let world = real::world(directory)?;
        let shard = ShardId(0);
        let options = LogStoreOptions::default();
        let (store, _) = LogStore::open(world.disk.clone(), shard, options).await?;
        let epoch = store.claim(shard).await?;
        let entries = layout.entries(world.clock.wall_now())?;
        for entries in entries.chunks(BATCH) {
            let batch = Batch::of_entries(shard, (epoch, LogTime(0)), entries.to_vec());
            store.append(batch).await?;
        }
        Ok(())
    })
}
