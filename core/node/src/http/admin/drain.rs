//! Sends the gateway's clients elsewhere, and tells how far that has come.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use seriatim_engine::handshake::{Request, Response};
use seriatim_engine::limits::{DRAIN_SPREAD, DRAIN_SPREAD_MAX};

use super::super::Context;
use super::json;
use super::query::{Query, bad};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    /// Over how long the clients' coming back is spread.
    spread_ms: Option<u64>,
}

/// GET: how far it has come. POST: begins one, or another. DELETE: takes sessions again.
pub(super) async fn answer(
    context: &Context,
    request: &Request,
    body: &Bytes,
) -> Result<Response, Response> {
    Query::parse(request, &[])?;
    match request.method.as_str() {
        "GET" => {}
        "POST" => {
            let spread = spread(body)?;
            context.desk.drain(Some(spread)).await?;
            tracing::info!(?spread, "an operator has the node drained");
        }
        "DELETE" => {
            context.desk.drain(None).await?;
            tracing::info!("an operator has the node take sessions again");
        }
        _ => {
            let remedy = format!("{} takes GET, POST and DELETE only", request.path);
            return Err(Response::text(405, &remedy).with_header("Allow", "GET, POST, DELETE"));
        }
    }
    Ok(json(&context.metrics.drain()))
}

fn spread(body: &Bytes) -> Result<Duration, Response> {
    let body = if body.is_empty() {
        Body::default()
    } else {
        serde_json::from_slice(body).map_err(|error| {
            bad(&format!(r#"the body is not like {{"spread_ms":5000}}: {error}"#))
        })?
    };
    let spread = body.spread_ms.map_or(DRAIN_SPREAD, Duration::from_millis);
    if spread > DRAIN_SPREAD_MAX {
        let most = DRAIN_SPREAD_MAX.as_millis();
        return Err(bad(&format!("spread_ms is at most {most}")));
    }
    Ok(spread)
}
