//! What should become of a frame: by RFC 768, 791, 1035, 6891 and 8200, and by what the page of `dns error` says.

use anyhow::{Context as _, Result, bail, ensure};
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode},
    serialize::binary::{BinDecodable as _, BinDecoder},
};

use super::frame::{checksum, udp_checksum};

/// One of the faults that are there.
pub(super) struct Rule {
    pub(super) names: &'static [&'static str],
    pub(super) except: &'static [&'static str],
    /// None is all.
    pub(super) types: &'static [u16],
    /// `None` is no answer at all.
    pub(super) code: Option<u16>,
}

/// What became of a frame.
#[derive(Debug)]
pub(super) enum Became {
    /// The kernel has not even tried.
    Refused,
    Untouched,
    Lost,
    Answer(Vec<u8>),
    /// The kernel does not say which: the answer is there, or half of one that was lost.
    AnswerOrLost(Vec<u8>),
}

/// What may become of a frame.
#[derive(Debug)]
pub(super) struct Expected {
    passes: bool,
    is_lost: bool,
    answer: Option<Answer>,
}

/// What is expected, shortly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Passes,
    Lost,
    Answered,
    /// Nobody says what is right; but nobody may get garbage.
    Odd,
}

/// An answer to a question.
#[derive(Debug)]
struct Answer {
    code: u16,
    question: Question,
}

#[derive(Clone, Debug)]
struct Question {
    header: [u8; 12],
    /// Name, type and class.
    text: Vec<u8>,
    labels: Vec<Vec<u8>>,
    kind: u16,
    options: Options,
    /// Nobody says whose the bytes behind all that are.
    has_rest: bool,
}

/// The options of EDNS of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Options {
    None,
    Some {
        size: u16,
        wants_dnssec: bool,
    },
    /// Of a version that does not exist.
    Odd,
}

/// What there is below IP and UDP.
struct Payload<'a> {
    /// As far as all lengths let it go.
    message: &'a [u8],
    /// Up to the end of the frame.
    there: &'a [u8],
    /// The headers are such as hosts send.
    is_regular: bool,
    /// One can answer it in its place.
    has_answer: bool,
}

const UNTOUCHED: Expected = Expected { passes: true, is_lost: false, answer: None };

impl Expected {
    pub(super) fn of(frame: &[u8], rules: &[Rule]) -> Result<Self> {
        let Some(payload) = Payload::of(frame) else { return Ok(UNTOUCHED) };
        if !payload.is_regular {
            let question = Question::read(payload.there, Options::read_some);
            let code = question.as_ref().and_then(|question| question.meant(rules));
            let answer =
                question.zip(code.flatten()).map(|(question, code)| Answer { code, question });
            return Ok(Self { passes: true, is_lost: true, answer });
        }
        let Some(question) = Question::read(payload.message, Options::read) else {
            return Ok(UNTOUCHED);
        };
        question.is_read_by_others(payload.message)?;
        let Some(code) = question.meant(rules) else { return Ok(UNTOUCHED) };
        let is_plain = !question.has_rest && question.options != Options::Odd;
        let code = code.filter(|_| payload.has_answer);
        Ok(Self {
            passes: !is_plain,
            is_lost: code.is_none(),
            answer: code.map(|code| Answer { code, question }),
        })
    }

    pub(super) fn verdict(&self) -> Verdict {
        match (self.passes, self.is_lost, self.answer.is_some()) {
            (true, false, false) => Verdict::Passes,
            (false, true, false) => Verdict::Lost,
            (false, false, true) => Verdict::Answered,
            _ => Verdict::Odd,
        }
    }

    /// # Errors
    /// When that is wrong.
    pub(super) fn check(&self, frame: &[u8], became: &Became) -> Result<()> {
        match became {
            Became::Refused => {}
            Became::Untouched => ensure!(self.passes, "it went on untouched"),
            Became::Lost => ensure!(self.is_lost, "it is lost"),
            Became::AnswerOrLost(_) if self.is_lost => {}
            Became::Answer(bytes) | Became::AnswerOrLost(bytes) => {
                let answer = self.answer.as_ref().context("it is answered")?;
                answer
                    .is(frame, bytes)
                    .with_context(|| format!("it is answered by {bytes:02x?}"))?;
            }
        }
        Ok(())
    }
}

impl<'a> Payload<'a> {
    /// `None` for what is no question, whatever is in it.
    fn of(frame: &'a [u8]) -> Option<Self> {
        let to_many = frame[0] & 1 != 0;
        let (ethertype, packet) = (frame.get(12..14)?, frame.get(14..)?);
        let mut ip = match ethertype {
            [0x08, 0x00] => Ip::v4(packet)?,
            [0x86, 0xdd] => Ip::v6(packet)?,
            _ => return None,
        };
        ip.has_answer &= !to_many;
        let there = packet.get(ip.header..)?;
        let end = packet.len().min(ip.end).max(ip.header);
        let datagram = &packet[ip.header..end];
        if word(there, 2)? != 53 {
            return None;
        }
        let length = there.get(4..6).map(|_| usize::from(word(there, 4).unwrap_or(0)))?;
        let is_regular = ip.is_regular && length >= 8 && length <= datagram.len();
        let message = if is_regular { &datagram[8..length] } else { &[][..] };
        let there = there.get(8..)?;
        Some(Self { message, there, is_regular, has_answer: ip.has_answer })
    }
}

/// What matters of the header of IP.
struct Ip {
    header: usize,
    /// Where it says that it ends.
    end: usize,
    is_regular: bool,
    has_answer: bool,
}

impl Ip {
    fn v4(packet: &[u8]) -> Option<Self> {
        const MORE_FRAGMENTS: u16 = 0x2000;
        const OFFSET: u16 = 0x1fff;
        let header: &[u8; 20] = packet.first_chunk()?;
        let (words, end) = (usize::from(header[0] & 0xf), usize::from(word(header, 2)?));
        let fragment = word(header, 6)?;
        if header[9] != 17 || fragment & OFFSET != 0 {
            return None;
        }
        let is_regular =
            header[0] >> 4 == 4 && words >= 5 && end >= words * 4 && end <= packet.len();
        let has_answer = words == 5 && fragment & MORE_FRAGMENTS == 0 && header[16] < 224;
        Some(Self { header: words * 4, end, is_regular, has_answer })
    }

    fn v6(packet: &[u8]) -> Option<Self> {
        let header: &[u8; 40] = packet.first_chunk()?;
        let end = 40 + usize::from(word(header, 4)?);
        // Nothing, or more than 64 KiB.
        let is_regular = header[0] >> 4 == 6 && end > 40 && end <= packet.len();
        let (mut at, mut next) = (40, header[6]);
        while let 0 | 43 | 44 | 51 | 60 = next {
            let extension = packet.get(at..at + 4)?;
            if next == 44 && word(extension, 2)? & 0xfff8 != 0 {
                return None;
            }
            at += match next {
                44 => 8,
                51 => (usize::from(extension[1]) + 2) * 4,
                _ => (usize::from(extension[1]) + 1) * 8,
            };
            next = extension[0];
        }
        if next != 17 {
            return None;
        }
        // With more than a few nobody looks for the end of them.
        Some(Self {
            header: at,
            end,
            is_regular: is_regular && end >= at && at <= 40 + 6 * 8,
            has_answer: at == 40 && header[24] != 0xff,
        })
    }
}

impl Question {
    /// `None` for what is no plain question. `options` reads what is behind it.
    fn read(message: &[u8], options: impl Fn(&[u8]) -> Option<(Options, &[u8])>) -> Option<Self> {
        const RESPONSE_OR_OPERATION: u8 = 0xf8;
        let header: [u8; 12] = *message.first_chunk()?;
        let counts = [4, 6, 8, 10].map(|at| word(&header, at).unwrap_or(u16::MAX));
        if header[2] & RESPONSE_OR_OPERATION != 0 || !matches!(counts, [1, 0, 0, 0 | 1]) {
            return None;
        }
        let (mut at, mut labels) = (12, Vec::new());
        loop {
            let length = usize::from(*message.get(at)?);
            if length == 0 {
                break;
            }
            let label = message.get(at + 1..at + 1 + length)?;
            if length > 63 || label.contains(&0) {
                return None;
            }
            labels.push(label.to_ascii_lowercase());
            at += 1 + length;
        }
        let (kind, class, end) = (word(message, at + 1)?, word(message, at + 3)?, at + 5);
        if labels.is_empty() || at + 1 - 12 > 255 || class != 1 {
            return None;
        }
        let rest = &message[end..];
        let (options, behind) = match counts[3] {
            0 => (Options::None, rest),
            _ => options(rest)?,
        };
        let text = message[12..end].to_vec();
        Some(Self { header, text, labels, kind, options, has_rest: !behind.is_empty() })
    }

    /// The code of the rule that is about it; `None` in that is no answer.
    fn meant(&self, rules: &[Rule]) -> Option<Option<u16>> {
        let best =
            |patterns: &[&str]| patterns.iter().filter_map(|one| fits(one, &self.labels)).max();
        let is_about = |rule: &&Rule| {
            (rule.types.is_empty() || rule.types.contains(&self.kind))
                && best(rule.names) > best(rule.except)
        };
        rules.iter().find(is_about).map(|rule| rule.code)
    }

    /// Others take it for the same question.
    fn is_read_by_others(&self, message: &[u8]) -> Result<()> {
        let read = Message::read(&mut BinDecoder::new(message));
        // Options are looked into there, and not here.
        let Ok(read) = read else { return Ok(()) };
        let [query] = &read.queries[..] else { bail!("the oracle sees a question too many") };
        let labels = query.name().iter().map(<[u8]>::to_ascii_lowercase);
        ensure!(labels.eq(self.labels.iter().cloned()), "the oracle misreads {}", query.name());
        ensure!(u16::from(query.query_type()) == self.kind, "the oracle misreads a type");
        Ok(())
    }
}

/// How well a pattern fits a name: more is better.
fn fits(pattern: &str, labels: &[Vec<u8>]) -> Option<(usize, bool)> {
    let (is_below, top) = match pattern.split_once('*') {
        Some((_, "*")) => return Some((0, false)),
        Some((_, rest)) => (true, &rest[1..]),
        None => (false, pattern),
    };
    let top: Vec<Vec<u8>> =
        top.split('.').map(|label| label.to_ascii_lowercase().into_bytes()).collect();
    let is_fit = labels.ends_with(&top) && (labels.len() > top.len()) == is_below;
    is_fit.then_some((top.len(), !is_below))
}

impl Options {
    /// Options and what is behind them, if there are some and nothing else.
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (options, rest) = Self::read_some(bytes)?;
        Some((options, rest.get(usize::from(word(bytes, 9)?)..)?))
    }

    /// The same of options that need not be whole.
    fn read_some(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (fixed, rest) = bytes.split_at_checked(11)?;
        if fixed[0] != 0 || word(fixed, 1)? != 41 {
            return None;
        }
        let some = Self::Some { size: word(fixed, 3)?, wants_dnssec: fixed[7] & 0x80 != 0 };
        Some((if fixed[6] == 0 { some } else { Self::Odd }, rest))
    }
}

impl Answer {
    fn is(&self, frame: &[u8], answer: &[u8]) -> Result<()> {
        let link = [&frame[6..12], &frame[..6], &frame[12..14]].concat();
        ensure!(answer.starts_with(&link), "the link header is wrong");
        let (packet, asked) = (&answer[14..], &frame[14..]);
        let (header, ends) = if frame[12] == 0x08 {
            ensure!(packet.len() >= 28 && packet[0] == 0x45, "no plain header of IPv4");
            ensure!(word(packet, 2) == Some(packet.len() as u16), "the length of IP is wrong");
            ensure!(word(packet, 6).is_some_and(|word| word & 0xbfff == 0), "a fragment");
            ensure!(packet[8] > 0 && packet[9] == 17, "no UDP, or dead");
            ensure!(checksum(&packet[..20]) == 0, "the checksum of IP is wrong");
            ensure!(packet[12..20] == [&asked[16..20], &asked[12..16]].concat(), "the ends of IP");
            (20, &packet[12..20])
        } else {
            ensure!(packet.len() >= 48 && packet[0] == 0x60, "no plain header of IPv6");
            ensure!(word(packet, 4) == Some(packet.len() as u16 - 40), "the length of IP is wrong");
            ensure!(packet[6] == 17 && packet[7] > 0, "no UDP, or dead");
            ensure!(packet[8..40] == [&asked[24..40], &asked[8..24]].concat(), "the ends of IP");
            (40, &packet[8..40])
        };
        let (datagram, asked) = (&packet[header..], &asked[header..]);
        ensure!(datagram[..4] == [asked[2], asked[3], asked[0], asked[1]], "the ports are wrong");
        ensure!(word(datagram, 4) == Some(datagram.len() as u16), "the length of UDP is wrong");
        let mut unsigned = datagram.to_vec();
        unsigned[6..8].fill(0);
        let sum = udp_checksum(ends, &unsigned);
        ensure!(word(datagram, 6) == Some(sum), "the checksum of UDP is not {sum:04x}");
        self.is_message(&datagram[8..])
    }

    fn is_message(&self, bytes: &[u8]) -> Result<()> {
        let Question { header, text, options, .. } = &self.question;
        ensure!(bytes.len() >= 12 + text.len(), "it is too short");
        ensure!(bytes[..2] == header[..2], "another id");
        ensure!(bytes[12..12 + text.len()] == *text, "another question");
        let mut decoder = BinDecoder::new(bytes);
        let message = Message::read(&mut decoder).context("it is no message")?;
        ensure!(decoder.is_empty(), "there is something behind it");
        let told = &message.metadata;
        ensure!(
            told.message_type == MessageType::Response
                && told.op_code == OpCode::Query
                && u16::from(told.response_code) == self.code,
            "{told:?}"
        );
        ensure!(!told.authoritative && !told.truncation && !told.authentic_data, "{told:?}");
        ensure!(told.recursion_available, "{told:?}");
        ensure!(told.recursion_desired == (header[2] & 1 != 0), "{told:?}");
        ensure!(told.checking_disabled == (header[3] & 0x10 != 0), "{told:?}");
        // Of the reserved bits.
        ensure!(bytes[3] & 0x40 == 0, "a bit that nobody uses");
        ensure!(message.queries.len() == 1, "not one question");
        let records = [&message.answers, &message.authorities, &message.additionals];
        ensure!(records.iter().all(|records| records.is_empty()), "records");
        ensure!(message.signature.is_none(), "signed");
        match options {
            Options::None => ensure!(message.edns.is_none(), "options nobody asked for"),
            Options::Odd => {}
            Options::Some { size, wants_dnssec } => {
                let edns = message.edns.as_ref().context("no options")?;
                ensure!(edns.version() == 0 && edns.rcode_high() == 0, "{edns:?}");
                ensure!(edns.options().as_ref().is_empty(), "{edns:?}");
                // What is less than 512 is read as 512: RFC 6891, 6.2.3.
                ensure!(edns.max_payload() == Edns::max_payload(&edns_of(*size)), "{edns:?}");
                ensure!(edns.flags().dnssec_ok == *wants_dnssec, "{edns:?}");
            }
        }
        Ok(())
    }
}

fn edns_of(size: u16) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(size);
    edns
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}
