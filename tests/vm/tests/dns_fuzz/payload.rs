//! What hosts find in a frame below its headers: by RFC 768, 791 and 8200.

/// What there is below IP and UDP.
pub(super) struct Payload<'a> {
    /// As far as all lengths let it go.
    pub(super) message: &'a [u8],
    /// Up to the end of the frame.
    pub(super) there: &'a [u8],
    /// The headers are such as hosts send.
    pub(super) is_regular: bool,
    /// One can answer it in its place.
    pub(super) has_answer: bool,
}

impl<'a> Payload<'a> {
    /// `None` for what is no question, whatever is in it.
    pub(super) fn of(frame: &'a [u8]) -> Option<Self> {
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

/// Two bytes at a place, if they are there.
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}
