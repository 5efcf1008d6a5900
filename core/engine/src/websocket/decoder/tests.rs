//! What a [`Decoder`] makes of good and bad bytes, in every split.

use proptest::prelude::*;
use proptest::sample::Index;

use super::super::frame::encode;
use super::super::{ProtocolError, encode_close, encode_frame, encode_text};
use super::*;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const LIMIT: usize = 1_000;

type Outcome = (Vec<Message>, Option<ProtocolError>);

/// Feeds `pieces` one after the other and checks the memory promise after each.
fn decode_pieces<'a>(
    role: Role,
    message_bytes_max: usize,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Outcome {
    let mut decoder = Decoder::new(role, message_bytes_max);
    let held_max = size_of::<Partial>() + message_bytes_max + CONTROL_BYTES_MAX;
    let mut arrived = 0;
    let mut messages = Vec::new();
    for piece in pieces {
        let mut input = piece;
        arrived += piece.len();
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.held_bytes(), 0, "memory held after an error");
                    return (messages, Some(error));
                }
            }
        }
        assert!(input.is_empty(), "bytes left behind");
        assert!(decoder.held_bytes() <= held_max, "more memory held than allowed");
        assert!(
            decoder.held_bytes() <= size_of::<Partial>() + 2 * arrived,
            "memory held for what did not arrive"
        );
        assert_eq!(decoder.held_bytes() > 0, decoder.is_partial(), "memory held while idle");
    }
    (messages, None)
}

fn decode_all(role: Role, bytes: &[u8]) -> Outcome {
    decode_pieces(role, LIMIT, [bytes])
}

/// The error that `bytes` from a client end in.
fn error_of(bytes: &[u8]) -> ProtocolError {
    let (_, error) = decode_all(Role::Server, bytes);
    error.expect("the bytes break a rule")
}

fn client_frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(fin, opcode, payload, Some(MASK), &mut out);
    out
}

fn text(text: &str) -> Message {
    Message::Text(text.into())
}

/// Every kind of message, fragments with a ping among them, each length of a length.
fn conversation() -> (Vec<u8>, Vec<Message>) {
    let long = "ü".repeat(150);
    let [start, middle, end] = ["He".as_bytes(), &[b'l', 0xe2], &[0x82, 0xac]];
    let bytes = [
        client_frame(true, Opcode::Text, b"Hello"),
        client_frame(false, Opcode::Text, start),
        client_frame(true, Opcode::Ping, b"are you there"),
        client_frame(false, Opcode::Continuation, middle),
        client_frame(false, Opcode::Continuation, b""),
        client_frame(true, Opcode::Pong, b""),
        client_frame(true, Opcode::Continuation, end),
        client_frame(true, Opcode::Binary, &[0, 255, 7]),
        client_frame(true, Opcode::Text, long.as_bytes()),
        client_frame(true, Opcode::Text, b""),
        client_frame(true, Opcode::Close, b"\x03\xe8bye"),
    ]
    .concat();
    let messages = vec![
        text("Hello"),
        Message::Ping("are you there".into()),
        Message::Pong(Bytes::new()),
        text("Hel€"),
        Message::Binary([0, 255, 7].as_slice().into()),
        text(&long),
        text(""),
        Message::Close(Some((1000, "bye".into()))),
    ];
    (bytes, messages)
}

#[test]
fn examples_of_the_rfc_decode_to_what_it_says() {
    let unmasked = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    assert_eq!(decode_all(Role::Client, &unmasked), (vec![text("Hello")], None));
    let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(decode_all(Role::Server, &masked), (vec![text("Hello")], None));
    let fragmented = [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f];
    assert_eq!(decode_all(Role::Client, &fragmented), (vec![text("Hello")], None));
    let ping = [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    assert_eq!(decode_all(Role::Client, &ping), (vec![Message::Ping("Hello".into())], None));
    let pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(decode_all(Role::Server, &pong), (vec![Message::Pong("Hello".into())], None));
    for (header, count) in [
        ([0x82, 0x7e, 0x01, 0x00].as_slice(), 256),
        (&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0], 65_536),
    ] {
        let bytes = [header, &vec![9; count]].concat();
        let binary = Message::Binary(vec![9; count].into());
        assert_eq!(decode_pieces(Role::Client, count, [&*bytes]), (vec![binary], None));
    }
}

#[test]
fn every_split_in_two_gives_the_same_messages() {
    let (bytes, messages) = conversation();
    for at in 0..=bytes.len() {
        let (left, right) = bytes.split_at(at);
        let outcome = decode_pieces(Role::Server, LIMIT, [left, right]);
        assert_eq!(outcome, (messages.clone(), None), "split at {at}");
    }
}

#[test]
fn every_piece_size_gives_the_same_messages() {
    let (bytes, messages) = conversation();
    for size in 1..20 {
        let outcome = decode_pieces(Role::Server, LIMIT, bytes.chunks(size));
        assert_eq!(outcome, (messages.clone(), None), "pieces of {size}");
    }
}

#[test]
fn idle_decoder_is_small_and_holds_nothing() {
    assert!(size_of::<Decoder>() <= 32);
    assert_eq!(Decoder::new(Role::Server, LIMIT).held_bytes(), 0);
}

#[test]
fn rules_of_the_header_are_enforced() {
    let mask = [0; 4];
    let broken = |first: u8, second: u8| error_of(&[&[first, second], mask.as_slice()].concat());
    for reserved in [0x40, 0x20, 0x10] {
        assert_eq!(broken(0x81 | reserved, 0x80), ProtocolError::ReservedBits);
    }
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        assert_eq!(broken(0x80 | opcode, 0x80), ProtocolError::ReservedOpcode { opcode });
    }
    for opcode in [8, 9, 0xa] {
        assert_eq!(broken(opcode, 0x80), ProtocolError::FragmentedControl);
        assert_eq!(broken(0x80 | opcode, 0xfe), ProtocolError::ControlTooLong);
        assert_eq!(broken(0x80 | opcode, 0xff), ProtocolError::ControlTooLong);
    }
    assert_eq!(error_of(&[0x81, 0x00]), ProtocolError::MissingMask);
    let (_, error) = decode_all(Role::Client, &[0x81, 0x80]);
    assert_eq!(error, Some(ProtocolError::UnexpectedMask));
}

#[test]
fn header_is_refused_before_the_rest_of_it_arrives() {
    assert_eq!(error_of(&[0xc1, 0xff]), ProtocolError::ReservedBits);
    assert_eq!(error_of(&[0x89, 0xff]), ProtocolError::ControlTooLong);
}

#[test]
fn lengths_must_be_in_their_shortest_form() {
    let header = |length: &[u8]| [&[0x82], length, &MASK].concat();
    assert_eq!(error_of(&header(&[0xfe, 0, 125])), ProtocolError::LengthNotMinimal);
    let long = header(&[0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
    assert_eq!(error_of(&long), ProtocolError::LengthNotMinimal);
    let top_bit = header(&[0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(error_of(&top_bit), ProtocolError::LengthTopBit);
}

#[test]
fn message_over_the_limit_is_refused_by_its_header_alone() {
    let header = [&[0x82, 0xfe, 0x03, 0xe9], MASK.as_slice()].concat();
    let too_big = ProtocolError::MessageTooBig { bytes: 1_001, bytes_max: LIMIT };
    assert_eq!(error_of(&header), too_big);
    assert_eq!(too_big.close_code(), 1009);

    let largest = [&[0x82, 0xff, 0x7f], [0xff; 7].as_slice(), &MASK].concat();
    assert!(matches!(error_of(&largest), ProtocolError::MessageTooBig { .. }));

    let fits = client_frame(true, Opcode::Binary, &[7; LIMIT]);
    let (messages, error) = decode_all(Role::Server, &fits);
    assert_eq!((messages.len(), error), (1, None));
}

#[test]
fn limit_counts_all_fragments_together() {
    let bytes = [
        client_frame(false, Opcode::Binary, &[7; 600]),
        client_frame(true, Opcode::Ping, &[7; 125]),
        client_frame(true, Opcode::Continuation, &[7; 401])[..8].to_vec(),
    ]
    .concat();
    assert_eq!(error_of(&bytes), ProtocolError::MessageTooBig { bytes: 1_001, bytes_max: LIMIT });
}

#[test]
fn control_frames_inside_a_message_do_not_count_against_its_limit() {
    let bytes = [
        client_frame(false, Opcode::Binary, &[7; LIMIT]),
        client_frame(true, Opcode::Ping, &[7; 125]),
        client_frame(true, Opcode::Continuation, b""),
    ]
    .concat();
    let (messages, error) = decode_all(Role::Server, &bytes);
    assert_eq!((messages.len(), error), (2, None));
    let ping = client_frame(true, Opcode::Ping, &[7; 125]);
    assert_eq!(decode_pieces(Role::Server, 10, [&*ping]).1, None);
}

#[test]
fn limit_counts_anew_for_each_message() {
    let fragments = [
        client_frame(false, Opcode::Binary, &[7; 600]),
        client_frame(true, Opcode::Continuation, &[7; 400]),
    ]
    .concat()
    .repeat(3);
    let (messages, error) = decode_all(Role::Server, &fragments);
    assert_eq!((messages.len(), error), (3, None));
}

#[test]
fn endless_empty_fragments_are_refused() {
    let start = client_frame(false, Opcode::Text, b"");
    let more = client_frame(false, Opcode::Continuation, b"");
    let end = client_frame(true, Opcode::Continuation, b"");
    let continued = FRAGMENTS_MAX as usize - 2;
    let most = [start.clone(), more.repeat(continued), end.clone()].concat().repeat(2);
    assert_eq!(decode_all(Role::Server, &most), (vec![text(""), text("")], None));

    let one_too_many = [start, more.repeat(continued + 1), end].concat();
    let error = error_of(&one_too_many);
    assert_eq!((error.close_code(), error), (1009, ProtocolError::TooManyFragments));
}

#[test]
fn announced_length_reserves_no_memory() {
    let mut decoder = Decoder::new(Role::Server, 1 << 20);
    let mut input = [0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 1, 2, 3, 4, 5].as_slice();
    assert_eq!(decoder.decode(&mut input), Ok(None));
    assert!(decoder.held_bytes() <= size_of::<Partial>() + 1);
}

#[test]
fn fragments_must_continue_a_message_and_end_it() {
    let stray = client_frame(true, Opcode::Continuation, b"x");
    assert_eq!(error_of(&stray), ProtocolError::UnexpectedContinuation);
    for opcode in [Opcode::Text, Opcode::Binary] {
        let nested =
            [client_frame(false, Opcode::Text, b"a"), client_frame(true, opcode, b"b")].concat();
        assert_eq!(error_of(&nested), ProtocolError::ExpectedContinuation);
    }
    let after_end = [
        client_frame(false, Opcode::Text, b"a"),
        client_frame(true, Opcode::Continuation, b"b"),
        client_frame(true, Opcode::Continuation, b"c"),
    ]
    .concat();
    let outcome = decode_all(Role::Server, &after_end);
    assert_eq!(outcome, (vec![text("ab")], Some(ProtocolError::UnexpectedContinuation)));
}

#[test]
fn text_must_be_utf8() {
    let not_utf8: [&[u8]; 5] =
        [b"\xff", b"a\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"];
    for bytes in not_utf8 {
        let error = error_of(&client_frame(true, Opcode::Text, bytes));
        assert_eq!((error.close_code(), error), (1007, ProtocolError::TextNotUtf8), "{bytes:?}");
    }
    let binary = client_frame(true, Opcode::Binary, b"\xff");
    assert_eq!(decode_all(Role::Server, &binary).1, None);
}

#[test]
fn text_is_refused_as_soon_as_no_further_byte_can_mend_it() {
    let unfinished_frame = &client_frame(true, Opcode::Text, b"ab\xffcdef")[..9];
    assert_eq!(error_of(unfinished_frame), ProtocolError::TextNotUtf8);
    let unfinished_message = client_frame(false, Opcode::Text, b"\xed\xa0");
    assert_eq!(error_of(&unfinished_message), ProtocolError::TextNotUtf8);
}

#[test]
fn close_frame_has_nothing_or_a_sound_code_and_reason() {
    let close =
        |payload: &[u8]| decode_all(Role::Server, &client_frame(true, Opcode::Close, payload));
    let closed = |close| (vec![Message::Close(close)], None);
    assert_eq!(close(b""), closed(None));
    assert_eq!(close(b"\x0f\xa0"), closed(Some((4000, String::new()))));
    assert_eq!(close(b"\x03").1, Some(ProtocolError::CloseTruncated));
    assert_eq!(close(b"\x03\xe8\xff").1, Some(ProtocolError::CloseReasonNotUtf8));
    for code in [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 3999, 4000, 4999_u16] {
        assert_eq!(close(&code.to_be_bytes()), closed(Some((code, String::new()))), "{code}");
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535_u16] {
        let error = close(&code.to_be_bytes()).1;
        assert_eq!(error, Some(ProtocolError::CloseCode { code }), "{code}");
    }
}

#[test]
fn nothing_is_read_after_a_close_or_an_error() {
    let after_close =
        [client_frame(true, Opcode::Close, b""), client_frame(true, Opcode::Text, b"x")].concat();
    assert_eq!(decode_all(Role::Server, &after_close), (vec![Message::Close(None)], None));

    let mut decoder = Decoder::new(Role::Server, LIMIT);
    let mut input = [0xff, 0xff, 1, 2, 3].as_slice();
    assert_eq!(decoder.decode(&mut input), Err(ProtocolError::ReservedBits));
    let mut more = &*client_frame(true, Opcode::Text, b"x");
    assert_eq!(decoder.decode(&mut more), Ok(None));
    assert!(more.is_empty());
}

#[test]
fn close_codes_tell_bad_frames_from_bad_text_and_from_too_much() {
    assert_eq!(ProtocolError::ReservedBits.close_code(), 1002);
    assert_eq!(ProtocolError::ReservedOpcode { opcode: 3 }.close_code(), 1002);
    assert_eq!(ProtocolError::MissingMask.close_code(), 1002);
    assert_eq!(ProtocolError::UnexpectedMask.close_code(), 1002);
    assert_eq!(ProtocolError::FragmentedControl.close_code(), 1002);
    assert_eq!(ProtocolError::ControlTooLong.close_code(), 1002);
    assert_eq!(ProtocolError::LengthNotMinimal.close_code(), 1002);
    assert_eq!(ProtocolError::LengthTopBit.close_code(), 1002);
    assert_eq!(ProtocolError::UnexpectedContinuation.close_code(), 1002);
    assert_eq!(ProtocolError::ExpectedContinuation.close_code(), 1002);
    assert_eq!(ProtocolError::CloseTruncated.close_code(), 1002);
    assert_eq!(ProtocolError::CloseCode { code: 1005 }.close_code(), 1002);
    assert_eq!(ProtocolError::CloseReasonNotUtf8.close_code(), 1007);
}

#[test]
fn every_error_fits_the_reason_of_a_close_frame() {
    let longest = ProtocolError::MessageTooBig { bytes: u64::MAX, bytes_max: usize::MAX };
    for error in [longest, ProtocolError::CloseTruncated, ProtocolError::ReservedBits] {
        assert!(error.to_string().len() <= CONTROL_BYTES_MAX - 2, "{error}");
    }
}

/// Encodes `message` as its sender would, in `fragments` pieces where that is allowed.
fn encode_message(message: &Message, mask: Option<[u8; 4]>, fragments: usize, out: &mut Vec<u8>) {
    let (opcode, payload): (Opcode, &[u8]) = match message {
        Message::Text(text) => (Opcode::Text, text.as_bytes()),
        Message::Binary(bytes) => (Opcode::Binary, bytes),
        Message::Ping(bytes) => return encode_frame(Opcode::Ping, bytes, mask, out),
        Message::Pong(bytes) => return encode_frame(Opcode::Pong, bytes, mask, out),
        Message::Close(close) => {
            let close = close.as_ref().map(|(code, reason)| (*code, reason.as_str()));
            return encode_close(close, mask, out);
        }
    };
    let size = payload.len().div_ceil(fragments).max(1);
    let mut rest = payload;
    let mut opcode = opcode;
    loop {
        let (piece, after) = rest.split_at(size.min(rest.len()));
        encode(after.is_empty(), opcode, piece, mask, out);
        if after.is_empty() {
            return;
        }
        (rest, opcode) = (after, Opcode::Continuation);
    }
}

fn any_message() -> impl Strategy<Value = Message> {
    let control = || proptest::collection::vec(any::<u8>(), 0..=CONTROL_BYTES_MAX);
    prop_oneof![
        "\\PC{0,200}".prop_map(Message::Text),
        proptest::collection::vec(any::<u8>(), 0..700).prop_map(|b| Message::Binary(b.into())),
        control().prop_map(|bytes| Message::Ping(bytes.into())),
        control().prop_map(|bytes| Message::Pong(bytes.into())),
    ]
}

/// `bytes` cut at every one of `cuts`.
fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let ends = cuts.iter().copied().chain([bytes.len()]);
    let starts = [0].into_iter().chain(cuts.iter().copied());
    starts.zip(ends).map(|(start, end)| &bytes[start..end]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_one_end_encodes_the_other_decodes(
        messages in proptest::collection::vec((any_message(), 1..6_usize), 0..6),
        close in proptest::option::of((3000..5000_u16, "\\PC{0,30}")),
        mask in any::<Option<[u8; 4]>>(),
        cuts in proptest::collection::vec(any::<Index>(), 0..12),
    ) {
        let mut bytes = Vec::new();
        for (message, fragments) in &messages {
            encode_message(message, mask, *fragments, &mut bytes);
        }
        let mut expected: Vec<Message> = messages.into_iter().map(|(message, _)| message).collect();
        expected.push(Message::Close(close));
        encode_message(&expected[expected.len() - 1], mask, 1, &mut bytes);
        let role = if mask.is_some() { Role::Server } else { Role::Client };

        let outcome = decode_pieces(role, LIMIT, pieces(&bytes, &cuts));

        prop_assert_eq!(outcome, (expected, None));
    }

    #[test]
    fn arbitrary_bytes_neither_panic_nor_grow_memory_nor_depend_on_their_split(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        server in any::<bool>(),
        message_bytes_max in 0..300_usize,
        cuts in proptest::collection::vec(any::<Index>(), 0..12),
    ) {
        let role = if server { Role::Server } else { Role::Client };
        let whole = decode_pieces(role, message_bytes_max, [&*bytes]);
        let split = decode_pieces(role, message_bytes_max, pieces(&bytes, &cuts));
        prop_assert_eq!(whole, split);
    }

    #[test]
    fn frames_with_one_byte_changed_neither_panic_nor_depend_on_their_split(
        at in any::<Index>(),
        byte in any::<u8>(),
        cuts in proptest::collection::vec(any::<Index>(), 0..12),
    ) {
        let (mut bytes, _) = conversation();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let whole = decode_pieces(Role::Server, LIMIT, [&*bytes]);
        let split = decode_pieces(Role::Server, LIMIT, pieces(&bytes, &cuts));
        prop_assert_eq!(whole, split);
    }
}

#[test]
fn shared_text_frame_is_a_server_frame() {
    for count in [0, 1, 125, 126, 127, 999, 65_535, 65_536] {
        let payload = "x".repeat(count);
        let outcome = decode_pieces(Role::Client, count, [&*encode_text(payload.as_bytes())]);
        assert_eq!(outcome, (vec![Message::Text(payload)], None));
    }
}
