//! Frames with questions in them, also such as nobody sends.

use crate::harness::Family;

/// Who asks, and where nobody is: stacks do not look at what is for others.
const OWN: [u8; 6] = [2, 0xfa, 0xce, 0, 0, 1];
const OTHER: [u8; 6] = [2, 0xfa, 0xce, 0, 0, 99];
const UDP: u8 = 17;

/// A question over UDP, before it is put on the wire.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) family: Family,
    pub(super) link_to: [u8; 6],
    pub(super) link_from: [u8; 6],
    /// The last byte of the address that is asked, and its first where it is another one.
    pub(super) to: (u8, Option<u8>),
    pub(super) ports: (u16, u16),
    /// Options of IPv4, whole words; or extension headers of IPv6, the number of the first in front of each.
    pub(super) options: Vec<u8>,
    pub(super) extensions: Vec<(u8, Vec<u8>)>,
    /// The word of IPv4 with the offset of a fragment.
    pub(super) fragment: u16,
    /// What lengths say that are not as they should be.
    pub(super) ip_length: Option<u16>,
    pub(super) udp_length: Option<u16>,
    pub(super) udp_checksum: Option<u16>,
    pub(super) message: Vec<u8>,
    /// Behind the end that IP tells.
    pub(super) padding: Vec<u8>,
}

impl Frame {
    pub(super) fn new(family: Family, message: Vec<u8>) -> Self {
        Self {
            family,
            link_to: OTHER,
            link_from: OWN,
            to: (53, None),
            ports: (40_000, 53),
            options: Vec::new(),
            extensions: Vec::new(),
            fragment: 0,
            ip_length: None,
            udp_length: None,
            udp_checksum: None,
            message,
            padding: Vec::new(),
        }
    }

    /// What the UDP header says if nothing else is wanted.
    pub(super) fn udp_bytes(&self) -> u16 {
        8 + self.message.len() as u16
    }

    /// The same of the IP header.
    pub(super) fn ip_bytes(&self) -> u16 {
        let inner = self.udp_bytes();
        match self.family {
            Family::V4 => 20 + self.options.len() as u16 + inner,
            Family::V6 => {
                self.extensions.iter().map(|(_, bytes)| bytes.len() as u16).sum::<u16>() + inner
            }
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = [self.link_to, self.link_from].concat();
        let ip_length = self.ip_length.unwrap_or_else(|| self.ip_bytes());
        let begin = match self.family {
            Family::V4 => {
                bytes.extend([0x08, 0x00, 0x45 + (self.options.len() / 4) as u8, 0]);
                bytes.extend(ip_length.to_be_bytes());
                bytes.extend([0x12, 0x34]);
                bytes.extend(self.fragment.to_be_bytes());
                bytes.extend([64, UDP, 0, 0]);
                bytes.extend([10, 77, 0, 1]);
                bytes.extend([self.to.1.unwrap_or(10), 77, 0, self.to.0]);
                bytes.extend(&self.options);
                let sum = checksum(&bytes[14..]);
                bytes[24..26].copy_from_slice(&sum.to_be_bytes());
                26
            }
            Family::V6 => {
                let mut next = self.extensions.iter().map(|(kind, _)| *kind).chain([UDP]);
                bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                bytes.extend(ip_length.to_be_bytes());
                bytes.extend([next.next().unwrap_or(UDP), 64]);
                bytes.extend([0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
                let first = self.to.1.unwrap_or(0xfd);
                bytes.extend([first, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, self.to.0]);
                for (_, extension) in &self.extensions {
                    let at = bytes.len();
                    bytes.extend(extension);
                    bytes[at] = next.next().unwrap_or(UDP);
                }
                22
            }
        };
        let udp = bytes.len();
        bytes.extend(self.ports.0.to_be_bytes());
        bytes.extend(self.ports.1.to_be_bytes());
        bytes.extend(self.udp_length.unwrap_or_else(|| self.udp_bytes()).to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(&self.message);
        let sum = self.udp_checksum.unwrap_or_else(|| {
            let ends = &bytes[begin..begin + if self.family == Family::V4 { 8 } else { 32 }];
            udp_checksum(ends, &bytes[udp..])
        });
        bytes[udp + 6..udp + 8].copy_from_slice(&sum.to_be_bytes());
        bytes.extend(&self.padding);
        bytes
    }
}

/// RFC 1071.
pub(super) fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])));
    let mut sum: u64 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Of a datagram between two addresses, whose checksum is zero so far.
pub(super) fn udp_checksum(ends: &[u8], datagram: &[u8]) -> u16 {
    let length = (datagram.len() as u16).to_be_bytes();
    let whole = [ends, &[0, UDP], &length, datagram].concat();
    match checksum(&whole) {
        0 => u16::MAX,
        sum => sum,
    }
}

/// A message as a resolver sends one: with the options of EDNS, if any, behind the question.
pub(super) fn message(labels: &[&[u8]], kind: u16, options: Option<&[u8]>) -> Vec<u8> {
    let mut message = vec![0x5a, 0xa5, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in labels {
        message.push(label.len() as u8);
        message.extend(*label);
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    if let Some(options) = options {
        message[11] = 1;
        // For 1232 bytes, with DNSSEC.
        message.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0]);
        message.extend((options.len() as u16).to_be_bytes());
        message.extend(options);
    }
    message
}
