//! The texts that clients send.
//!
//! A body of a drawn length is made of pieces that codecs, logs and pages have been known to get
//! wrong: quotes, backslashes, line ends, control characters, characters of two to four bytes.

use crate::choices::ChoiceStream;

/// Plain words come three times, so that most of a text looks like one.
const PIECES: [&str; 32] = [
    "ship it ",
    "see you at ten ",
    "thanks! ",
    "the build is red ",
    "who is on call? ",
    "+1 ",
    "ship it ",
    "see you at ten ",
    "thanks! ",
    "the build is red ",
    "who is on call? ",
    "+1 ",
    "ship it ",
    "see you at ten ",
    "thanks! ",
    "the build is red ",
    "who is on call? ",
    "+1 ",
    "\"quoted\" ",
    "back\\slash ",
    "line\nend ",
    "tab\t",
    "carriage\r\n",
    "\u{1}",
    "naïve café ",
    "日本語 ",
    "🎉",
    "👩‍🚀 ",
    "\u{2028}",
    "</script> ",
    "{\"json\":[1,null]} ",
    "% ' ; -- ",
];

/// A text of exactly `bytes` bytes that starts with `label` when that fits, so that no two sends
/// have the same body unless it is very short.
pub(crate) fn text(label: &str, bytes: usize, stream: &mut ChoiceStream) -> String {
    let mut text = String::with_capacity(bytes);
    if label.len() < bytes {
        text.push_str(label);
        text.push(' ');
    }
    while text.len() < bytes {
        let piece = stream.pick(&PIECES);
        if text.len() + piece.len() <= bytes {
            text.push_str(piece);
        } else {
            let missing = bytes - text.len();
            text.extend(std::iter::repeat_n('x', missing));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::Choices;

    #[test]
    fn texts_have_the_asked_length_whatever_it_is() {
        for bytes in 0..500 {
            let text = text("u1-1", bytes, &mut Choices::new(1).stream("send", bytes as u64));
            assert_eq!(text.len(), bytes);
            assert_eq!(text.starts_with("u1-1 "), bytes > 4);
        }
    }

    #[test]
    fn texts_hold_what_is_hard() {
        let text = text("u1-1", 4_000, &mut Choices::new(1).stream("send", 0));
        assert!(['"', '\\', '\n', '\u{1}', '日', '🎉'].iter().all(|hard| text.contains(*hard)));
    }
}
