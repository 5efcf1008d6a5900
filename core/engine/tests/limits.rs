//! Every limit has a reason, a figure that shows when it is hit, and a test that hits it.
//!
//! A new constant in `limits.rs` has to be given a row here. What has no test or no figure says why.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use seriatim_engine::frame::{GoodbyeCode, RejectCode};
use seriatim_engine::levels::Limit;

use Figure::{Code, Hits, Level, No, With};

/// Where an operator sees that a limit is reached.
enum Figure {
    /// A count of its own.
    Hits,
    /// Hits are those of another limit, which it comes with.
    With(&'static str),
    /// What is told to the client is counted by its code.
    Code(&'static str),
    /// How full it is.
    Level(&'static str),
    /// Nowhere, because of this.
    No(&'static str),
}

/// A time that paces our own work: it is kept, not hit.
const PACE: Figure = No("it paces our own work");
/// The rest is left out, or comes in a further piece, as it should.
const CUT: Figure = No("what is longer is cut, and that is no fault");
/// Seen at the client or at the start of a program, which has no metrics.
const THEIRS: Figure = No("it is the program's own, which says so itself");

/// A limit, where it is counted, and the test that hits it: its file below the workspace, and its name.
/// Without a file: why there is none.
const ROWS: &[(&str, Figure, &str, &str)] = &[
    (
        "NAME_BYTES_MAX",
        Code("bad_frame"),
        GATEWAY,
        "names_and_nonces_of_the_greatest_length_are_taken_and_longer_ones_are_not",
    ),
    (
        "NONCE_BYTES_MAX",
        Code("bad_frame"),
        GATEWAY,
        "names_and_nonces_of_the_greatest_length_are_taken_and_longer_ones_are_not",
    ),
    ("BODY_BYTES_MAX", Code("bad_body"), OWNER, "a_refused_message_uses_up_no_number"),
    (
        "CLIENT_FRAME_BYTES_MAX",
        Hits,
        "core/node/tests/misbehaviour.rs",
        "broken_websocket_frames_close_the_connection_with_their_code",
    ),
    (
        "FRAME_ERROR_BYTES_MAX",
        CUT,
        "core/engine/src/frame/tests.rs",
        "a_bad_frame_is_not_sent_back_many_times_its_size",
    ),
    (
        "SERVER_FRAME_BYTES_MAX",
        THEIRS,
        "core/engine/src/websocket/decoder/tests.rs",
        "message_over_the_limit_is_refused_by_its_header_alone",
    ),
    (
        "HANDSHAKE_BYTES_MAX",
        Hits,
        "core/engine/src/handshake/tests.rs",
        "head_over_the_limit_is_refused",
    ),
    (
        "HEADERS_MAX",
        Hits,
        "core/engine/src/handshake/tests.rs",
        "more_headers_than_the_limit_are_refused",
    ),
    ("HANDSHAKE_TIMEOUT", Hits, SLOW_PEERS, "a_head_that_drips_is_given_ten_seconds"),
    (
        "HANDSHAKES_MAX",
        Hits,
        SLOW_PEERS,
        "handshakes_beyond_the_limit_wait_until_others_have_had_their_time",
    ),
    (
        "HTTP_CONNECTIONS_MAX",
        Hits,
        "core/node/tests/plain_http.rs",
        "plain_connections_beyond_the_limit_are_told_to_come_back",
    ),
    (
        "HTTP_BODY_BYTES_MAX",
        Hits,
        "core/node/tests/plain_http.rs",
        "bodies_are_waited_for_and_bounded",
    ),
    (
        "HTTP_IDLE_TIMEOUT",
        Hits,
        SLOW_PEERS,
        "an_idle_plain_connection_and_a_dripping_body_are_closed",
    ),
    (
        "POLL_SESSIONS_MAX",
        Hits,
        "",
        "a thousand polled sessions are too many for a test of their own; the catalog holds the level",
    ),
    (
        "POLL_WAIT_MAX",
        PACE,
        "sim/tests/world/polling.rs",
        "a_poll_waits_its_time_and_a_newer_one_takes_its_place",
    ),
    (
        "POLL_BATCH_BYTES_MAX",
        With("SESSION_QUEUE_BYTES_MAX"),
        "core/engine/src/polling.rs",
        "there_is_no_room_behind_a_full_batch",
    ),
    (
        "POLL_IDLE_TIMEOUT",
        Hits,
        "sim/tests/world/polling.rs",
        "a_polled_session_ends_when_nobody_polls",
    ),
    ("HTTP_ANSWER_TIMEOUT", Hits, "", "not yet: needs a peer that asks and does not read"),
    (
        "LOGGED_CLIENT_CHARS_MAX",
        CUT,
        "core/engine/src/gateway/tests/notes.rs",
        "the_log_tells_who_came_and_why_they_went_and_no_secret",
    ),
    ("SECRET_BYTES_MIN", THEIRS, "core/engine/src/token/mod.rs", "secret_is_long_and_stays_hidden"),
    (
        "TOKEN_BYTES_MAX",
        Code("unauthorized"),
        "core/engine/src/token/mod.rs",
        "token_over_the_limit_is_refused_unread",
    ),
    (
        "TOKEN_KEYS_MAX",
        THEIRS,
        "core/engine/src/token/keys.rs",
        "what_gives_no_keys_is_refused_with_its_line",
    ),
    (
        "ADMIN_ROWS_MAX",
        CUT,
        "core/engine/src/owner/tests/report.rs",
        "no_answer_goes_through_more_than_so_many_rows",
    ),
    (
        "ADMIN_LOOKS_MAX",
        CUT,
        "core/engine/src/owner/tests/report.rs",
        "no_answer_goes_through_more_than_so_many_rows",
    ),
    ("ADMIN_REQUESTS_MAX", Hits, "", "not yet: needs a machine that does not answer"),
    ("ADMIN_ANSWER_TIMEOUT", Hits, "", "not yet: needs a machine that does not answer"),
    ("ADMIN_TOKEN_HOURS_MAX", THEIRS, "", "not yet: the route refuses a longer time"),
    (
        "OPERATIONS_CONNECTIONS_MAX",
        Level("handshakes"),
        "",
        "not yet: its own port is tested, its fill is not",
    ),
    ("RESUME_CHANNELS_MAX", Hits, GATEWAY, "hello_resumes_so_many_channels_and_no_more"),
    (
        "CHANNELS_OF_USER_MAX",
        Hits,
        "core/engine/src/owner/tests/changes.rs",
        "too_many_members_and_too_many_channels_are_refused_and_counted",
    ),
    (
        "REFUSAL_KEPT",
        No("it runs out, as it should"),
        "core/engine/src/refusals.rs",
        "a_refusal_holds_for_its_time_and_is_then_forgotten",
    ),
    (
        "REFUSALS_MAX",
        Hits,
        "core/engine/src/owner/tests/changes.rs",
        "a_send_of_a_stranger_is_put_off_while_there_is_no_room_to_remember_that_it_was_refused",
    ),
    (
        "CREATED_MEMBERS_MAX",
        Hits,
        "core/engine/src/owner/tests/changes.rs",
        "too_many_members_and_too_many_channels_are_refused_and_counted",
    ),
    (
        "PAGE_ENTRIES_MAX",
        CUT,
        OWNER,
        "a_page_has_no_more_entries_than_the_limit_whatever_is_asked_for",
    ),
    (
        "CHANNELS_LISTED_MAX",
        CUT,
        "core/engine/src/owner/tests/listing.rs",
        "a_page_has_no_more_channels_than_the_limit_and_the_next_goes_on_behind_it",
    ),
    (
        "PAGE_BYTES_MAX",
        CUT,
        "core/world/src/log_store/tests/reading.rs",
        "pages_are_read_whole_and_in_order_wherever_their_entries_lie",
    ),
    (
        "STORE_BATCH_MAX",
        Level("waiting_entries"),
        "core/engine/src/read_cursors.rs",
        "a_crowd_takes_several_notes",
    ),
    ("IN_FLIGHT_MAX", Hits, OWNER, "a_full_pipeline_rejects_and_remembers_no_nonce"),
    (
        "NONCE_WINDOW",
        PACE,
        "core/engine/src/nonces.rs",
        "a_nonce_is_kept_for_the_whole_window_and_forgotten_after_it",
    ),
    ("RETAINED_BYTES_MIN", THEIRS, "core/node/src/retention_flags.rs", "too_little_is_refused"),
    (
        "CATCH_UP_READS_MAX",
        Level("catch_up_reads"),
        CATCH_UP,
        "pages_beyond_the_limit_have_their_turn_when_others_have_come",
    ),
    ("PAGE_REST_MIN", PACE, CATCH_UP, "a_refused_page_rests_longer_each_time"),
    ("PAGE_REST_MAX", PACE, CATCH_UP, "a_refused_page_rests_longer_each_time"),
    ("RUN_BYTES_MAX", CUT, GATEWAY, "frames_that_are_due_together_are_joined_up_to_a_bound"),
    (
        "SESSION_QUEUE_BYTES_MAX",
        Hits,
        "core/engine/src/followers.rs",
        "a_full_queue_leaves_entries_in_the_log_until_it_is_short_again",
    ),
    (
        "SESSION_BACKLOG_BYTES_MAX",
        Hits,
        "core/node/src/socket.rs",
        "a_peer_that_lets_too_much_pile_up_is_closed_and_its_queue_thrown_away",
    ),
    (
        "SESSION_QUEUE_BYTES_LOW",
        PACE,
        "core/engine/src/session.rs",
        "the_shell_is_asked_once_for_what_is_really_queued",
    ),
    (
        "SESSION_STALL_TIMEOUT",
        Hits,
        "core/node/tests/slow_consumers.rs",
        "members_that_take_nothing_cost_little_and_everyone_gets_everything",
    ),
    (
        "HEARTBEAT",
        PACE,
        "core/engine/src/client/tests.rs",
        "a_silent_connection_is_sent_a_heartbeat_then_given_up",
    ),
    (
        "SESSION_IDLE_TIMEOUT",
        Hits,
        "core/engine/src/gateway/tests.rs",
        "silence_ends_a_session_before_and_after_hello",
    ),
    (
        "SESSION_IDLE_BACKGROUND_TIMEOUT",
        With("SESSION_IDLE_TIMEOUT"),
        "core/engine/src/gateway/tests/presence.rs",
        "a_session_in_the_background_may_be_silent_for_longer",
    ),
    (
        "PRESENCE_TTL",
        PACE,
        "core/engine/src/presence/tests.rs",
        "a_silent_session_counts_for_its_time_to_live_and_not_a_sweep_longer",
    ),
    (
        "PRESENCE_BACKGROUND_TTL",
        PACE,
        "core/engine/src/presence/tests.rs",
        "a_session_that_comes_out_of_the_background_runs_out_sooner",
    ),
    (
        "PRESENCE_SWEEP",
        PACE,
        "core/engine/src/presence/tests.rs",
        "a_silent_session_counts_for_its_time_to_live_and_not_a_sweep_longer",
    ),
    (
        "PRESENCE_COALESCE",
        PACE,
        "core/engine/src/gateway/tests/presence.rs",
        "signs_of_life_are_collected_and_sent_with_their_age",
    ),
    (
        "PRESENCE_GRACE",
        PACE,
        "core/engine/src/presence/tests.rs",
        "a_new_owner_says_offline_of_nobody_before_its_grace_is_over",
    ),
    (
        "PRESENCE_WATCHED_MAX",
        Code("bad_frame"),
        "core/engine/src/gateway/tests/presence.rs",
        "more_users_than_the_limit_can_not_be_watched",
    ),
    (
        "PRESENCE_BATCH_MAX",
        CUT,
        GATEWAY,
        "last_signs_of_life_are_kept_up_to_a_bound_and_sent_in_several_frames",
    ),
    (
        "PRESENCE_PARTING_MAX",
        CUT,
        GATEWAY,
        "last_signs_of_life_are_kept_up_to_a_bound_and_sent_in_several_frames",
    ),
    (
        "TYPING_INTERVAL",
        CUT,
        "core/engine/src/gateway/tests/presence.rs",
        "typing_goes_to_the_owner_seldom_and_from_members_only",
    ),
    (
        "READ_COALESCE",
        PACE,
        "core/engine/src/read_cursors.rs",
        "marks_are_collected_noted_together_and_only_then_count",
    ),
    (
        "CLIENT_READ_INTERVAL",
        PACE,
        "core/engine/src/client/read_cursors.rs",
        "marks_are_said_now_and_then_and_only_the_last_one",
    ),
    (
        "HELLO_TIMEOUT",
        Hits,
        "core/engine/src/gateway/tests.rs",
        "silence_ends_a_session_before_and_after_hello",
    ),
    ("SESSIONS_MAX", Hits, GATEWAY, "a_full_gateway_sends_the_next_session_elsewhere"),
    (
        "CLIENT_SEND_BUFFER_BYTES",
        No("the kernel keeps it"),
        "core/node/tests/slow_consumers.rs",
        "members_that_take_nothing_cost_little_and_everyone_gets_everything",
    ),
    ("TLS_BUFFER_BYTES_MAX", No("rustls keeps it"), "", "not yet: rustls has no way to be asked"),
    ("SESSION_REQUESTS_MAX", Hits, GATEWAY, "a_session_has_so_many_requests_open_and_no_more"),
    (
        "SESSION_PAGES_MAX",
        Hits,
        GATEWAY,
        "pages_for_requests_are_bounded_for_all_sessions_of_a_shard_together",
    ),
    (
        "USER_RATE_MAX",
        Hits,
        "core/engine/src/gateway/tests.rs",
        "who_asks_too_often_is_told_when_to_come_again_and_then_let_through",
    ),
    (
        "USER_BURST_MAX",
        With("USER_RATE_MAX"),
        "core/engine/src/gateway/tests/reads.rs",
        "marks_count_against_the_users_rate",
    ),
    ("WORKSPACE_RATE_MAX", Hits, GATEWAY, "a_workspace_that_asks_too_often_is_slowed_down_as_one"),
    (
        "WORKSPACE_BURST_MAX",
        With("WORKSPACE_RATE_MAX"),
        GATEWAY,
        "a_workspace_that_asks_too_often_is_slowed_down_as_one",
    ),
    (
        "RATE_BUCKETS_MAX",
        Level("rate_buckets"),
        "core/engine/src/gateway/rate.rs",
        "buckets_are_bounded_and_the_emptiest_are_kept",
    ),
    (
        "SHARD_REQUESTS_MAX",
        Hits,
        "core/engine/src/gateway/admission.rs",
        "requests_are_turned_away_while_too_many_wait",
    ),
    (
        "SHARD_REQUEST_BYTES_MAX",
        Hits,
        GATEWAY,
        "requests_for_a_shard_are_bounded_in_bytes_for_all_sessions_together",
    ),
    (
        "SHARD_PAGES_MAX",
        Hits,
        GATEWAY,
        "pages_for_requests_are_bounded_for_all_sessions_of_a_shard_together",
    ),
    (
        "SHARD_LOCATES_MAX",
        Hits,
        "core/engine/src/gateway/tests/since.rs",
        "sessions_that_wait_to_resume_by_time_are_bounded_also_when_they_end",
    ),
    ("LINK_READS_MAX", Hits, OWNER, "a_link_has_no_more_pages_read_for_it_than_a_gateway_asks_for"),
    (
        "ADMISSION_WAIT_MAX",
        Hits,
        "core/engine/src/gateway/tests.rs",
        "requests_are_turned_away_while_the_owner_leaves_one_unanswered_too_long",
    ),
    ("LINK_HEARTBEAT", PACE, "", "the catalog's partitions rest on it"),
    ("LINK_TIMEOUT", Hits, "", "the catalog's partitions rest on it"),
    ("LINK_CONNECT_TIMEOUT", Hits, "", "the catalog's partitions rest on it"),
    ("LINK_BACKOFF_MAX", PACE, "", "the catalog's crashes rest on it"),
    (
        "LINK_FRAME_BYTES_MAX",
        Hits,
        "core/node/src/link.rs",
        "a_frame_that_is_too_long_is_refused_by_its_length_alone",
    ),
    (
        "LINK_BATCH_BYTES_MAX",
        CUT,
        "core/engine/src/owner/tests/frames.rs",
        "a_commit_of_the_longest_messages_is_published_in_frames_that_a_link_carries",
    ),
    (
        "LINK_QUEUE_BYTES_MAX",
        Hits,
        "core/node/src/link.rs",
        "a_link_on_which_too_much_waits_is_closed",
    ),
    (
        "INBOX_MAX",
        Level("gateway_inbox"),
        "",
        "a channel of tokio keeps it; every scenario holds the level against it",
    ),
    (
        "REPLY_TIMEOUT",
        PACE,
        "core/engine/src/client/read_cursors.rs",
        "a_mark_is_repeated_until_the_server_has_it",
    ),
    (
        "CLIENT_SILENCE_MAX",
        THEIRS,
        "core/engine/src/client/tests.rs",
        "a_silent_connection_is_sent_a_heartbeat_then_given_up",
    ),
    (
        "CLIENT_SILENCE_BACKGROUND_MAX",
        THEIRS,
        "core/engine/src/client/tests.rs",
        "a_throttled_client_is_patient_and_stays_so_when_it_is_shown_again",
    ),
    (
        "CLIENT_CONNECT_TIMEOUT",
        THEIRS,
        "core/engine/src/client/tests.rs",
        "a_connection_that_takes_too_long_is_given_up",
    ),
    (
        "CLIENT_BACKOFF_MIN",
        THEIRS,
        "core/engine/src/client/tests.rs",
        "backing_off_grows_to_its_limit_and_differs_between_clients",
    ),
    (
        "CLIENT_BACKOFF_MAX",
        THEIRS,
        "core/engine/src/client/tests.rs",
        "backing_off_grows_to_its_limit_and_differs_between_clients",
    ),
    (
        "CLIENT_OUTSTANDING_MAX",
        THEIRS,
        "core/engine/src/client/tests.rs",
        "a_client_keeps_so_many_sends_and_refuses_more",
    ),
    (
        "CLIENT_REORDER_MAX",
        THEIRS,
        "core/engine/src/client_session.rs",
        "what_waits_behind_a_gap_is_bounded",
    ),
    (
        "DRAIN_SPREAD",
        PACE,
        "core/engine/src/gateway/tests/draining.rs",
        "draining_sends_everybody_elsewhere_spread_over_time",
    ),
    (
        "TRACE_ROWS_MAX",
        Level("trace_rows"),
        "core/engine/src/gateway/tests/trace.rs",
        "what_is_forgotten_is_told_without_a_time_and_never_wrongly",
    ),
    ("DRAIN_SPREAD_MAX", THEIRS, "", "not yet: the route refuses a longer one"),
];

const CATCH_UP: &str = "core/engine/src/catch_up.rs";
const GATEWAY: &str = "core/engine/src/gateway/tests/limits.rs";
const OWNER: &str = "core/engine/src/owner/tests.rs";
const SLOW_PEERS: &str = "sim/tests/world/slow_peers.rs";

/// So many have none. It may only become less.
const UNTESTED: usize = 13;

fn source(file: &str) -> String {
    let root: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", ".."].iter().collect();
    fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The constants of `limits.rs`, and whether each has its reason above it.
fn constants() -> Vec<(String, bool)> {
    let text = source("core/engine/src/limits.rs");
    let mut before = "";
    let mut constants = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("pub const ") {
            let (name, _) = rest.split_once(':').expect("a constant has a type");
            constants.push((name.to_owned(), before.starts_with("/// ")));
        }
        before = line;
    }
    constants
}

#[test]
fn every_limit_has_its_reason_and_its_row() {
    let constants = constants();
    let without: Vec<_> = constants.iter().filter(|(_, has)| !has).collect();
    assert!(without.is_empty(), "no reason is given for {without:?}");
    let names: BTreeSet<&str> = constants.iter().map(|(name, _)| name.as_str()).collect();
    let rows: BTreeSet<&str> = ROWS.iter().map(|row| row.0).collect();
    let missing: Vec<_> = names.symmetric_difference(&rows).collect();
    assert!(missing.is_empty(), "limits without a row here, or rows without a limit: {missing:?}");
    assert_eq!(rows.len(), ROWS.len(), "a limit has two rows");
}

#[test]
fn every_limit_is_hit_by_a_test_or_says_why_not() {
    let mut untested = 0;
    for (limit, _, file, test) in ROWS {
        if file.is_empty() {
            untested += 1;
            continue;
        }
        let text = source(file);
        let declared = format!("fn {test}(");
        let (before, _) =
            text.split_once(&declared).unwrap_or_else(|| panic!("{limit}: no {test} in {file}"));
        // A test, or a property in `proptest!`, is marked within the lines above it.
        let above: Vec<&str> = before.lines().rev().take(4).collect();
        let marked = above.iter().any(|line| line.trim_start().starts_with("#["));
        assert!(marked, "{limit}: {test} in {file} is no test");
    }
    assert_eq!(untested, UNTESTED, "limits without a test");
}

#[test]
fn every_limit_is_counted_or_says_why_not() {
    let counted: BTreeSet<&str> = Limit::ALL.iter().map(|limit| limit.name()).collect();
    let levels = ["core/engine/src/gateway/counts.rs", "core/node/src/metrics/mod.rs"].map(source);
    let of_its_own: BTreeSet<&str> =
        ROWS.iter().filter(|row| matches!(row.1, Hits)).map(|row| row.0).collect();
    assert_eq!(counted, of_its_own, "what is counted is not what is said to be");
    for (limit, figure, ..) in ROWS {
        match figure {
            Hits => {}
            No(why) => assert!(!why.is_empty(), "{limit} says nothing"),
            With(other) => assert!(counted.contains(other), "{limit}: {other}"),
            Code(code) => {
                let json = format!("\"{code}\"");
                let known = serde_json::from_str::<RejectCode>(&json).is_ok()
                    || serde_json::from_str::<GoodbyeCode>(&json).is_ok();
                assert!(known, "{limit}: nobody is told {code}");
            }
            Level(name) => {
                let name = format!("\"{name}\"");
                assert!(levels.iter().any(|text| text.contains(&name)), "{limit}: no {name}");
            }
        }
    }
}
