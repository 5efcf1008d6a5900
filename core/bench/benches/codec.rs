//! The codec beside the least that the same bytes could take.
//!
//! `cargo bench -p seriatim-bench --bench codec`. Frames are compared with what serde_json takes for
//! a plain struct of strings and numbers with the same fields, which checks no names, knows its type
//! beforehand and shares nothing. WebSocket frames are compared with a copy of their payload, and
//! where they are masked with a copy that is unmasked eight bytes at a time; neither looks whether it
//! is UTF-8. Rounds of both alternate; figures are CPU time of this process, medians of all rounds.

use std::hint::black_box;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use seriatim_bench::cpu::own_ns;
use seriatim_bench::table::{median, print};
use seriatim_engine::frame::{ClientFrame, LogFrame, ServerFrame};
use seriatim_engine::ids::{ChannelId, Nonce, SeqNo, UserId};
use seriatim_engine::limits::CLIENT_FRAME_BYTES_MAX;
use seriatim_engine::time::WallTime;
use seriatim_engine::websocket::{Decoder, Opcode, Role, encode_frame, encode_text};

/// Of ours and of the reference each.
const ROUNDS: usize = 21;

/// One round takes about so long.
const ROUND_NS: u64 = 10_000_000;

/// What people write.
const BODY_BYTES: usize = 100;

const PAGE_ENTRIES: u64 = 50;

#[derive(Serialize, Deserialize)]
struct PlainSend {
    r#type: String,
    id: u64,
    channel: String,
    nonce: String,
    body: String,
}

#[derive(Serialize, Deserialize)]
struct PlainMessage {
    r#type: String,
    channel: String,
    seq: u64,
    sender: String,
    nonce: String,
    body: String,
    at_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct PlainAccepted {
    r#type: String,
    reply_to: u64,
    channel: String,
    seq: u64,
    at_ms: u64,
    duplicate: bool,
}

#[derive(Serialize, Deserialize)]
struct PlainPage {
    r#type: String,
    reply_to: u64,
    channel: String,
    messages: Vec<PlainMessage>,
    more: bool,
}

fn main() -> anyhow::Result<()> {
    print("| | bytes | ns | GB/s | reference, ns | ratio |");
    print("|---|---:|---:|---:|---:|---:|");
    let send = send();
    frames::<PlainSend, _>("`send`", || black_box(&send).to_json(), ClientFrame::parse)?;
    server_frames::<PlainMessage>("`message`", &ServerFrame::Log(message(43)))?;
    server_frames::<PlainAccepted>("`accepted`", &accepted())?;
    server_frames::<PlainPage>("`page` of 50", &page())?;
    for bytes in [200, 4_096, 16_384] {
        websocket(bytes);
    }
    let cores = std::thread::available_parallelism()?;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    print(&format!("\n{cores} cores, load average at the end {}", load.trim()));
    Ok(())
}

/// A frame, written by `write` and read by `parse`.
fn frames<Plain: Serialize + DeserializeOwned, Parsed>(
    name: &str,
    write: impl Fn() -> Vec<u8>,
    parse: impl Fn(&[u8]) -> Parsed,
) -> anyhow::Result<()> {
    let text = write();
    let plain: Plain = serde_json::from_slice(&text)?;
    compare(&format!("{name}, written"), text.len(), &write, || {
        serde_json::to_vec(black_box(&plain))
    });
    compare(
        &format!("{name}, read"),
        text.len(),
        || parse(black_box(&text)),
        || serde_json::from_slice::<Plain>(black_box(&text)),
    );
    Ok(())
}

fn server_frames<Plain: Serialize + DeserializeOwned>(
    name: &str,
    frame: &ServerFrame,
) -> anyhow::Result<()> {
    frames::<Plain, _>(name, || black_box(frame).to_json(), ServerFrame::parse)
}

fn websocket(bytes: usize) {
    let payload = "x".repeat(bytes).into_bytes();
    let write = || encode_text(black_box(&payload));
    compare(&format!("WebSocket frame of {bytes}, written"), bytes, write, || {
        black_box(&payload).clone()
    });
    let (mask, mut wire) = ([0x12, 0x34, 0x56, 0x78], Vec::new());
    encode_frame(Opcode::Text, &payload, Some(mask), &mut wire);
    let mut decoder = Decoder::new(Role::Server, CLIENT_FRAME_BYTES_MAX);
    let read = || decoder.decode(&mut black_box(&*wire));
    compare(&format!("WebSocket frame of {bytes}, read"), bytes, read, || {
        unmasked(black_box(&payload), mask)
    });
}

/// A copy of what was masked.
fn unmasked(masked: &[u8], [a, b, c, d]: [u8; 4]) -> Vec<u8> {
    let mask = [a, b, c, d, a, b, c, d];
    let key = u64::from_ne_bytes(mask);
    let mut payload = masked.to_vec();
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    payload
}

/// Prints a line: what one of ours takes, and what the reference takes.
fn compare<A, B>(
    name: &str,
    bytes: usize,
    mut ours: impl FnMut() -> A,
    mut other: impl FnMut() -> B,
) {
    let (mut own, mut reference, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (one, two) = (round(&mut ours), round(&mut other));
        own.push(one);
        reference.push(two);
        ratios.push(two / one);
    }
    let (own, reference, ratio) = (median(own), median(reference), median(ratios));
    let speed = figure(bytes) / own;
    print(&format!("| {name} | {bytes} | {own:.0} | {speed:.2} | {reference:.0} | {ratio:.2} |"));
}

/// Nanoseconds of CPU time that one call takes.
fn round<A>(call: &mut impl FnMut() -> A) -> f64 {
    let (began, mut calls) = (own_ns(), 0_usize);
    loop {
        for _ in 0..100 {
            black_box(call());
        }
        calls += 100;
        let took = own_ns() - began;
        if took >= ROUND_NS {
            return figure(usize::try_from(took).unwrap_or(usize::MAX)) / figure(calls);
        }
    }
}

fn figure(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

fn channel() -> ChannelId {
    ChannelId::new("general").expect("a sound name")
}

fn nonce() -> Nonce {
    Nonce::new("0f8fad5b-d9cb-469f-a165-70867728950e").expect("a sound nonce")
}

fn send() -> ClientFrame {
    let body = "x".repeat(BODY_BYTES).into();
    ClientFrame::Send { id: 7, channel: channel(), nonce: nonce(), body }
}

fn message(seq: u64) -> LogFrame {
    let sender = UserId::new("ada").expect("a sound name");
    let (body, at_ms) = ("x".repeat(BODY_BYTES).into(), WallTime(1_767_225_600_123));
    LogFrame::Message { channel: channel(), seq: SeqNo(seq), sender, nonce: nonce(), body, at_ms }
}

fn accepted() -> ServerFrame {
    let (seq, at_ms) = (SeqNo(43), WallTime(1_767_225_600_123));
    ServerFrame::Accepted { reply_to: 7, channel: channel(), seq, at_ms, duplicate: false }
}

fn page() -> ServerFrame {
    let messages = (1..=PAGE_ENTRIES).map(message).collect();
    let (channel, more, trimmed_upto) = (channel(), true, None);
    ServerFrame::Page { reply_to: 8, channel, messages, more, trimmed_upto }
}
