//! A client's WebSocket frames, right and wrong.

use crate::random::Random;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FIN: u8 = 0x80;

/// Bytes to send, and how many frames they were meant to be.
#[derive(Default)]
pub(crate) struct Wire {
    pub(crate) bytes: Vec<u8>,
    pub(crate) frames: u64,
}

impl Wire {
    fn frame(&mut self, random: &mut Random, first: u8, payload: &[u8]) {
        self.header(random, first, payload.len() as u64, payload);
    }

    /// A frame that says it has `length` bytes, in the shortest form.
    fn header(&mut self, random: &mut Random, first: u8, length: u64, payload: &[u8]) {
        self.frames += 1;
        self.bytes.push(first);
        match length {
            0..=125 => self.bytes.push(0x80 | length.to_le_bytes()[0]),
            126..=0xffff => {
                self.bytes.push(0x80 | 126);
                self.bytes.extend(&length.to_be_bytes()[6..]);
            }
            _ => {
                self.bytes.push(0x80 | 127);
                self.bytes.extend(length.to_be_bytes());
            }
        }
        self.masked(random, payload);
    }

    fn masked(&mut self, random: &mut Random, payload: &[u8]) {
        let mask = if random.one_in(9) {
            [0; 4]
        } else {
            random.number().to_le_bytes()[..4].try_into().unwrap()
        };
        self.bytes.extend(mask);
        self.bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }

    fn control(&mut self, random: &mut Random) {
        let payload = if random.one_in(3) { random.below(126) } else { random.below(4) };
        let payload = random.bytes(payload);
        let opcode = if random.one_in(2) { PING } else { PONG };
        self.frame(random, FIN | opcode, &payload);
    }

    fn fragmented(&mut self, random: &mut Random, payload: &[u8]) {
        let mut rest = payload;
        let mut opcode = TEXT;
        // One message in many has more fragments than are allowed.
        let most = if random.one_in(2_000) { 2_000 } else { 1 + random.below(5) };
        for _ in 0..most {
            let (part, after) = rest.split_at(random.below((rest.len() + 1).min(40)));
            rest = after;
            self.frame(random, opcode, part);
            opcode = 0;
            if random.one_in(3) {
                self.control(random);
            }
        }
        self.frame(random, FIN, rest);
    }

    fn close(&mut self, random: &mut Random) {
        let codes = [1000_u16, 1001, 1004, 1005, 1006, 1015, 2999, 3000, 4999, 5000, 0, 65535];
        let mut payload = codes[random.below(codes.len())].to_be_bytes().to_vec();
        let reason = random.below(20);
        payload.extend(if random.one_in(2) { b"bye".to_vec() } else { random.bytes(reason) });
        payload.truncate([0, 1, 2, 124][random.below(4)]);
        self.frame(random, FIN | CLOSE, &payload);
    }

    /// Breaks a rule of RFC 6455, or is close to it.
    fn broken(&mut self, random: &mut Random, payload: &[u8]) {
        match random.below(11) {
            0 => {
                let reserved = 0x10 << random.below(3);
                self.frame(random, FIN | TEXT | reserved, payload);
            }
            1 => {
                let opcode = random.byte() & 0x0f;
                self.frame(random, FIN | opcode, payload);
            }
            2 => {
                // Not masked.
                self.frames += 1;
                self.bytes.extend([FIN | TEXT, random.byte() & 0x7f]);
                self.bytes.extend(payload);
            }
            3 => {
                // A length that has a shorter form.
                self.frames += 1;
                self.bytes.extend([FIN | TEXT, 0x80 | 127]);
                self.bytes.extend((payload.len() as u64).to_be_bytes());
                self.masked(random, payload);
            }
            4 => {
                let lengths = [64 * 1024, 64 * 1024 + 1, 1 << 31, 1 << 62, 1 << 63, u64::MAX];
                let length = lengths[random.below(lengths.len())];
                self.header(random, FIN | TEXT, length, payload);
            }
            5 => self.frame(random, PING, b"fragment"),
            6 => self.frame(random, FIN | PING, &[b'p'; 126]),
            7 => self.frame(random, FIN, payload),
            8 => {
                self.frame(random, TEXT, payload);
                self.frame(random, FIN | TEXT, payload);
            }
            9 => {
                let longest = vec![b' '; 64 * 1024 + random.below(2)];
                self.frame(random, FIN | TEXT, &longest);
            }
            _ => {
                self.frames += 1;
                let count = 1 + random.below(40);
                self.bytes.extend(random.bytes(count));
            }
        }
    }

    /// Sends `payload` somehow. Of 1000 times `damage` break the rules of WebSocket.
    pub(crate) fn message(&mut self, random: &mut Random, payload: &[u8], damage: usize) {
        if random.below(1_000) < damage {
            let start = self.bytes.len();
            match random.below(4) {
                0 => self.close(random),
                1 => self.broken(random, payload),
                2 => {
                    self.frame(random, FIN | TEXT, payload);
                    for _ in 0..=random.below(3) {
                        let at = start + random.below(self.bytes.len() - start);
                        self.bytes[at] ^= 1 << random.below(8);
                    }
                }
                _ => {
                    self.frame(random, FIN | TEXT, payload);
                    let end = start + random.below(self.bytes.len() - start);
                    self.bytes.truncate(end);
                }
            }
            return;
        }
        match random.below(20) {
            0..3 => self.fragmented(random, payload),
            3 => self.control(random),
            4 if random.one_in(4) => self.frame(random, FIN | BINARY, payload),
            _ => self.frame(random, FIN | TEXT, payload),
        }
    }
}
