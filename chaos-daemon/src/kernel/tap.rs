//! A TAP device: an interface whose other end is a file of this process, with which it ends.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd},
        unix::fs::OpenOptionsExt as _,
    },
};

use chaos_common::abi::{LABEL_ETHERTYPE, Label};

const DEVICE: &str = "/dev/net/tun";

/// Where the first VLAN tag of a frame begins: behind its two addresses.
const TAGS_AT: usize = 12;
const TAG: usize = 4;
/// The largest frame: a packet of 65,535 bytes, with a link header and more tags than it can have.
pub(super) const FRAME: usize = 0x1_0000 + 128;

/// One end of the device.
#[derive(Debug)]
pub(super) struct Tap(File);

/// A frame that is to wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// When it is to leave, on the monotonic clock.
    pub(super) departure_ns: u64,
    /// What to write then.
    pub(super) bytes: Box<[u8]>,
}

nix::ioctl_write_ptr_bad! {
    /// Which index the device will have.
    set_index, libc::TUNSETIFINDEX, libc::c_uint
}

nix::ioctl_write_ptr_bad! {
    /// Makes the device.
    set_interface, libc::TUNSETIFF, libc::ifreq
}

impl Tap {
    /// Makes one in the calling thread's network namespace. It saves the stack no work: what is read from it has
    /// its checksums, and was cut to what its interface sends at once.
    pub(super) fn make(index: u32, name: &str) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
        let file = options
            .open(DEVICE)
            .map_err(|error| io::Error::new(error.kind(), format!("open {DEVICE}: {error}")))?;
        // SAFETY: all zeroes is an empty name and no flags.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_TUN_EXCL;
        request.ifr_ifru.ifru_flags = flags as u16 as libc::c_short;
        // SAFETY: the kernel reads a number, and a name that ends with a zero; both outlive the calls.
        unsafe {
            set_index(file.as_raw_fd(), &raw const index)?;
            set_interface(file.as_raw_fd(), &raw const request)?;
        }
        Ok(Self(file))
    }

    /// The next frame that was sent into it, written to a buffer. `None` if there is none at the moment.
    pub(super) fn read<'a>(&self, buffer: &'a mut [u8; FRAME]) -> io::Result<Option<&'a [u8]>> {
        loop {
            match (&self.0).read(buffer) {
                Ok(length) => return Ok(Some(&buffer[..length])),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Lets a frame come in by it.
    pub(super) fn write(&self, frame: &[u8]) -> io::Result<()> {
        (&self.0).write(frame).map(drop)
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Frame {
    /// From what was read. `None` for what our program did not send.
    pub(super) fn of(read: &[u8], now_ns: u64) -> Option<Self> {
        let (addresses, rest) = read.split_at_checked(TAGS_AT)?;
        let (tags, rest) = rest.split_at_checked(Label::TAGS * TAG)?;
        let mut values = [0; Label::TAGS];
        for (value, [kind @ .., high, low]) in values.iter_mut().zip(tags.as_chunks::<TAG>().0) {
            if *kind != LABEL_ETHERTYPE.to_be_bytes() {
                return None;
            }
            *value = u16::from_be_bytes([*high, *low]);
        }
        // The way is the first, and all that it takes back.
        let bytes = [addresses, &tags[..TAG], rest].concat().into();
        Some(Self { departure_ns: Label::of(values).departure_ns(now_ns), bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_gives_its_departure_and_keeps_its_way() {
        let now = 5_000_000_000;
        let label = Label::new(now + 1_000_000, 0x1234);
        let mut read = vec![7; TAGS_AT];
        for tag in label.tags() {
            read.extend(LABEL_ETHERTYPE.to_be_bytes());
            read.extend(tag.to_be_bytes());
        }
        read.extend([8, 0, 1, 2, 3]);
        let frame = Frame::of(&read, now).unwrap();
        assert!((now + 1_000_000..now + 1_005_000).contains(&frame.departure_ns));
        let mut back = vec![7; TAGS_AT];
        back.extend([0x88, 0xA8, 0x12, 0x34, 8, 0, 1, 2, 3]);
        assert_eq!(*frame.bytes, *back);
        read[TAGS_AT] = 8;
        assert_eq!(Frame::of(&read, now), None);
        assert_eq!(Frame::of(&read[..20], now), None);
    }
}
