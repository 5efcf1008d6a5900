//! The frames of one server connection, whole, from whatever pieces they arrive in.

/// What arrived of a frame that is not whole.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    partial: Vec<u8>,
}

impl Frames {
    /// Calls `each` with the payload of every frame that `bytes` complete.
    pub(crate) fn take(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        if self.partial.is_empty() {
            let rest = split(bytes, &mut each);
            self.partial.extend_from_slice(rest);
        } else {
            self.partial.extend_from_slice(bytes);
            let whole = std::mem::take(&mut self.partial);
            self.partial = split(&whole, &mut each).to_vec();
        }
    }
}

/// Takes whole frames off the front; gives what is left.
fn split<'a>(mut bytes: &'a [u8], each: &mut impl FnMut(&[u8])) -> &'a [u8] {
    while let Some((payload, rest)) = first(bytes) {
        each(payload);
        bytes = rest;
    }
    bytes
}

/// The first frame's payload, and what follows it. A server's frames are not masked.
fn first(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[_, short], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match short {
        126 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk::<8>()?;
            (usize::try_from(u64::from_be_bytes(*length)).ok()?, rest)
        }
        short => (usize::from(short), rest),
    };
    rest.split_at_checked(length)
}

/// The number behind `name` in a frame's text.
pub(crate) fn number(payload: &[u8], name: &str) -> Option<u64> {
    let start = payload.windows(name.len()).position(|window| window == name.as_bytes())?;
    let digits = payload.get(start + name.len()..)?;
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(digits.get(..count)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_whole_whatever_the_pieces() {
        let mut wire = vec![0x81, 5];
        wire.extend_from_slice(b"hello");
        wire.extend_from_slice(&[0x81, 126, 0, 200]);
        wire.extend_from_slice(&[b'x'; 200]);
        for size in 1..wire.len() {
            let mut frames = Frames::default();
            let mut lengths = Vec::new();
            for piece in wire.chunks(size) {
                frames.take(piece, |payload| lengths.push(payload.len()));
            }
            assert_eq!(lengths, [5, 200]);
        }
    }

    #[test]
    fn numbers_are_found_by_name() {
        assert_eq!(number(br#"{"seq":42,"x":1}"#, r#""seq":"#), Some(42));
        assert_eq!(number(br#"{"seq":42}"#, r#""head":"#), None);
    }
}
