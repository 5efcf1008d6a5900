// A client of seriatim, written from docs/protocol.md alone, on the `ws` library.
//
// It prints what it handles, one JSON object a line: entries as they came, and what became of its
// own sends. The test kills it and starts it again with `--after`.

import { createRequire } from "node:module";
import { join } from "node:path";
import { parseArgs } from "node:util";

const require = createRequire(join(process.env.SERIATIM_TEST_NODE_MODULES, "client.js"));
const WebSocket = require("ws");

const { values: options } = parseArgs({
  options: {
    url: { type: "string" },
    token: { type: "string" },
    channel: { type: "string" },
    send: { type: "string", default: "0" }, // join, then send so many messages
    after: { type: "string" }, // resume after this seq, then read the history
  },
});
const { channel } = options;
const after = options.after === undefined ? undefined : Number(options.after);

const fail = (why) => {
  console.error(why);
  process.exit(1);
};
const show = (thing) => process.stdout.write(JSON.stringify(thing) + "\n");
const socket = new WebSocket(options.url, ["seriatim.v1"]);
const say = (frame) => socket.send(JSON.stringify(frame));
let silence;

socket.on("open", () => {
  if (socket.protocol !== "seriatim.v1") fail(`subprotocol ${socket.protocol}`);
  const hello = { type: "hello", token: options.token, client: "node_client 1" };
  if (after !== undefined) hello.resume = [{ channel, after }];
  say(hello);
});
socket.on("message", (data, isBinary) => {
  if (isBinary) fail("a binary message");
  clearTimeout(silence);
  silence = setTimeout(() => fail("nothing came for 30 s"), 30_000);
  const frame = JSON.parse(data);
  (after === undefined ? firstTime : secondTime)(frame);
});
socket.on("error", (error) => fail(String(error)));
socket.on("close", (code) => {
  clearTimeout(silence);
  show({ type: "closed", code });
});

// Joins, sends, then listens until killed.
const unanswered = new Set([1]);
function firstTime(frame) {
  switch (frame.type) {
    case "welcome":
      say({ type: "join", id: 1, channel, nonce: "node-join" });
      break;
    case "message":
    case "event":
      show(frame);
      break;
    case "accepted":
      show(frame);
      unanswered.delete(frame.reply_to);
      if (frame.reply_to === 1) sendAll();
      else if (unanswered.size === 0) show({ type: "all_accepted" });
      break;
    case "rejected":
      fail(JSON.stringify(frame));
  }
}

function sendAll() {
  for (let number = 0; number < Number(options.send); number++) {
    const id = 2 + number;
    unanswered.add(id);
    const body = `hello ${number} from Node, ünïcödé ✓`;
    say({ type: "send", id, channel, nonce: `node-${number}`, body });
  }
}

// Handles what was missed, until caught up, then reads the whole history, page by page.
let page = 0;
const askForPage = (last) => {
  page += 1;
  say({ type: "history", id: page, channel, after: last, limit: 70 });
};
function secondTime(frame) {
  switch (frame.type) {
    case "welcome":
      if (frame.channels.length !== 1 || frame.channels[0].after !== after) {
        fail(JSON.stringify(frame));
      }
      break;
    case "message":
    case "event":
      show(frame);
      break;
    case "caught_up":
      show(frame);
      askForPage(0);
      break;
    case "page": {
      if (frame.reply_to !== page) fail(JSON.stringify(frame));
      const seqs = frame.messages.map((entry) => entry.seq);
      show({ type: "history", seqs });
      if (frame.more) askForPage(seqs.at(-1));
      else say({ type: "ping" });
      break;
    }
    case "pong":
      socket.close(1000);
      break;
    case "goodbye":
    case "rejected":
      fail(JSON.stringify(frame));
  }
}
