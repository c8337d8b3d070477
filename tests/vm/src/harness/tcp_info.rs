//! `TCP_INFO`, of which the tests want what `libc` does not name everywhere.

use std::os::fd::AsFd;

use nix::{Result, errno::Errno, libc, sys::socket::GetSockOpt};

/// The socket option.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TcpInfo;

/// `struct tcp_info` up to `tcpi_total_retrans` (Linux 2.6): eight bytes, then 24 numbers.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Info {
    bytes: [u8; 8],
    numbers: [u32; 24],
}

impl Info {
    /// Whether the connection is whole: `TCP_ESTABLISHED`.
    pub(crate) fn is_established(&self) -> bool {
        self.bytes[0] == 1
    }

    /// Segments ever sent again.
    pub(crate) fn total_retransmits(&self) -> u32 {
        self.numbers[23]
    }
}

impl GetSockOpt for TcpInfo {
    type Val = Info;

    fn get<F: AsFd>(&self, fd: &F) -> Result<Info> {
        use std::os::fd::AsRawFd as _;
        let mut info = Info::default();
        let mut length = size_of::<Info>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes, the size of `info`; any bits are valid.
        let status = unsafe {
            libc::getsockopt(
                fd.as_fd().as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                (&raw mut info).cast(),
                &raw mut length,
            )
        };
        Errno::result(status).map(|_| info)
    }
}
