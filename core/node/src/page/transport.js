// How frames travel between the page and its server.

const SUBPROTOCOL = "seriatim.v1";

/** A WebSocket, as `Client` wants it. */
export function openWebSocket(url, handlers) {
  const socket = new WebSocket(url, SUBPROTOCOL);
  let open = true;
  const close = () => {
    open = false;
    socket.close();
  };
  socket.addEventListener("open", () => open && handlers.opened());
  socket.addEventListener("message", ({ data }) => {
    if (open && typeof data === "string") handlers.text(data);
  });
  socket.addEventListener("close", ({ code, reason }) => {
    if (open) handlers.closed(reason || `closed with ${code}`);
    open = false;
  });
  return { name: "WebSocket", say: (text) => socket.send(text), close };
}
