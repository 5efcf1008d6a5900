// The page's client.js against a real server, over a network that loses frames and connections.
//
// Run by page_client.rs, in a folder that has client.js beside this file. It sends messages and
// loses, by count, replies (`accepted`), entries, and whole connections; in the end every message
// must be in the log once, and every entry must have been told once, in order. Time runs faster
// for the client, so that it does not take minutes until it repeats.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import { Client } from "./client.js";

const require = createRequire(join(process.env.SERIATIM_TEST_NODE_MODULES, "client.js"));
const WebSocket = require("ws");

const [url, token, channel] = process.argv.slice(2);
const MESSAGES = 40;
const SPEED = 20; // half a second without a reply is ten for the client
const lost = { replies: 0, entries: 0, connections: 0 };

let told = [];
let losing = true;
const heard = { frames: 0, replies: 0, entries: 0 };

/** Whether this frame is lost on its way to the client. */
function isLost(frame) {
  if (!losing) return false;
  if (frame.type === "accepted" && !frame.duplicate && ++heard.replies % 3 === 0) {
    lost.replies += 1;
    return true;
  }
  if (frame.type === "message" && ++heard.entries % 7 === 0) {
    lost.entries += 1;
    return true;
  }
  return false;
}

function open(handlers) {
  const socket = new WebSocket(url, ["seriatim.v1"]);
  socket.on("open", handlers.opened);
  socket.on("message", (data) => {
    if (!isLost(JSON.parse(data))) handlers.text(String(data));
    if (losing && ++heard.frames % 30 === 0) {
      lost.connections += 1;
      socket.terminate();
    }
  });
  socket.on("close", () => handlers.closed("closed"));
  socket.on("error", () => {});
  return { say: (text) => socket.send(text), close: () => socket.terminate() };
}

const started = performance.now();
const client = new Client({
  open,
  token,
  name: "lossy",
  tell: (event) => event.type === "entry" && told.push(event.entry),
  now: () => (performance.now() - started) * SPEED,
});
const ticking = setInterval(() => client.tick(), 5);
client.tick();

await client.join(channel);
const sends = [];
for (let number = 0; number < MESSAGES; number++) {
  sends.push(client.send(channel, `lossy-${number}`, `number ${number}`));
  await new Promise((resolve) => setTimeout(resolve, 10));
}
const accepted = await Promise.all(sends);
losing = false;
const { seq: end } = await client.send(channel, "lossy-end", "the end");
while (client.last(channel) < end) await new Promise((resolve) => setTimeout(resolve, 5));

let log = [];
for (let more = true; more; ) {
  const page = await client.history(channel, log.at(-1)?.seq ?? 0, 100);
  log.push(...page.messages);
  more = page.more;
}
clearInterval(ticking);
client.end();

const bodies = log.filter(({ type }) => type === "message").map(({ body }) => body);
const twice = bodies.filter((body, index) => bodies.indexOf(body) !== index);
console.log(JSON.stringify({ lost, counts: client.counts, twice: twice.length }));
assert.deepEqual(twice, [], "a message is in the log twice");
assert.equal(bodies.length, MESSAGES + 1, "a message is missing");
accepted.forEach(({ seq }, number) => {
  assert.equal(log[seq - 1].body, `number ${number}`, "accepted with another's seq");
});
// The first it was told may be its join, or what followed if that came with `welcome`.
assert.deepEqual(told, log.slice(told[0].seq - 1), "told with a gap, a repeat, or out of order");
assert.ok(lost.replies > 3 && lost.entries > 3 && lost.connections > 0, "next to nothing was lost");
assert.ok(client.counts.duplicates >= 1, "no repeat was recognised");
assert.ok(client.counts.fills >= 1, "no gap was filled");
