//! What the systemd unit leaves to the daemon, done without systemd: capabilities, limits, the mode of new
//! files, and mounts that cannot be written.

use std::{ffi::CString, io, path::Path, str::FromStr};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    libc,
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{
        prctl::set_no_new_privs,
        resource::{RLIM_INFINITY, Resource, setrlimit},
        stat::{Mode, umask},
    },
};

use super::{Scratch, cgroup};

const UNIT: &str = include_str!("../../../../packaging/systemd/chaos-daemon.service");

/// A privilege that the unit keeps, by the kernel's number of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Capability {
    Chown = 0,
    DacReadSearch = 2,
    NetBindService = 10,
    NetAdmin = 12,
    SysPtrace = 19,
    SysAdmin = 21,
}

impl FromStr for Capability {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        Ok(match name {
            "CAP_CHOWN" => Self::Chown,
            "CAP_DAC_READ_SEARCH" => Self::DacReadSearch,
            "CAP_NET_BIND_SERVICE" => Self::NetBindService,
            "CAP_NET_ADMIN" => Self::NetAdmin,
            "CAP_SYS_PTRACE" => Self::SysPtrace,
            "CAP_SYS_ADMIN" => Self::SysAdmin,
            _ => bail!("the unit keeps {name}, and no test shows what for"),
        })
    }
}

/// The unit, ready for a process to confine itself by.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    capabilities: Vec<Capability>,
    umask: Mode,
    open_files: u64,
    /// The only folder outside of `/proc`, `/sys` and `/dev` that stays writable.
    writable: CString,
    read_only: Vec<CString>,
}

impl Unit {
    /// As it is shipped, for a daemon that keeps everything in a scratch folder.
    pub(crate) fn shipped(scratch: &Scratch) -> Result<Self> {
        for line in [
            "NoNewPrivileges=yes",
            "AmbientCapabilities=",
            "LimitMEMLOCK=infinity",
            "ProtectSystem=strict",
            "ProtectControlGroups=yes",
        ] {
            ensure!(UNIT.lines().any(|other| other == line), "the unit does not say `{line}`");
        }
        let names = value("CapabilityBoundingSet")?.split(' ');
        let mut read_only = vec![c"/".to_owned()];
        for mount in cgroup::mounts()? {
            read_only.push(text(&mount)?);
        }
        Ok(Self {
            capabilities: names.map(str::parse).collect::<Result<_>>()?,
            umask: Mode::from_bits_truncate(u32::from_str_radix(value("UMask")?, 8)?),
            open_files: value("LimitNOFILE")?.parse()?,
            writable: text(scratch.path())?,
            read_only,
        })
    }

    /// With one capability less.
    pub(crate) fn without(mut self, capability: Capability) -> Result<Self> {
        let before = self.capabilities.len();
        self.capabilities.retain(|kept| *kept != capability);
        ensure!(self.capabilities.len() < before, "the unit does not keep {capability:?} at all");
        Ok(self)
    }

    /// The kernel's set of the capabilities.
    pub(crate) fn set(&self) -> u64 {
        self.capabilities.iter().fold(0, |set, capability| set | 1 << *capability as u8)
    }

    /// Confines this process. To be called between fork and exec: it makes system calls only.
    pub(super) fn enter(&self) -> io::Result<()> {
        // Where the tests themselves may not raise them, the daemon has to do with less.
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
        let _ = setrlimit(Resource::RLIMIT_NOFILE, self.open_files, self.open_files);
        umask(self.umask);
        unshare(CloneFlags::CLONE_NEWNS)?;
        let (none, bind) = (None::<&str>, MsFlags::MS_BIND);
        let writable = self.writable.as_c_str();
        mount(Some(writable), writable, none, bind | MsFlags::MS_REC, none)?;
        for place in &self.read_only {
            let flags = bind | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
            mount(none, place.as_c_str(), none, flags, none)?;
        }
        keep_only(self.set())?;
        Ok(set_no_new_privs()?)
    }
}

fn value(key: &str) -> Result<&'static str> {
    let mut pairs = UNIT.lines().filter_map(|line| line.split_once('='));
    let (_, value) =
        pairs.find(|(other, _)| *other == key).with_context(|| format!("the unit has no {key}"))?;
    Ok(value)
}

fn text(path: &Path) -> Result<CString> {
    Ok(CString::new(path.as_os_str().as_encoded_bytes())?)
}

/// Header and data of `capset(2)`, version 3: effective, permitted, inheritable, low half first.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// Gives up every other capability: root gets no more than the bounding set when it executes a program.
fn keep_only(set: u64) -> io::Result<()> {
    for number in (0..64_u64).filter(|number| set & (1 << number) == 0) {
        // SAFETY: this call takes numbers only. Numbers that the kernel does not know are EINVAL.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) } != 0 {
            break;
        }
    }
    let header = Header { version: 0x2008_0522, pid: 0 };
    let half = |shift: u32| [(set >> shift) as u32, (set >> shift) as u32, 0];
    let data = [half(0), half(32)];
    // SAFETY: both are what version 3 of the call reads, and outlive it.
    let status = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
