//! Mints tokens for users.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use seriatim_engine::handshake::{Request, Response};
use seriatim_engine::ids::{UserId, WorkspaceId};
use seriatim_engine::limits::ADMIN_TOKEN_HOURS_MAX;
use seriatim_engine::time::WallTime;
use seriatim_engine::token::Claims;

use super::super::Context;
use super::json;
use super::query::{Query, bad};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    workspace: WorkspaceId,
    user: UserId,
    hours: u64,
}

#[derive(Serialize)]
struct Minted {
    token: String,
    expires_at_ms: WallTime,
}

const MS_PER_HOUR: u64 = 60 * 60 * 1_000;

pub(super) fn mint(
    context: &Context,
    request: &Request,
    body: &Bytes,
) -> Result<Response, Response> {
    Query::parse(request, &[])?;
    let Body { workspace, user, hours } = serde_json::from_slice(body).map_err(|error| {
        let example = r#"{"workspace":"demo","user":"ada","hours":24}"#;
        bad(&format!("the body is not like {example}: {error}"))
    })?;
    if !(1..=ADMIN_TOKEN_HOURS_MAX).contains(&hours) {
        let range = format!("a token is good for 1 to {ADMIN_TOKEN_HOURS_MAX} hours");
        return Err(bad(&range));
    }
    let keys = context.desk.token_keys()?;
    let now = context.world.clock.wall_now();
    let expires_at = WallTime(now.0.saturating_add(hours * MS_PER_HOUR));
    tracing::info!(%workspace, %user, hours, "an operator had a token minted");
    let token = keys.sign(&Claims { workspace, user, expires_at });
    Ok(json(&Minted { token, expires_at_ms: expires_at }))
}
