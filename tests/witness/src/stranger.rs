//! A program of somebody else's on an interface, that counts packets and lets them be.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result};

use crate::call::{self, Attach};

/// Which packets of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Those that come in.
    In,
    /// Those that go out.
    Out,
}

/// The program, attached by tcx until the value goes.
#[derive(Debug)]
pub struct Stranger {
    count: OwnedFd,
    _link: OwnedFd,
}

impl Stranger {
    /// Attaches one to an interface of this thread's network namespace, behind those that are there.
    ///
    /// # Errors
    /// When the kernel refuses; before Linux 6.6 always.
    pub fn attach(index: u32, way: Way) -> Result<Self> {
        let attach = match way {
            Way::In => Attach::TcxIngress,
            Way::Out => Attach::TcxEgress,
        };
        let count = call::make_number().context("cannot make a map")?;
        let program = call::load(&counter(count.as_fd())).context("cannot load a program")?;
        let link = call::link(program.as_fd(), index, attach)
            .with_context(|| format!("cannot attach a program at {attach:?}"))?;
        Ok(Self { count, _link: link })
    }

    /// How many packets of IPv4 it has seen.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn seen(&self) -> Result<u64> {
        call::number(self.count.as_fd()).context("cannot read what a program has counted")
    }
}

/// One more in a map for each packet of IPv4; what comes next decides.
fn counter(map: BorrowedFd<'_>) -> [u64; 14] {
    let instruction = |code: u8, registers: u8, offset: i16, value: i32| {
        let [low, high] = offset.to_le_bytes();
        let [a, b, c, d] = value.to_le_bytes();
        u64::from_le_bytes([code, registers, low, high, a, b, c, d])
    };
    let end = |from: i16| 12 - from - 1;
    [
        // r2 = skb->protocol
        instruction(0x61, 0x12, 16, 0),
        // if r2 != ETH_P_IP, in network byte order, goto end
        instruction(0x55, 0x02, end(1), 0x0008),
        // *(u32 *)(fp - 4) = 0
        instruction(0x62, 0x0a, -4, 0),
        // r2 = fp - 4
        instruction(0xbf, 0xa2, 0, 0),
        instruction(0x07, 0x02, 0, -4),
        // r1 = map
        instruction(0x18, 0x11, 0, map.as_raw_fd()),
        instruction(0, 0, 0, 0),
        // r0 = bpf_map_lookup_elem(r1, r2)
        instruction(0x85, 0, 0, 1),
        // if r0 == 0 goto end
        instruction(0x15, 0, end(8), 0),
        // lock *(u64 *)(r0 + 0) += 1
        instruction(0xb7, 0x01, 0, 1),
        instruction(0xdb, 0x10, 0, 0),
        instruction(0x05, 0, 0, 0),
        // end: return -1
        instruction(0xb7, 0, 0, -1),
        instruction(0x95, 0, 0, 0),
    ]
}
