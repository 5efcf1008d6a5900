//! Whether the process is alive, whether it can serve, and its figures.

use seriatim_engine::handshake::Response;

use super::Context;

/// The task that answers runs: the process is alive.
pub(super) fn alive() -> Response {
    Response::text(200, "ok")
}

/// Whether to send clients here; else what is missing.
pub(super) fn ready(context: &Context) -> Response {
    let missing = context.metrics.missing();
    if missing.is_empty() {
        return Response::text(200, "ready");
    }
    Response::text(503, &format!("not ready:\n{}", missing.join("\n")))
}

/// For Prometheus.
pub(super) fn metrics(context: &Context) -> Response {
    let text = context.metrics.text(context.world.clock.mono_now().0);
    Response::new(200, "text/plain; version=0.0.4; charset=utf-8", text)
}
