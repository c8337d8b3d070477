//! Questions about traffic control in this thread's network namespace, by rtnetlink.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, bail};
use nix::{
    libc,
    net::if_::if_nameindex,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto,
        socket,
    },
};

/// Parents of the filters of a clsact qdisc (`TC_H_CLSACT`, `TC_H_MIN_INGRESS` and `TC_H_MIN_EGRESS`).
const PARENTS: [u32; 2] = [0xffff_fff2, 0xffff_fff3];
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Length of `struct tcmsg`.
const TCMSG: usize = 20;

/// Number and name of each interface.
pub(crate) fn interfaces() -> Result<Vec<u32>> {
    let list = if_nameindex().context("cannot list the interfaces")?;
    Ok(list.iter().map(nix::net::if_::Interface::index).collect())
}

/// How many qdiscs and filters somebody put there; a new interface has none.
pub(crate) fn count() -> Result<usize> {
    let netlink = open()?;
    let message = |index: u32, parent: u32| {
        let mut message = vec![0; TCMSG];
        message[4..8].copy_from_slice(&index.to_ne_bytes());
        message[12..16].copy_from_slice(&parent.to_ne_bytes());
        message
    };
    let qdiscs =
        dump(&netlink, libc::RTM_GETQDISC, &message(0, 0)).context("cannot list qdiscs")?;
    let mut count = qdiscs.iter().filter(|qdisc| !is_default(qdisc)).count();
    for index in interfaces()? {
        for parent in PARENTS {
            // Where there is no clsact, the kernel lists nothing or says so.
            let filters =
                dump(&netlink, libc::RTM_GETTFILTER, &message(index, parent)).unwrap_or_default();
            // A dump also has one entry without a handle for each priority in use.
            count += filters.iter().filter(|filter| filter.get(8..12) != Some(&[0; 4])).count();
        }
    }
    Ok(count)
}

/// The kernel puts `noqueue` onto interfaces without hardware by itself.
fn is_default(qdisc: &[u8]) -> bool {
    let mut rest = qdisc.get(TCMSG..).unwrap_or_default();
    // struct rtattr: length, type; then the value, padded to 4 bytes
    while let [low, high, kind_low, kind_high, ..] = *rest {
        let length = usize::from(u16::from_ne_bytes([low, high]));
        if u16::from_ne_bytes([kind_low, kind_high]) == libc::TCA_KIND {
            return rest.get(4..length) == Some(b"noqueue\0");
        }
        rest = rest.get(length.max(4).next_multiple_of(4)..).unwrap_or_default();
    }
    false
}

/// `RTM_NEWLINK` for interface 1 with `IFF_UP`.
pub(crate) fn set_loopback_up() -> Result<()> {
    let netlink = open()?;
    let up = libc::IFF_UP.to_ne_bytes();
    // struct ifinfomsg: family, padding, type, index, flags, change mask
    let body = [[0; 4], 1_i32.to_ne_bytes(), up, up].concat();
    request(&netlink, libc::RTM_NEWLINK, libc::NLM_F_ACK, &body)?;
    answers(&netlink, |_| {})
}

fn open() -> Result<OwnedFd> {
    let protocol = SockProtocol::NetlinkRoute;
    socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
        .context("cannot open a netlink socket")
}

fn dump(netlink: &OwnedFd, kind: u16, body: &[u8]) -> Result<Vec<Vec<u8>>> {
    request(netlink, kind, libc::NLM_F_DUMP, body)?;
    let mut found = Vec::new();
    answers(netlink, |body| found.push(body.to_vec()))?;
    Ok(found)
}

fn request(netlink: &OwnedFd, kind: u16, flags: i32, body: &[u8]) -> Result<()> {
    let length = u32::try_from(HEADER + body.len())?;
    let flags = u16::try_from(libc::NLM_F_REQUEST | flags)?;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    sendto(netlink.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    Ok(())
}

/// Reads up to the end of a dump or the acknowledgement.
fn answers(netlink: &OwnedFd, mut each: impl FnMut(&[u8])) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = recv(netlink.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut rest = &buffer[..length];
        while rest.len() >= HEADER {
            let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            let Some(body) = rest.get(HEADER..length) else {
                bail!("a netlink message is cut short")
            };
            match i32::from(u16::from_ne_bytes([rest[4], rest[5]])) {
                libc::NLMSG_DONE => return Ok(()),
                libc::NLMSG_ERROR => {
                    let code =
                        body.get(..4).map_or(0, |b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
                    if code == 0 {
                        return Ok(());
                    }
                    return Err(std::io::Error::from_raw_os_error(-code).into());
                }
                _ => each(body),
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}
