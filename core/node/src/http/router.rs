//! From a plain request to its answer: one line a route, each served by a file of its own.

use bytes::Bytes;

use seriatim_engine::handshake::{Request, Response};

use super::{Context, health, poll};
use crate::page;

/// Answers one request.
pub(super) async fn answer(context: &Context, request: &Request, body: Bytes) -> Response {
    route(context, request, body).await.unwrap_or_else(|refusal| refusal)
}

/// `Err` is a refusal, with its remedy.
async fn route(context: &Context, request: &Request, body: Bytes) -> Result<Response, Response> {
    match request.path.as_str() {
        "/healthz" => {
            only(request, "GET")?;
            Ok(health::alive())
        }
        "/readyz" => {
            only(request, "GET")?;
            Ok(health::ready(context))
        }
        "/metrics" => {
            only(request, "GET")?;
            Ok(health::metrics(context))
        }
        "/v1/poll" => {
            only(request, "POST")?;
            poll::answer(context, request, &body).await
        }
        path => match page::answer(path) {
            Some(file) => only(request, "GET").map(|()| file),
            None => Err(Response::text(404, "nothing here; clients connect to /v1/ws or /v1/poll")),
        },
    }
}

/// Refuses every method but `method`.
fn only(request: &Request, method: &'static str) -> Result<(), Response> {
    if request.method == method {
        return Ok(());
    }
    let remedy = format!("{} takes {method} only", request.path);
    Err(Response::text(405, &remedy).with_header("Allow", method))
}
