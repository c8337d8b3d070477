//! The `net` object: its bytes, its maps, its programs.

use std::fs::File;

use aya::{
    Ebpf, EbpfLoader,
    maps::{Map, MapData},
    programs::{
        CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSock, CgroupSockAddr,
        SchedClassifier,
        links::{FdLink, LinkError},
    },
};

use super::{Instance, KernelError, Pins, error::innermost, instance::HopEnd, side::Side};

static NET: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/net"));

/// Names this build of all objects.
pub(super) const DIGEST: &str = env!("CHAOS_OBJECTS_DIGEST");

/// The maps that outlive a daemon: all that a program of an earlier one, which is adopted, shares with those
/// of this one.
const PINNED_MAPS: [&str; 19] = [
    "LEASE",
    "LEVELS",
    "TARGET_BITS",
    "TARGETS",
    "RULES",
    "PREFIXES",
    "NAMES",
    "STATE",
    "STATS",
    "EVENTS",
    "LAYOUT",
    "SHAPES",
    "RECORDS",
    "REDIRECTED",
    "CONNECTED",
    "FLOWS",
    "WAYS",
    "HANDOVER",
    "LOST",
];

/// The maps that a program needs for nothing but the packet at hand, and its constants.
const OWN_MAPS: [&str; 5] = ["PACKET", "QUESTIONS", "REPORTS", ".rodata", ".bss"];

/// Which of the twin programs are loaded; see `chaos-ebpf/src/counter.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// Each event has its own number, on any number of CPUs.
    Exact,
    /// Two CPUs may share a number (kernels before 5.12).
    Close,
}

/// A program of a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HopProgram {
    /// At the entrance.
    Enter,
    /// At the exit.
    Leave,
    /// Where packets go to user space.
    EnterTap,
    /// Where they come back from there.
    LeaveTap,
    /// At the exit of the one that spoils checksums.
    Spoil,
}

/// A program that is attached to cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CgroupProgram {
    /// What a socket is about to take.
    Receive,
    /// What connects over IPv4.
    Connect4,
    /// What connects over IPv6.
    Connect6,
    /// What sends to an address over IPv4.
    Sendmsg4,
    /// What sends to an address over IPv6.
    Sendmsg6,
    /// What binds over IPv4.
    Bind4,
    /// What binds over IPv6.
    Bind6,
    /// From whom something came over IPv4.
    Recvmsg4,
    /// From whom something came over IPv6.
    Recvmsg6,
    /// Who is at the other end over IPv4.
    Getpeername4,
    /// Who is at the other end over IPv6.
    Getpeername6,
    /// A socket that is closed.
    Release,
}

impl CgroupProgram {
    /// How the names of its pins begin.
    pub(super) const fn pin(self) -> &'static str {
        match self {
            Self::Receive => "in-",
            Self::Connect4 => "connect4-",
            Self::Connect6 => "connect6-",
            Self::Sendmsg4 => "sendmsg4-",
            Self::Sendmsg6 => "sendmsg6-",
            Self::Bind4 => "bind4-",
            Self::Bind6 => "bind6-",
            Self::Recvmsg4 => "recvmsg4-",
            Self::Recvmsg6 => "recvmsg6-",
            Self::Getpeername4 => "getpeername4-",
            Self::Getpeername6 => "getpeername6-",
            Self::Release => "release-",
        }
    }

    const fn name(self, counting: Counting, refusal: Refusal) -> &'static str {
        use Counting::{Close, Exact};
        use Refusal::{AnyErrno, Permission};
        match (self, refusal, counting) {
            (Self::Receive, _, Exact) => "net_in",
            (Self::Receive, _, Close) => "net_in_close",
            (Self::Recvmsg4, ..) => "net_recvmsg4",
            (Self::Recvmsg6, ..) => "net_recvmsg6",
            (Self::Getpeername4, ..) => "net_getpeername4",
            (Self::Getpeername6, ..) => "net_getpeername6",
            (Self::Release, ..) => "net_release",
            (Self::Connect4, AnyErrno, _) => "net_connect4",
            (Self::Connect6, AnyErrno, _) => "net_connect6",
            (Self::Sendmsg4, AnyErrno, _) => "net_sendmsg4",
            (Self::Sendmsg6, AnyErrno, _) => "net_sendmsg6",
            (Self::Bind4, AnyErrno, _) => "net_bind4",
            (Self::Bind6, AnyErrno, _) => "net_bind6",
            (Self::Connect4, Permission, Exact) => "net_connect4_eperm",
            (Self::Connect6, Permission, Exact) => "net_connect6_eperm",
            (Self::Sendmsg4, Permission, Exact) => "net_sendmsg4_eperm",
            (Self::Sendmsg6, Permission, Exact) => "net_sendmsg6_eperm",
            (Self::Bind4, Permission, Exact) => "net_bind4_eperm",
            (Self::Bind6, Permission, Exact) => "net_bind6_eperm",
            (Self::Connect4, Permission, Close) => "net_connect4_eperm_close",
            (Self::Connect6, Permission, Close) => "net_connect6_eperm_close",
            (Self::Sendmsg4, Permission, Close) => "net_sendmsg4_eperm_close",
            (Self::Sendmsg6, Permission, Close) => "net_sendmsg6_eperm_close",
            (Self::Bind4, Permission, Close) => "net_bind4_eperm_close",
            (Self::Bind6, Permission, Close) => "net_bind6_eperm_close",
        }
    }
}

/// How an attempt to connect, send or bind may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As one likes (Linux 6.1).
    AnyErrno,
    /// With `EPERM` only.
    Permission,
}

pub(super) struct Object {
    ebpf: Ebpf,
    counting: Counting,
    refusal: Refusal,
    /// Second handles of the maps that are pinned, by the names of their pins.
    pinned: Vec<(String, MapData)>,
    tables: u32,
}

impl Object {
    pub(super) fn load(pins: Option<&Pins>, instance: Instance) -> Result<Self, KernelError> {
        let number = instance.number();
        let entrance = instance.hop_index(HopEnd::Entrance);
        let spoiler = instance.hop_index(HopEnd::SpoilerEntrance);
        let mut loader = EbpfLoader::new();
        loader.override_global("INSTANCE", &number, true);
        loader.override_global("ENTRANCE", &entrance, true);
        loader.override_global("SPOILER", &spoiler, true);
        if let Some(pins) = pins {
            for map in PINNED_MAPS {
                loader.map_pin_path(map, pins.path(&pin_name(map)));
            }
        }
        let ebpf = loader.load(NET).map_err(KernelError::Load)?;
        // One that is forgotten above would be split between an adopted program and ours.
        let is_listed = |name: &str| PINNED_MAPS.contains(&name) || OWN_MAPS.contains(&name);
        if !ebpf.maps().all(|(name, _)| is_listed(name)) {
            return Err(KernelError::Missing("place for one of its maps"));
        }
        let pinned = pins.map_or(Ok(Vec::new()), |pins| pins.maps(PINNED_MAPS.map(pin_name)))?;
        let Some(Map::PerCpuArray(one)) = ebpf.map("HANDOVER") else {
            return Err(KernelError::Missing("map HANDOVER"));
        };
        let one =
            one.info().map_err(|source| KernelError::Map { what: "look at a map", source })?;
        let tables = one.id();
        let (counting, refusal) = (Counting::Exact, Refusal::AnyErrno);
        Ok(Self { ebpf, counting, refusal, pinned, tables })
    }

    /// Tells programs that share our tables from those of other builds and runs: the kernel's id of one table.
    pub(super) fn tables(&self) -> u32 {
        self.tables
    }

    /// Whether every map that should be is pinned.
    pub(super) fn has_pins(&self, pins: &Pins) -> bool {
        self.pinned.iter().all(|(name, _)| pins.has(name))
    }

    /// Pins the maps whose pins somebody removed.
    pub(super) fn restore_pins(&self, pins: &Pins) -> Result<(), KernelError> {
        pins.restore_maps(&self.pinned)
    }

    /// Uses the other twins from now on.
    pub(super) fn count_closely(&mut self) {
        self.counting = Counting::Close;
    }

    pub(super) fn counting(&self) -> Counting {
        self.counting
    }

    pub(super) fn take_map(&mut self, name: &'static str) -> Result<Map, KernelError> {
        self.ebpf.take_map(name).ok_or(KernelError::Missing(name))
    }

    /// The program for one side of an interface, loaded.
    pub(super) fn on_interface(&mut self, side: Side) -> Result<&mut SchedClassifier, KernelError> {
        match side {
            Side::Out => self.egress(),
            Side::In => self.arrival(),
        }
    }

    /// The program for what comes in by an interface, loaded.
    pub(super) fn arrival(&mut self) -> Result<&mut SchedClassifier, KernelError> {
        self.classifier(match self.counting {
            Counting::Exact => "net_arrive",
            Counting::Close => "net_arrive_close",
        })
    }

    /// The egress program, loaded.
    pub(super) fn egress(&mut self) -> Result<&mut SchedClassifier, KernelError> {
        let name = match self.counting {
            Counting::Exact => "net_out",
            Counting::Close => "net_out_close",
        };
        self.classifier(name)
    }

    fn classifier(&mut self, name: &'static str) -> Result<&mut SchedClassifier, KernelError> {
        let program = self.ebpf.program_mut(name).ok_or(KernelError::Missing(name))?;
        let failed = |source| KernelError::Program { program: name, source };
        let program: &mut SchedClassifier = program.try_into().map_err(failed)?;
        if program.fd().is_err() {
            let loaded = program.load();
            // With what the verifier says, which is long.
            let said =
                loaded.inspect_err(|error| tracing::debug!(%error, name, "a program was refused"));
            said.map_err(failed)?;
        }
        Ok(program)
    }

    /// A program of a hop, loaded, or why it is not.
    pub(super) fn hop(&mut self, program: HopProgram) -> Result<&mut SchedClassifier, String> {
        let name = match program {
            HopProgram::Enter => "net_hop_enter",
            HopProgram::Leave => "net_hop_leave",
            HopProgram::EnterTap => "net_tap_enter",
            HopProgram::LeaveTap => "net_tap_leave",
            HopProgram::Spoil => "net_hop_spoil",
        };
        self.classifier(name).map_err(|error| innermost(&error))
    }

    /// Uses the programs that know `EPERM` only from now on.
    pub(super) fn refuse_plainly(&mut self) {
        self.refusal = Refusal::Permission;
    }

    /// Loads the program for what a cgroup receives.
    pub(super) fn load_receiving(&mut self) -> Result<(), KernelError> {
        self.receiving().map(drop)
    }

    /// Whether this kernel lets a call fail with any errno: by a program of a few instructions, since loading those
    /// that judge takes time.
    pub(super) fn can_say_any_errno(&mut self) -> bool {
        self.sock_addr("net_any_errno").is_ok()
    }

    /// Attaches a program to a cgroup, or says why not.
    pub(super) fn attach_to_cgroup(
        &mut self,
        program: CgroupProgram,
        dir: &File,
    ) -> Result<FdLink, String> {
        let mode = CgroupAttachMode::Single;
        match program {
            CgroupProgram::Receive => {
                let program = self.receiving().map_err(|error| innermost(&error))?;
                program
                    .attach(dir, CgroupSkbAttachType::Ingress, mode)
                    .and_then(|id| program.take_link(id))
                    .map_err(|error| innermost(&error))?
                    .try_into()
            }
            CgroupProgram::Release => {
                let program = self.releasing().map_err(|error| innermost(&error))?;
                program
                    .attach(dir, mode)
                    .and_then(|id| program.take_link(id))
                    .map_err(|error| innermost(&error))?
                    .try_into()
            }
            CgroupProgram::Connect4
            | CgroupProgram::Connect6
            | CgroupProgram::Sendmsg4
            | CgroupProgram::Sendmsg6
            | CgroupProgram::Bind4
            | CgroupProgram::Bind6
            | CgroupProgram::Recvmsg4
            | CgroupProgram::Recvmsg6
            | CgroupProgram::Getpeername4
            | CgroupProgram::Getpeername6 => {
                let program = self.attempting(program).map_err(|error| innermost(&error))?;
                program
                    .attach(dir, mode)
                    .and_then(|id| program.take_link(id))
                    .map_err(|error| innermost(&error))?
                    .try_into()
            }
        }
        .map_err(|error: LinkError| innermost(&error))
    }

    fn receiving(&mut self) -> Result<&mut CgroupSkb, KernelError> {
        let name = CgroupProgram::Receive.name(self.counting, self.refusal);
        let program = self.ebpf.program_mut(name).ok_or(KernelError::Missing(name))?;
        let failed = |source| KernelError::Program { program: name, source };
        let program: &mut CgroupSkb = program.try_into().map_err(failed)?;
        if program.fd().is_err() {
            program.load().map_err(failed)?;
        }
        Ok(program)
    }

    fn releasing(&mut self) -> Result<&mut CgroupSock, KernelError> {
        let name = CgroupProgram::Release.name(self.counting, self.refusal);
        let program = self.ebpf.program_mut(name).ok_or(KernelError::Missing(name))?;
        let failed = |source| KernelError::Program { program: name, source };
        let program: &mut CgroupSock = program.try_into().map_err(failed)?;
        if program.fd().is_err() {
            program.load().map_err(failed)?;
        }
        Ok(program)
    }

    fn attempting(&mut self, program: CgroupProgram) -> Result<&mut CgroupSockAddr, KernelError> {
        self.sock_addr(program.name(self.counting, self.refusal))
    }

    fn sock_addr(&mut self, name: &'static str) -> Result<&mut CgroupSockAddr, KernelError> {
        let program = self.ebpf.program_mut(name).ok_or(KernelError::Missing(name))?;
        let failed = |source| KernelError::Program { program: name, source };
        let program: &mut CgroupSockAddr = program.try_into().map_err(failed)?;
        if program.fd().is_err() {
            program.load().map_err(failed)?;
        }
        Ok(program)
    }
}

pub(super) fn pin_name(map: &str) -> String {
    format!("map-{}", map.to_lowercase())
}
