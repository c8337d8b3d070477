//! A program of somebody else's on an interface, that sees packets and lets them be.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};

use crate::call::{self, Attach};

/// `r0 = -1; exit`: what comes next decides.
const NEXT: [u64; 2] = [0xffff_ffff_0000_00b7, 0x95];

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
    program: OwnedFd,
    _link: OwnedFd,
    _stats: OwnedFd,
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
        let stats = call::enable_stats().context("the kernel does not count runs of programs")?;
        let program = call::load(&NEXT).context("cannot load a program")?;
        let link = call::link(program.as_fd(), index, attach)
            .with_context(|| format!("cannot attach a program at {attach:?}"))?;
        Ok(Self { program, _link: link, _stats: stats })
    }

    /// How many packets it has seen.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn seen(&self) -> Result<u64> {
        let path = format!("/proc/thread-self/fdinfo/{}", self.program.as_raw_fd());
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let count = text.lines().find_map(|line| line.strip_prefix("run_cnt:"));
        count.context("no count of runs")?.trim().parse().context("the count is no number")
    }
}
