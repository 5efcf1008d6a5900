// What the page knows of one channel: its entries, what is unread, and whether the order holds.

const ENTRIES_MAX = 1_000; // older ones are let go; the server has them

export class Room {
  /** `{ entry, caughtUp }`, consecutive by seq. */
  items = [];
  /** Stretches that came by catch-up: `{ from, to, count, events, whole, open }`. */
  catchUps = [];
  order = new OrderCheck();
  /** How far the user has read it, on whatever device. */
  read = 0;
  loading = false;
  loaded = false;
  /** The server did not keep the entries up to this seq. */
  goneUpto = 0;
  draft = "";

  /** The session is sent what comes after `after`. */
  constructor(name, after) {
    this.name = name;
    this.after = after;
    this.read = after;
  }

  /** The seq of the oldest entry here; the next one's, if there is none. */
  get first() {
    return this.items[0]?.entry.seq ?? this.after + 1;
  }

  get unread() {
    return Math.max(0, this.last - Math.max(this.read, this.goneUpto));
  }

  /** Nothing is before the oldest entry here. */
  get isWhole() {
    return this.first <= this.goneUpto + 1;
  }

  get last() {
    return this.items.at(-1)?.entry.seq ?? this.after;
  }

  /** Takes what the session was sent. Returns how many old entries were let go. */
  take(entry, caughtUp) {
    this.order.take(entry.seq);
    if (caughtUp) this.#caughtUp(entry);
    this.items.push({ entry, caughtUp });
    const surplus = Math.max(0, this.items.length - ENTRIES_MAX);
    this.items.splice(0, surplus);
    return surplus;
  }

  #caughtUp(entry) {
    let stretch = this.catchUps.at(-1);
    if (!stretch?.open) {
      stretch = { from: entry.seq, to: entry.seq, count: 0, events: 0, whole: true, open: true };
      this.catchUps.push(stretch);
      if (this.catchUps.length > 20) this.catchUps.shift();
    }
    stretch.to = entry.seq;
    stretch.count += 1;
    if (entry.type === "event") stretch.events += 1;
  }

  /** The server says that all of it came. Returns the stretch. */
  closeCatchUp({ whole }) {
    const stretch = this.catchUps.findLast(({ open }) => open);
    if (stretch) Object.assign(stretch, { open: false, whole });
    return stretch;
  }

  /** The connection broke before all of it came: the next one goes on with a stretch of its own. */
  breakCatchUp() {
    for (const stretch of this.catchUps) stretch.open = false;
  }

  /** The session goes on behind what is gone: what was shown before it does not lead up to it. */
  skip(upto) {
    this.goneUpto = upto;
    this.after = upto;
    this.items = [];
    this.order.skip(upto);
    this.breakCatchUp();
  }

  /** Puts a page of the log in front, behind what is gone. Returns what was new. */
  prepend({ messages: entries, trimmed_upto: upto = 0 }) {
    this.goneUpto = Math.max(this.goneUpto, upto);
    const older = entries.filter(({ seq }) => seq < this.first);
    // What it followed may have been let go meanwhile.
    if (older.at(-1)?.seq !== this.first - 1) return [];
    const items = older.map((entry) => ({ entry, caughtUp: false }));
    this.items.unshift(...items);
    return items;
  }
}

/** Judges the entries of one channel, apart from the code that put them in order. */
export class OrderCheck {
  first = null;
  last = null;
  count = 0;
  /** The first fault, for people. */
  fault = null;

  /** Nothing up to `upto` will come. */
  skip(upto) {
    if (this.last !== null) this.last = upto;
  }

  take(seq) {
    if (this.last !== null && seq !== this.last + 1) this.fault ??= `${seq} after ${this.last}`;
    this.first ??= seq;
    this.last = seq;
    this.count += 1;
  }
}

/** "42 messages caught up, seq 118–159, no gap" */
export function describeCatchUp({ from, to, count, events, whole, open }) {
  const noun = events > 0 ? (count === 1 ? "entry" : "entries") : count === 1 ? "message" : "messages";
  const range = from === to ? `seq ${from}` : `seq ${from}–${to}`;
  const gapless = whole && count === to - from + 1;
  if (open) return `Catching up: ${count} ${noun}, ${range} …`;
  return `${count} ${noun} caught up, ${range}, ${gapless ? "no gap" : "with a gap"}`;
}
