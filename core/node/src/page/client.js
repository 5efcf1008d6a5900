// A client of seriatim, written from docs/protocol.md.
//
// It keeps one session alive: connects, resumes after every break, puts entries in order, fills
// gaps, and repeats unanswered requests until their outcome is known. It touches neither the
// document nor the network nor a timer: `open` gives it a transport (transport.js), `tick` the
// time, and `tell` hears what happened.
//
// - Contiguous: `entry` events of a channel rise by one, across connections, but for what `trimmed`
//   tells of.
// - Never failed by silence: a request without a reply is sent again, with its nonce.
// - Bounded: REQUESTS_MAX requests are open, REORDER_MAX entries wait behind a gap.
// - Patient with throttled timers: a hidden tab's late tick is never taken for a silent server.

const ATTEMPT_MS = 10_000; // connection, handshake and `welcome` together
const REPLY_MS = 10_000; // then a request is sent again
const SILENCE_MS = 20_000; // then the connection is taken for dead…
const ANSWER_MS = 5_000; // …if that long ago a heartbeat asked for a sign of life
const READ_MS = 1_000; // between two read marks of a channel
const TYPING_MS = 3_000; // the server passes one on in this time
const BACKOFF_MIN_MS = 250;
const BACKOFF_MAX_MS = 8_000;
const RETRY_MS = 1_000; // where a rejection doesn't say when
const RETRIED = new Set(["busy", "rate_limited", "unreadable", "unavailable"]); // the last may have happened
const REQUESTS_MAX = 200; // the server's limit for a session is 256
const REORDER_MAX = 1_024;

/** A request was turned down for good. */
export class Rejected extends Error {
  constructor({ code, message }) {
    super(message);
    this.code = code;
  }
}

/** What the client has of one channel. */
class View {
  early = new Map(); // entries behind a gap, by seq
  filling = false; // a page for the gap is on its way
  catchUp = null; // what was resumed and is not caught up yet
  read = 0; // how far the user has read it, as the server knows
  marked = 0; // how far, as the user of this page says
  markedAt = -Infinity; // when that was said last

  /** Nothing is known up to and including `after`. */
  constructor(after) {
    this.last = after;
  }

  /** Takes an entry in any order; returns those that are due. */
  take(entry) {
    if (entry.seq <= this.last || this.early.has(entry.seq)) return { due: [], repeat: true };
    this.early.set(entry.seq, entry);
    return { due: this.#due(), repeat: false };
  }

  /** Entries up to `upto` will never come. Returns those behind them that are due. */
  skip(upto) {
    this.last = upto;
    for (const seq of this.early.keys()) if (seq <= upto) this.early.delete(seq);
    // What was caught up before belongs to another stretch.
    if (this.catchUp) this.catchUp = { after: upto, count: 0 };
    return this.#due();
  }

  #due() {
    const due = [];
    for (let next; (next = this.early.get(this.last + 1)); this.last = next.seq) {
      this.early.delete(next.seq);
      due.push(next);
    }
    return due;
  }
}

export class Client {
  /** waiting, connecting, greeting, live, away (told to stay away) or ended. */
  phase = "waiting";
  session = null;
  /** How often the unusual happened. */
  counts = { sessions: 0, retries: 0, duplicates: 0, early: 0, repeats: 0, fills: 0 };

  #open;
  #token;
  #name;
  #tell;
  #now;
  #random;
  #transport = null;
  #until = 0; // waiting: when to connect
  #since = 0; // connecting, greeting: when the attempt began
  #failures = 0; // attempts since one was welcomed
  #heartbeatMs = 15_000;
  #heardAt = 0;
  #beatAt = 0;
  #askedAt = null; // since when a heartbeat waits for any frame
  #how = { state: "active", background: false };
  #watched = []; // users
  #watch = { id: null, due: null }; // of the last `presence_subscribe`; when to send it
  #typedAt = new Map(); // by channel
  #views = new Map();
  #requests = new Set(); // without a final reply, in the order in which they were made
  #attempts = new Map(); // this connection's ids, with the request of each
  #lastId = 0;

  /** `open(handlers)` starts a connection and returns its transport (see transport.js). */
  constructor({ open, token, name, tell, now = () => performance.now(), random = Math.random }) {
    this.#open = open;
    this.#token = token;
    this.#name = name;
    this.#tell = tell;
    this.#now = now;
    this.#random = random;
  }

  /** The last seq that was told of `channel`: from where it is resumed. */
  last(channel) {
    return this.#views.get(channel)?.last;
  }

  /** Sends a message. Resolves with `accepted`, whenever that is; rejects with `Rejected`. */
  send(channel, nonce, body) {
    return this.#request({ type: "send", channel, nonce, body });
  }

  join(channel, nonce) {
    return this.#request({ type: "join", channel, nonce });
  }

  leave(channel, nonce) {
    return this.#request({ type: "leave", channel, nonce });
  }

  /** Makes a channel: `public` or `private`. */
  create(channel, nonce, kind) {
    return this.#request({ type: "create_channel", channel, nonce, kind, members: [] });
  }

  /** The user has read `channel` up to `seq`. May be called as often as it is so. */
  read(channel, seq) {
    const view = this.#views.get(channel);
    if (view && seq > view.marked) view.marked = seq;
  }

  /** Resolves with a `page`: up to `limit` entries after the seq `after`. */
  history(channel, after, limit) {
    return this.#request({ type: "history", channel, after, limit });
  }

  /** Resolves with the `page` of up to `limit` entries next below the seq `before`, in order. */
  earlier(channel, before, limit) {
    return this.#request({ type: "history", channel, before, limit });
  }

  /** Resolves with a `channel_list`: up to `limit` channels behind the name `after`, if given. */
  list(after, limit) {
    return this.#request({ type: "list_channels", after, limit });
  }

  /**
   * How the user is, from now on: `active`, `away` or `offline`. `background` says that timers may
   * be throttled. Told at once, with every heartbeat, and on every later connection.
   */
  present(state, background) {
    if (this.#how.state === state && this.#how.background === background) return;
    this.#how = { state, background };
    if (this.phase === "live") this.#beat();
  }

  /** Tells how these users are from now on, and nobody else: `presence`, on every connection. */
  watch(users) {
    this.#watched = users;
    if (this.phase === "live") this.#subscribe();
  }

  /** The user writes in `channel`. May be called at every key. */
  typing(channel) {
    const now = this.#now();
    if (this.phase !== "live" || now - this.#typedAt.get(channel) < TYPING_MS) return;
    this.#typedAt.set(channel, now);
    this.#say({ type: "typing", channel });
  }

  /** Drops the connection and stays away until `comeBack`. */
  stayAway() {
    if (this.phase === "ended") return;
    this.#drop("cut");
    this.#enter("away");
  }

  /** Connects at once: the network is back, or somebody doesn't want to wait. */
  comeBack() {
    if (this.phase !== "away" && this.phase !== "waiting") return;
    this.#wait(0);
    this.tick();
  }

  /** Ends for good. */
  end() {
    this.#drop("ended");
    this.#enter("ended");
  }

  /** How long until the next attempt to connect, while waiting. */
  get waitMs() {
    return this.phase === "waiting" ? Math.max(0, this.#until - this.#now()) : 0;
  }

  /** Does what is due. To be called a few times a second. */
  tick() {
    const now = this.#now();
    switch (this.phase) {
      case "waiting":
        if (this.#until <= now) this.#connect(now);
        break;
      case "connecting":
      case "greeting":
        if (this.#since + ATTEMPT_MS <= now) this.#lost("no answer for 10 s");
        break;
      case "live":
        if (this.#isSilent(now)) {
          this.#lost("silent for 20 s");
          break;
        }
        if (this.#beatAt + this.#heartbeatMs <= now) this.#beat();
        for (const request of this.#requests) if (request.due <= now) this.#attempt(request);
        if (this.#watch.due !== null && this.#watch.due <= now) this.#subscribe();
        for (const [channel, view] of this.#views) this.#mark(channel, view, now);
    }
  }

  /** Late ticks alone don't make it silent: it had the time to answer since it was asked. */
  #isSilent(now) {
    return (
      this.#heardAt + SILENCE_MS <= now && this.#askedAt !== null && this.#askedAt + ANSWER_MS <= now
    );
  }

  #enter(phase) {
    this.phase = phase;
    this.#tell({ type: "phase", phase });
  }

  #wait(ms) {
    this.#until = this.#now() + ms;
    this.#enter("waiting");
  }

  #connect(now) {
    this.#since = now;
    this.#enter("connecting");
    // What an earlier connection still has to say must not be taken for this one's.
    const mine = () => this.#transport === transport;
    const transport = this.#open({
      opened: () => mine() && this.#greet(),
      text: (text) => mine() && this.#heard(text),
      closed: (why) => mine() && this.#lost(why),
    });
    this.#transport = transport;
  }

  #greet() {
    this.#enter("greeting");
    const resume = [...this.#views].map(([channel, view]) => ({ channel, after: view.last }));
    this.#say({ type: "hello", token: this.#token, resume, client: this.#name });
  }

  /** The connection is gone, or never was: back off, with full jitter. */
  #lost(why) {
    this.#drop(why);
    const most = Math.min(BACKOFF_MIN_MS * 2 ** this.#failures, BACKOFF_MAX_MS);
    this.#failures += 1;
    this.#wait(this.#random() * most);
  }

  #drop(why) {
    const transport = this.#transport;
    this.#transport = null;
    transport?.close();
    this.#attempts.clear();
    this.#askedAt = null;
    this.#watch = { id: null, due: null };
    for (const view of this.#views.values()) {
      view.filling = false;
      view.catchUp = null;
    }
    // A gap is asked for anew, if resuming doesn't fill it.
    for (const request of this.#requests) if (request.fill) this.#requests.delete(request);
    if (this.session !== null) this.#tell({ type: "closed", session: this.session, why });
    this.session = null;
  }

  #say(frame) {
    this.#transport.say(JSON.stringify(frame));
  }

  #beat() {
    this.#beatAt = this.#now();
    this.#askedAt ??= this.#beatAt;
    this.#say({ type: "heartbeat", ...this.#how });
  }

  /** Says how far the user has read, until the server knows. */
  #mark(channel, view, now) {
    if (view.marked <= view.read || view.markedAt + READ_MS > now) return;
    view.markedAt = now;
    this.#say({ type: "read", channel, seq: view.marked });
  }

  #subscribe() {
    this.#watch = { id: ++this.#lastId, due: null };
    this.#say({ type: "presence_subscribe", id: this.#watch.id, users: this.#watched });
  }

  #request(frame, fill = false) {
    if (this.phase === "ended") return Promise.reject(new Error("the session has ended"));
    if (this.#requests.size >= REQUESTS_MAX) {
      const message = `${REQUESTS_MAX} requests wait for their reply already`;
      return Promise.reject(new Rejected({ code: "busy", message }));
    }
    return new Promise((resolve, reject) => {
      const request = { frame, fill, tries: 0, due: 0, resolve, reject };
      this.#requests.add(request);
      if (this.phase === "live") this.#attempt(request);
    });
  }

  /** Sends a request, for the first time or again. Each try has an id of its own. */
  #attempt(request) {
    const id = ++this.#lastId;
    this.#attempts.set(id, request);
    request.due = this.#now() + REPLY_MS;
    request.tries += 1;
    if (request.tries > 1) this.counts.retries += 1;
    this.#say({ id, ...request.frame });
  }

  #heard(text) {
    this.#heardAt = this.#now();
    this.#askedAt = null;
    const frame = JSON.parse(text);
    switch (frame.type) {
      case "welcome":
        return this.#welcome(frame);
      case "channel":
        return this.#follow(frame);
      case "left":
        this.#views.delete(frame.channel);
        return this.#tell(frame);
      case "read":
        return this.#read(frame);
      case "message":
      case "event":
        return this.#entries(frame.channel, [frame]);
      case "trimmed":
        return this.#trimmed(frame.channel, frame.upto);
      case "page":
      case "channel_list":
        this.#answered(frame)?.resolve(frame);
        return;
      case "accepted":
        if (frame.duplicate) this.counts.duplicates += 1;
        this.#answered(frame)?.resolve(frame);
        return;
      case "rejected":
        return this.#rejected(frame);
      case "caught_up":
        return this.#caughtUp(frame);
      case "presence":
      case "typing":
        return this.#tell(frame);
      case "goodbye":
        return this.#goodbye(frame);
      // Later versions may send frames that we don't know.
    }
  }

  #welcome(frame) {
    if (this.phase !== "greeting") return;
    this.#failures = 0;
    this.session = frame.session;
    this.counts.sessions += 1;
    this.#heartbeatMs = frame.heartbeat_ms;
    this.#enter("live");
    this.#tell(frame);
    frame.channels.forEach((status) => this.#follow(status));
    // First how the user is: a session without a heartbeat isn't seen.
    this.#beat();
    if (this.#watched.length > 0) this.#subscribe();
    for (const request of this.#requests) this.#attempt(request);
  }

  #read({ channel, seq }) {
    const view = this.#views.get(channel);
    if (view === undefined) return;
    view.read = Math.max(view.read, seq);
    this.#tell({ type: "read", channel, seq: view.read });
  }

  #follow({ channel, head, after, read = 0 }) {
    const known = this.#views.get(channel);
    if (known === undefined) this.#views.set(channel, new View(after));
    else if (after < head) known.catchUp = { after, count: 0 };
    this.#tell({ type: "channel", channel, head, after: known?.last ?? after, known: !!known });
    this.#read({ channel, seq: read });
  }

  #entries(channel, entries) {
    const view = this.#views.get(channel);
    if (view === undefined) return;
    for (const entry of entries) {
      if (entry.seq > view.last + 1) this.counts.early += 1;
      const { due, repeat } = view.take(entry);
      if (repeat) this.counts.repeats += 1;
      this.#handOn(channel, view, due);
    }
    if (view.early.size > REORDER_MAX) return this.#lost("too much waits behind a gap");
    if (view.early.size > 0) this.#fill(channel, view);
  }

  #handOn(channel, view, due) {
    for (const entry of due) {
      if (view.catchUp) view.catchUp.count += 1;
      this.#tell({ type: "entry", channel, entry, caughtUp: view.catchUp !== null });
    }
  }

  /** The server did not keep the entries up to `upto`: goes on behind them. */
  #trimmed(channel, upto) {
    const view = this.#views.get(channel);
    if (view === undefined || upto <= view.last) return;
    this.#tell({ type: "trimmed", channel, from: view.last + 1, to: upto });
    this.#handOn(channel, view, view.skip(upto));
  }

  /** Asks for what is missing before entries that came early, unless that is on its way. */
  #fill(channel, view) {
    if (view.filling) return;
    view.filling = true;
    this.counts.fills += 1;
    const frame = { type: "history", channel, after: view.last };
    const filled = ({ messages, trimmed_upto: upto = 0 }) => {
      view.filling = false;
      this.#trimmed(channel, upto);
      this.#entries(channel, messages.filter((entry) => entry.seq > view.last));
    };
    this.#request(frame, true).then(
      filled,
      () => this.#lost("a gap could not be filled"),
    );
  }

  /** The session has been sent everything up to `head`. */
  #caughtUp({ channel, head }) {
    const view = this.#views.get(channel);
    const { after, count } = view?.catchUp ?? { count: 0 };
    if (view) view.catchUp = null;
    if (count === 0) return;
    const whole = view.last === head && count === head - after;
    this.#tell({ type: "caught_up", channel, from: after + 1, to: view.last, count, whole });
  }

  /** The request that a final reply is for. */
  #answered({ reply_to: id }) {
    const request = this.#attempts.get(id);
    this.#attempts.delete(id);
    // Two tries of one request may both be answered.
    return this.#requests.delete(request) ? request : undefined;
  }

  #rejected(frame) {
    if (RETRIED.has(frame.code)) {
      const due = this.#now() + (frame.retry_after_ms ?? RETRY_MS);
      const request = this.#attempts.get(frame.reply_to);
      if (request) request.due = due;
      else if (frame.reply_to === this.#watch.id) this.#watch.due = due;
    } else {
      this.#answered(frame)?.reject(new Rejected(frame));
    }
  }

  #goodbye(frame) {
    this.#tell(frame);
    this.#drop(`${frame.code}: ${frame.message}`);
    if (frame.reconnect_after_ms === undefined) this.#enter("ended");
    else this.#wait(frame.reconnect_after_ms);
  }
}
