//! What a fault may leave behind, and the check that it did not.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};
use bpf_witness::Kind;
use nix::libc;

use super::{Cgroup, NetNs, net::INTERFACES};

/// Parents of the filters of a clsact qdisc.
const CLSACT_INGRESS: u32 = 0xffff_fff2;
const CLSACT_EGRESS: u32 = 0xffff_fff3;

/// Traffic control of one interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Device {
    /// Kind, handle, parent and options; counters are left out.
    qdiscs: Vec<(String, u32, u32, Vec<u8>)>,
    filters: Vec<(u32, String, u32, Vec<u8>)>,
    tcx: [u32; 2],
}

impl Device {
    /// Filters and programs. A dump also has an entry without a handle for each priority in use.
    fn hooks(&self) -> usize {
        let filters = self.filters.iter().filter(|(_, _, handle, _)| *handle != 0).count();
        filters + self.tcx.iter().sum::<u32>() as usize
    }

    fn is_bare(&self) -> bool {
        self.filters.is_empty()
            && self.tcx == [0, 0]
            && self.qdiscs.iter().all(|(kind, ..)| kind == "noqueue" || kind == "mq")
    }
}

/// The state of the kernel around a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    devices: BTreeMap<(usize, String), Device>,
    cgroups: BTreeMap<String, [u32; 13]>,
}

impl Observed {
    /// Looks at namespaces and cgroups.
    pub(crate) fn now(namespaces: &[&NetNs], cgroups: &[&Cgroup]) -> Result<Self> {
        let mut devices = BTreeMap::new();
        for (number, netns) in namespaces.iter().enumerate() {
            for (name, device) in devices_of(netns)? {
                devices.insert((number, name), device);
            }
        }
        let programs = |cgroup: &&Cgroup| {
            Ok((cgroup.path().to_owned(), bpf_witness::on_cgroup(&cgroup.dir())?))
        };
        // A target may be gone; nothing is attached to it then.
        let there = cgroups.iter().filter(|cgroup| cgroup.dir().exists());
        Ok(Self { devices, cgroups: there.map(programs).collect::<Result<_>>()? })
    }

    /// Fails when anything is there that was not before.
    pub(crate) fn same_as(&self, before: &Self) -> Result<()> {
        for ((namespace, name), device) in &self.devices {
            match before.devices.get(&(*namespace, name.clone())) {
                Some(then) => {
                    ensure!(device == then, "{name}: {device:?} is left, before it was {then:?}");
                }
                None => {
                    let own = INTERFACES.iter().any(|prefix| name.starts_with(prefix));
                    ensure!(own, "an interface {name} is left");
                    ensure!(device.is_bare(), "{name}: {device:?} is left");
                }
            }
        }
        for (path, counts) in &self.cgroups {
            let then = before.cgroups.get(path).copied().unwrap_or_default();
            ensure!(*counts == then, "{path}: {counts:?} programs are left");
        }
        Ok(())
    }

    /// The qdiscs and filters of an interface that others made: without our hooks, and without the qdisc for them
    /// where that is `ours`.
    pub(crate) fn of_others(&self, namespace: usize, name: &str, ours: bool) -> String {
        let Some(device) = self.devices.get(&(namespace, name.to_owned())) else {
            return String::new();
        };
        let qdiscs = device.qdiscs.iter().filter(|(kind, ..)| !(ours && kind == "clsact"));
        let filters = device.filters.iter().filter(|(_, kind, ..)| kind != "bpf");
        format!("{:?} {:?}", qdiscs.collect::<Vec<_>>(), filters.collect::<Vec<_>>())
    }

    /// How many hooks of tc there are, by either mechanism, in a namespace.
    pub(crate) fn hooks(&self, namespace: usize) -> usize {
        let devices = self.devices.iter().filter(|((number, _), _)| *number == namespace);
        devices.map(|(_, device)| device.hooks()).sum()
    }
}

fn devices_of(netns: &NetNs) -> Result<BTreeMap<String, Device>> {
    let netlink = netns.netlink();
    let interfaces = netlink.interfaces()?;
    let text = |bytes: Option<&[u8]>| {
        String::from_utf8_lossy(bytes.unwrap_or_default()).trim_end_matches('\0').to_owned()
    };
    let mut devices = BTreeMap::new();
    let tcx = netns.within(|| {
        let all = interfaces.iter().map(|(index, _)| bpf_witness::on_interface(*index));
        all.collect::<Result<Vec<_>>>()
    })?;
    let qdiscs = netlink.qdiscs()?;
    for ((index, name), tcx) in interfaces.iter().zip(tcx) {
        let mut device = Device { tcx, ..Device::default() };
        for qdisc in qdiscs.iter().filter(|qdisc| qdisc.head_u32(4) == *index) {
            let kind = text(qdisc.attribute(libc::TCA_KIND));
            let options = qdisc.attribute(libc::TCA_OPTIONS).unwrap_or_default().to_vec();
            device.qdiscs.push((kind, qdisc.head_u32(8), qdisc.head_u32(12), options));
        }
        for parent in [CLSACT_INGRESS, CLSACT_EGRESS] {
            // Without a clsact the kernel has nothing to list, or says so.
            for filter in netlink.filters(*index, parent).unwrap_or_default() {
                let kind = text(filter.attribute(libc::TCA_KIND));
                let mut options = filter.attribute(libc::TCA_OPTIONS).unwrap_or_default().to_vec();
                if kind == "matchall" {
                    // Flags alone: behind them is a counter of packets.
                    options.truncate(8);
                }
                device.filters.push((parent, kind, filter.head_u32(8), options));
            }
        }
        devices.insert(name.clone(), device);
    }
    Ok(devices)
}

/// Which pins are acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pins {
    /// None at all: no daemon runs.
    None,
    /// Those of the engine itself, with no rule in a table and no hook: a daemon runs and injects nothing.
    Engine,
}

/// Fails when our part of a bpffs holds more than it should. (The kernel puts files of its own into
/// every bpffs: `maps.debug` and `progs.debug`.)
pub(crate) fn check_pins(bpffs: &Path, allowed: Pins) -> Result<()> {
    for path in files_below(&bpffs.join("chaos"))? {
        ensure!(allowed == Pins::Engine, "the pin {} is left", path.display());
        let pin = bpf_witness::pinned(&path)?;
        ensure!(pin.object.kind != Kind::Link, "the pinned link {} is left", path.display());
        let entries = pin.entries.unwrap_or(0);
        ensure!(entries == 0, "{} still has {entries} entries", path.display());
    }
    Ok(())
}

fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if !dir.exists() {
        return Ok(files);
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    Ok(files)
}
