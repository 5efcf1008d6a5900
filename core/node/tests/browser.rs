//! A real Chromium, driven over its DevTools protocol by a WebSocket client that isn't ours.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use seriatim_world::clock::{sleep, timeout};
use seriatim_world::{BoxStream, World};
use tokio_websockets::{ClientBuilder, Limits, Message, WebSocketStream};

/// How long anything that must happen may take, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A running browser. Dropping it kills it.
pub(crate) struct Browser {
    child: Child,
    pub(crate) world: World,
    socket: WebSocketStream<BoxStream>,
    last_id: u64,
    /// What pages complained of: exceptions, errors, violations of their policy.
    pub(crate) complaints: Vec<String>,
    /// The heartbeats that pages sent, oldest first, each with its page's session.
    heartbeats: Vec<(String, String)>,
}

/// A window of somebody who shares nothing with the others: no storage, no cookies, no cache.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    session: String,
}

impl Browser {
    pub(crate) async fn start(world: &World, directory: &Path) -> Self {
        let profile = directory.join("chromium");
        std::fs::create_dir_all(&profile).expect("a writable folder");
        let program = std::env::var("SERIATIM_TEST_CHROMIUM").unwrap_or_else(|_| "chromium".into());
        let log = directory.join("chromium.log");
        let child = Command::new(&program)
            .args(["--headless=new", "--remote-debugging-port=0", "--no-sandbox", "--no-first-run"])
            .args(["--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions"])
            .args(["--disable-background-networking", "--disable-component-update"])
            .args(["--force-device-scale-factor=1", "--hide-scrollbars", "--lang=en-GB"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a writable folder"))
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "can't run {program}: {error}; run ./test.sh, which installs Chromium, or set \
                     SERIATIM_TEST_CHROMIUM to a Chromium or Chrome"
                )
            });
        let (address, path) = listening(world, &profile, &log).await;
        let stream = world.net.connect(&address).await.expect("Chromium listens");
        let (socket, _) = ClientBuilder::new()
            .uri(&format!("ws://{address}{path}"))
            .expect("a sound address")
            .limits(Limits::unlimited())
            .connect_on(stream)
            .await
            .expect("a sound handshake");
        let world = world.clone();
        Self { child, world, socket, last_id: 0, complaints: Vec::new(), heartbeats: Vec::new() }
    }

    /// Opens a window at `url`.
    pub(crate) async fn open(&mut self, url: &str) -> Page {
        let context = self.call(None, "Target.createBrowserContext", json!({})).await;
        let target = json!({
            "url": "about:blank", "browserContextId": context["browserContextId"], "newWindow": true
        });
        let target = self.call(None, "Target.createTarget", target).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.call(None, "Target.attachToTarget", attach).await;
        let session = attached["sessionId"].as_str().expect("a session").to_owned();
        let page = Page { session };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.on(&page, &format!("{domain}.enable"), json!({})).await;
        }
        // Every window acts as the one in front: none is throttled.
        let focus = json!({ "enabled": true });
        self.on(&page, "Emulation.setFocusEmulationEnabled", focus).await;
        self.resize(&page, 1_280, 800).await;
        self.on(&page, "Page.navigate", json!({ "url": url })).await;
        page
    }

    pub(crate) async fn resize(&mut self, page: &Page, width: u32, height: u32) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false
        });
        self.on(page, "Emulation.setDeviceMetricsOverride", size).await;
    }

    /// A command for a page.
    pub(crate) async fn on(&mut self, page: &Page, method: &str, parameters: Value) -> Value {
        self.call(Some(&page.session), method, parameters).await
    }

    async fn call(&mut self, session: Option<&str>, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let mut command = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = session {
            command["sessionId"] = session.into();
        }
        self.socket.send(Message::text(command.to_string())).await.expect("Chromium lives");
        loop {
            let next = timeout(&*self.world.clock, PATIENCE, self.socket.next()).await;
            let message = next.unwrap_or_else(|_| panic!("no answer to {method}"));
            let message = message.expect("Chromium lives").expect("Chromium keeps to RFC 6455");
            let text = message.as_text().expect("text messages only");
            let mut heard: Value = serde_json::from_str(text).expect("it is JSON");
            if heard["id"] == id {
                assert!(heard["error"].is_null(), "{method}: {}", heard["error"]);
                return heard["result"].take();
            }
            self.note(&heard);
        }
    }

    fn note(&mut self, event: &Value) {
        let parameters = &event["params"];
        let complaint = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => &parameters["exceptionDetails"],
            Some("Log.entryAdded") if parameters["entry"]["level"] == "error" => {
                &parameters["entry"]
            }
            Some("Network.webSocketFrameSent") => {
                let text = parameters["response"]["payloadData"].as_str().unwrap_or_default();
                if text.contains("\"heartbeat\"") {
                    let session = event["sessionId"].as_str().unwrap_or_default();
                    self.heartbeats.push((session.to_owned(), text.to_owned()));
                }
                return;
            }
            _ => return,
        };
        self.complaints.push(complaint.to_string());
    }

    /// The value of a JavaScript expression.
    pub(crate) async fn value(&mut self, page: &Page, expression: &str) -> Value {
        let parameters =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut result = self.on(page, "Runtime.evaluate", parameters).await;
        let thrown = &result["exceptionDetails"];
        assert!(thrown.is_null(), "{expression}: {thrown}");
        result["result"]["value"].take()
    }

    /// The heartbeats that the page has sent since the last time.
    pub(crate) fn take_heartbeats(&mut self, page: &Page) -> Vec<String> {
        let its = self.heartbeats.extract_if(.., |(session, _)| *session == page.session);
        its.map(|(_, text)| text).collect()
    }

    /// Waits until a JavaScript expression holds.
    pub(crate) async fn until(&mut self, page: &Page, what: &str, expression: &str) {
        self.until_within(page, Duration::ZERO, what, expression).await;
    }

    /// The same, where it takes `time` even on a quick machine.
    pub(crate) async fn until_within(
        &mut self,
        page: &Page,
        time: Duration,
        what: &str,
        expression: &str,
    ) {
        if !self.comes_to_hold(page, expression, time + PATIENCE).await {
            let text = self.value(page, "document.body.innerText").await;
            let complaints = &self.complaints;
            panic!("waited in vain: {what} ({expression})\n{text:#}\n{complaints:#?}");
        }
    }

    /// Whether a JavaScript expression holds within `time`.
    pub(crate) async fn comes_to_hold(
        &mut self,
        page: &Page,
        expression: &str,
        time: Duration,
    ) -> bool {
        let deadline = self.world.clock.mono_now() + time;
        while self.value(page, &format!("Boolean({expression})")).await != true {
            if self.world.clock.mono_now() >= deadline {
                return false;
            }
            sleep(&*self.world.clock, Duration::from_millis(20)).await;
        }
        true
    }

    /// Presses the mouse in the middle of the element, as a person would: what covers it, gets it.
    pub(crate) async fn click(&mut self, page: &Page, selector: &str) {
        let visible = format!(
            "document.querySelector({selector:?})?.checkVisibility({{ visibilityProperty: true }})"
        );
        self.until(page, selector, &visible).await;
        let middle = format!(
            "(() => {{ const box = document.querySelector({selector:?}).getBoundingClientRect(); \
             return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        );
        let at = self.value(page, &middle).await;
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({
                "type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1
            });
            self.on(page, "Input.dispatchMouseEvent", event).await;
        }
    }

    /// Types text where the focus is.
    pub(crate) async fn write(&mut self, page: &Page, text: &str) {
        self.on(page, "Input.insertText", json!({ "text": text })).await;
    }

    pub(crate) async fn press(&mut self, page: &Page, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            _ => panic!("what is the code of {key}?"),
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let event = json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text
            });
            self.on(page, "Input.dispatchKeyEvent", event).await;
        }
    }

    /// Shows the page as to people who prefer `scheme` (`light` or `dark`) and no motion.
    pub(crate) async fn prefer(&mut self, page: &Page, scheme: &str) {
        let media = json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        self.on(page, "Emulation.setEmulatedMedia", media).await;
        self.until(page, "still colours", "document.getAnimations().length == 0").await;
    }

    /// Fails when somebody could not read the page as it stands, in light and in dark.
    pub(crate) async fn audit(&mut self, page: &Page, what: &str) {
        for scheme in ["light", "dark"] {
            self.prefer(page, scheme).await;
            let problems = self.value(page, include_str!("page/audit.js")).await;
            assert_eq!(problems, json!([]), "{what}, in {scheme}");
        }
    }

    /// The page as a PNG, as people see it who prefer `scheme`.
    pub(crate) async fn screenshot(&mut self, page: &Page, scheme: &str) -> Vec<u8> {
        self.prefer(page, scheme).await;
        let shot = self.on(page, "Page.captureScreenshot", json!({ "format": "png" })).await;
        let data = shot["data"].as_str().expect("an image");
        base64::engine::general_purpose::STANDARD.decode(data).expect("base64")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its own processes end with it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits until Chromium has written where it listens.
async fn listening(world: &World, profile: &Path, log: &Path) -> (String, String) {
    let deadline = world.clock.mono_now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(profile.join("DevToolsActivePort")).unwrap_or_default();
        if let Some((port, path)) = text.split_once('\n')
            && !path.is_empty()
        {
            return (format!("127.0.0.1:{port}"), path.trim().to_owned());
        }
        let said = || std::fs::read_to_string(log).unwrap_or_default();
        assert!(world.clock.mono_now() < deadline, "Chromium did not start:\n{}", said());
        sleep(&*world.clock, Duration::from_millis(20)).await;
    }
}
