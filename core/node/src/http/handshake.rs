//! The first request of a connection: it becomes a WebSocket, or an exchange of plain requests.

use std::io;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;

use seriatim_engine::handshake::{Afterwards, Refusal, Request, Response, upgrade};
use seriatim_engine::levels::Limit;
use seriatim_world::BoxStream;

use super::head::{self, Head};
use super::{Clients, Context, exchange};
use crate::connection;
use crate::pump;

/// Where clients open their WebSocket.
const WEBSOCKET_PATH: &str = "/v1/ws";

/// When to come back to a gateway that has its fill of plain connections.
const FULL_RETRY_AFTER_S: &str = "5";

/// Serves `stream` up to the point at which another task takes it over. The caller bounds it.
///
/// # Errors
/// The stream failed.
pub(super) async fn run(
    context: Arc<Context>,
    mut stream: BoxStream,
    peer: &str,
) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(1_024);
    let request = match head::read(&mut stream, &mut bytes).await? {
        Head::Request(request) => request,
        Head::Refused(error) => {
            context.count_refused(&error);
            let refusal = Response::text(error.status(), &error.to_string());
            return refuse(&context, stream, &refusal).await;
        }
        Head::End => return Ok(()),
    };
    if request.path == WEBSOCKET_PATH
        && let Some(clients) = &context.clients
    {
        return websocket(&context, clients, (stream, peer), &request, bytes).await;
    }
    let Ok(permit) = context.exchanges.clone().try_acquire_owned() else {
        context.metrics.hit(Limit::HttpConnections);
        let refusal = Response::text(503, "this gateway has its fill of plain connections")
            .with_header("Retry-After", FULL_RETRY_AFTER_S);
        return refuse(&context, stream, &refusal).await;
    };
    let spawn = context.world.spawn.clone();
    let task = async move {
        let inside = context.metrics.gauges().exchanges.enter();
        if let Err(error) = exchange::run(&context, stream, request, bytes).await {
            tracing::debug!(%error, "plain connection failed");
        }
        drop((inside, permit));
    };
    spawn.spawn("exchange", Box::pin(task));
    Ok(())
}

async fn websocket(
    context: &Context,
    clients: &Clients,
    (mut stream, peer): (BoxStream, &str),
    request: &Request,
    unread: Vec<u8>,
) -> io::Result<()> {
    if let Err(refusal) = clients.origins.check(request) {
        context.metrics.gauges().origins_refused.add(1);
        tracing::debug!(origin = ?request.origin, "a page of a foreign origin was refused");
        return decline(context, stream, &refusal).await;
    }
    match upgrade(request) {
        Ok(accepted) => {
            stream.write_all(&accepted).await?;
            context.metrics.gauges().handshakes_done.add(1);
            let connection = clients.numbers.take();
            tracing::info!(connection = connection.0, peer, "connection opened");
            let (clock, inbox) = (context.world.clock.clone(), clients.inbox.clone());
            let metrics = context.metrics.clone();
            let task = connection::run(clock, stream, &unread, connection, inbox, metrics);
            context.world.spawn.spawn("connection", Box::pin(task));
            Ok(())
        }
        Err(refusal) => decline(context, stream, &refusal).await,
    }
}

async fn decline(context: &Context, mut stream: BoxStream, refusal: &Refusal) -> io::Result<()> {
    stream.write_all(&refusal.response()).await?;
    pump::finish(&mut stream, &*context.world.clock).await
}

async fn refuse(context: &Context, mut stream: BoxStream, refusal: &Response) -> io::Result<()> {
    stream.write_all(&refusal.encode(Afterwards::Close)).await?;
    pump::finish(&mut stream, &*context.world.clock).await
}
