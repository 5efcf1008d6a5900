// How frames travel between the page and its server: by WebSocket, or by polls where the network
// lets no WebSocket through.
//
// A transport is `{ name, say(text), close() }`. It calls `handlers.opened()`, `.text(text)` and
// `.closed(why)`, the last at most once, and nothing after `close()`.

const SUBPROTOCOL = "seriatim.v1";
const SOCKETS_FAILED_MAX = 2; // in a row, while the server answers plain requests: then poll

const WAIT_MS = 20_000; // for one poll
const ANSWER_MS = 10_000; // then an answer is lost
const TRIES_MAX = 3;
const RETRY_MS = 200;
const FRAMES_MAX = 3; // in one request: its body has room for so many of the largest

/** By WebSocket. */
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

/** By long polling. `request` is `fetch`, or stands in for it. */
export function openPolling(url, handlers, request = (...given) => fetch(...given)) {
  const connection = new PolledConnection(url, handlers, request);
  setTimeout(() => connection.run(), 0);
  return {
    name: "long polling",
    say: (text) => connection.say(text),
    close: () => connection.close(),
  };
}

class PolledConnection {
  #url;
  #handlers;
  #request;
  #open = true;
  #name = null; // given by the server
  #batch = 0; // the last that came
  #outbox = []; // frames to bring, in order
  #bringing = false;

  constructor(url, handlers, request) {
    this.#url = url;
    this.#handlers = handlers;
    this.#request = request;
  }

  say(text) {
    this.#outbox.push(JSON.parse(text));
    this.#bring();
  }

  close() {
    if (!this.#open) return;
    this.#open = false;
    // So that the server need not wait for us. If it does not hear, it ends the session by itself.
    if (this.#name) this.#post({ connection: this.#name, close: true }).catch(() => {});
  }

  async run() {
    if (!this.#open) return;
    this.#handlers.opened(); // and the first frame is said
    try {
      this.#take(await this.#post({ ack: 0, frames: this.#outbox.splice(0), wait_ms: 5_000 }));
      this.#bring();
      while (this.#open) this.#take(await this.#again({ ack: this.#batch, wait_ms: WAIT_MS }));
    } catch (error) {
      this.#lost(error);
    }
  }

  /**
   * Asks until there is an answer. A batch that was lost is given again; frames that were taken
   * twice change nothing, since requests have nonces.
   */
  async #again(body) {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#post({ connection: this.#name, ...body });
      } catch (error) {
        if (error instanceof Refused || tries === TRIES_MAX) throw error;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  #take({ connection, batch, frames, closed }) {
    this.#name = connection;
    if (batch === this.#batch + 1) {
      this.#batch = batch;
      for (const frame of frames) if (this.#open) this.#handlers.text(JSON.stringify(frame));
    }
    if (closed) throw new Refused(closed.reason || `closed with ${closed.code}`);
  }

  /** Brings what is said, one request after the other: two at once might overtake each other. */
  async #bring() {
    if (this.#bringing || this.#name === null) return;
    this.#bringing = true;
    try {
      while (this.#open && this.#outbox.length > 0) {
        await this.#again({ frames: this.#outbox.splice(0, FRAMES_MAX) });
      }
    } catch (error) {
      // What became of the frames is unknown, as when a socket breaks.
      this.#lost(error);
    }
    this.#bringing = false;
  }

  async #post(body) {
    const answer = await this.#request(this.#url, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout((body.wait_ms ?? 0) + ANSWER_MS),
    });
    if (!answer.ok) throw new Refused(await answer.text());
    return answer.json();
  }

  #lost(error) {
    if (!this.#open) return;
    this.#open = false;
    this.#handlers.closed(error.message);
  }
}

/** The server answered, and asking again would change nothing. */
class Refused extends Error {}

/** Opens WebSockets, and polls once they fail though the server is there. */
export class Opener {
  #urls;
  #failed = 0; // WebSockets, in a row

  /** `urls`: `socket`, `poll`, and `health`. */
  constructor(urls) {
    this.#urls = urls;
  }

  open(handlers) {
    if (this.#failed >= SOCKETS_FAILED_MAX) {
      this.#failed = 0; // The next attempt is by WebSocket again.
      return openPolling(this.#urls.poll, handlers);
    }
    let opened = false;
    return openWebSocket(this.#urls.socket, {
      ...handlers,
      opened: () => {
        opened = true;
        this.#failed = 0;
        handlers.opened();
      },
      closed: async (why) => {
        if (!opened && (await this.#isServerThere())) this.#failed += 1;
        handlers.closed(why);
      },
    });
  }

  async #isServerThere() {
    try {
      return (await fetch(this.#urls.health, { signal: AbortSignal.timeout(2_000) })).ok;
    } catch {
      return false;
    }
  }
}
