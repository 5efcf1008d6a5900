//! A client that polls, written from `docs/protocol.md` alone.

use std::collections::VecDeque;

use serde_json::{Value, json};
use seriatim_engine::frame::ClientFrame;
use seriatim_world::World;

use crate::plain_http::Plain;

/// One connection that is polled.
pub(crate) struct Polled {
    http: Plain,
    name: String,
    batch: u64,
    heard: VecDeque<Value>,
}

impl Polled {
    /// Opens a connection, and says the first frame.
    pub(crate) async fn open(world: &World, address: &str, hello: &ClientFrame) -> Self {
        let http = Plain::connect(world, address).await;
        let mut polled = Self { http, name: String::new(), batch: 0, heard: VecDeque::new() };
        let answer =
            polled.post(json!({ "ack": 0, "frames": [value(hello)], "wait_ms": 25_000 })).await;
        polled.name = answer["connection"].as_str().expect("a connection has a name").to_owned();
        polled.take(&answer);
        polled
    }

    pub(crate) async fn say(&mut self, frame: &ClientFrame) {
        let body = json!({ "connection": self.name, "frames": [value(frame)] });
        self.post(body).await;
    }

    pub(crate) async fn hear(&mut self) -> Value {
        loop {
            if let Some(frame) = self.heard.pop_front() {
                return frame;
            }
            let poll = json!({ "connection": self.name, "ack": self.batch, "wait_ms": 25_000 });
            let answer = self.post(poll).await;
            self.take(&answer);
        }
    }

    fn take(&mut self, answer: &Value) {
        assert!(answer["closed"].is_null(), "the connection has ended: {answer}");
        let frames = answer["frames"].as_array().expect("frames");
        self.batch += u64::from(!frames.is_empty());
        assert_eq!(answer["batch"], self.batch, "{answer}");
        self.heard.extend(frames.iter().cloned());
    }

    async fn post(&mut self, body: Value) -> Value {
        let answer = self.http.post("/v1/poll", "", &body.to_string()).await;
        assert_eq!(answer.status, 200, "{body}: {answer:?}");
        serde_json::from_str(&answer.body).expect("the answer is JSON")
    }
}

fn value(frame: &ClientFrame) -> Value {
    serde_json::to_value(frame).expect("a frame is JSON")
}
