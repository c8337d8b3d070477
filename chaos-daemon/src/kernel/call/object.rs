//! The `call` object: its bytes, its maps, and programs that aya does not know.

use std::{
    collections::HashSet,
    error::Error,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Map, MapData},
    programs::KProbe,
};
use aya_obj::{Function, Object as Parsed, btf::BtfFeature};
use chaos_common::abi::{Abi, CallLayout};

use crate::kernel::{KernelError, Pins, bpf, error::innermost, link::Attached};

use super::support::Generation;

static CALL: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/call"));

/// The maps that outlive a daemon: all but the programs' constants.
const PINNED_MAPS: [&str; 14] = [
    "LEASE",
    "LEVELS",
    "TARGET_BITS",
    "TARGETS",
    "CALL_RULES",
    "CALL_PREFIXES",
    "GLOBS",
    "PREFILTERS",
    "SIGNATURES",
    "HELD_CALLS",
    BODIES,
    "STATE",
    "STATS",
    "CALL_EVENTS",
];

/// Where programs are that others go on with.
const BODIES: &str = "CALL_BODIES";

/// How the names of maps begin that hold the programs' constants.
const CONSTANTS: &str = ".rodata";

pub(in crate::kernel) struct Object {
    ebpf: Ebpf,
    parsed: Parsed,
    /// The programs' types, in the kernel.
    types: OwnedFd,
    generation: Generation,
    /// Which of the programs that others go on with were loaded.
    bodies: [bool; Abi::COUNT],
    /// Second handles of the maps that are pinned, by the names of their pins.
    pinned: Vec<(String, MapData)>,
}

impl Object {
    pub(super) fn load(
        pins: Option<&Pins>,
        layout: &CallLayout,
        generation: Generation,
    ) -> Result<Self, KernelError> {
        let mut loader = EbpfLoader::new();
        loader.override_global("CALL_LAYOUT", layout, true);
        if let Some(pins) = pins {
            for map in PINNED_MAPS {
                loader.map_pin_path(map, pins.path(&pin_name(map)));
            }
        }
        let ebpf = loader.load(CALL).map_err(KernelError::Load)?;
        // One that is forgotten above would be split between an adopted program and ours.
        let is_listed = |name: &str| PINNED_MAPS.contains(&name) || name.starts_with(CONSTANTS);
        if !ebpf.maps().all(|(name, _)| is_listed(name)) {
            return Err(KernelError::Missing("place for one of its maps"));
        }
        let pinned = pins.map_or(Ok(Vec::new()), |pins| pins.maps(PINNED_MAPS.map(pin_name)))?;
        let (parsed, types) = relocated(&ebpf)?;
        let bodies = [false; Abi::COUNT];
        Ok(Self { ebpf, parsed, types, generation, bodies, pinned })
    }

    /// Whether every map that should be is pinned.
    pub(super) fn has_pins(&self, pins: &Pins) -> bool {
        self.pinned.iter().all(|(name, _)| pins.has(name))
    }

    /// Pins the maps whose pins somebody removed.
    pub(super) fn restore_pins(&self, pins: &Pins) -> Result<(), KernelError> {
        pins.restore_maps(&self.pinned)
    }

    /// Takes a map, to be kept as long as the object: programs that are loaded later know it by its descriptor.
    pub(super) fn take_map(&mut self, name: &'static str) -> Result<Map, KernelError> {
        self.ebpf.take_map(name).ok_or(KernelError::Missing(name))
    }

    /// Attaches the program for what the kernel asks its security modules at a function, which is number so many among
    /// the kernel's types.
    pub(super) fn replace(&self, program: &str, function: u32) -> Result<Attached, String> {
        attached(&self.load_replacing(&self.generation.name(program), function)?)
    }

    /// Attaches the program for system calls to a function that carries out one. `model` is another such function, whose
    /// arguments most of them have.
    pub(super) fn replace_syscall(
        &mut self,
        abi: Abi,
        function: u32,
        model: u32,
    ) -> Result<Attached, String> {
        let (entrance, program) = match abi {
            Abi::Native => ("enter_native", "call_native"),
            Abi::Compat => ("enter_compat", "call_compat"),
        };
        let program = self.generation.name(program);
        if !self.bodies[abi as usize] {
            let loaded = self.load_replacing(&program, model)?;
            let table =
                self.ebpf.map(BODIES).and_then(descriptor).ok_or("there is no such table")?;
            let put = bpf::put_program(table, abi as u32, loaded.as_fd());
            put.map_err(|error| error.to_string())?;
            self.bodies[abi as usize] = true;
        }
        let entrance = self.generation.name(entrance);
        let loaded = self.load_replacing(&entrance, function).or_else(|reason| {
            // Programs go on with each other only where arguments have the same names.
            tracing::debug!(reason, "a function has a program of its own");
            self.load_replacing(&program, function)
        })?;
        attached(&loaded)
    }

    fn load_replacing(&self, name: &str, function: u32) -> Result<OwnedFd, String> {
        let code = self.function(name).ok_or_else(|| format!("there is no program {name}"))?;
        let license = &self.parsed.license;
        let (functions, record) = (code.func_info.func_info_bytes(), code.func_info_rec_size);
        let program = bpf::Program {
            name,
            instructions: &code.instructions,
            license,
            types: Some(self.types.as_fd()),
            functions: (&functions, record),
        };
        bpf::load_replacing(&program, function)
    }

    /// Attaches the program that returns in the place of a function.
    pub(super) fn override_return(
        &mut self,
        program: &str,
        function: &str,
    ) -> Result<Attached, String> {
        let name = self.generation.name(program);
        let program = self.ebpf.program_mut(&name).ok_or(format!("there is no program {name}"))?;
        let said = |error: aya::programs::ProgramError| innermost(&error);
        let program: &mut KProbe = program.try_into().map_err(said)?;
        if program.fd().is_err() {
            program.load().map_err(said)?;
        }
        let link = program.attach(function, 0).map_err(said)?;
        let link = program.take_link(link).map_err(said)?;
        let link =
            aya::programs::links::FdLink::try_from(link).map_err(|error| innermost(&error))?;
        Ok(link.into())
    }

    fn function(&self, name: &str) -> Option<&Function> {
        let program = self.parsed.programs.get(name)?;
        self.parsed.functions.get(&program.function_key())
    }
}

fn attached(program: &OwnedFd) -> Result<Attached, String> {
    bpf::attach_replacing(program.as_fd()).map(Attached::Own).map_err(|error| error.to_string())
}

fn broken(error: &(dyn Error + 'static)) -> KernelError {
    KernelError::Object(innermost(error))
}

/// The object a second time, with the maps of the first: aya keeps to itself what it does not know.
fn relocated(ebpf: &Ebpf) -> Result<(Parsed, OwnedFd), KernelError> {
    let mut parsed = Parsed::parse(CALL).map_err(|error| broken(&error))?;
    let records = parsed.maps.clone();
    let places = ebpf
        .maps()
        .filter_map(|(name, map)| Some((name, descriptor(map)?.as_raw_fd(), records.get(name)?)));
    let sections: HashSet<usize> = parsed.functions.keys().map(|(section, _)| *section).collect();
    parsed.relocate_maps(places, &sections).map_err(|error| broken(&error))?;
    parsed.relocate_calls(&sections).map_err(|error| broken(&error))?;
    // What kernels that can replace a return value at all know of types, and need to verify functions once.
    let knows = |feature| match feature {
        BtfFeature::Func
        | BtfFeature::FuncGlobal
        | BtfFeature::DataSec
        | BtfFeature::DataSecZero => true,
        BtfFeature::Float | BtfFeature::DeclTag | BtfFeature::TypeTag | BtfFeature::Enum64 => false,
    };
    let types = parsed.fixup_and_sanitize_btf(|| Some(knows)).map_err(|error| broken(&error))?;
    let types = types.ok_or(KernelError::Missing("types"))?.to_bytes();
    let types = bpf::load_types(&types).map_err(|error| broken(&error))?;
    Ok((parsed, types))
}

/// The descriptor of a map of a kind that this object has.
pub(super) fn descriptor(map: &Map) -> Option<BorrowedFd<'_>> {
    if let Map::Array(data)
    | Map::HashMap(data)
    | Map::PerCpuHashMap(data)
    | Map::LruHashMap(data)
    | Map::LpmTrie(data)
    | Map::ProgramArray(data)
    | Map::RingBuf(data) = map
    {
        Some(data.fd().as_fd())
    } else {
        None
    }
}

fn pin_name(map: &str) -> String {
    format!("call-map-{}", map.to_lowercase().trim_start_matches("call_"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chaos_common::abi::Operation;

    use super::*;
    use crate::kernel::call::Hook;

    #[test]
    fn every_hook_has_its_programs() {
        let parsed = Parsed::parse(CALL).unwrap();
        for hook in Hook::ALL {
            for generation in [Generation::New, Generation::Old] {
                let name = generation.name(hook.program());
                assert!(parsed.programs.contains_key(&name), "there is no {name}");
            }
        }
    }

    #[test]
    fn every_hook_at_which_something_is_asked_is_listed() {
        let asked: BTreeSet<Hook> = Operation::ALL
            .into_iter()
            .filter_map(Hook::of)
            .flat_map(|(first, others)| std::iter::once(first).chain(others.iter().copied()))
            .collect();
        assert_eq!(asked, BTreeSet::from(Hook::ALL));
    }
}
