//! What a client may put into a text message: good frames, damaged ones and nonsense.

use seriatim_engine::ids::{UserId, WorkspaceId};
use seriatim_engine::time::WallTime;
use seriatim_engine::token::{Claims, TokenKey};

use crate::random::Random;

pub(crate) const CHANNELS: [&str; 5] = ["general", "random", "c.3", "d-4", "e_5"];
pub(crate) const WORKSPACES: [&str; 2] = ["acme", "w2"];
pub(crate) const USERS: [&str; 3] = ["ada", "bob", "eve"];

/// From here on the good tokens are expired, and no round comes to it.
const EXPIRES_AT: WallTime = WallTime(4_000_000_000_000);

pub(crate) fn token_key() -> TokenKey {
    TokenKey::new(&[7; 32]).unwrap()
}

/// Signed once: signing costs more than everything else that makes a frame.
pub(crate) struct Tokens {
    good: Vec<String>,
    bad: Vec<String>,
}

impl Tokens {
    pub(crate) fn new() -> Self {
        let sign = |key: &TokenKey, workspace: &str, user: &str, expires_at| {
            key.sign(&Claims {
                workspace: WorkspaceId::new(workspace).unwrap(),
                user: UserId::new(user).unwrap(),
                expires_at,
            })
        };
        let (key, other) = (token_key(), TokenKey::new(&[8; 32]).unwrap());
        let mut good = Vec::new();
        for workspace in WORKSPACES {
            good.extend(USERS.map(|user| sign(&key, workspace, user, EXPIRES_AT)));
        }
        let mut bad = vec![
            sign(&key, "acme", "ada", WallTime(1_000)),
            sign(&other, "acme", "ada", EXPIRES_AT),
            String::new(),
            "..".to_owned(),
            "a.b.c".to_owned(),
            "é".repeat(3_000),
        ];
        bad.push(good[0].replace('.', ""));
        bad.push(format!("{}x", good[0]));
        Self { good, bad }
    }
}

const NUMBERS: [&str; 14] = [
    "0",
    "1",
    "2",
    "7",
    "100",
    "4294967295",
    "4294967296",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-1",
    "1e999",
    "1.5",
    "-0",
];

/// Values that are not what the frame wants, or are at its edge.
const STRANGE: [&str; 16] = [
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "\"a b\"",
    r#""\u0000""#,
    r#""\ud800""#,
    r#""\ud83d\ude00""#,
    "\"é\u{301}\u{202e}\"",
    r#""\x""#,
    "\"\u{7f}\"",
    "[[1],{\"a\":null}]",
    "00",
    "1e",
    "\"unclosed",
];

const TYPES: [&str; 16] = [
    "hello",
    "send",
    "join",
    "leave",
    "create_channel",
    "add_member",
    "history",
    "list_channels",
    "ping",
    "pong",
    "message",
    "heartbeat",
    "presence_subscribe",
    "typing",
    "read",
    "",
];

fn value(random: &mut Random) -> String {
    match random.below(8) {
        0..3 => NUMBERS[random.below(NUMBERS.len())].to_owned(),
        3..6 => STRANGE[random.below(STRANGE.len())].to_owned(),
        6 => {
            // serde_json stops at 128 levels.
            let depth = [3, 127, 128, 129, 5_000][random.below(5)];
            let (open, close) = if random.one_in(2) { ("[", "]") } else { ("{\"a\":", "}") };
            format!("{}1{}", open.repeat(depth), close.repeat(depth))
        }
        _ => {
            let part =
                random.pick(&["x", "\u{7f}", "é", "\u{301}", "\\u0001", "\\\"", "\u{e0001}"]);
            let count = if random.one_in(60) { 9_000 } else { random.below(100) };
            format!("\"{}\"", part.repeat(count))
        }
    }
}

fn channel(random: &mut Random) -> &'static str {
    if random.one_in(20) { "unknown" } else { CHANNELS[random.below(CHANNELS.len())] }
}

fn position(random: &mut Random) -> String {
    if random.one_in(6) {
        NUMBERS[random.below(9)].to_owned()
    } else {
        random.below(30).to_string()
    }
}

pub(crate) fn hello(random: &mut Random, tokens: &Tokens) -> String {
    let token = if random.one_in(25) { &tokens.bad } else { &tokens.good };
    let token = &token[random.below(token.len())];
    let resumed = match random.below(40) {
        0 => 1_001,
        1 => 20,
        _ => random.below(4),
    };
    let resume: Vec<String> = (0..resumed)
        .map(|_| {
            let after = if random.one_in(20) { 1_000 } else { random.below(2) };
            let point = if random.one_in(4) { "since_ms" } else { "after" };
            format!(r#"{{"channel":"{}","{point}":{after}}}"#, channel(random))
        })
        .collect();
    format!(r#"{{"type":"hello","token":"{token}","resume":[{}],"client":"f"}}"#, resume.join(","))
}

/// A frame as the protocol wants it.
fn good(random: &mut Random, tokens: &Tokens) -> String {
    let id = position(random);
    let channel = channel(random);
    match random.below(26) {
        0 if random.one_in(12) => hello(random, tokens),
        0..8 => {
            let body = match random.below(40) {
                0 => "b".repeat(16 * 1024 + random.below(2)),
                1 => String::new(),
                2 => r"\u0000\n\ud83d\ude00".to_owned(),
                _ => "héllo".to_owned(),
            };
            let nonce = random.below(50);
            format!(
                r#"{{"type":"send","id":{id},"channel":"{channel}","nonce":"n{nonce}","body":"{body}"}}"#
            )
        }
        8 | 9 => {
            let nonce = random.below(50);
            format!(r#"{{"type":"join","id":{id},"channel":"{channel}","nonce":"n{nonce}"}}"#)
        }
        10 => change(random, &id, channel),
        11..16 => {
            let limit =
                if random.one_in(2) { "null".to_owned() } else { random.below(200).to_string() };
            let after = position(random);
            let bound = random.pick(&["after", "before", "since_ms", "until"]);
            format!(
                r#"{{"type":"history","id":{id},"channel":"{channel}","{bound}":{after},"limit":{limit}}}"#
            )
        }
        19 => {
            let limit = random.pick(&NUMBERS);
            format!(r#"{{"type":"list_channels","id":{id},"after":"{channel}","limit":{limit}}}"#)
        }
        20 | 21 => {
            let state = random.pick(&["active", "away", "offline"]);
            let background = random.one_in(2);
            format!(r#"{{"type":"heartbeat","state":"{state}","background":{background}}}"#)
        }
        22 | 23 => {
            let count = if random.one_in(20) { 499 + random.below(4) } else { random.below(4) };
            let users: Vec<String> =
                (0..count).map(|_| format!("\"{}\"", USERS[random.below(USERS.len())])).collect();
            let users = users.join(",");
            format!(r#"{{"type":"presence_subscribe","id":{id},"users":[{users}]}}"#)
        }
        24 => format!(r#"{{"type":"typing","channel":"{channel}"}}"#),
        25 => {
            let seq = random.pick(&NUMBERS);
            format!(r#"{{"type":"read","channel":"{channel}","seq":{seq}}}"#)
        }
        _ => r#"{"type":"ping"}"#.to_owned(),
    }
}

/// A request that changes who is in the channel.
fn change(random: &mut Random, id: &str, channel: &str) -> String {
    let user = USERS[random.below(USERS.len())];
    let nonce = format!(r#""id":{id},"nonce":"n{}""#, random.below(50));
    let request = format!(r#"{nonce},"channel":"{channel}""#);
    match random.below(4) {
        0 => format!(r#"{{"type":"leave",{request}}}"#),
        1 => format!(r#"{{"type":"add_member",{request},"user":"{user}"}}"#),
        2 => format!(r#"{{"type":"remove_member",{request},"user":"{user}"}}"#),
        _ => {
            let kind = random.pick(&["public", "private", "direct"]);
            let named = if random.one_in(2) { request } else { nonce };
            format!(r#"{{"type":"create_channel",{named},"kind":"{kind}","members":["{user}"]}}"#)
        }
    }
}

fn replace_value(random: &mut Random, text: &str) -> String {
    // After one of the colons, up to the next comma or brace.
    let colons: Vec<usize> = text.match_indices(':').map(|(at, _)| at + 1).collect();
    if colons.is_empty() {
        return value(random);
    }
    let from = colons[random.below(colons.len())];
    let end = text[from..].find([',', '}']).map_or(text.len(), |end| from + end);
    format!("{}{}{}", &text[..from], value(random), &text[end..])
}

/// The payload of a text message. Not always UTF-8.
pub(crate) fn payload(random: &mut Random, tokens: &Tokens, damage: usize) -> Vec<u8> {
    let text = good(random, tokens);
    if random.below(100) >= damage {
        return text.into_bytes();
    }
    match random.below(10) {
        0 | 1 => replace_value(random, &text).into_bytes(),
        2 => {
            // A key twice, or one that nobody knows.
            let key = random.pick(&["id", "type", "channel", "token", "after", "resume", "other"]);
            let added = format!("{{\"{key}\":{},", value(random));
            text.replacen('{', &added, 1).into_bytes()
        }
        3 => {
            let wrong = TYPES[random.below(TYPES.len())];
            format!(r#"{{"type":"{wrong}",{}"#, text.get(1..).unwrap_or_default()).into_bytes()
        }
        4 => {
            let mut bytes = text.into_bytes();
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            bytes
        }
        5 => {
            let mut bytes = text.into_bytes();
            bytes.truncate(random.below(bytes.len()));
            bytes
        }
        6 => {
            let mut bytes = text.into_bytes();
            let bad: [&[u8]; 5] =
                [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"];
            let at = random.below(bytes.len() + 1);
            bytes.splice(at..at, bad[random.below(bad.len())].iter().copied());
            bytes
        }
        7 => {
            let tokens =
                ["{", "}", "[", "]", ":", ",", "\"", "1", "null", "\"type\"", "\"ping\"", " "];
            (0..random.below(30)).flat_map(|_| random.pick(&tokens).bytes()).collect()
        }
        8 => value(random).into_bytes(),
        _ => format!("{text}{}", good(random, tokens)).into_bytes(),
    }
}
