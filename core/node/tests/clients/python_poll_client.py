"""A client of seriatim that polls, written from docs/protocol.md alone, on Python's own library.

It prints what it handles, one JSON object a line: entries as they came, and what became of its own
sends. The test kills it and starts it again with `--after`. Now and then it asks again for an answer
that it has had, as if it had been lost on its way.
"""

import argparse
import http.client
import json
import sys
from urllib.parse import urlsplit

arguments = argparse.ArgumentParser()
arguments.add_argument("--url", required=True, help="of the WebSocket; its server is polled")
arguments.add_argument("--token", required=True)
arguments.add_argument("--channel", required=True)
arguments.add_argument("--send", type=int, default=0, help="join, then send so many messages")
arguments.add_argument("--after", type=int, help="resume after this seq, then read the history")
options = arguments.parse_args()


def show(thing):
    print(json.dumps(thing), flush=True)


class Session:
    def __init__(self, hello):
        self.http = http.client.HTTPConnection(urlsplit(options.url).netloc, timeout=40)
        self.name, self.batch, self.heard = None, 0, []
        self.take(self.post({"ack": 0, "frames": [hello], "wait_ms": 10000}))

    def post(self, body):
        if self.name is not None:
            body = {"connection": self.name, **body}
        self.http.request("POST", "/v1/poll", json.dumps(body))
        answer = self.http.getresponse()
        text = answer.read()
        assert answer.status == 200, (answer.status, text)
        return json.loads(text)

    def take(self, answer):
        self.name = answer["connection"]
        if answer["batch"] == self.batch:
            assert answer["frames"] == [], answer
            return
        assert answer["batch"] == self.batch + 1, (self.batch, answer)
        if answer["batch"] % 3 == 0:
            again = self.post({"ack": self.batch, "wait_ms": 25000})
            assert again == answer, (again, answer)
        self.batch += 1
        self.heard += answer["frames"]
        assert "closed" not in answer, answer

    def say(self, *frames):
        self.post({"frames": list(frames)})

    def hear(self):
        while not self.heard:
            self.take(self.post({"ack": self.batch, "wait_ms": 25000}))
        return self.heard.pop(0)


def first_time(session):
    """Joins, sends, then listens until killed."""
    session.say({"type": "join", "id": 1, "channel": options.channel, "nonce": "poll-join"})
    unanswered = {1}
    while True:
        frame = session.hear()
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
                    nonce, body = f"poll-{number}", f"hello {number} by plain requests, ünïcödé ✓"
                    session.say({"type": "send", "id": 2 + number, "nonce": nonce,
                                 "channel": options.channel, "body": body})
            elif not unanswered:
                show({"type": "all_accepted"})


def second_time(session):
    """Handles what was missed, until caught up, then reads the whole history, page by page."""
    while True:
        frame = session.hear()
        if frame["type"] in ("message", "event", "caught_up"):
            show(frame)
        if frame["type"] == "caught_up":
            break
    after, number, more = 0, 1, True
    while more:
        session.say({"type": "history", "id": number, "channel": options.channel,
                     "after": after, "limit": 70})
        page = session.hear()
        while page["type"] != "page":
            page = session.hear()
        assert page["reply_to"] == number, page
        seqs = [entry["seq"] for entry in page["messages"]]
        show({"type": "history", "seqs": seqs})
        after, number, more = seqs[-1], number + 1, page["more"]
    session.say({"type": "ping"})
    while session.hear()["type"] != "pong":
        pass
    show({"type": "closed", **session.post({"close": True})["closed"]})


hello = {"type": "hello", "token": options.token, "client": "python_poll_client 1"}
if options.after is not None:
    hello["resume"] = [{"channel": options.channel, "after": options.after}]
session = Session(hello)
welcome = session.hear()
assert welcome["type"] == "welcome", welcome
if options.after is None:
    first_time(session)
else:
    [status] = welcome["channels"]
    assert status["after"] == options.after, status
    second_time(session)
