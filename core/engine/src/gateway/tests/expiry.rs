//! What a gateway makes of tokens that expire, and of keys that change.

use super::*;
use crate::limits::HEARTBEAT;
use crate::token::TokenKeys;

/// When [`hello`]'s token expires.
const EXPIRES_MS: u64 = 1_000_000;

impl Gateway {
    fn feed_by_wall(&mut self, now_ms: u64, wall_ms: u64, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        let now = MonoTime(Duration::from_millis(now_ms));
        self.handle(now, WallTime(wall_ms), input, &mut effects);
        effects
    }

    /// Says hello, `left_ms` before the token expires, and is let in.
    fn enter_late(&mut self, left_ms: u64) {
        let wall_ms = EXPIRES_MS - left_ms;
        self.feed_by_wall(0, wall_ms, Input::Connected { connection: ADA });
        let text = hello("ada", None);
        let asked = self.feed_by_wall(0, wall_ms, Input::Text { connection: ADA, text });
        let ticket = open_ticket(&asked).expect("hello asks the owner");
        let frame = FromOwner::Opened { ticket, channels: Vec::new(), ended: Vec::new() };
        self.feed_by_wall(0, wall_ms, Input::Link { shard: SHARD, frame });
    }

    /// Lets time pass up to `upto_ms`, with a ping at each heartbeat; gives when the session was
    /// told goodbye, and how.
    fn live_upto(&mut self, upto_ms: u64, left_ms: u64) -> Option<(u64, GoodbyeCode)> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap();
        let mut ping_at = ms(HEARTBEAT);
        loop {
            let tick_at = self.next_deadline().map_or(u64::MAX, |at| ms(at.0));
            let now = tick_at.min(ping_at);
            if now > upto_ms {
                return None;
            }
            let input = if now == tick_at {
                Input::Tick
            } else {
                ping_at += ms(HEARTBEAT);
                Input::Text { connection: ADA, text: r#"{"type":"ping"}"#.to_owned() }
            };
            let effects = self.feed_by_wall(now, EXPIRES_MS - left_ms + now, input);
            if let Some(code) = goodbye_code(&effects) {
                assert!(effects.contains(&Effect::Close { connection: ADA }));
                return Some((now, code));
            }
        }
    }
}

#[test]
fn a_session_ends_when_its_token_does() {
    for left_ms in [1, 3_000, 10_000, 10_001, 44_999, 123_456] {
        let mut gateway = new();
        gateway.enter_late(left_ms);
        let end = gateway.live_upto(left_ms + 60_000, left_ms);
        assert_eq!(end, Some((left_ms, GoodbyeCode::TokenExpired)));
        assert_eq!(gateway.session_count(), 0);
    }
}

#[test]
fn a_session_lives_until_its_token_expires() {
    let mut gateway = new();
    gateway.enter_late(300_000);
    assert_eq!(gateway.live_upto(299_999, 300_000), None);
}

#[test]
fn a_wall_clock_that_is_set_forward_ends_sessions_within_a_look() {
    let mut gateway = new();
    gateway.enter_late(900_000);
    // An hour later by the wall clock.
    let end = gateway.live_upto(60_000, 0);
    assert_eq!(end, Some((10_000, GoodbyeCode::TokenExpired)));
}

#[test]
fn hello_with_a_token_of_another_key_is_refused_until_the_keys_have_it() {
    let (old, new_) = ("x".repeat(32), "y".repeat(32));
    let keys = |text: &str| TokenKeys::parse(text).unwrap();
    let both = keys(&format!("1 {old}\n2 {new_}"));
    let UserKey { workspace, user } = user("ada");
    let claims = Claims { workspace, user, expires_at: WallTime(EXPIRES_MS) };
    let hello = format!(r#"{{"type":"hello","token":"{}"}}"#, both.sign(&claims));
    let mut gateway = new();
    let say_hello = |gateway: &mut Gateway| {
        gateway.feed(Input::Connected { connection: ADA });
        let effects = gateway.say(&hello);
        let asked = open_ticket(&effects).is_some();
        gateway.feed(Input::Disconnected { connection: ADA });
        (goodbye_code(&effects), asked)
    };

    gateway.feed(Input::TokenKeys(keys(&format!("1 {old}"))));
    assert_eq!(say_hello(&mut gateway), (Some(GoodbyeCode::Unauthorized), false));
    gateway.feed(Input::TokenKeys(both));
    assert_eq!(say_hello(&mut gateway), (None, true));
    gateway.feed(Input::TokenKeys(keys(&format!("3 {new_}"))));
    assert_eq!(say_hello(&mut gateway), (Some(GoodbyeCode::Unauthorized), false));
}
