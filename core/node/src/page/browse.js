// The channels of the workspace that the user could join, asked for when somebody looks for them.
//
// - Bounded: a page at a time, and PAGES_MAX of them.

import { make } from "./log.js";

const PAGE = 50;
const PAGES_MAX = 20; // the rest can be joined by name

export class Browse {
  #parts;
  #ask;
  #isIn;
  #join;
  #names = [];
  #pages = 0;
  #more = false;
  #looks = 0; // answers to an earlier look are for nobody

  /**
   * `parts`: `box` (a `details`), `list`, `more` and `hint`. `ask(after, limit)` resolves with a page,
   * `isIn(name)` says whether the user is in a channel, `join(name)` joins it.
   */
  constructor(parts, { ask, isIn, join }) {
    this.#parts = parts;
    this.#ask = ask;
    this.#isIn = isIn;
    this.#join = join;
    parts.box.addEventListener("toggle", () => parts.box.open && this.#look());
    parts.more.addEventListener("click", () => this.#load(this.#looks));
  }

  #look() {
    this.#names = [];
    this.#pages = 0;
    this.#more = false;
    this.#load(++this.#looks);
  }

  async #load(look) {
    const { hint, more } = this.#parts;
    more.hidden = true;
    hint.textContent = "Looking…";
    try {
      const page = await this.#ask(this.#names.at(-1), PAGE);
      if (look !== this.#looks) return;
      this.#names.push(...page.channels.map(({ channel }) => channel));
      this.#pages += 1;
      this.#more = page.more;
      this.show();
    } catch (error) {
      if (look === this.#looks) hint.textContent = `Can't list the channels: ${error.message}`;
    }
  }

  /** Shows those that the user is not in. */
  show() {
    if (this.#pages === 0) return;
    const { list, more, hint } = this.#parts;
    const names = this.#names.filter((name) => !this.#isIn(name));
    const rows = names.map((name) => {
      const join = make("button", { text: "Join", className: "ghost", data: { join: name } });
      join.type = "button";
      join.setAttribute("aria-label", `Join ${name}`);
      join.addEventListener("click", () => this.#join(name));
      return make("li", { children: [make("span", { className: "name", text: name }), join] });
    });
    list.replaceChildren(...rows);
    more.hidden = !this.#more || this.#pages >= PAGES_MAX;
    if (this.#more && more.hidden) hint.textContent = "There are more: join them by name.";
    else if (names.length === 0 && !this.#more) hint.textContent = "You are in all of them.";
    else hint.textContent = "";
  }
}
