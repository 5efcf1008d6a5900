//! Polls: a session for clients that can't open a WebSocket.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use seriatim_engine::handshake::{self as http, Response};
use seriatim_engine::levels::Limit;

use super::{Clients, Context};
use crate::polling::{Reply, Request};

/// When to come back to a gateway that has its fill of polled sessions.
const FULL_RETRY_AFTER_S: &str = "5";

/// When to bring frames again that a session did not take.
const BUSY_RETRY_AFTER_S: &str = "1";

#[derive(Debug, Deserialize)]
struct Body {
    /// Missing: a session is opened.
    connection: Option<String>,
    ack: Option<u64>,
    #[serde(default)]
    frames: Vec<serde_json::Value>,
    #[serde(default)]
    wait_ms: u64,
    #[serde(default)]
    close: bool,
}

/// Answers one poll. `Err` is a refusal, with its remedy.
pub(super) async fn answer(
    context: &Context,
    clients: &Clients,
    request: &http::Request,
    body: &Bytes,
) -> Result<Response, Response> {
    if let Err(refusal) = clients.origins.check(request) {
        context.metrics.gauges().origins_refused.add(1);
        return Err(Response::text(refusal.status, &refusal.body));
    }
    let body: Body = serde_json::from_slice(body).map_err(|error| {
        let example = r#"{"connection":"…","ack":3,"frames":[],"wait_ms":25000}"#;
        Response::text(400, &format!("the body is not like {example}: {error}"))
    })?;
    let request = Request {
        ack: body.ack,
        frames: body.frames.iter().map(serde_json::Value::to_string).collect(),
        wait: Duration::from_millis(body.wait_ms),
        close: body.close,
    };
    let name = match body.connection {
        Some(name) => name,
        None => clients.polling.open().ok_or_else(|| {
            context.metrics.hit(Limit::PollSessions);
            Response::text(503, "this gateway has its fill of clients that poll")
                .with_header("Retry-After", FULL_RETRY_AFTER_S)
        })?,
    };
    match clients.polling.poll(&name, request).await {
        Some(Reply::Sent) => Ok(json(format!(r#"{{"connection":"{name}"}}"#))),
        Some(Reply::Batch { number, frames, closed }) => {
            // The frames are JSON already.
            let frames = frames.join(",");
            let closed = closed.map_or_else(String::new, |(code, reason)| {
                let closed = serde_json::json!({ "code": code, "reason": reason });
                format!(r#","closed":{closed}"#)
            });
            Ok(json(format!(
                r#"{{"connection":"{name}","batch":{number},"frames":[{frames}]{closed}}}"#
            )))
        }
        Some(Reply::Closed) => {
            Ok(json(format!(r#"{{"connection":"{name}","closed":{{"code":1000,"reason":""}}}}"#)))
        }
        Some(Reply::Full) => {
            Err(Response::text(503, "frames that came before wait: poll, then bring these again")
                .with_header("Retry-After", BUSY_RETRY_AFTER_S))
        }
        Some(Reply::UnknownBatch(error)) => Err(Response::text(409, &error.to_string())),
        None => Err(Response::text(404, "no such connection: it has ended; open one and resume")),
    }
}

fn json(text: String) -> Response {
    Response::json(200, text.into_bytes()).with_header("Cache-Control", "no-store")
}
