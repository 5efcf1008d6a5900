//! Pages of what the machines of this node have.

use serde::Serialize;

use seriatim_engine::admin::Page;
use seriatim_engine::gateway::Whose;
use seriatim_engine::handshake::{Request, Response};
use seriatim_engine::ids::{ChannelId, ChannelKey, ShardId, UserId, WorkspaceId};

use super::super::Context;
use super::json;
use super::query::{Query, name, number};
use crate::desk::Desk;
use crate::metrics::ShardReport;

/// The parameters of every table.
const WINDOW: [&str; 2] = ["after", "limit"];

pub(super) async fn workspaces(desk: &Desk, request: &Request) -> Result<Response, Response> {
    let window = Query::parse(request, &WINDOW)?.window(workspace_named)?;
    let asked = window.clone();
    let pages = desk.owners(move |owner, _| owner.report_workspaces(&asked)).await?;
    let pages = pages.into_iter().map(|(_, page)| page);
    Ok(json(&Page::merge(pages, &window, |row| row.workspace.clone())))
}

pub(super) async fn users(
    desk: &Desk,
    request: &Request,
    workspace: &str,
) -> Result<Response, Response> {
    let workspace = workspace_named(workspace)?;
    let window = Query::parse(request, &WINDOW)?.window(user_named)?;
    let asked = window.clone();
    let pages = desk.owners(move |owner, _| owner.report_users(&workspace, &asked)).await?;
    let pages = pages.into_iter().map(|(_, page)| page);
    Ok(json(&Page::merge(pages, &window, |row| row.user.clone())))
}

pub(super) async fn channels(
    desk: &Desk,
    request: &Request,
    workspace: &str,
) -> Result<Response, Response> {
    let workspace = workspace_named(workspace)?;
    let window = Query::parse(request, &WINDOW)?.window(channel_named)?;
    let asked = window.clone();
    let pages = desk.owners(move |owner, _| owner.report_channels(&workspace, &asked)).await?;
    let pages = pages.into_iter().map(|(_, page)| page);
    Ok(json(&Page::merge(pages, &window, |row| row.channel.clone())))
}

/// A channel with a page of its members.
pub(super) async fn channel(
    desk: &Desk,
    request: &Request,
    workspace: &str,
    channel: &str,
) -> Result<Response, Response> {
    let (workspace, channel) = (workspace_named(workspace)?, channel_named(channel)?);
    let key = ChannelKey { workspace, channel };
    let window = Query::parse(request, &WINDOW)?.window(user_named)?;
    let asked = key.clone();
    let reports = desk.owners(move |owner, _| owner.report_channel(&asked, &window)).await?;
    match reports.into_iter().find_map(|(_, report)| report) {
        Some(report) => Ok(json(&report)),
        None => Err(Response::text(404, &format!("no shard of this node has a channel {key}"))),
    }
}

pub(super) async fn sessions(desk: &Desk, request: &Request) -> Result<Response, Response> {
    let query = Query::parse(request, &["after", "limit", "workspace", "user"])?;
    let window = query.window(|place| number("after", place))?;
    let whose = Whose {
        workspace: query.get("workspace", workspace_named)?,
        user: query.get("user", user_named)?,
    };
    let look = desk.gateway(move |gateway, now| gateway.report_sessions(now, &whose, &window));
    Ok(json(&look.await?))
}

pub(super) async fn session(
    desk: &Desk,
    request: &Request,
    session: &str,
) -> Result<Response, Response> {
    Query::parse(request, &[])?;
    let asked = session.to_owned();
    match desk.gateway(move |gateway, now| gateway.report_session(now, &asked)).await? {
        Some(report) => Ok(json(&report)),
        None => Err(Response::text(404, "no such session here: it has ended, or is elsewhere")),
    }
}

#[derive(Serialize)]
struct Shards {
    rows: Vec<ShardReport>,
    links: Vec<LinkRow>,
}

/// A link of this node's gateway to an owner.
#[derive(Serialize)]
struct LinkRow {
    shard: ShardId,
    up: bool,
}

/// The shards that the node owns, and its links to others' owners: few, so all of them.
pub(super) fn shards(context: &Context, request: &Request) -> Result<Response, Response> {
    Query::parse(request, &[])?;
    let links = context.metrics.links().into_iter().map(|(shard, up)| LinkRow { shard, up });
    Ok(json(&Shards { rows: context.metrics.shards(), links: links.collect() }))
}

pub(super) fn workspace_named(text: &str) -> Result<WorkspaceId, Response> {
    name("workspace", text, WorkspaceId::new)
}

pub(super) fn user_named(text: &str) -> Result<UserId, Response> {
    name("user", text, UserId::new)
}

pub(super) fn channel_named(text: &str) -> Result<ChannelId, Response> {
    name("channel", text, ChannelId::new)
}
