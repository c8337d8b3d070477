//! Functions of the kernel at which our programs are asked: attached with the first rule that needs one, detached soon
//! after the last.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    os::fd::OwnedFd,
    time::Duration,
};

use crate::{
    boot_clock::BootTime,
    kernel::{
        KernelError, Pins, RuleId,
        hook::{self, Hook},
        link::{Attached, Link, Place},
    },
};

use super::{
    object::Object,
    operations,
    signatures::{self, Function},
    support::{Found, SYSCALL, SyscallTier},
};
use chaos_common::{
    abi::{Abi, Operation},
    value::Syscall,
};

/// How the names of their pins begin.
const PIN: &str = "call-on-";

/// As long as the kernel takes to let go of a removed pin, and more: an RCU grace period.
const GOING: Duration = Duration::from_secs(1);

/// What a rule has to be asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// System calls, where they begin.
    pub syscalls: BTreeSet<Syscall>,
    /// What the kernel asks its security modules.
    pub operations: BTreeSet<Operation>,
}

/// A function at which a program is attached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Site {
    Syscall(Function),
    Operation(operations::Hook),
}

impl Site {
    fn function(&self) -> &str {
        match self {
            Self::Syscall(function) => &function.name,
            Self::Operation(hook) => hook.function(),
        }
    }

    fn pin(&self) -> String {
        format!("{PIN}{}", self.function())
    }
}

/// A link without a pin, still attached.
///
/// The kernel lets go of a removed pin at its own pace, and whoever lets go last detaches. Were that the kernel, then
/// for a while the old program would be asked beside a new one. So it is us, some time after it.
struct Going {
    link: OwnedFd,
    due: BootTime,
}

impl Going {
    fn new(link: OwnedFd) -> Self {
        Self { link, due: BootTime::now().after(GOING) }
    }

    /// Detaches it. What the kernel has not let go of yet stays.
    fn end(self) -> Option<Self> {
        let link = Link::of(&self.link).ok()?;
        drop(self.link);
        link.revive().map(Self::new)
    }
}

pub(in crate::kernel) struct Hooks {
    pins: Option<Pins>,
    claims: BTreeMap<Site, HashSet<RuleId>>,
    hooks: BTreeMap<Site, Hook>,
    /// What nobody needs any more.
    going: BTreeMap<Site, Going>,
}

impl Hooks {
    pub(super) fn new(pins: Option<Pins>) -> Self {
        Self { pins, claims: BTreeMap::new(), hooks: BTreeMap::new(), going: BTreeMap::new() }
    }

    /// Has a rule asked.
    ///
    /// # Errors
    /// When a program cannot be attached; all others are.
    pub(super) fn claim(
        &mut self,
        rule: RuleId,
        calls: &Calls,
        object: &mut Object,
        found: &Found,
    ) -> Result<(), KernelError> {
        for site in sites(calls, found) {
            self.claims.entry(site.clone()).or_default().insert(rule);
            if self.hooks.contains_key(&site) {
                continue;
            }
            let hook = self.attach(&site, object, found).map_err(|reason| KernelError::Hook {
                what: "attach to",
                place: site.function().to_owned(),
                reason,
            })?;
            self.hooks.insert(site, hook);
        }
        Ok(())
    }

    /// Takes over what an earlier process attached for a rule. False if something of it is not there.
    pub(super) fn adopt(&mut self, rule: RuleId, calls: &Calls, found: &Found) -> bool {
        let mut is_whole = true;
        for site in sites(calls, found) {
            if !self.hooks.contains_key(&site) {
                match Hook::adopt(self.pins.as_ref(), &site.pin(), Place::Function) {
                    Some(hook) => drop(self.hooks.insert(site.clone(), hook)),
                    None => is_whole = false,
                }
            }
            self.claims.entry(site).or_default().insert(rule);
        }
        is_whole
    }

    /// A rule need not be asked any more.
    ///
    /// # Errors
    /// When something could not be detached; it is tried again then.
    pub(super) fn release(&mut self, rule: RuleId) -> Result<(), KernelError> {
        self.claims.retain(|_, rules| {
            rules.remove(&rule);
            !rules.is_empty()
        });
        let unused = self.hooks.keys().filter(|site| !self.claims.contains_key(site));
        let unused: Vec<Site> = unused.cloned().collect();
        let mut result = Ok(());
        for site in unused {
            let detached = self.detach(&site);
            result = result.and(detached);
        }
        result
    }

    /// Whether everything is attached that a rule needs.
    pub(super) fn covers(&self, rule: RuleId) -> bool {
        let mut own = self.claims.iter().filter(|(_, rules)| rules.contains(&rule));
        own.all(|(site, _)| self.hooks.get(site).is_some_and(|hook| hook.is_at(Place::Function)))
    }

    /// Whether every pin is there.
    pub(super) fn has_pins(&self) -> bool {
        self.hooks.values().all(Hook::has_pin)
    }

    /// Removes what an earlier process left attached and nobody claimed since.
    ///
    /// # Errors
    /// When something could not be detached.
    pub(super) fn sweep(&mut self) -> Result<(), KernelError> {
        hook::sweep(self.pins.as_ref(), PIN, self.hooks.values())
    }

    /// When [`Self::let_go`] is due.
    pub(super) fn going_due(&self) -> BootTime {
        self.going.values().map(|going| going.due).min().unwrap_or(BootTime::NEVER)
    }

    /// Detaches what has not been needed for a while.
    pub(super) fn let_go(&mut self) {
        let now = BootTime::now();
        let (going, due) =
            std::mem::take(&mut self.going).into_iter().partition(|(_, going)| now < going.due);
        self.going = going;
        let left =
            due.into_iter().filter_map(|(site, going): (_, Going)| Some((site, going.end()?)));
        self.going.extend(left);
    }

    fn attach(&mut self, site: &Site, object: &mut Object, found: &Found) -> Result<Hook, String> {
        let link = match self.going.remove(site) {
            Some(going) => Attached::Own(going.link),
            None => attach(site, object, found)?,
        };
        Hook::keep(link, self.pins.as_ref(), site.pin())
    }

    fn detach(&mut self, site: &Site) -> Result<(), KernelError> {
        if let Some(hook) = self.hooks.get(site) {
            let link = hook.link().and_then(Link::revive);
            hook.detach()?;
            self.going.extend(link.map(|link| (site.clone(), Going::new(link))));
            self.hooks.remove(site);
        }
        Ok(())
    }
}

fn attach(site: &Site, object: &mut Object, found: &Found) -> Result<Attached, String> {
    let number = |function: &str| {
        let number = found.functions.get(function).copied();
        number.ok_or_else(|| format!("this kernel has no {function}"))
    };
    match site {
        Site::Operation(hook) => object.replace(hook.program(), number(hook.function())?),
        Site::Syscall(function) => match found.syscalls.clone()? {
            SyscallTier::Replace => {
                let abi = if function.is_compat { Abi::Compat } else { Abi::Native };
                object.replace_syscall(abi, number(&function.name)?, number(SYSCALL)?)
            }
            SyscallTier::Override => {
                let compat = "call_override_compat";
                let program = if function.is_compat { compat } else { "call_override_native" };
                object.override_return(program, &function.name)
            }
        },
    }
}

/// The functions of this kernel at which calls can be met.
fn sites(calls: &Calls, found: &Found) -> BTreeSet<Site> {
    let functions = calls.syscalls.iter().flat_map(|call| signatures::functions(*call));
    let operations = calls.operations.iter().flat_map(|operation| {
        let hooks = operations::Hook::of(*operation);
        hooks
            .into_iter()
            .flat_map(|(first, others)| std::iter::once(first).chain(others.iter().copied()))
    });
    let all = functions.map(Site::Syscall).chain(operations.map(Site::Operation));
    all.filter(|site| found.meets(site.function())).collect()
}
