//! `/v1/admin/…`: what whoever runs the node may see and do. `docs/operations.md` has every route.
//!
//! Nothing is answered, not even whether a route exists, before the request's secret was checked.

mod drain;
mod query;
mod tables;
mod tokens;
mod trace;

use bytes::Bytes;
use serde::Serialize;

use seriatim_engine::handshake::{Request, Response};

use super::{Context, only};
use crate::desk::DeskError;

/// Where the routes are.
pub(super) const PREFIX: &str = "/v1/admin/";

/// When to come back to a node that has its fill of admin requests, or can't answer.
const RETRY_AFTER_S: &str = "1";

/// Answers one request below [`PREFIX`]. `Err` is a refusal, with its remedy.
pub(super) async fn answer(
    context: &Context,
    request: &Request,
    body: &Bytes,
) -> Result<Response, Response> {
    if !context.serves_admin {
        let message = "operators of this node ask at its --http address";
        return Err(Response::text(404, message));
    }
    let permit = context.desk.admit(request.authorization.as_deref())?;
    let answer = route(context, request, body).await;
    drop(permit);
    answer.map(|answer| answer.with_header("Cache-Control", "no-store"))
}

async fn route(context: &Context, request: &Request, body: &Bytes) -> Result<Response, Response> {
    let path = request.path.strip_prefix(PREFIX).unwrap_or_default();
    let segments: Vec<&str> = path.split('/').collect();
    let desk = &context.desk;
    if segments == ["tokens"] {
        only(request, "POST")?;
        return tokens::mint(context, request, body);
    }
    if segments == ["drain"] {
        return drain::answer(context, request, body).await;
    }
    only(request, "GET")?;
    match segments.as_slice() {
        ["workspaces"] => tables::workspaces(desk, request).await,
        ["workspaces", workspace, "users"] => tables::users(desk, request, workspace).await,
        ["workspaces", workspace, "channels"] => tables::channels(desk, request, workspace).await,
        ["workspaces", workspace, "channels", channel] => {
            tables::channel(desk, request, workspace, channel).await
        }
        ["workspaces", workspace, "channels", channel, "entries", seq] => {
            trace::answer(context, request, (workspace, channel, seq)).await
        }
        ["sessions"] => tables::sessions(desk, request).await,
        ["sessions", name] => tables::session(desk, request, name).await,
        ["shards"] => tables::shards(context, request),
        _ => Err(Response::text(404, "no such admin route; docs/operations.md lists them")),
    }
}

fn json(value: &impl Serialize) -> Response {
    Response::json(200, serde_json::to_vec(value).expect("rows have no unserialisable parts"))
}

impl From<DeskError> for Response {
    fn from(error: DeskError) -> Self {
        let response = |status| Self::text(status, &error.to_string());
        match &error {
            DeskError::Denied(denied) => match denied.status() {
                401 => response(401).with_header("WWW-Authenticate", "Bearer"),
                status => response(status),
            },
            DeskError::NoKey => response(403),
            DeskError::Absent(_) => response(404),
            DeskError::Full | DeskError::Silent(_) => {
                response(503).with_header("Retry-After", RETRY_AFTER_S)
            }
        }
    }
}
