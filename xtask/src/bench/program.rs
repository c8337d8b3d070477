//! Programs that do nothing, on the hooks of the daemon's.

use std::{cell::RefCell, fs::File, path::Path};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    programs::{
        CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, LinkOrder, SchedClassifier, TcAttach,
        TcAttachType,
    },
};

use crate::{
    compare::Leave,
    place::{Cgroup, NetNs},
};

/// The object, loaded.
pub(crate) struct Empty(RefCell<Ebpf>);

impl Empty {
    /// Loads it.
    pub(crate) fn load(object: &Path) -> Result<Self> {
        let mut ebpf = Ebpf::load_file(object).context("cannot load the empty programs")?;
        out(&mut ebpf)?.load()?;
        incoming(&mut ebpf)?.load()?;
        Ok(Self(RefCell::new(ebpf)))
    }

    /// On what leaves by every interface of a namespace.
    pub(crate) fn attach_out<'a>(&'a self, netns: &NetNs) -> Result<Leave<'a>> {
        let mut ebpf = self.0.borrow_mut();
        let program = out(&mut ebpf)?;
        let interfaces = netns.interfaces()?;
        let links = netns.within(|| {
            let attach = |index| {
                let attach =
                    TcAttach::Tcx { attach_type: TcAttachType::Egress, order: LinkOrder::first() };
                program
                    .attach(index, attach)
                    .context("cannot attach by tcx, which came with Linux 6.6")
            };
            interfaces.into_iter().map(attach).collect::<Result<Vec<_>>>()
        })?;
        Ok(Box::new(move || {
            let mut ebpf = self.0.borrow_mut();
            let program = out(&mut ebpf)?;
            links.into_iter().try_for_each(|link| Ok(program.detach(link)?))
        }))
    }

    /// On what a cgroup receives.
    pub(crate) fn attach_in<'a>(&'a self, cgroup: &Cgroup) -> Result<Leave<'a>> {
        let dir = File::open(cgroup.dir())?;
        let mut ebpf = self.0.borrow_mut();
        let link = incoming(&mut ebpf)?.attach(
            dir,
            CgroupSkbAttachType::Ingress,
            CgroupAttachMode::Single,
        )?;
        Ok(Box::new(move || Ok(incoming(&mut self.0.borrow_mut())?.detach(link)?)))
    }
}

fn out(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier> {
    Ok(ebpf.program_mut("empty_out").context("there is no empty_out")?.try_into()?)
}

fn incoming(ebpf: &mut Ebpf) -> Result<&mut CgroupSkb> {
    Ok(ebpf.program_mut("empty_in").context("there is no empty_in")?.try_into()?)
}
