//! What became of one entry: at its owner, and at this gateway.

use serde::Serialize;

use seriatim_engine::admin::Window;
use seriatim_engine::entry::Entry;
use seriatim_engine::gateway::GatewayTrace;
use seriatim_engine::handshake::{Request, Response};
use seriatim_engine::ids::{ChannelKey, SeqNo, ShardId, UserId};
use seriatim_engine::owner::OwnerTrace;
use seriatim_engine::time::{Clocks, WallTime};

use super::super::Context;
use super::json;
use super::query::{Query, number};
use super::tables::{channel_named, workspace_named};

#[derive(Serialize)]
struct Trace {
    workspace: String,
    channel: String,
    seq: SeqNo,
    /// None: the log of this node's shards has no such entry.
    entry: Option<EntryReport>,
    /// None: no shard of this node has the channel.
    owner: Option<OwnerReport>,
    /// None: this node has no gateway.
    gateway: Option<GatewayTrace>,
}

/// What the log holds, without what was said.
#[derive(Serialize)]
struct EntryReport {
    at_ms: WallTime,
    /// Who asked for it.
    by: UserId,
    /// What was asked for: a message by its nonce, or a change of members.
    asked: String,
}

#[derive(Serialize)]
struct OwnerReport {
    shard: ShardId,
    #[serde(flatten)]
    trace: OwnerTrace,
}

pub(super) async fn answer(
    context: &Context,
    request: &Request,
    (workspace, channel, seq): (&str, &str, &str),
) -> Result<Response, Response> {
    let (workspace, channel) = (workspace_named(workspace)?, channel_named(channel)?);
    let key = ChannelKey { workspace, channel };
    let seq = SeqNo(number("seq", seq)?);
    let window = Query::parse(request, &["after", "limit"])?;
    let window: Window<usize> = window.window(|place| number("after", place))?;
    let desk = &context.desk;
    let has = desk.has();
    let wall = context.world.clock.wall_now();
    let owner = if has.owners {
        let asked = key.clone();
        let owners =
            desk.owners(move |owner, mono| owner.trace(Clocks { mono, wall }, &asked, seq));
        owners
            .await?
            .into_iter()
            .find_map(|(shard, trace)| Some(OwnerReport { shard, trace: trace? }))
    } else {
        None
    };
    let entry = match &owner {
        Some(report) if seq <= report.trace.head => {
            desk.entry(report.shard, key.clone(), seq).await?
        }
        Some(_) | None => None,
    };
    let gateway = if has.gateway {
        let asked = key.clone();
        let look = desk.gateway(move |gateway, mono| {
            gateway.trace(Clocks { mono, wall }, (&asked, seq), &window)
        });
        Some(look.await?)
    } else {
        None
    };
    let (workspace, channel) = (key.workspace.to_string(), key.channel.to_string());
    let entry = entry.map(EntryReport::new);
    Ok(json(&Trace { workspace, channel, seq, entry, owner, gateway }))
}

impl EntryReport {
    fn new(entry: Entry) -> Self {
        let (by, asked) = entry.content.asked();
        Self { at_ms: entry.at, by: by.clone(), asked: asked.to_string() }
    }
}
