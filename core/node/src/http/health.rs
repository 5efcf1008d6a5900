//! Whether the process is alive.

use seriatim_engine::handshake::Response;

/// The task that answers runs: the process is alive.
pub(super) fn alive() -> Response {
    Response::text(200, "ok")
}
