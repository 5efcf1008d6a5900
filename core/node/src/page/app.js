// The chat page: signs in, keeps the rooms, and shows what the client (client.js) tells.

import { Browse } from "./browse.js";
import { Client, Rejected } from "./client.js";
import { Log, avatar, clock, make } from "./log.js";
import { Activity, People, STATES, describeWriting } from "./people.js";
import { Room, describeCatchUp } from "./room.js";
import { Opener } from "./transport.js";

const PAGE = 100; // entries of history that are read at once
const BODY_BYTES_MAX = 16_384;
const JOURNAL_MAX = 40;
const PEOPLE_SHOWN_MAX = 60;

const $ = (id) => document.getElementById(id);
const log = new Log($("log"));
const people = new People();
const activity = new Activity(performance.now());
const rooms = new Map();
const browse = new Browse(
  { box: $("browse"), list: $("found"), more: $("more-found"), hint: $("found-hint") },
  {
    ask: (after, limit) => client.list(after, limit),
    isIn: (name) => rooms.has(name),
    join: (name) => joinChannel(name),
  },
);
const pending = new Map(); // own messages without a place in the log, by nonce

let client;
let me = "";
let shown = null; // the room on screen
let firstRoom = null; // the one to show when its `channel` comes
let atEnd = true; // the newest entry is in sight
let comeBackAt = null; // when a cut ends by itself

// Signing in: the token comes in the fragment, which browsers keep to themselves, or by hand.

function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("token");
}

function showSignIn(problem = "") {
  $("app").hidden = true;
  $("sign-in").hidden = false;
  $("sign-in-problem").textContent = problem;
  $("token").focus();
}

function start(token) {
  $("sign-in").hidden = true;
  $("app").hidden = false;
  const at = (path) => new URL(path, location.href);
  const socket = at("v1/ws");
  socket.protocol = socket.protocol.replace("http", "ws");
  const opener = new Opener({ socket, poll: at("v1/poll"), health: at("healthz") });
  client = new Client({
    open(handlers) {
      const transport = opener.open(handlers);
      $("transport").textContent = transport.name;
      return transport;
    },
    token,
    name: "page 1",
    tell,
  });
  $("gateway").textContent = location.host;
  setInterval(() => {
    client.tick();
    showPhase();
    showTyping();
    showMe();
    if (comeBackAt !== null && performance.now() >= comeBackAt) comeBack();
  }, 250);
  client.tick();
}

// What the client tells.

function tell(event) {
  switch (event.type) {
    case "phase":
      showPhase();
      break;
    case "welcome":
      welcome(event);
      break;
    case "channel":
      follow(event);
      break;
    case "entry":
      entry(event);
      break;
    case "trimmed":
      trimmed(event);
      break;
    case "caught_up":
      caughtUp(event);
      break;
    case "read":
      rooms.get(event.channel).read = event.seq;
      break;
    case "left":
      left(event);
      break;
    case "presence":
      people.told(event);
      break;
    case "typing":
      if (event.user !== me) people.writes(event.channel, event.user, performance.now());
      showTyping();
      return;
    case "closed":
      rooms.forEach((room) => room.breakCatchUp());
      note(event.why === "cut" ? "You cut the connection" : `Connection lost: ${event.why}`);
      break;
    case "goodbye":
      if (event.reconnect_after_ms === undefined) {
        sessionStorage.removeItem("token");
        showSignIn(`The server said goodbye: ${event.message}`);
      }
  }
  later(showPanels);
}

function welcome({ session, user, workspace, channels }) {
  me = user;
  $("workspace").textContent = workspace;
  $("my-name").textContent = user;
  const names = channels.map(({ channel }) => channel);
  const before = sessionStorage.getItem("channel");
  firstRoom = names.includes(before) ? before : (names[0] ?? null);
  showMe();
  $("session").textContent = session;
  note(`Session ${session.slice(0, 8)}… began`);
  if (channels.length === 0 && rooms.size === 0) showRoom(null);
}

function follow({ channel, head, after, known }) {
  if (!rooms.has(channel)) rooms.set(channel, new Room(channel, after));
  if (known && head > after) note(`Catching up #${channel}: ${head - after} behind`);
  if (shown === null && (firstRoom === null || channel === firstRoom)) showRoom(channel);
}

function entry({ channel, entry, caughtUp }) {
  const room = rooms.get(channel);
  const stick = isAtEnd();
  const gone = room.take(entry, caughtUp);
  if (entry.sender === me) settle(entry.nonce);
  meet([entry]);
  if (entry.type === "message") {
    people.wrote(channel, entry.sender);
    showTyping();
  }
  if (room !== shown) return;
  markRead();
  log.append(room, gone);
  $("empty").hidden = true;
  if (stick) toEnd();
  else $("newest").hidden = false;
}

function trimmed({ channel, from, to }) {
  const room = rooms.get(channel);
  room.skip(to);
  if (room === shown) log.show(room, me);
  note(`#${channel}: seq ${from}–${to} are gone, the server did not keep them`);
}

/** What is on screen is read. */
function markRead() {
  if (shown === null || document.hidden) return;
  client.read(shown.name, shown.last);
  shown.read = Math.max(shown.read, shown.last);
}

function left({ channel }) {
  const room = rooms.get(channel);
  rooms.delete(channel);
  note(`You are no longer in #${channel}`);
  if (room === shown) showRoom([...rooms.keys()].sort()[0] ?? null);
}

function caughtUp(event) {
  const room = rooms.get(event.channel);
  const stretch = room.closeCatchUp(event);
  if (stretch === undefined) return;
  if (room === shown) log.refresh(stretch);
  const text = describeCatchUp(stretch);
  note(`#${event.channel}: ${text}`, "caught");
  $("status").textContent = `${event.channel}: ${text}`;
}

// People.

/** Whoever wrote or joined is somebody to watch. */
function meet(entries) {
  let grew = false;
  for (const { sender, user, by, members = [] } of entries) {
    for (const name of [sender, user, by, ...members]) {
      if (name !== undefined && name !== me) grew = people.meet(name) || grew;
    }
  }
  if (grew) later(watch);
}

function watch() {
  client.watch(people.names);
  later(showPanels);
}

/** Tells how the user is, and shows what is told. */
function showMe() {
  const state = activity.state(performance.now());
  client.present(state, document.hidden);
  if (me === "" || $("my-avatar").dataset.state === state) return;
  $("my-avatar").dataset.state = state;
  const title = `Others see you ${STATES[state]}`;
  $("my-avatar").replaceChildren(avatar(me, state), make("span", { className: "unseen", text: title }));
  $("my-avatar").title = title;
}

function showPeople() {
  const sorted = people.sorted;
  const rows = sorted.slice(0, PEOPLE_SHOWN_MAX).map(([name, state]) => {
    const children = [avatar(name, state), make("span", { className: "name", text: name })];
    children.push(make("span", { className: state === "away" ? "state" : "state unseen", text: STATES[state] }));
    return make("li", { data: { user: name, state }, children });
  });
  if (sorted.length > rows.length) {
    rows.push(make("li", { className: "hint", text: `and ${sorted.length - rows.length} more` }));
  }
  $("people").replaceChildren(...rows);
  $("no-people").hidden = sorted.length > 0;
  const online = sorted.filter(([, state]) => state === "active").length;
  $("online").hidden = online === 0;
  $("online").textContent = `${online} online`;
}

function showTyping() {
  const writing = shown === null ? [] : people.writing(shown.name, performance.now());
  const text = describeWriting(writing);
  if ($("typing").textContent !== text) $("typing").textContent = text;
}

// Rooms.

function showRoom(name) {
  const room = rooms.get(name) ?? null;
  if (shown) shown.draft = $("body").value;
  shown = room;
  closePanes();
  $("composer").hidden = room === null;
  $("leave").hidden = room === null;
  askBeforeLeaving(false);
  $("channel-name").textContent = room ? `# ${room.name}` : "Welcome";
  $("problem").textContent = "";
  $("newest").hidden = true;
  if (room === null) {
    $("log").replaceChildren();
    offerGeneral();
  } else {
    sessionStorage.setItem("channel", room.name);
    markRead();
    $("empty").hidden = true;
    $("body").value = room.draft;
    $("body").placeholder = `Message #${room.name}`;
    $("body-label").textContent = `Message to ${room.name}`;
    log.show(room, me);
    if (!room.loaded) loadEarlier();
    toEnd();
  }
  showPending();
  showTyping();
  later(showPanels);
}

function offerGeneral() {
  const join = make("button", { className: "primary", text: "Join #general" });
  join.addEventListener("click", () => joinChannel("general"));
  const title = make("strong", { text: "You are in no channel yet" });
  $("empty").replaceChildren(title, make("p", { text: "Join one on the left, or:" }), join);
  $("empty").hidden = false;
}

async function loadEarlier() {
  const room = shown;
  if (room.loading) return;
  room.loading = true;
  try {
    const none = { messages: [] };
    const page = room.isWhole ? none : await client.earlier(room.name, room.first, PAGE);
    const items = room.prepend(page);
    meet(items.map(({ entry }) => entry));
    if (room === shown) {
      const fromEnd = $("scroller").scrollHeight - $("scroller").scrollTop;
      log.prepend(room, items);
      $("scroller").scrollTop = $("scroller").scrollHeight - fromEnd;
    }
    room.loaded = true;
  } catch (error) {
    $("problem").textContent = `Can't read the history: ${error.message}`;
  } finally {
    room.loading = false;
    later(showPanels);
  }
}

/** Leaving takes two clicks: a private channel can't be joined again. */
function askBeforeLeaving(ask) {
  $("leave").classList.toggle("danger", ask);
  $("leave").textContent = ask ? `Leave #${shown.name}?` : "Leave";
}

async function leaveChannel() {
  if (!$("leave").classList.contains("danger")) return askBeforeLeaving(true);
  const { name } = shown;
  askBeforeLeaving(false);
  try {
    await client.leave(name, makeNonce());
  } catch (error) {
    $("problem").textContent = `Can't leave ${name}: ${error.message}`;
  }
}

async function joinChannel(name, isPrivate = false) {
  try {
    const nonce = makeNonce();
    await (isPrivate ? client.create(name, nonce, "private") : client.join(name, nonce));
    $("join-private").checked = false;
    $("join-name").value = "";
    if (rooms.has(name)) showRoom(name);
    else waitFor(() => rooms.has(name), () => showRoom(name));
  } catch (error) {
    $("problem").textContent = `Can't join ${name}: ${error.message}`;
  }
}

/** Calls `then` once `condition` holds: the frame that makes it so may follow the reply. */
function waitFor(condition, then, tries = 100) {
  if (condition()) then();
  else if (tries > 0) setTimeout(() => waitFor(condition, then, tries - 1), 50);
}

// Sending.

function sendMessage(event) {
  event?.preventDefault();
  const body = $("body").value.trim();
  if (body === "" || shown === null) return;
  const bytes = new TextEncoder().encode(body).length;
  if (bytes > BODY_BYTES_MAX) {
    $("problem").textContent = `This has ${bytes} bytes; a message may have ${BODY_BYTES_MAX}.`;
    return;
  }
  $("problem").textContent = "";
  $("body").value = "";
  const nonce = makeNonce();
  pending.set(nonce, { channel: shown.name, body, failed: null });
  client.send(shown.name, nonce, body).then(
    ({ duplicate, seq }) => {
      if (duplicate) note(`A retry of seq ${seq} was recognised: no second message`);
    },
    (error) => {
      const lost = pending.get(nonce);
      if (lost) lost.failed = error instanceof Rejected ? error.message : String(error);
      showPending();
    },
  );
  showPending();
  toEnd();
}

/** `crypto.randomUUID` is only there on https and localhost. */
function makeNonce() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function settle(nonce) {
  if (pending.delete(nonce)) showPending();
}

function showPending() {
  const rows = [...pending]
    .filter(([, { channel }]) => channel === shown?.name)
    .map(([nonce, { body, failed }]) => {
      const waiting = client.phase === "live" ? "on its way…" : "waits for the connection";
      const state = make("span", { className: "state", text: failed ? `not sent: ${failed}` : waiting });
      const row = make("li", {
        className: failed ? "message first failed" : "message first",
        children: [avatar(me), make("span", { className: "body", text: body }), state],
      });
      if (failed) {
        const dismiss = make("button", { className: "ghost", text: "Dismiss" });
        dismiss.addEventListener("click", () => settle(nonce));
        state.append(" ", dismiss);
      }
      return row;
    });
  $("pending").replaceChildren(...rows);
}

// The connection.

const PHASES = {
  waiting: "Waiting to reconnect",
  connecting: "Connecting…",
  greeting: "Signing in…",
  live: "Live",
  away: "Cut, by you",
  ended: "Ended",
};

function showPhase() {
  const { phase } = client;
  const before = $("app").className;
  $("app").className = phase;
  const left = comeBackAt === null ? "" : ` (${Math.ceil((comeBackAt - performance.now()) / 1_000)} s)`;
  $("phase").textContent = PHASES[phase] + (phase === "away" ? left : "");
  $("phase-short").textContent = phase === "live" ? "Live" : PHASES[phase];
  $("cut").textContent = phase === "away" ? "Reconnect now" : "Cut my connection";
  $("cut").disabled = phase === "ended";
  if (phase !== "live") $("session").textContent = "–";
  if (before !== phase) {
    if (phase === "live" || phase === "away") $("status").textContent = PHASES[phase];
    showPending();
  }
}

function cutOrComeBack() {
  if (client.phase === "away") return comeBack();
  const seconds = Number($("cut-for").value);
  comeBackAt = seconds > 0 ? performance.now() + seconds * 1_000 : null;
  client.stayAway();
}

function comeBack() {
  comeBackAt = null;
  client.comeBack();
}

function signOut() {
  client.present("offline", document.hidden);
  sessionStorage.removeItem("token");
  client.end();
  location.reload();
}

// The panels.

const due = new Set();

/** Draws once for all that happens together. */
function later(draw) {
  if (due.has(draw)) return;
  due.add(draw);
  setTimeout(() => {
    due.delete(draw);
    draw();
  }, 20);
}

function showPanels() {
  showChannels();
  showPeople();
  showOrder();
  const room = shown;
  $("earlier").hidden = room === null || !room.loaded || room.isWhole;
  $("gone").hidden = room === null || room.goneUpto === 0 || !room.isWhole;
  if (room) $("gone").textContent = `Up to seq ${room.goneUpto}, the server did not keep what was here`;
  if (room) $("channel-note").textContent = room.last === 0 ? "" : `seq ${room.last} is the newest`;
  else $("channel-note").textContent = "";
}

function showChannels() {
  const names = [...rooms.keys()].sort();
  const rows = names.map((name) => {
    const { unread } = rooms.get(name);
    const button = make("button", {
      className: unread > 0 ? "unread" : "",
      data: { channel: name },
      children: [make("span", { className: "name", text: name })],
    });
    button.type = "button";
    if (rooms.get(name) === shown) button.setAttribute("aria-current", "true");
    if (unread > 0) {
      button.append(make("span", { className: "badge", text: unread }));
      button.setAttribute("aria-label", `${name}, ${unread} unread`);
    }
    button.addEventListener("click", () => showRoom(name));
    return make("li", { children: [button] });
  });
  replaceKeepingFocus($("channels"), rows);
  browse.show();
  const unread = names.reduce((sum, name) => sum + rooms.get(name).unread, 0);
  $("unread-all").hidden = unread === 0;
  $("unread-all").textContent = unread;
  document.title = (unread > 0 ? `(${unread}) ` : "") + (shown ? `#${shown.name} · seriatim` : "seriatim");
}

/** Whoever walks the list by keyboard stays where they are. */
function replaceKeepingFocus(list, rows) {
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.channel : null;
  list.replaceChildren(...rows);
  if (focused) list.querySelector(`[data-channel="${CSS.escape(focused)}"]`)?.focus();
}

function showOrder() {
  const rows = [...rooms.values()].map(({ name, order }) => {
    const range = order.count === 0 ? "–" : `${order.first}–${order.last}`;
    const verdict = order.fault ?? (order.count === 0 ? "–" : "✓ no gap");
    const check = make("td", { className: order.fault ? "bad" : "good", text: verdict });
    return make("tr", {
      data: { channel: name, first: order.first ?? "", last: order.last ?? "", count: order.count },
      children: [make("td", { text: name }), make("td", { text: range }), check],
    });
  });
  $("order").replaceChildren(...rows);
  const names = {
    sessions: "Sessions",
    retries: "Requests repeated",
    duplicates: "Repeats recognised",
    repeats: "Entries that came twice",
    early: "Entries that came early",
  };
  const counts = Object.entries(names).map(([key, name]) => {
    const value = make("dd", { text: client.counts[key], data: { count: key } });
    return make("div", { children: [make("dt", { text: name }), value] });
  });
  $("counts").replaceChildren(...counts);
}

function note(text, className) {
  const row = make("li", { children: [clock(Date.now(), true), make("span", { className, text })] });
  $("journal").prepend(row);
  while ($("journal").childElementCount > JOURNAL_MAX) $("journal").lastElementChild.remove();
}

function isAtEnd() {
  const { scrollHeight, scrollTop, clientHeight } = $("scroller");
  return scrollHeight - scrollTop - clientHeight < 60;
}

function toEnd() {
  $("scroller").scrollTop = $("scroller").scrollHeight;
  $("newest").hidden = true;
}

function openPane(id) {
  closePanes();
  $(id).classList.add("open");
  $(id).querySelector("button, select")?.focus();
}

function closePanes() {
  for (const pane of document.querySelectorAll(".pane")) pane.classList.remove("open");
}

// What people do.

$("sign-in-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value.trim());
  location.reload();
});
$("join").addEventListener("submit", (event) => {
  event.preventDefault();
  joinChannel($("join-name").value.trim(), $("join-private").checked);
});
$("composer").addEventListener("submit", sendMessage);
$("body").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) sendMessage(event);
});
$("body").addEventListener("input", () => {
  if (shown !== null && $("body").value.trim() !== "") client.typing(shown.name);
});
$("my-state").addEventListener("change", () => {
  activity.choice = $("my-state").value;
  sessionStorage.setItem("shown-as", activity.choice);
  showMe();
});
$("leave").addEventListener("click", leaveChannel);
$("sign-out").addEventListener("click", signOut);
$("cut").addEventListener("click", cutOrComeBack);
$("earlier").addEventListener("click", loadEarlier);
$("newest").addEventListener("click", toEnd);
$("scroller").addEventListener("scroll", () => {
  atEnd = isAtEnd();
  if (atEnd) $("newest").hidden = true;
  if ($("scroller").scrollTop < 60 && !$("earlier").hidden) loadEarlier();
});
// A keyboard that comes up leaves the newest in sight.
new ResizeObserver(() => atEnd && toEnd()).observe($("scroller"));
$("open-channels").addEventListener("click", () => openPane("channels-pane"));
$("open-order").addEventListener("click", () => openPane("order-pane"));
$("shade").addEventListener("click", closePanes);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") closePanes();
});
for (const kind of ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"]) {
  document.addEventListener(kind, () => activity.touched(performance.now()), { passive: true });
}
document.addEventListener("visibilitychange", () => {
  if (client) {
    if (!document.hidden) activity.touched(performance.now());
    showMe();
    client.tick(); // Timers may have slept.
  }
  markRead();
  later(showPanels);
});
addEventListener("online", () => client?.phase === "waiting" && client.comeBack());
addEventListener("hashchange", () => takeToken() && location.reload());

activity.choice = sessionStorage.getItem("shown-as") ?? "auto";
$("my-state").value = activity.choice;
const token = takeToken();
if (token) start(token);
else showSignIn();
