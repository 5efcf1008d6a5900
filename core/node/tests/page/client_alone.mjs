// The page's client.js without a server: its transport and its clock are in the tests' hands.
//
// Run by page_client.rs, in a folder that has client.js beside this file.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, Rejected } from "./client.js";

/** A client that sits across the table: what it says lies in `said`, what it tells in `told`. */
class Table {
  said = [];
  told = [];
  now = 0;
  opened = 0;

  constructor() {
    this.client = new Client({
      open: (handlers) => {
        this.opened += 1;
        this.handlers = handlers;
        return { say: (text) => this.said.push(JSON.parse(text)), close: () => {} };
      },
      token: "a token",
      name: "test",
      tell: (event) => this.told.push(event),
      now: () => this.now,
      random: () => 1,
    });
  }

  hear(frame) {
    this.handlers.text(JSON.stringify(frame));
  }

  /** Lets time pass in ticks of a quarter of a second. */
  pass(ms) {
    for (const end = this.now + ms; this.now < end; ) {
      this.now += Math.min(250, end - this.now);
      this.client.tick();
    }
  }

  /** One tick after all that time: the page slept. */
  sleep(ms) {
    this.now += ms;
    this.client.tick();
  }

  connect(channels = [{ channel: "general", head: 5, after: 5 }]) {
    this.client.tick();
    this.handlers.opened();
    this.hear({ type: "welcome", session: "s", user: "ada", heartbeat_ms: 15_000, channels });
    return this;
  }

  /** What was said since the last time. */
  take(...types) {
    const said = this.said.filter(({ type }) => types.length === 0 || types.includes(type));
    this.said = [];
    return said;
  }

  tells(type) {
    return this.told.filter((event) => event.type === type);
  }
}

const message = (seq) => ({ type: "message", channel: "general", seq, sender: "bob", body: `${seq}` });
const seqs = (table) => table.tells("entry").map(({ entry }) => entry.seq);

test("says how the user is before asking after others, and both again on every connection", () => {
  const table = new Table();
  table.client.present("away", true);
  table.client.watch(["bob"]);
  for (const round of [1, 2]) {
    table.connect();
    const [hello, heartbeat, subscribe] = table.take();
    assert.equal(hello.type, "hello", `round ${round}`);
    assert.deepEqual(heartbeat, { type: "heartbeat", state: "away", background: true });
    assert.deepEqual({ ...subscribe, id: 0 }, { type: "presence_subscribe", id: 0, users: ["bob"] });
    table.client.stayAway();
    table.client.comeBack();
  }
});

test("tells of a change at once, of no change with the next heartbeat only", () => {
  const table = new Table().connect();
  table.take();
  table.client.present("away", false);
  table.client.present("away", false);
  assert.deepEqual(table.take(), [{ type: "heartbeat", state: "away", background: false }]);
  table.hear({ type: "pong" });
  table.pass(14_750);
  assert.deepEqual(table.take(), []);
  table.pass(250);
  assert.deepEqual(table.take(), [{ type: "heartbeat", state: "away", background: false }]);
});

test("subscribes again when it is told to come back later", () => {
  const table = new Table().connect();
  table.take();
  table.client.watch(["bob"]);
  const [{ id }] = table.take("presence_subscribe");
  table.hear({ type: "rejected", reply_to: id, code: "rate_limited", retry_after_ms: 500 });
  table.pass(250);
  assert.deepEqual(table.take("presence_subscribe"), []);
  table.pass(250);
  assert.equal(table.take("presence_subscribe").length, 1);
  table.pass(5_000);
  assert.deepEqual(table.take("presence_subscribe"), []);
});

test("says at most once in three seconds that the user writes, for each channel", () => {
  const table = new Table().connect();
  table.take();
  for (let key = 0; key < 10; key++) {
    table.client.typing("general");
    table.client.typing("random");
    table.now += 500;
  }
  const typed = table.take("typing").map(({ channel }) => channel);
  assert.deepEqual(typed, ["general", "random", "general", "random"]);
});

test("is silent only when a heartbeat had its time to be answered", () => {
  const table = new Table().connect();
  table.hear({ type: "pong" });
  // A hidden tab, with one tick a minute.
  for (let minute = 0; minute < 3; minute++) {
    table.sleep(60_000);
    assert.equal(table.client.phase, "live", `after ${minute} minutes`);
    table.hear({ type: "pong" });
  }
  assert.equal(table.opened, 1);
  // A server that says nothing any more.
  table.pass(19_750);
  assert.equal(table.client.phase, "live");
  table.pass(250);
  assert.equal(table.client.phase, "waiting");
  assert.equal(table.tells("closed").at(-1).why, "silent for 20 s");
});

test("typing doesn't keep a dead connection alive", () => {
  const table = new Table().connect();
  table.hear({ type: "pong" });
  for (let second = 0; second < 40 && table.client.phase === "live"; second++) {
    table.client.typing("general");
    table.pass(1_000);
  }
  assert.notEqual(table.client.phase, "live");
});

test("repeats with the same nonce and another id when no reply comes, until one does", async () => {
  const table = new Table().connect();
  table.take();
  const sent = table.client.send("general", "n1", "hello");
  const [first] = table.take("send");
  table.hear({ type: "pong" });
  table.pass(9_750);
  assert.deepEqual(table.take("send"), []);
  table.pass(250);
  const [second] = table.take("send");
  assert.deepEqual({ ...second, id: first.id }, first);
  assert.notEqual(second.id, first.id);
  table.hear({ type: "accepted", reply_to: first.id, seq: 6, duplicate: false });
  table.hear({ type: "accepted", reply_to: second.id, seq: 6, duplicate: true });
  assert.equal((await sent).seq, 6);
  table.hear({ type: "pong" });
  table.pass(15_000);
  assert.deepEqual(table.take("send"), []);
});

test("a change of members keeps its nonce, too", async () => {
  const table = new Table().connect();
  table.take();
  for (const [type, ask] of [
    ["join", () => table.client.join("general", "j1")],
    ["leave", () => table.client.leave("general", "l1")],
    ["create_channel", () => table.client.create("board", "c1", "private")],
  ]) {
    const done = ask();
    const [first] = table.take(type);
    table.hear({ type: "pong" });
    table.pass(10_000);
    const [second] = table.take(type);
    assert.deepEqual({ ...second, id: first.id }, first);
    assert.match(first.nonce, /^[jlc]1$/);
    table.hear({ type: "accepted", reply_to: second.id, seq: 6, duplicate: true });
    await done;
  }
});

for (const code of ["busy", "rate_limited", "unavailable"]) {
  test(`${code} is no end: the request is repeated when the server says`, async () => {
    const table = new Table().connect();
    table.take();
    const sent = table.client.send("general", "n1", "hello");
    const [first] = table.take("send");
    table.hear({ type: "rejected", reply_to: first.id, code, message: "", retry_after_ms: 1_000 });
    table.pass(750);
    assert.deepEqual(table.take("send"), []);
    table.pass(250);
    const [second] = table.take("send");
    assert.equal(second.nonce, "n1");
    table.hear({ type: "accepted", reply_to: second.id, seq: 6, duplicate: false });
    assert.equal((await sent).seq, 6);
  });
}

test("a rejection for good is told to whoever asked", async () => {
  const table = new Table().connect();
  const sent = table.client.send("secret", "n1", "hello");
  const [first] = table.take("send");
  table.hear({ type: "rejected", reply_to: first.id, code: "not_member", message: "join first" });
  await assert.rejects(sent, (error) => error instanceof Rejected && error.code === "not_member");
});

test("resumes behind what it told, and sends what is open again in its first order", () => {
  const table = new Table().connect();
  table.client.send("general", "n1", "one");
  table.client.send("general", "n2", "two");
  table.hear(message(6));
  table.hear(message(7));
  table.take();
  table.handlers.closed("the network is gone");
  table.pass(250);
  table.connect([{ channel: "general", head: 9, after: 7 }]);
  const [hello, ...rest] = table.take("hello", "send");
  assert.deepEqual(hello.resume, [{ channel: "general", after: 7 }]);
  assert.deepEqual(rest.map(({ nonce }) => nonce), ["n1", "n2"]);
  for (const frame of [message(8), message(9), { type: "caught_up", channel: "general", head: 9 }]) {
    table.hear(frame);
  }
  assert.deepEqual(seqs(table), [6, 7, 8, 9]);
  const [told] = table.tells("caught_up");
  assert.deepEqual([told.from, told.to, told.count, told.whole], [8, 9, 2, true]);
});

test("asks for what is missing once, and tells all of it in order", () => {
  const table = new Table().connect();
  table.take();
  for (const seq of [8, 9, 8]) table.hear(message(seq));
  assert.deepEqual(seqs(table), []);
  const asked = table.take("history");
  assert.deepEqual(asked.map(({ after }) => after), [5]);
  const page = { type: "page", reply_to: asked[0].id, more: false, messages: [6, 7, 8].map(message) };
  table.hear(page);
  return Promise.resolve().then(() => {
    assert.deepEqual(seqs(table), [6, 7, 8, 9]);
    assert.equal(table.client.last("general"), 9);
  });
});

test("says how far the user has read, once a second, until the server knows", () => {
  const table = new Table().connect([{ channel: "general", head: 5, after: 5, read: 3 }]);
  assert.deepEqual(table.tells("read").at(-1), { type: "read", channel: "general", seq: 3 });
  table.take();
  table.client.read("general", 4);
  table.client.read("general", 5);
  table.pass(250);
  assert.deepEqual(table.take("read"), [{ type: "read", channel: "general", seq: 5 }]);
  table.pass(750);
  assert.deepEqual(table.take("read"), []);
  table.pass(250);
  assert.equal(table.take("read").length, 1);
  table.hear({ type: "read", channel: "general", seq: 5 });
  table.client.read("general", 2);
  table.pass(5_000);
  assert.deepEqual(table.take("read"), []);
});

test("lists channels page by page, and asks again when it is told to come back later", async () => {
  const table = new Table().connect();
  table.take();
  const listed = table.client.list(undefined, 2);
  const [first] = table.take("list_channels");
  assert.deepEqual({ ...first, id: 0 }, { id: 0, type: "list_channels", limit: 2 });
  table.hear({ type: "rejected", reply_to: first.id, code: "busy", message: "", retry_after_ms: 500 });
  table.pass(500);
  const [again] = table.take("list_channels");
  const channels = [{ channel: "board", kind: "private", member: true }];
  table.hear({ type: "channel_list", reply_to: again.id, channels, more: true });
  const page = await listed;
  assert.deepEqual([page.channels, page.more], [channels, true]);
  table.client.list("board", 2);
  assert.equal(table.take("list_channels")[0].after, "board");
});

test("a channel that was left is not resumed, and begins anew when it is joined again", () => {
  const table = new Table().connect();
  table.hear({ type: "left", channel: "general", until: 6 });
  assert.equal(table.client.last("general"), undefined);
  table.hear({ type: "channel", channel: "general", head: 9, after: 8, read: 8 });
  table.hear(message(9));
  assert.deepEqual(seqs(table), [9]);
});

test("goes on behind what the server did not keep, and tells of it once", () => {
  const table = new Table().connect();
  table.hear(message(12));
  const [asked] = table.take("history");
  assert.equal(asked.after, 5);
  table.hear({ type: "trimmed", channel: "general", upto: 9 });
  assert.deepEqual(table.tells("trimmed"), [{ type: "trimmed", channel: "general", from: 6, to: 9 }]);
  const page = { type: "page", reply_to: asked.id, channel: "general", messages: [10, 11].map(message) };
  table.hear({ ...page, more: false, trimmed_upto: 9 });
  return Promise.resolve().then(() => {
    assert.deepEqual(seqs(table), [10, 11, 12]);
    assert.equal(table.tells("trimmed").length, 1);
    assert.equal(table.client.last("general"), 12);
    assert.deepEqual(table.take("history"), [], "nothing is asked for again");
  });
});

test("fills a gap with word that it is gone", () => {
  const table = new Table().connect();
  table.hear(message(9));
  const [asked] = table.take("history");
  const page = { type: "page", reply_to: asked.id, channel: "general", messages: [] };
  table.hear({ ...page, more: false, trimmed_upto: 8 });
  return Promise.resolve().then(() => {
    assert.deepEqual(table.tells("trimmed"), [{ type: "trimmed", channel: "general", from: 6, to: 8 }]);
    assert.deepEqual(seqs(table), [9]);
  });
});

test("what was caught up before a hole is not counted with what comes behind it", () => {
  const table = new Table().connect();
  table.handlers.closed("gone");
  table.pass(1_000);
  table.connect([{ channel: "general", head: 12, after: 5 }]);
  table.hear(message(6));
  table.hear({ type: "trimmed", channel: "general", upto: 9 });
  [10, 11, 12].map(message).forEach((entry) => table.hear(entry));
  table.hear({ type: "caught_up", channel: "general", head: 12 });
  const [{ from, to, count, whole }] = table.tells("caught_up");
  assert.deepEqual({ from, to, count, whole }, { from: 10, to: 12, count: 3, whole: true });
});
