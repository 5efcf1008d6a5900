//! From a plain request to its answer: one line a route, each served by a file of its own.

use bytes::Bytes;

use seriatim_engine::handshake::{Request, Response};

use super::{Clients, Context, admin, health, only, poll};
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
        path if path.starts_with(admin::PREFIX) => admin::answer(context, request, &body).await,
        path => match &context.clients {
            Some(clients) => for_clients(context, clients, request, path, &body).await,
            None => Err(Response::text(404, "nothing here; this address is for operators")),
        },
    }
}

async fn for_clients(
    context: &Context,
    clients: &Clients,
    request: &Request,
    path: &str,
    body: &Bytes,
) -> Result<Response, Response> {
    if path == "/v1/poll" {
        only(request, "POST")?;
        return poll::answer(context, clients, request, body).await;
    }
    match page::answer(path) {
        Some(file) => only(request, "GET").map(|()| file),
        None => Err(Response::text(404, "nothing here; clients connect to /v1/ws or /v1/poll")),
    }
}
