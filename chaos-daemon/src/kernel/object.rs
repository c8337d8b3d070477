//! The `net` object: its bytes, its maps, its programs.

use std::io;

use aya::{
    Ebpf, EbpfLoader,
    maps::{Map, MapData, MapError},
    programs::{CgroupSkb, SchedClassifier},
};

use super::{Instance, KernelError, Pins, error::innermost, instance::HopEnd, namespace::Side};

static NET: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/net"));

/// Names this build of the object.
pub(super) const DIGEST: &str = env!("CHAOS_NET_DIGEST");

/// The maps that outlive a daemon: all that a program of an earlier one, which is adopted, shares with those
/// of this one.
const PINNED_MAPS: [&str; 15] = [
    "LEASE",
    "LEVELS",
    "TARGET_BITS",
    "TARGETS",
    "RULES",
    "PREFIXES",
    "STATE",
    "STATS",
    "EVENTS",
    "LAYOUT",
    "SHAPES",
    "FLOWS",
    "WAYS",
    "HANDOVER",
    "LOOPBACKS",
];

/// The maps that a program needs for nothing but the packet at hand, and its constants.
const OWN_MAPS: [&str; 3] = ["PACKET", ".rodata", ".bss"];

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

pub(super) struct Object {
    ebpf: Ebpf,
    counting: Counting,
    /// Second handles of the maps that are pinned, by the names of their pins.
    pinned: Vec<(String, MapData)>,
}

impl Object {
    pub(super) fn load(pins: Option<&Pins>, instance: Instance) -> Result<Self, KernelError> {
        let (judged, judged_in) = instance.marks();
        let entrance = instance.hop_index(HopEnd::Entrance);
        let spoiler = instance.hop_index(HopEnd::SpoilerEntrance);
        let mut loader = EbpfLoader::new();
        loader.override_global("JUDGED", &judged, true);
        loader.override_global("JUDGED_IN", &judged_in, true);
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
        let handle = |pins: &Pins, map| {
            let name = pin_name(map);
            let handle = MapData::from_pin(pins.path(&name))?;
            Ok((name, handle))
        };
        let pinned = pins.map(|pins| PINNED_MAPS.map(|map| handle(pins, map)));
        let pinned = pinned.into_iter().flatten().collect::<Result<_, MapError>>();
        let pinned = pinned.map_err(|source| KernelError::Map { what: "open a map", source })?;
        Ok(Self { ebpf, counting: Counting::Exact, pinned })
    }

    /// Whether every map that should be is pinned.
    pub(super) fn has_pins(&self, pins: &Pins) -> bool {
        self.pinned.iter().all(|(name, _)| pins.has(name))
    }

    /// Pins the maps whose pins somebody removed.
    pub(super) fn restore_pins(&self, pins: &Pins) -> Result<(), KernelError> {
        for (name, map) in self.pinned.iter().filter(|(name, _)| !pins.has(name)) {
            let path = pins.path(name);
            map.pin(&path).map_err(|error| KernelError::Pin {
                what: "pin",
                path,
                source: io::Error::other(innermost(&error)),
            })?;
        }
        Ok(())
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
            program.load().map_err(failed)?;
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

    /// The ingress program, loaded.
    pub(super) fn ingress(&mut self) -> Result<&mut CgroupSkb, KernelError> {
        let name = match self.counting {
            Counting::Exact => "net_in",
            Counting::Close => "net_in_close",
        };
        let program = self.ebpf.program_mut(name).ok_or(KernelError::Missing(name))?;
        let failed = |source| KernelError::Program { program: name, source };
        let program: &mut CgroupSkb = program.try_into().map_err(failed)?;
        if program.fd().is_err() {
            program.load().map_err(failed)?;
        }
        Ok(program)
    }
}

fn pin_name(map: &str) -> String {
    format!("map-{}", map.to_lowercase())
}
