"""A client of seriatim, written from docs/protocol.md alone, on the `websockets` library.

It prints what it handles, one JSON object a line: entries as they came, and what became of its own
sends. The test kills it and starts it again with `--after`.
"""

import argparse
import asyncio
import json
import ssl
import sys

import websockets

arguments = argparse.ArgumentParser()
arguments.add_argument("--url", required=True)
arguments.add_argument("--token", required=True)
arguments.add_argument("--channel", required=True)
arguments.add_argument("--send", type=int, default=0, help="join, then send so many messages")
arguments.add_argument("--after", type=int, help="resume after this seq, then read the history")
arguments.add_argument("--ca", help="for wss: trust this certificate, and no other")
options = arguments.parse_args()


def show(thing):
    print(json.dumps(thing), flush=True)


async def say(socket, frame):
    await socket.send(json.dumps(frame))


async def hear(socket):
    return json.loads(await asyncio.wait_for(socket.recv(), 30))


async def first_time(socket):
    """Joins, sends, then listens until killed."""
    await say(socket, {"type": "join", "id": 1, "channel": options.channel, "nonce": "py-join"})
    unanswered = {1}
    while True:
        frame = await hear(socket)
        kind = frame["type"]
        if kind in ("message", "event"):
            show(frame)
        elif kind == "rejected":
            sys.exit(f"rejected: {frame}")
        elif kind == "accepted":
            unanswered.discard(frame["reply_to"])
            show(frame)
            if frame["reply_to"] == 1:
                for number in range(options.send):
                    unanswered.add(2 + number)
                    nonce, body = f"py-{number}", f"hello {number} from Python, ünïcödé ✓"
                    await say(socket, {"type": "send", "id": 2 + number, "nonce": nonce,
                                       "channel": options.channel, "body": body})
            elif not unanswered:
                show({"type": "all_accepted"})


async def second_time(socket):
    """Handles what was missed, until caught up, then reads the whole history, page by page."""
    while True:
        frame = await hear(socket)
        if frame["type"] in ("message", "event", "caught_up"):
            show(frame)
        if frame["type"] == "caught_up":
            break
    after, number, more = 0, 1, True
    while more:
        await say(socket, {"type": "history", "id": number, "channel": options.channel,
                           "after": after, "limit": 70})
        page = await hear(socket)
        while page["type"] != "page":
            page = await hear(socket)
        assert page["reply_to"] == number, page
        seqs = [entry["seq"] for entry in page["messages"]]
        show({"type": "history", "seqs": seqs})
        after, number, more = seqs[-1], number + 1, page["more"]
    await say(socket, {"type": "ping"})
    while (await hear(socket))["type"] != "pong":
        pass


async def main():
    tls = ssl.create_default_context(cafile=options.ca) if options.ca else None
    async with websockets.connect(options.url, ssl=tls, subprotocols=["seriatim.v1"]) as socket:
        assert socket.subprotocol == "seriatim.v1", socket.subprotocol
        hello = {"type": "hello", "token": options.token, "client": "python_client 1"}
        if options.after is not None:
            hello["resume"] = [{"channel": options.channel, "after": options.after}]
        await say(socket, hello)
        welcome = await hear(socket)
        assert welcome["type"] == "welcome", welcome
        if options.after is None:
            await first_time(socket)
        else:
            [status] = welcome["channels"]
            assert status["after"] == options.after, status
            await second_time(socket)
    show({"type": "closed", "code": socket.close_code})


asyncio.run(main())
