// Who is there: how others are, who writes, and how the user at this page is.
//
// - Bounded: at most PEOPLE_MAX users are known, those who were met last.

/** The server tells of at most so many users. */
export const PEOPLE_MAX = 500;

const TYPING_SHOWN_MS = 6_000; // who goes on writing says so again within 3 s
const AWAY_MS = 5 * 60_000; // without a key, a click or a move of the pointer

const RANKS = { active: 0, away: 1, offline: 2 };

export const STATES = { active: "online", away: "away", offline: "offline" };

export class People {
  #states = new Map(); // by user, in the order in which they were met last
  #typing = new Map(); // by channel: until when, by user

  /** Somebody was seen in a channel. True if they are new here. */
  meet(user) {
    const state = this.#states.get(user);
    this.#states.delete(user);
    this.#states.set(user, state ?? "offline");
    if (this.#states.size > PEOPLE_MAX) this.#states.delete(this.#states.keys().next().value);
    return state === undefined;
  }

  /** What the server tells. */
  told({ user, state }) {
    if (this.#states.has(user)) this.#states.set(user, state);
  }

  get names() {
    return [...this.#states.keys()];
  }

  /** `[user, state]`, the most present first. */
  get sorted() {
    const rank = (state) => RANKS[state] ?? RANKS.offline;
    return [...this.#states].sort(
      ([a, one], [b, other]) => rank(one) - rank(other) || (a < b ? -1 : 1),
    );
  }

  writes(channel, user, now) {
    if (!this.#typing.has(channel)) this.#typing.set(channel, new Map());
    this.#typing.get(channel).set(user, now + TYPING_SHOWN_MS);
  }

  /** Their message is there. */
  wrote(channel, user) {
    this.#typing.get(channel)?.delete(user);
  }

  /** Who writes in `channel`. */
  writing(channel, now) {
    const untils = this.#typing.get(channel) ?? new Map();
    for (const [user, until] of untils) if (until <= now) untils.delete(user);
    return [...untils.keys()];
  }
}

/** "ada and bob are typing…" */
export function describeWriting(users) {
  if (users.length === 0) return "";
  if (users.length === 1) return `${users[0]} is typing…`;
  if (users.length === 2) return `${users[0]} and ${users[1]} are typing…`;
  return `${users[0]}, ${users[1]} and ${users.length - 2} more are typing…`;
}

/** How the user at this page is: as they say, or by what they do. */
export class Activity {
  /** `auto`, or a state that the user chose. */
  choice = "auto";
  #at;

  constructor(now) {
    this.#at = now;
  }

  /** The user did something. */
  touched(now) {
    this.#at = now;
  }

  state(now) {
    if (this.choice !== "auto") return this.choice;
    return now - this.#at < AWAY_MS ? "active" : "away";
  }
}
