//! `dns record`: names have other addresses.

use std::{fmt, time::Duration};

use super::dns::{Addresses, DnsTcp, Questions, texts, written};
use crate::{
    abi::{self, Address, MAX_ADDRESSES, MAX_ALIAS},
    invalid::{At, Invalid},
    proto::v1,
    value::{DnsName, Percent, Wait},
    wire::{from_duration, from_wait, list, percent},
};

/// Questions of the target to name servers are answered with chosen records.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct DnsRecord {
    /// Which questions.
    pub questions: Questions,
    /// With what.
    pub answer: DnsAnswer,
    /// For how long they may be kept; whole seconds.
    pub ttl: Wait,
    /// Which share of them; more than 0.
    pub percent: Percent,
}

/// What a question is answered with.
#[derive(Clone, Debug, PartialEq)]
pub enum DnsAnswer {
    /// The name is there, and has no records of the type.
    Empty,
    /// It would be too long: to be asked again over TCP.
    Truncated,
    /// Records.
    Records {
        /// The addresses are those of this name.
        cname: Option<DnsName>,
        /// In any order; a range is one address of it, each time another.
        addresses: Vec<Addresses>,
    },
}

/// What a fault is made of before it is checked as a whole.
#[derive(Clone, Debug, Default)]
pub struct RecordParts {
    /// See [`DnsAnswer`].
    pub addresses: Vec<Addresses>,
    /// See [`DnsAnswer`].
    pub cname: Option<DnsName>,
    /// See [`DnsAnswer`].
    pub empty: bool,
    /// See [`DnsAnswer`].
    pub truncated: bool,
    /// See [`DnsRecord`].
    pub ttl: Option<Wait>,
    /// See [`DnsRecord`].
    pub percent: Option<Percent>,
}

impl DnsRecord {
    /// From parts.
    ///
    /// # Errors
    /// When it is not said with what to answer, or twice.
    pub fn new(questions: Questions, parts: RecordParts) -> Result<Self, Invalid> {
        let RecordParts { addresses, cname, empty, truncated, ttl, percent } = parts;
        let has_records = !addresses.is_empty() || cname.is_some();
        let answer = match (has_records, empty, truncated) {
            (true, false, false) => DnsAnswer::Records { cname, addresses },
            (false, true, false) => DnsAnswer::Empty,
            (false, false, true) => DnsAnswer::Truncated,
            (false, false, false) => {
                let problem = "it is not said with what to answer; give addresses or a cname, or empty, or truncated";
                return Err(Invalid::new(problem).at("addresses"));
            }
            (true, true, _) | (true, _, true) | (_, true, true) => {
                let problem =
                    "an answer has records, or is empty, or truncated; leave the others out";
                return Err(Invalid::new(problem));
            }
        };
        if let DnsAnswer::Records { addresses, .. } = &answer {
            let v4 = addresses.iter().filter_map(|one| one.v4()).count();
            let v6 = addresses.iter().filter_map(|one| one.v6()).count();
            for (count, family) in [(v4, "IPv4"), (v6, "IPv6")] {
                if count > MAX_ADDRESSES {
                    let problem = format!("has {count} of {family}; the most is {MAX_ADDRESSES}");
                    return Err(Invalid::new(problem).at("addresses"));
                }
            }
        }
        if let DnsAnswer::Records { cname: Some(cname), .. } = &answer
            && questions.names.contains(cname.pattern())
        {
            let problem = "is a name that is asked for, and would be its own alias; give another";
            return Err(Invalid::new(problem).at("cname"));
        }
        let ttl = ttl.unwrap_or(Wait::NONE);
        if ttl.get() != Duration::from_secs(ttl.get().as_secs()) {
            let problem =
                format!("{ttl} is not in whole seconds, as name servers have it; write it as 30s");
            return Err(Invalid::new(problem).at("ttl"));
        }
        if ttl > Wait::NONE && !matches!(answer, DnsAnswer::Records { .. }) {
            let problem = "is of records, and there are none; leave it out";
            return Err(Invalid::new(problem).at("ttl"));
        }
        let percent = percent.unwrap_or(Percent::ALL).above_zero().at("percent")?;
        Ok(Self { questions: questions.checked(&DnsTcp::OF_ANSWERS)?, answer, ttl, percent })
    }

    /// The records as the kernel reads them, if there are any.
    #[must_use]
    pub fn records(&self) -> Option<Box<abi::Records>> {
        let DnsAnswer::Records { cname, addresses } = &self.answer else { return None };
        let seconds = self.ttl.get().as_secs() as u32;
        let mut records = abi::Records {
            ttl: seconds.to_be(),
            alias_length: 0,
            alias_sum: 0,
            v4_count: 0,
            v6_count: 0,
            reserved: [0; 3],
            v4: [Address { fixed: [0], drawn: [0] }; MAX_ADDRESSES],
            v6: [Address { fixed: [0; 4], drawn: [0; 4] }; MAX_ADDRESSES],
            alias: [0; MAX_ALIAS],
        };
        if let Some(cname) = cname {
            let record = alias(&cname.wire(), seconds);
            records.alias[..record.len()].copy_from_slice(&record);
            records.alias_length = record.len() as u32;
            records.alias_sum = sum(&record);
        }
        let v4 = addresses.iter().filter_map(|one| one.v4());
        for (slot, address) in records.v4.iter_mut().zip(v4) {
            *slot = address;
            records.v4_count += 1;
        }
        let v6 = addresses.iter().filter_map(|one| one.v6());
        for (slot, address) in records.v6.iter_mut().zip(v6) {
            *slot = address;
            records.v6_count += 1;
        }
        Some(Box::new(records))
    }
}

/// The record of a name that is another one: RFC 1035, 3.3.1.
fn alias(name: &[u8], ttl: u32) -> Vec<u8> {
    /// Where the question has its name.
    const OWNER: [u8; 2] = [0xc0, 12];
    const CNAME: [u8; 2] = [0, 5];
    const IN: [u8; 2] = [0, 1];
    let length = (name.len() as u16).to_be_bytes();
    [&OWNER[..], &CNAME, &IN, &ttl.to_be_bytes(), &length, name].concat()
}

/// The sum of RFC 1071 in this machine's order, folded.
fn sum(bytes: &[u8]) -> u32 {
    let half =
        |pair: &[u8]| u32::from(u16::from_ne_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    let sum: u32 = bytes.chunks(2).map(half).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) + (sum >> 16)
}

impl fmt::Display for DnsRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// More are only counted.
        const SHOWN: usize = 4;
        let Self { questions, answer, ttl, percent } = self;
        if *percent != Percent::ALL {
            write!(f, "{percent} ")?;
        }
        match answer {
            DnsAnswer::Empty => f.write_str("empty")?,
            DnsAnswer::Truncated => f.write_str("truncated")?,
            DnsAnswer::Records { cname, addresses } => {
                let alias = cname.as_ref().map(|name| format!("CNAME {name}"));
                let some = addresses.iter().take(SHOWN).map(ToString::to_string);
                let words: Vec<_> = alias.into_iter().chain(some).collect();
                f.write_str(&words.join(" "))?;
                if addresses.len() > SHOWN {
                    write!(f, " and {} more", addresses.len() - SHOWN)?;
                }
            }
        }
        if *ttl > Wait::NONE {
            write!(f, " (TTL {ttl})")?;
        }
        write!(f, " for {questions}")
    }
}

written! {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<Addresses>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cname: Option<DnsName>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    empty: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl: Option<Wait>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<Percent>,
}

impl TryFrom<Raw> for DnsRecord {
    type Error = Invalid;

    fn try_from(raw: Raw) -> Result<Self, Invalid> {
        let (questions, (addresses, cname, empty, truncated, ttl, percent)) = raw.parts();
        Self::new(questions, RecordParts { addresses, cname, empty, truncated, ttl, percent })
    }
}

/// What an answer was made of.
fn parts(answer: DnsAnswer) -> RecordParts {
    match answer {
        DnsAnswer::Empty => RecordParts { empty: true, ..RecordParts::default() },
        DnsAnswer::Truncated => RecordParts { truncated: true, ..RecordParts::default() },
        DnsAnswer::Records { cname, addresses } => {
            RecordParts { cname, addresses, ..RecordParts::default() }
        }
    }
}

impl From<DnsRecord> for Raw {
    fn from(record: DnsRecord) -> Self {
        let DnsRecord { questions, answer, ttl, percent } = record;
        let RecordParts { addresses, cname, empty, truncated, .. } = parts(answer);
        let ttl = (ttl > Wait::NONE).then_some(ttl);
        let percent = (percent != Percent::ALL).then_some(percent);
        Self::new(questions, (addresses, cname, empty, truncated, ttl, percent))
    }
}

impl TryFrom<v1::DnsRecord> for DnsRecord {
    type Error = Invalid;

    fn try_from(wire: v1::DnsRecord) -> Result<Self, Invalid> {
        let cname = wire.cname.as_str();
        let parts = RecordParts {
            addresses: list(wire.addresses, |text| text.parse()).at("addresses")?,
            cname: (!cname.is_empty()).then(|| cname.parse()).transpose().at("cname")?,
            empty: wire.empty,
            truncated: wire.truncated,
            ttl: wire.ttl.map(from_duration).transpose().at("ttl")?,
            percent: percent(wire.percent).at("percent")?,
        };
        Self::new(wire.questions.unwrap_or_default().try_into()?, parts)
    }
}

impl From<&DnsRecord> for v1::DnsRecord {
    fn from(record: &DnsRecord) -> Self {
        let RecordParts { addresses, cname, empty, truncated, .. } = parts(record.answer.clone());
        Self {
            questions: Some((&record.questions).into()),
            addresses: texts(addresses),
            cname: cname.map(|name| name.to_string()).unwrap_or_default(),
            empty,
            truncated,
            ttl: (record.ttl > Wait::NONE).then(|| from_wait(record.ttl)),
            percent: (record.percent != Percent::ALL).then(|| record.percent.get()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fault::Fault,
        spec::{Spec, from_yaml},
    };

    fn parsed(fields: &str) -> Result<Fault, String> {
        let text = format!("{{target: {{pid: 1}}, fault: {{dnsRecord: {{{fields}}}}}}}");
        let specs: Vec<Spec> = from_yaml(&text).map_err(|error| error.to_string())?;
        Ok(specs[0].fault.clone())
    }

    fn records(fields: &str) -> Box<abi::Records> {
        let Ok(Fault::DnsRecord(record)) = parsed(fields) else { panic!("no record: {fields}") };
        record.records().unwrap()
    }

    #[test]
    fn it_is_said_shortly() {
        for (fields, said) in [
            ("names: [a.b], addresses: [10.0.0.1]", "10.0.0.1 for a.b"),
            (
                "names: ['**'], addresses: [10.0.0.1, fd00::1, 10.0.0.0/8, random, '::1'], cname: c.d, ttl: 1m, percent: 5",
                "5 % CNAME c.d 10.0.0.1 fd00::1 10.0.0.0/8 random and 1 more (TTL 1m) for **",
            ),
            ("names: [a], empty: true", "empty for a"),
            ("names: [a], truncated: true, tcp: reset", "truncated for a, TCP: reset"),
        ] {
            assert_eq!(parsed(fields).unwrap().to_string(), format!("dns record {said}"));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let many = vec!["10.0.0.1"; 65].join(", ");
        for (fields, word) in [
            ("names: [a]", "not said with what to answer"),
            ("names: [a], empty: true, truncated: true", "leave the others out"),
            ("names: [a], empty: true, cname: b", "leave the others out"),
            ("names: [a], addresses: [b]", "no address range"),
            ("names: [a], cname: '*.b'", "many names"),
            ("names: [b, a], cname: A", "cname: is a name that is asked for"),
            ("names: [a], addresses: [10.0.0.1], ttl: 1500ms", "whole seconds"),
            ("names: [a], empty: true, ttl: 1s", "there are none"),
            (&format!("names: [a], addresses: [{many}]"), "has 65 of IPv4; the most is 64"),
            ("names: [a], empty: true, tcp: delay", "not what this fault does"),
        ] {
            let error = parsed(fields).unwrap_err();
            assert!(error.contains(word), "{fields}: {error}");
        }
    }

    #[test]
    fn what_is_drawn_of_a_range_is_behind_its_prefix() {
        let records = records(
            "names: [a], addresses: [10.0.0.1, 10.1.0.0/16, 'fd00::1', 'fd00::/32', random, 0.0.0.0/0]",
        );
        assert_eq!((records.v4_count, records.v6_count, records.alias_length), (4, 3, 0));
        let v4 = |at: usize| {
            let Address { fixed: [fixed], drawn: [drawn] } = records.v4[at];
            (fixed.to_ne_bytes(), drawn.to_ne_bytes())
        };
        assert_eq!(v4(0), ([10, 0, 0, 1], [0; 4]));
        assert_eq!(v4(1), ([10, 1, 0, 0], [0, 0, 255, 255]));
        assert_eq!(v4(2), ([198, 18, 0, 0], [0, 1, 255, 255]));
        assert_eq!(v4(3), ([0; 4], [255; 4]));
        assert_eq!(records.v6[0].drawn, [0; 4]);
        assert_eq!(records.v6[1].drawn, [0, u32::MAX, u32::MAX, u32::MAX]);
        assert_eq!(records.v6[0].fixed[3].to_ne_bytes(), [0, 0, 0, 1]);
    }

    #[test]
    fn another_name_is_a_whole_record() {
        let records = records("names: [a], cname: b.c, ttl: 5s");
        let record = &records.alias[..records.alias_length as usize];
        assert_eq!(record, b"\xc0\x0c\0\x05\0\x01\0\0\0\x05\0\x05\x01b\x01c\0");
        assert_eq!(sum(&[1, 2, 3]), u32::from(u16::from_ne_bytes([1, 2])) + 3u32.to_le());
    }
}
