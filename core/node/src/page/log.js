// Draws one channel's entries: beads on a rail, each with its number.
//
// Whatever people wrote gets into the document as text, never as markup.

import { describeCatchUp } from "./room.js";

const GROUP_MS = 5 * 60_000; // messages of one sender that stand under one name

/** An element with a class, text, and children. */
export function make(tag, { className, text, title, children = [], data = {} } = {}) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  if (title) element.title = title;
  Object.assign(element.dataset, data);
  element.append(...children);
  return element;
}

/** With a dot, if it is known how the user is. */
export function avatar(name, state = null) {
  const element = make("span", { className: state ? "avatar small" : "avatar", text: name[0] });
  if (state) element.append(make("span", { className: `dot presence-${state}` }));
  element.setAttribute("aria-hidden", "true");
  let hue = 7;
  for (const character of name) hue = (hue * 31 + character.codePointAt(0)) % 360;
  element.style.setProperty("--hue", hue);
  return element;
}

export function clock(ms, seconds = false) {
  const at = new Date(ms);
  const options = { hour: "2-digit", minute: "2-digit", hour12: false };
  if (seconds) options.second = "2-digit";
  const time = make("time", { text: at.toLocaleTimeString(undefined, options), title: at.toLocaleString() });
  time.dateTime = at.toISOString();
  return time;
}

const dayOf = (ms) => new Date(ms).toDateString();

function sayDay(ms) {
  if (dayOf(ms) === dayOf(Date.now())) return "Today";
  return new Date(ms).toLocaleDateString(undefined, { weekday: "long", day: "numeric", month: "long" });
}

/** What an event says. */
function describe({ kind, user, by }) {
  switch (kind) {
    case "created":
      return `${by} made the channel`;
    case "added":
      return `${by} added ${user}`;
    case "removed":
      return `${by} removed ${user}`;
    default:
      return `${user} ${kind}`;
  }
}

export class Log {
  #list;
  #me;
  #lines = new Map(); // catch-up lines, by the stretch's first seq

  constructor(list) {
    this.#list = list;
  }

  /** Draws all of a room. */
  show(room, me) {
    this.#me = me;
    this.#lines.clear();
    this.#list.replaceChildren();
    this.#put(room, room.items, null, undefined);
  }

  /** Draws the room's newest entry; `gone` of the oldest were let go. */
  append(room, gone) {
    for (let count = 0; count < gone; ) {
      const oldest = this.#list.firstElementChild;
      if (oldest.dataset.seq) count += 1;
      oldest.remove();
    }
    this.#put(room, room.items.slice(-1), null, room.items.at(-2));
  }

  /** Draws older entries in front. */
  prepend(room, items) {
    this.#put(room, items, this.#list.firstElementChild, undefined);
  }

  /** Says anew what is known of a stretch that is caught up. */
  refresh(stretch) {
    const line = this.#lines.get(stretch.from);
    if (line) line.textContent = describeCatchUp(stretch);
  }

  #put(room, items, before, previous) {
    const rows = [];
    for (const item of items) {
      const { entry } = item;
      if (previous === undefined || dayOf(previous.entry.at_ms) !== dayOf(entry.at_ms)) {
        const day = make("span", { text: sayDay(entry.at_ms) });
        rows.push(make("li", { className: "day", children: [day] }));
      }
      const stretch = room.catchUps.find(({ from }) => from === entry.seq);
      if (stretch && item.caughtUp) {
        const line = make("li", { className: "caught-line", text: describeCatchUp(stretch) });
        this.#lines.set(stretch.from, line);
        rows.push(line);
        previous = undefined;
      }
      rows.push(this.#row(item, previous?.entry));
      previous = item;
    }
    const fragment = document.createDocumentFragment();
    fragment.append(...rows);
    this.#list.insertBefore(fragment, before);
  }

  #row({ entry, caughtUp }, previous) {
    const seq = make("span", { className: "seq", text: entry.seq });
    const row = make("li", { data: { seq: entry.seq }, children: [seq] });
    row.classList.toggle("caught", caughtUp);
    if (entry.type === "event") {
      row.classList.add("event");
      row.append(make("span", { text: describe(entry) }));
      return row;
    }
    row.classList.add("message");
    row.classList.toggle("mine", entry.sender === this.#me);
    const goesOn =
      previous?.type === "message" &&
      previous.sender === entry.sender &&
      entry.at_ms - previous.at_ms < GROUP_MS;
    const by = make("span", {
      className: goesOn ? "by unseen" : "by",
      children: [make("span", { className: "sender", text: entry.sender }), clock(entry.at_ms)],
    });
    if (!goesOn) {
      row.classList.add("first");
      row.append(avatar(entry.sender));
    }
    row.append(by, make("span", { className: "body", text: entry.body }));
    return row;
  }
}
