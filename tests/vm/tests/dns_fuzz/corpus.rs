//! Frames: all small changes of some questions, and random ones.

use super::frame::{Frame, message};
use crate::harness::Family;

const A: u16 = 1;
const CNAME: u16 = 5;
const TXT: u16 = 16;
const AAAA: u16 = 28;
/// What bytes are set to: what names are made of (ends, lengths, pointers), and what is next to that.
const BYTES: [u8; 10] = [0, 1, 2, 7, b'A', 63, 64, 0x80, 0xc0, 0xff];
/// A cookie.
const COOKIE: &[u8] = &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];

/// The longest name that a fault can be told, in four labels, of which the last one is told apart.
pub(super) const LONGEST: &str = concat!(
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.x1",
);

/// Names, as labels.
fn names() -> Vec<Vec<Vec<u8>>> {
    let texts = [
        "a.example",
        "A.eXaMPLe",
        "example",
        "b.example",
        "x.a.example",
        "b.x",
        "x",
        "no.x",
        "y.no.x",
        "deep.x",
        "q.deep.x",
        "r.q.deep.x",
        "silent.test",
        "other",
        "b",
        "xn--mnchen-3ya.x",
        "rec.test",
        "A.Rec.tEst",
        "no.rec.test",
        "ab.no.rec.test",
        "a.c",
        "aB.C",
        "c",
        "many",
        LONGEST,
    ];
    let split = |text: &str| text.split('.').map(|label| label.as_bytes().to_vec()).collect();
    let mut names: Vec<Vec<Vec<u8>>> = texts.iter().map(|text| split(text)).collect();
    // One letter too long for a fault, and in another letter.
    names.push(split(&format!("a{LONGEST}")));
    names.push(split(&LONGEST.replacen('a', "b", 1)));
    for last in [&b"x"[..], b"y"] {
        // As many labels, and as many bytes, as a name may have; and one more of each.
        for count in [126, 127] {
            names.push([vec![b"a".to_vec(); count], vec![last.to_vec()]].concat());
        }
        for first in [61, 62] {
            let long = |length| vec![b'l'; length];
            names.push(vec![long(63), long(63), long(63), long(first - 2), last.to_vec()]);
        }
    }
    // What a label holds is no label.
    names.extend([
        vec![b"a\x01x".to_vec()],
        vec![b"a\x07example".to_vec()],
        vec![b"\x01a".to_vec(), b"example".to_vec()],
        vec![b"a.x".to_vec()],
        vec![b"a\\x".to_vec(), b"x".to_vec()],
        vec![vec![0xff; 63], vec![0x80, 0xe4], b"x".to_vec()],
        vec![vec![0xc0], b"x".to_vec()],
        vec![b"A[`{@Z".to_vec(), b"x".to_vec()],
        vec![b"\0".to_vec(), b"x".to_vec()],
        vec![],
    ]);
    names
}

fn asked(name: &[Vec<u8>], kind: u16, options: Option<&[u8]>) -> Vec<u8> {
    let labels: Vec<&[u8]> = name.iter().map(Vec::as_slice).collect();
    message(&labels, kind, options)
}

/// A question that is answered, of another sender's than all others.
pub(super) fn last() -> Vec<u8> {
    let mut frame = Frame::new(Family::V4, message(&[b"a", b"example"], A, None));
    frame.link_from[5] = 2;
    frame.bytes()
}

/// Every name, type and kind of options, as they should be.
pub(super) fn plain(family: Family) -> Vec<Frame> {
    let mut frames = Vec::new();
    for name in names() {
        for kind in [A, CNAME, TXT, AAAA, 65, 255] {
            for options in [None, Some(&[][..]), Some(COOKIE)] {
                frames.push(Frame::new(family, asked(&name, kind, options)));
            }
        }
    }
    frames
}

/// Questions for many records, for which there is just enough room, or one byte too little.
pub(super) fn large(family: Family) -> Vec<Frame> {
    let many = |first: &[usize]| {
        let first = first.iter().map(|length| vec![b'm'; *length]);
        first.chain([b"many".to_vec()]).collect::<Vec<_>>()
    };
    let mut frames = Vec::new();
    for first in [&[29][..], &[30], &[31], &[41], &[42], &[40, 36], &[40, 37], &[40, 38]] {
        let name = many(first);
        for kind in [A, AAAA] {
            frames.push(Frame::new(family, asked(&name, kind, None)));
            for size in [0, 511, 512, 513, 1231, 1232, 1233, 4096, u16::MAX] {
                let mut message = asked(&name, kind, Some(&[]));
                set_size(&mut message, &[], size);
                frames.push(Frame::new(family, message));
            }
        }
    }
    frames
}

/// How large a response is welcome, in a question that ends in options.
fn set_size(message: &mut [u8], options: &[u8], size: u16) {
    let at = message.len() - options.len() - 8;
    message[at..at + 2].copy_from_slice(&size.to_be_bytes());
}

/// Every small change of some of them.
pub(super) fn changed(family: Family) -> Vec<Frame> {
    let mut frames = Vec::new();
    for options in [None, Some(&[][..]), Some(COOKIE)] {
        for (name, kind) in
            [(&[&b"a"[..], b"example"][..], A), (&[b"b", b"x"], TXT), (&[b"many"], AAAA)]
        {
            let frame = Frame::new(family, message(name, kind, options));
            bytes(&frame, &mut frames);
            counts(&frame, &mut frames);
            cuts(&frame, &mut frames);
            lengths(&frame, &mut frames);
            headers(&frame, &mut frames);
        }
    }
    frames
}

fn bytes(frame: &Frame, frames: &mut Vec<Frame>) {
    for at in 0..frame.message.len() {
        for byte in BYTES {
            let mut one = frame.clone();
            one.message[at] = byte;
            frames.push(one);
        }
    }
}

fn counts(frame: &Frame, frames: &mut Vec<Frame>) {
    for at in [5, 7, 9, 11] {
        for count in 0..4 {
            let mut one = frame.clone();
            one.message[at] = count;
            frames.push(one);
        }
    }
}

fn cuts(frame: &Frame, frames: &mut Vec<Frame>) {
    for length in 0..frame.message.len() {
        let mut short = frame.clone();
        short.message.truncate(length);
        frames.push(short.clone());
        // The headers tell of more.
        (short.ip_length, short.udp_length) = (Some(frame.ip_bytes()), Some(frame.udp_bytes()));
        frames.push(short.clone());
        short.udp_length = None;
        frames.push(short);
    }
    for length in [1, 3, 18, 200] {
        let mut long = frame.clone();
        long.message.extend(vec![0x61; length]);
        frames.push(long.clone());
        // As short frames are filled up.
        (long.message, long.padding) = (frame.message.clone(), vec![0; length]);
        frames.push(long);
    }
}

fn lengths(frame: &Frame, frames: &mut Vec<Frame>) {
    for length in (0..frame.ip_bytes() + 4).chain([300, 1500, u16::MAX - 8, u16::MAX]) {
        frames.push(Frame { ip_length: Some(length), ..frame.clone() });
    }
    for length in (0..frame.udp_bytes() + 4).chain([300, 1500, u16::MAX - 8, u16::MAX]) {
        frames.push(Frame { udp_length: Some(length), ..frame.clone() });
    }
}

fn headers(frame: &Frame, frames: &mut Vec<Frame>) {
    let mut with = |change: &dyn Fn(&mut Frame)| {
        let mut one = frame.clone();
        change(&mut one);
        frames.push(one);
    };
    with(&|one| one.udp_checksum = Some(0));
    with(&|one| one.udp_checksum = Some(0xdead));
    with(&|one| one.link_to[0] |= 1);
    with(&|one| one.link_to = [0xff; 6]);
    with(&|one| one.to = (251, Some(224)));
    with(&|one| one.to = (255, Some(255)));
    for port in [0, 52, 54, 5353, 853, u16::MAX] {
        with(&|one| one.ports.1 = port);
    }
    with(&|one| one.ports.0 = 0);
    with(&|one| one.ports.0 = 53);
    match frame.family {
        Family::V4 => {
            // No operation, a router alert, and as many as there may be.
            for options in [vec![1; 4], vec![0x94, 4, 0, 0], vec![1; 40]] {
                with(&|one| one.options.clone_from(&options));
            }
            // Reserved, not to be cut, the first of several, later ones.
            for fragment in [0x8000, 0x4000, 0x2000, 0x2001, 0x0001, 0x1fff] {
                with(&|one| one.fragment = fragment);
            }
        }
        Family::V6 => {
            for kind in [0, 43, 60] {
                with(&|one| one.extensions.push((kind, vec![0, 0, 1, 4, 0, 0, 0, 0])));
                with(&|one| one.extensions.push((kind, [&[0, 1][..], &[0; 14]].concat())));
                with(&|one| one.extensions = vec![(kind, vec![0; 8]); 6]);
                with(&|one| one.extensions = vec![(kind, vec![0; 8]); 7]);
            }
            with(&|one| one.extensions.push((51, [&[0, 4][..], &[0; 22]].concat())));
            // The whole, the first of several, later ones.
            for word in [[0, 0], [0, 1], [0, 8], [0xff, 0xf9]] {
                with(&|one| one.extensions.push((44, vec![0, 0, word[0], word[1], 0, 0, 0, 1])));
            }
        }
    }
}

/// Each byte of the headers, changed.
pub(super) fn headers_changed(family: Family) -> Vec<Vec<u8>> {
    let plain = Frame::new(family, message(&[b"a", b"example"], A, Some(&[]))).bytes();
    let mut frames = Vec::new();
    // Who sent it is left: by that it is known.
    for at in (0..6).chain(12..70) {
        for byte in BYTES {
            let mut one = plain.clone();
            one[at] = byte;
            frames.push(one);
        }
    }
    // In a VLAN, and cut anywhere behind the link header.
    frames.push([&plain[..12], &[0x81, 0, 0, 7], &plain[12..]].concat());
    frames.extend((14..plain.len()).map(|length| plain[..length].to_vec()));
    frames
}

/// SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn is_one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    fn byte(&mut self) -> u8 {
        if self.is_one_in(2) { self.of(&BYTES) } else { self.next() as u8 }
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.byte()).collect()
    }

    fn label(&mut self) -> Vec<u8> {
        match self.below(8) {
            0 => (0..1 + self.below(63)).map(|_| self.byte()).collect(),
            1 => vec![b'a' + self.below(26) as u8; 1 + self.below(63)],
            _ => self
                .of(&[&b"a"[..], b"x", b"X", b"example", b"Example", b"no", b"deep", b"b"])
                .to_vec(),
        }
    }

    fn name(&mut self, known: &[Vec<Vec<u8>>]) -> Vec<Vec<u8>> {
        let mut name = if self.is_one_in(3) { Vec::new() } else { self.of(known) };
        for _ in 0..self.below(4) {
            let label = self.label();
            let at = self.below(name.len() + 1);
            name.insert(at, label);
        }
        name
    }
}

/// Random frames, many of which are questions as they should be.
pub(super) fn random(random: &mut Random, families: &[Family], count: usize) -> Vec<Vec<u8>> {
    let known = names();
    (0..count).map(|_| one(random, families, &known)).collect()
}

fn one(random: &mut Random, families: &[Family], known: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let options = random.bytes(40);
    let options = random.of(&[None, Some(&[][..]), Some(COOKIE), Some(&options)]);
    let kind =
        if random.is_one_in(4) { random.next() as u16 } else { random.of(&[A, TXT, AAAA, 65]) };
    let mut message = asked(&random.name(known), kind, options);
    if let Some(options) = options.filter(|_| random.is_one_in(3)) {
        set_size(&mut message, options, random.below(1500) as u16);
    }
    message[..2].copy_from_slice(&(random.next() as u16).to_be_bytes());
    if random.is_one_in(3) {
        message[2] = random.byte() & 7;
        message[3] = random.byte();
    }
    for _ in 0..random.below(4) {
        change(random, &mut message);
    }
    let mut frame = Frame::new(random.of(families), message);
    if random.is_one_in(4) {
        frame.padding = random.bytes(60);
    }
    if random.is_one_in(6) {
        let near = |random: &mut Random, right: u16| match random.below(3) {
            0 => Some(right.wrapping_add(random.below(9) as u16).wrapping_sub(4)),
            1 => Some(random.next() as u16),
            _ => None,
        };
        frame.ip_length = near(random, frame.ip_bytes());
        frame.udp_length = near(random, frame.udp_bytes());
    }
    if random.is_one_in(12) {
        frame.options = vec![random.byte(); 4 * random.below(11)];
        for _ in 0..random.below(8) {
            let words = random.below(4);
            let mut extension: Vec<u8> = (0..8 + 8 * words).map(|_| random.byte()).collect();
            extension[1] = words as u8;
            let kind = random.of(&[0, 43, 44, 51, 60]);
            frame.extensions.push((kind, extension));
        }
        frame.fragment = random.of(&[0, 0x4000, 0x2000, 3]);
    }
    if random.is_one_in(8) {
        frame.to.1 = Some(random.byte());
        frame.ports.0 = random.next() as u16;
        frame.udp_checksum = random.of(&[None, Some(0), Some(1)]);
    }
    let mut bytes = frame.bytes();
    if random.is_one_in(6) {
        // Anywhere but in the sender's own address.
        let at = 12 + random.below(bytes.len() - 12);
        bytes[at] = random.byte();
    }
    if random.is_one_in(10) {
        bytes.truncate(14 + random.below(bytes.len() - 14));
    }
    bytes
}

fn change(random: &mut Random, message: &mut Vec<u8>) {
    let at = random.below(message.len());
    match random.below(8) {
        // Most changes of the header make a question none.
        0..=3 if at >= 12 => message[at] = random.byte(),
        4 if !message.is_empty() => message[at] = random.byte(),
        5 => message.truncate(at),
        6 => message.insert(at, random.byte()),
        7 => message.extend(random.bytes(20)),
        _ => {}
    }
}
