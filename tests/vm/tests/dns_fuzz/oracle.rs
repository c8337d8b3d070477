//! What should become of a frame: by RFC 768, 791, 1035, 6891 and 8200, and by what the pages of `dns error` and `dns
//! record` say.

use anyhow::{Context as _, Result, bail, ensure};
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode},
    serialize::binary::{BinDecodable as _, BinDecoder},
};

use super::{
    frame::{checksum, udp_checksum},
    payload::{Payload, word},
    records::Records,
};

/// One of the faults that are there.
pub(super) struct Rule {
    pub(super) names: &'static [&'static str],
    pub(super) except: &'static [&'static str],
    /// None is all.
    pub(super) types: &'static [u16],
    pub(super) says: Says,
}

/// What a fault says to a question.
#[derive(Debug)]
pub(super) enum Says {
    /// No answer at all.
    Nothing,
    Code(u16),
    Records(Records),
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
pub(super) struct Expected<'a> {
    passes: bool,
    is_lost: bool,
    answer: Option<Answer<'a>>,
}

/// What is expected, shortly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Passes,
    Lost,
    Answered,
    WithRecords,
    /// Of more records than there is room for.
    CutShort,
    /// Nobody says what is right; but nobody may get garbage.
    Odd,
}

/// An answer to a question.
#[derive(Debug)]
struct Answer<'a> {
    says: &'a Says,
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
    Some { size: u16, wants_dnssec: bool },
}

const UNTOUCHED: Expected<'_> = Expected { passes: true, is_lost: false, answer: None };

impl<'a> Expected<'a> {
    pub(super) fn of(frame: &[u8], rules: &'a [Rule]) -> Result<Self> {
        let Some(payload) = Payload::of(frame) else { return Ok(UNTOUCHED) };
        if !payload.is_regular {
            let question = Question::read(payload.there, Options::read_some);
            let answer = question.and_then(|question| question.answer(rules));
            let answer = answer.filter(Answer::is_one);
            return Ok(Self { passes: true, is_lost: true, answer });
        }
        let Some(question) = Question::read(payload.message, Options::read) else {
            return Ok(UNTOUCHED);
        };
        question.is_read_by_others(payload.message)?;
        let passes = question.has_rest;
        let Some(answer) = question.answer(rules) else { return Ok(UNTOUCHED) };
        let answer = Some(answer).filter(|answer| payload.has_answer && answer.is_one());
        Ok(Self { passes, is_lost: answer.is_none(), answer })
    }

    pub(super) fn verdict(&self) -> Result<Verdict> {
        Ok(match (self.passes, self.is_lost, &self.answer) {
            (true, false, None) => Verdict::Passes,
            (false, true, None) => Verdict::Lost,
            (false, false, Some(answer)) => answer.verdict()?,
            _ => Verdict::Odd,
        })
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

    /// What the rule says that is about it.
    fn answer(self, rules: &[Rule]) -> Option<Answer<'_>> {
        let best =
            |patterns: &[&str]| patterns.iter().filter_map(|one| fits(one, &self.labels)).max();
        let is_about = |rule: &&Rule| {
            (rule.types.is_empty() || rule.types.contains(&self.kind))
                && best(rule.names) > best(rule.except)
        };
        let says = &rules.iter().find(is_about)?.says;
        Some(Answer { says, question: self })
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
        // There is no version but 0.
        if fixed[0] != 0 || word(fixed, 1)? != 41 || fixed[6] != 0 {
            return None;
        }
        Some((Self::Some { size: word(fixed, 3)?, wants_dnssec: fixed[7] & 0x80 != 0 }, rest))
    }
}

impl Answer<'_> {
    fn is_one(&self) -> bool {
        !matches!(self.says, Says::Nothing)
    }

    fn verdict(&self) -> Result<Verdict> {
        Ok(match self.says {
            Says::Nothing => Verdict::Lost,
            Says::Code(_) => Verdict::Answered,
            Says::Records(_) if self.is_cut()? => Verdict::CutShort,
            Says::Records(_) => Verdict::WithRecords,
        })
    }

    /// How many bytes it has before its records, and behind.
    fn frame_bytes(&self) -> usize {
        12 + self.question.text.len() + if self.question.options == Options::None { 0 } else { 11 }
    }

    /// Bytes of its records if there is room for them: as RFC 1035, 4.2.1, and RFC 6891, 6.2.3, have it, but no more than fits
    /// into one packet everywhere.
    fn record_bytes(&self) -> Result<usize> {
        let Says::Records(records) = self.says else { return Ok(0) };
        records.bytes(self.question.kind)
    }

    fn is_cut(&self) -> Result<bool> {
        let room = match self.question.options {
            Options::None => 512,
            Options::Some { size, .. } => usize::from(size).clamp(512, 1232),
        };
        Ok(self.frame_bytes() + self.record_bytes()? > room)
    }

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
        let (code, records) = match self.says {
            Says::Nothing => bail!("nothing was to be said"),
            Says::Code(code) => (*code, None),
            Says::Records(records) => (0, Some(records)),
        };
        ensure!(
            told.message_type == MessageType::Response
                && told.op_code == OpCode::Query
                && u16::from(told.response_code) == code,
            "{told:?}"
        );
        ensure!(!told.authoritative && !told.authentic_data, "{told:?}");
        let is_cut = self.is_cut()?;
        ensure!(told.truncation == is_cut, "{told:?}");
        ensure!(told.recursion_available, "{told:?}");
        ensure!(told.recursion_desired == (header[2] & 1 != 0), "{told:?}");
        ensure!(told.checking_disabled == (header[3] & 0x10 != 0), "{told:?}");
        // Of the reserved bits.
        ensure!(bytes[3] & 0x40 == 0, "a bit that nobody uses");
        ensure!(message.queries.len() == 1, "not one question");
        ensure!(message.authorities.is_empty() && message.additionals.is_empty(), "more records");
        match records.filter(|_| !is_cut) {
            None => {
                ensure!(message.answers.is_empty(), "records");
                ensure!(bytes.len() == self.frame_bytes(), "{} bytes", bytes.len());
            }
            Some(records) => {
                records.are(&message.answers, message.queries[0].name(), self.question.kind)?;
                let wanted = self.frame_bytes() + self.record_bytes()?;
                ensure!(bytes.len() == wanted, "{} bytes, not {wanted}", bytes.len());
            }
        }
        ensure!(message.signature.is_none(), "signed");
        match options {
            Options::None => ensure!(message.edns.is_none(), "options nobody asked for"),
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
