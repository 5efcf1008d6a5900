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
import { openPolling } from "./transport.js";

const require = createRequire(join(process.env.SERIATIM_TEST_NODE_MODULES, "client.js"));
const WebSocket = require("ws");

const [address, token, channel, transport] = process.argv.slice(2);
const MESSAGES = 40;
const SPEED = 20; // half a second without a reply is ten for the client
const lost = { replies: 0, entries: 0, connections: 0, polls: 0, answers: 0 };

let told = [];
let losing = true;
const heard = { frames: 0, replies: 0, entries: 0, requests: 0 };

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

/** Whether the connection breaks behind this frame. */
function breaks() {
  if (!losing || ++heard.frames % 30 !== 0) return false;
  lost.connections += 1;
  return true;
}

/** `fetch` over a network that loses requests, and answers after the server has given them. */
async function lossyFetch(...given) {
  const number = losing ? ++heard.requests : 1;
  if (number % 23 === 0) {
    lost.polls += 1;
    throw new Error("the request was lost");
  }
  const answer = await fetch(...given);
  if (number % 7 === 0) {
    lost.answers += 1;
    throw new Error("the answer was lost");
  }
  return answer;
}

function openLossyPolling(handlers) {
  const polling = openPolling(`http://${address}/v1/poll`, { ...handlers, text }, lossyFetch);
  function text(data) {
    if (!isLost(JSON.parse(data))) handlers.text(data);
    if (breaks()) {
      polling.close();
      handlers.closed("cut");
    }
  }
  return polling;
}

function openLossyWebSocket(handlers) {
  const socket = new WebSocket(`ws://${address}/v1/ws`, ["seriatim.v1"]);
  socket.on("open", handlers.opened);
  socket.on("message", (data) => {
    if (!isLost(JSON.parse(data))) handlers.text(String(data));
    if (breaks()) socket.terminate();
  });
  socket.on("close", () => handlers.closed("closed"));
  socket.on("error", () => {});
  return { say: (text) => socket.send(text), close: () => socket.terminate() };
}

const started = performance.now();
const client = new Client({
  open: transport === "polling" ? openLossyPolling : openLossyWebSocket,
  token,
  name: "lossy",
  tell: (event) => event.type === "entry" && told.push(event.entry),
  now: () => (performance.now() - started) * SPEED,
});
const ticking = setInterval(() => client.tick(), 5);
client.tick();

await client.join(channel, "lossy-join");
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
if (transport === "polling") assert.ok(lost.answers > 3 && lost.polls > 0, "no poll was lost");
assert.ok(client.counts.duplicates >= 1, "no repeat was recognised");
assert.ok(client.counts.fills >= 1, "no gap was filled");
