//! Nothing crosses from one workspace to another, on the server as it ships: by WebSocket, by long
//! polling, and for operators.
//!
//! Workspace `there` has users, channels, messages, presence and read positions. A user of `here`,
//! who has a namesake there, says all that a client can say, naming what exists only there, and then
//! the same with names that exist nowhere. What they hear is the same, but for the names, and who is
//! there hears nothing of it. That the probes are well aimed is shown by the namesake, who says them,
//! too, and is answered otherwise. `core/engine/tests/isolation` asks the same of the machines alone.

use base64::Engine as _;
use serde_json::{Value, json};
use seriatim_engine::frame::ClientFrame;
use seriatim_engine::ids::UserId;
use seriatim_engine::membership::direct_channel;
use seriatim_world::World;

use crate::admin::ask;
use crate::plain_http::Plain;
use crate::polled::Polled;
use crate::process::Server;
use crate::strict_client::{Heard, Strict};
use crate::user::world;

/// In each of both workspaces: where its users settle what is on its way.
const OURS: &str = "ours";

/// What the nonces of changes begin with.
const CHANGE: &str = "change-";

/// How a client is connected.
#[derive(Debug, Clone, Copy)]
enum Carriage {
    WebSocket,
    Polling,
}

enum Line {
    Strict(Box<Strict>),
    Polled(Polled),
}

/// Somebody with a session.
struct Member {
    line: Line,
    session: String,
    last_id: u64,
}

impl Member {
    /// Gives also the `welcome`.
    async fn enter(
        world: &World,
        (address, carriage): (&str, Carriage),
        token: &str,
        resume: Value,
    ) -> (Self, Value) {
        let hello = parsed(&json!({ "type": "hello", "token": token, "resume": resume }));
        let line = match carriage {
            Carriage::WebSocket => {
                let mut strict = Strict::connect(world, address).await;
                strict.say(&hello).await;
                Line::Strict(Box::new(strict))
            }
            Carriage::Polling => Line::Polled(Polled::open(world, address, &hello).await),
        };
        let mut member = Self { line, session: String::new(), last_id: 0 };
        let welcome = member.hear().await;
        member.session = welcome["session"].as_str().expect("a welcome").to_owned();
        (member, welcome)
    }

    async fn hear(&mut self) -> Value {
        match &mut self.line {
            Line::Strict(strict) => match strict.hear().await {
                Heard::Frame(frame) => serde_json::to_value(frame).expect("a frame is JSON"),
                end @ (Heard::Close(_) | Heard::End) => panic!("the session has ended: {end:?}"),
            },
            Line::Polled(polled) => polled.hear().await,
        }
    }

    /// Says it, with an id of its own, and a nonce of its own if it changes who is in a channel; gives
    /// the id.
    async fn say(&mut self, frame: &Value) -> u64 {
        self.last_id += 1;
        let mut frame = frame.clone();
        frame["id"] = self.last_id.into();
        if ["join", "leave", "add_member", "remove_member", "create_channel"]
            .contains(&frame["type"].as_str().unwrap_or_default())
        {
            frame["nonce"] = format!("{CHANGE}{}-{}", self.session, self.last_id).into();
        }
        let frame = parsed(&frame);
        match &mut self.line {
            Line::Strict(strict) => strict.say(&frame).await,
            Line::Polled(polled) => polled.say(&frame).await,
        }
        self.last_id
    }

    /// Hears on until something of `heard` is so.
    async fn hear_until(&mut self, heard: &mut Vec<Value>, is_it: impl Fn(&Value) -> bool) {
        while !heard.iter().any(&is_it) {
            heard.push(self.hear().await);
        }
    }

    /// Says it and gives what is heard until all is there that it leads to.
    async fn probe(&mut self, frame: &Value) -> Vec<Value> {
        let mut heard = Vec::new();
        let id = self.say(frame).await;
        if !is_silent(frame) {
            self.hear_until(&mut heard, |one| one["reply_to"] == id).await;
        }
        let reply = heard.last().cloned().unwrap_or_default();
        if reply["type"] == "accepted" && reply["duplicate"] == false {
            let is_entry = |one: &Value| {
                one["at_ms"].is_u64()
                    && one["reply_to"].is_null()
                    && (&one["channel"], &one["seq"]) == (&reply["channel"], &reply["seq"])
            };
            self.hear_until(&mut heard, is_entry).await;
            if frame["type"] == "leave" {
                self.hear_until(&mut heard, |one| one["type"] == "left").await;
            }
        }
        if frame["type"] == "presence_subscribe" {
            let last = &frame["users"][1];
            let is_told = |one: &Value| one["type"] == "presence" && one["user"] == *last;
            self.hear_until(&mut heard, is_told).await;
        }
        heard.extend(self.settle().await);
        heard
    }

    /// What else is heard before a message of one's own that is sent behind it.
    async fn settle(&mut self) -> Vec<Value> {
        let mut heard = Vec::new();
        let nonce = format!("settle-{}-{}", self.session, self.last_id);
        let send = json!({ "type": "send", "channel": OURS, "nonce": nonce, "body": "settled?" });
        let id = self.say(&send).await;
        self.hear_until(&mut heard, |one| one["reply_to"] == id).await;
        self.hear_until(&mut heard, |one| one["nonce"] == *nonce).await;
        heard
            .retain(|one| one["reply_to"] != id && one["nonce"] != *nonce && one["type"] != "pong");
        heard
    }

    /// The same, and what is heard of read positions that were said before.
    async fn settle_reads(&mut self) -> Vec<Value> {
        let mut heard = self.settle().await;
        self.say(&json!({ "type": "read", "channel": OURS, "seq": 1_000 })).await;
        let is_told = |one: &Value| one["type"] == "read" && one["channel"] == OURS;
        self.hear_until(&mut heard, is_told).await;
        heard.retain(|one| !is_told(one));
        heard
    }
}

fn parsed(frame: &Value) -> ClientFrame {
    ClientFrame::parse(frame.to_string().as_bytes()).expect("a documented frame")
}

/// No frame answers it as a request.
fn is_silent(frame: &Value) -> bool {
    ["typing", "read", "heartbeat", "presence_subscribe"].iter().any(|kind| frame["type"] == *kind)
}

/// A channel and another user of it. Those that exist, exist `there`.
#[derive(Clone)]
struct Named {
    kind: &'static str,
    channel: String,
    user: &'static str,
}

impl Named {
    fn new(kind: &'static str, channel: &str, user: &'static str) -> Self {
        let members = ["ada", user].map(|name| UserId::new(name).unwrap());
        let channel = match kind {
            "direct" => direct_channel(&members).to_string(),
            _ => channel.to_owned(),
        };
        Self { kind, channel, user }
    }

    /// Makes the channel.
    fn make(&self) -> Value {
        let Self { kind, channel, user } = self;
        match *kind {
            "public" => json!({ "type": "join", "channel": channel }),
            "direct" => json!({ "type": "create_channel", "kind": kind, "members": [user] }),
            _ => json!({
                "type": "create_channel", "kind": kind, "channel": channel, "members": [user]
            }),
        }
    }

    fn read(&self) -> Vec<Value> {
        let bounds = [("after", 0_u64), ("before", 1 << 50), ("since_ms", 0)];
        let page = |(bound, at): (&str, u64)| json!({ "type": "history", "channel": self.channel, bound: at });
        bounds.map(page).into()
    }

    /// What is said while the channel isn't there, or the user isn't in it.
    fn outside_probes(&self) -> Vec<Value> {
        let Self { channel, user, .. } = self;
        let mut probes = self.read();
        probes.extend([
            json!({ "type": "typing", "channel": channel }),
            json!({ "type": "read", "channel": channel, "seq": 2 }),
            json!({ "type": "send", "channel": channel, "nonce": "n0", "body": "from outside" }),
            json!({ "type": "add_member", "channel": channel, "user": user }),
            json!({ "type": "remove_member", "channel": channel, "user": user }),
            json!({ "type": "list_channels" }),
            json!({ "type": "leave", "channel": channel }),
        ]);
        probes
    }

    /// What is said once one has a channel of that name oneself.
    fn namesake_probes(&self) -> Vec<Value> {
        let Self { channel, user, .. } = self;
        let mut probes = vec![self.make()];
        probes.extend(self.read());
        probes.extend([
            json!({ "type": "send", "channel": channel, "nonce": "n1", "body": "in our own" }),
            json!({ "type": "typing", "channel": channel }),
            json!({ "type": "read", "channel": channel, "seq": 2 }),
            json!({ "type": "presence_subscribe", "users": [user, "bob"] }),
            json!({ "type": "heartbeat", "state": "active", "background": true }),
            json!({ "type": "leave", "channel": channel }),
        ]);
        probes
    }
}

fn present() -> [Named; 3] {
    [("private", "secret"), ("public", "square"), ("direct", "")]
        .map(|(kind, channel)| Named::new(kind, channel, "eve"))
}

fn absent() -> [Named; 3] {
    [("private", "absent"), ("public", "nopark"), ("direct", "")]
        .map(|(kind, channel)| Named::new(kind, channel, "nix"))
}

/// What was heard, without what differs each time, and as if the names had been those of `present`.
fn plain(heard: Vec<Value>) -> Vec<String> {
    let each = heard.into_iter().map(|mut frame| {
        for field in ["reply_to", "session"] {
            frame.as_object_mut().expect("a frame is an object").remove(field);
        }
        strip(&mut frame);
        frame["messages"].as_array_mut().into_iter().flatten().for_each(strip);
        if frame["messages"].is_null() {
            frame.as_object_mut().expect("a frame is an object").remove("messages");
        }
        renamed(frame.to_string())
    });
    let mut each: Vec<String> = each.collect();
    each.sort_unstable();
    each
}

/// Takes from an entry what differs from day to day.
fn strip(entry: &mut Value) {
    let is_of_change = entry["nonce"].as_str().is_some_and(|nonce| nonce.starts_with(CHANGE));
    let fields = entry.as_object_mut().expect("an entry is an object");
    fields.remove("at_ms");
    if is_of_change {
        fields.remove("nonce");
    }
}

fn renamed(mut text: String) -> String {
    for (present, absent) in present().into_iter().zip(absent()) {
        text = text.replace(&absent.channel, &present.channel);
        text = text.replace(&format!("\"{}\"", absent.user), &format!("\"{}\"", present.user));
        text = text.replace(&format!("{} is", absent.user), &format!("{} is", present.user));
    }
    text
}

fn beat(state: &str) -> Value {
    json!({ "type": "heartbeat", "state": state })
}

/// Both workspaces, with a server of their own.
struct Both {
    world: World,
    server: Server,
    secret: String,
    /// Of `here`. Bob only is there.
    prober: Member,
    bob: Member,
    /// Of `there`: the prober's namesake, and who shares all channels with her.
    ada: Member,
    eve: Member,
}

async fn token(
    world: &World,
    address: &str,
    secret: &str,
    (workspace, user): (&str, &str),
) -> String {
    let body = json!({ "workspace": workspace, "user": user, "hours": 1 }).to_string();
    let authorization = format!("Authorization: Bearer {secret}\r\n");
    let mut plain = Plain::connect(world, address).await;
    let answer = plain.post("/v1/admin/tokens", &authorization, &body).await;
    let answer: Value = serde_json::from_str(&answer.body).expect("a token as JSON");
    answer["token"].as_str().expect("a token").to_owned()
}

impl Both {
    async fn furnish(directory: &std::path::Path, carriage: Carriage) -> Self {
        let (world, data) = (world(directory), directory.join("data"));
        let server = Server::serve(&data);
        let secret = std::fs::read_to_string(data.join("admin.key")).unwrap().trim().to_owned();
        let mut members = Vec::new();
        for (workspace, user, carriage) in [
            ("here", "ada", carriage),
            ("here", "bob", Carriage::WebSocket),
            ("there", "ada", Carriage::WebSocket),
            ("there", "eve", Carriage::WebSocket),
        ] {
            let token = token(&world, &server.address, &secret, (workspace, user)).await;
            let at = (&*server.address, carriage);
            let (mut member, welcome) = Member::enter(&world, at, &token, json!([])).await;
            assert_eq!(
                (&welcome["workspace"], &welcome["user"]),
                (&workspace.into(), &user.into())
            );
            member.probe(&json!({ "type": "join", "channel": OURS })).await;
            members.push(member);
        }
        let [prober, bob, ada, eve] = members.try_into().map_err(|_| ()).expect("four of them");
        let mut both = Self { world, server, secret, prober, bob, ada, eve };
        both.live().await;
        both
    }

    /// What there is in workspace `there`.
    async fn live(&mut self) {
        self.stay().await;
        for named in present() {
            // Made by eve, so that ada may not do all in it.
            let mut make = named.make();
            if let Some(members) = make["members"].as_array_mut() {
                *members = vec!["ada".into()];
            }
            self.eve.probe(&make).await;
            self.ada.probe(&json!({ "type": "join", "channel": named.channel })).await;
            for nonce in ["n0", "n1"] {
                let send = json!({
                    "type": "send", "channel": named.channel, "nonce": nonce, "body": "a secret"
                });
                let sent = self.ada.probe(&send).await;
                assert!(sent.iter().any(|one| one["type"] == "accepted"), "{sent:?}");
            }
        }
        self.eve.probe(&json!({ "type": "presence_subscribe", "users": ["nix", "ada"] })).await;
        for member in [&mut self.eve, &mut self.ada] {
            member.settle_reads().await;
        }
        self.eve.settle().await;
    }

    /// All are there still.
    async fn stay(&mut self) {
        for member in [&mut self.bob, &mut self.eve] {
            member.say(&beat("active")).await;
        }
        self.ada.say(&beat("away")).await;
    }

    /// The prober says what names something, then the same of nothing, and hears the same.
    async fn compare(&mut self, probes: Vec<Value>, of_nothing: Vec<Value>) -> Vec<Vec<String>> {
        let told = self.prober_says(&probes).await;
        let of_nothing = self.prober_says(&of_nothing).await;
        for (probe, (told, of_nothing)) in probes.iter().zip(told.iter().zip(&of_nothing)) {
            assert_eq!(told, of_nothing, "{probe}");
        }
        assert_eq!(told.last(), of_nothing.last(), "what came of it in the end");
        told
    }

    /// What the prober hears for each of the probes, and then.
    async fn prober_says(&mut self, probes: &[Value]) -> Vec<Vec<String>> {
        let mut heard = Vec::new();
        for probe in probes {
            self.stay().await;
            heard.push(plain(self.prober.probe(probe).await));
        }
        heard.push(plain(self.prober.settle_reads().await));
        heard
    }

    /// What an operator's request is answered, as if it had been made with names of `present`.
    async fn operator(&self, secret: &str, path: &str) -> (u16, String) {
        let authorization = format!("Authorization: Bearer {secret}\r\n");
        let path = format!("/v1/admin/{path}");
        let answer = ask(&self.world, &self.server.address, &path, &authorization).await;
        (answer.status, renamed(answer.body))
    }

    /// The column of an operator's table.
    async fn column(&self, path: &str, name: &str) -> Vec<String> {
        let (status, body) = self.operator(&self.secret, path).await;
        assert_eq!(status, 200, "{path}: {body}");
        let table: Value = serde_json::from_str(&body).unwrap();
        let rows = table["rows"].as_array().unwrap().iter();
        rows.map(|row| row[name].as_str().unwrap().to_owned()).collect()
    }
}

async fn resumes_tell_nothing(both: &Both, carriage: Carriage) {
    let (address, secret) = (&*both.server.address, &*both.secret);
    let token = token(&both.world, address, secret, ("here", "ada")).await;
    for bound in ["after", "since_ms"] {
        let mut heard = Vec::new();
        for names in [present(), absent()] {
            let resume = names.map(|named| json!({ "channel": named.channel, bound: 0 }));
            let at = (address, carriage);
            let (mut member, welcome) = Member::enter(&both.world, at, &token, json!(resume)).await;
            let channels = welcome["channels"].as_array().unwrap();
            let names: Vec<&str> =
                channels.iter().map(|one| one["channel"].as_str().unwrap()).collect();
            assert_eq!(names, [OURS], "{welcome}");
            heard.push(plain(member.settle().await));
        }
        assert_eq!(heard[0], heard[1], "resume by {bound}");
    }
}

/// A token says which workspace: it can't be made to say another.
async fn tokens_are_of_one_workspace(both: &Both, carriage: Carriage) {
    let address = &*both.server.address;
    let own = token(&both.world, address, &both.secret, ("here", "ada")).await;
    let parts: Vec<&str> = own.split('.').collect();
    let code = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let claims = String::from_utf8(code.decode(parts[1]).unwrap()).unwrap();
    assert!(claims.contains("\"here\""), "{claims}");
    let forged = code.encode(claims.replace("\"here\"", "\"there\""));
    let forged = format!("{}.{forged}.{}", parts[0], parts[2]);
    let at = (address, carriage);
    let hello = parsed(&json!({ "type": "hello", "token": forged }));
    let answer = match carriage {
        Carriage::WebSocket => {
            let mut strict = Strict::connect(&both.world, at.0).await;
            strict.say(&hello).await;
            format!("{:?}", strict.hear().await)
        }
        Carriage::Polling => {
            let body = json!({ "ack": 0, "frames": [hello], "wait_ms": 25_000 }).to_string();
            Plain::connect(&both.world, at.0).await.post("/v1/poll", "", &body).await.body
        }
    };
    assert!(answer.to_lowercase().contains("unauthorized"), "{answer}");
    for path in ["workspaces/there/channels/secret", "workspaces/there/channels/secret/entries/1"] {
        let (status, body) = both.operator(&own, path).await;
        assert_eq!(status, 403, "{path}: {body}");
        assert!(!body.contains("secret/"), "{body}");
    }
}

/// Operators see all workspaces, each by its name, and in one nothing of another.
async fn operators_see_workspaces_apart(both: &Both) {
    for (named, nothing) in present().into_iter().zip(absent()) {
        for rest in ["", "/entries/1", "/entries/2"] {
            let path = |channel: &str| format!("workspaces/here/channels/{channel}{rest}");
            let told = both.operator(&both.secret, &path(&named.channel)).await;
            let of_nothing = both.operator(&both.secret, &path(&nothing.channel)).await;
            assert_eq!(told, of_nothing, "{}", path(&named.channel));
            let there = path(&named.channel).replace("/here/", "/there/");
            let there = both.operator(&both.secret, &there).await;
            assert_eq!(there.0, 200, "{there:?}");
            assert_ne!(there.1, told.1, "the question is badly aimed");
        }
    }
    for (path, name, expected) in [
        ("workspaces/here/channels", "channel", &[OURS][..]),
        ("workspaces/here/users", "user", &["ada", "bob"]),
        ("sessions?workspace=here", "user", &["ada", "bob"]),
    ] {
        let mut rows = both.column(path, name).await;
        rows.sort_unstable();
        rows.dedup();
        assert_eq!(rows, expected, "{path}");
    }
    let workspaces = both.column("sessions?workspace=here", "workspace").await;
    assert!(workspaces.iter().all(|one| one == "here"), "{workspaces:?}");
}

async fn nothing_crosses(carriage: Carriage) {
    let directory = tempfile::tempdir().unwrap();
    let mut both = Both::furnish(directory.path(), carriage).await;
    operators_see_workspaces_apart(&both).await;
    tokens_are_of_one_workspace(&both, carriage).await;
    resumes_tell_nothing(&both, carriage).await;
    both.prober.settle().await;

    let mut outside = Vec::new();
    for (named, nothing) in present().into_iter().zip(absent()) {
        let told = both.compare(named.outside_probes(), nothing.outside_probes()).await;
        outside.push((named.outside_probes(), told));
        both.compare(named.namesake_probes(), nothing.namesake_probes()).await;
    }
    assert_eq!(both.eve.settle_reads().await, Vec::<Value>::new(), "eve is none of their business");
    let mut of_ada = both.ada.settle_reads().await;
    of_ada.retain(|one| one["sender"] != "eve");
    assert_eq!(of_ada, Vec::<Value>::new(), "the namesake is none of their business");

    the_probes_are_well_aimed(&mut both, outside).await;
    both.server.assert_sound();
}

/// The namesake says the same and is answered otherwise, or others notice.
async fn the_probes_are_well_aimed(both: &mut Both, outside: Vec<(Vec<Value>, Vec<Vec<String>>)>) {
    let mut about_ada = Vec::new();
    for (probes, told) in outside {
        for (probe, told) in probes.iter().zip(told) {
            let heard = plain(both.ada.probe(probe).await);
            assert!(is_silent(probe) || heard != told, "{probe}: {heard:?}");
        }
        about_ada.extend(both.ada.settle_reads().await);
    }
    both.stay().await;
    let watch = json!({ "type": "presence_subscribe", "users": ["nix", "eve"] });
    both.ada.probe(&watch).await;
    both.ada.say(&beat("active")).await;
    let mut of_ada = Vec::new();
    both.eve
        .hear_until(&mut of_ada, |one| one["type"] == "presence" && one["state"] == "active")
        .await;
    assert!(of_ada.iter().any(|one| one["type"] == "typing"), "{of_ada:?}");
    assert!(about_ada.iter().any(|one| one["type"] == "read"), "{about_ada:?}");
}

#[tokio::test]
async fn nothing_crosses_between_workspaces_by_websocket() {
    nothing_crosses(Carriage::WebSocket).await;
}

#[tokio::test]
async fn nothing_crosses_between_workspaces_by_polling() {
    nothing_crosses(Carriage::Polling).await;
}
