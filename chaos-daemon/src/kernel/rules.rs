//! The rules of the engine `net`, and what of them lies in tables of its own.

use aya::maps::{HashMap, MapData};
use chaos_common::abi::{Flow, FlowKey, Name, NetRule, Prefix, Records, RuleStats, Shape};

use super::{
    KernelError, RuleId,
    ledger::{Ledger, Listing},
    object::Object,
    prefixes::Prefixes,
    redirected::Redirects,
    rule_spec::{Beside, RuleSpec},
    tables::{at, gone, strangers, typed},
};
use crate::target::Cgroup;

pub(super) struct Rules {
    ledger: Ledger<NetRule>,
    prefixes: Prefixes<Prefix>,
    names: Prefixes<Name>,
    shapes: HashMap<MapData, u32, Shape>,
    records: HashMap<MapData, u32, Records>,
    redirects: Redirects,
    flows: HashMap<MapData, FlowKey, Flow>,
}

impl Rules {
    pub(super) fn take(object: &mut Object) -> Result<Self, KernelError> {
        Ok(Self {
            ledger: Ledger::take(|name| object.take_map(name), "RULES")?,
            prefixes: Prefixes::take(object.take_map("PREFIXES")?)?,
            names: Prefixes::take(object.take_map("NAMES")?)?,
            shapes: typed(object.take_map("SHAPES")?)?,
            records: typed(object.take_map("RECORDS")?)?,
            redirects: Redirects::take(object)?,
            flows: typed(object.take_map("FLOWS")?)?,
        })
    }

    pub(super) fn put(
        &mut self,
        id: RuleId,
        target: &Cgroup,
        spec: &RuleSpec,
    ) -> Result<(), KernelError> {
        let listing = listing(spec);
        if self.ledger.owns(id) {
            self.prefixes.write(id, spec.about.prefixes(id))?;
            self.names.write(id, spec.about.names(id))?;
            return self.ledger.replace(id, spec.rule, listing);
        }
        self.ledger.own(id, target, listing)?;
        self.prefixes.write(id, spec.about.prefixes(id))?;
        self.names.write(id, spec.about.names(id))?;
        match &spec.beside {
            Beside::Nothing => Ok(()),
            Beside::Shape(shape) => {
                self.shapes.insert(&id.0, &**shape, 0).map_err(at("write a rule's shape"))
            }
            Beside::Records(records) => {
                self.records.insert(&id.0, &**records, 0).map_err(at("write a rule's records"))
            }
        }?;
        self.ledger.put(id, target, spec.rule, listing)
    }

    /// Takes over a rule that an earlier process put; see [`Ledger::adopt`]. That process may have died before it wrote
    /// what it journalled: all ranges are written with the rule.
    pub(super) fn adopt(&mut self, id: RuleId, target: &Cgroup, spec: &RuleSpec) -> bool {
        self.ledger.adopt(id, target, listing(spec))
    }

    /// Says what the rule saw in its life, if it was there.
    pub(super) fn remove(&mut self, id: RuleId) -> Result<Option<RuleStats>, KernelError> {
        let seen = self.ledger.hide(id)?;
        self.remove_beside(id)?;
        self.prefixes.remove(id)?;
        self.names.remove(id)?;
        for key in strangers(self.flows.keys(), |key| key.rule != id.0)? {
            gone(self.flows.remove(&key)).map_err(at("forget a connection"))?;
        }
        self.ledger.forget(id);
        Ok(seen)
    }

    fn remove_beside(&mut self, id: RuleId) -> Result<(), KernelError> {
        gone(self.shapes.remove(&id.0)).map_err(at("remove a rule's shape"))?;
        gone(self.records.remove(&id.0)).map_err(at("remove a rule's records"))
    }

    /// Whether the programs can find a rule; see [`Ledger::has`].
    pub(super) fn has(&self, id: RuleId) -> bool {
        self.ledger.has(id)
    }

    /// Makes the tables say what is put or adopted here, and nothing else.
    pub(super) fn sweep(&mut self) -> Result<(), KernelError> {
        for id in self.ledger.sweep()? {
            self.remove_beside(id)?;
        }
        let is_owned = |key: &FlowKey| self.ledger.owns(RuleId(key.rule));
        for key in strangers(self.flows.keys(), is_owned)? {
            gone(self.flows.remove(&key)).map_err(at("forget a connection"))?;
        }
        self.prefixes.sweep(|id| self.ledger.owns(id))?;
        self.names.sweep(|id| self.ledger.owns(id))?;
        self.redirects.sweep(|id| self.ledger.owns(id))
    }

    /// Ends what a rule has connected elsewhere; the rule may be gone.
    pub(super) fn end_redirected(&mut self, id: RuleId) -> Result<(), KernelError> {
        self.redirects.end(id)
    }

    pub(super) fn stats(&self, id: RuleId) -> Option<RuleStats> {
        self.ledger.stats(id)
    }

    /// Refuses what the kernel's records have no room for.
    pub(super) fn admit(&self, target: &Cgroup) -> Result<(), KernelError> {
        self.ledger.admit(target)
    }
}

/// What ends a packet comes before what would be work for nothing.
fn listing(spec: &RuleSpec) -> Listing {
    Listing { rank: spec.rule.action, asks_peer: spec.rule.filter.asks_peer() }
}
