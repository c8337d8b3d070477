//! The rules of the engine `call`, and what of them lies in tables of its own.

use aya::maps::{Array, HashMap, Map, MapData};
use chaos_common::abi::{
    CallRule, Glob, GlobKey, GlobOf, HeldCall, Prefix, RuleStats, Signature, Wait,
};

use super::{object::Object, prefilters::Prefilters, rule_spec::CallSpec, signatures};
use crate::{
    kernel::{
        KernelError, RuleId,
        ledger::{Ledger, Listing},
        prefixes::Prefixes,
        tables::{at, gone, strangers, typed},
    },
    target::Cgroup,
};

pub(in crate::kernel) struct Rules {
    ledger: Ledger<CallRule>,
    prefilters: Prefilters,
    prefixes: Prefixes<Prefix>,
    globs: HashMap<MapData, GlobKey, Glob>,
    /// What is to wait, until when.
    held: HashMap<MapData, HeldCall, Wait>,
    _signatures: Array<MapData, Signature>,
}

/// A call that fails need not wait.
fn listing(rule: &CallRule) -> Listing {
    Listing { rank: u32::from(rule.errno == 0), asks_peer: false }
}

impl Rules {
    pub(super) fn take(object: &mut Object, held: Map) -> Result<Self, KernelError> {
        let mut signatures: Array<MapData, Signature> = typed(object.take_map("SIGNATURES")?)?;
        for (place, signature) in signatures::table() {
            signatures.set(place, &signature, 0).map_err(at("write what is known of a call"))?;
        }
        Ok(Self {
            ledger: Ledger::take(|name| object.take_map(name), "CALL_RULES")?,
            prefilters: Prefilters::new(typed(object.take_map("PREFILTERS")?)?),
            prefixes: Prefixes::take(object.take_map("CALL_PREFIXES")?)?,
            globs: typed(object.take_map("GLOBS")?)?,
            held: typed(held)?,
            _signatures: signatures,
        })
    }

    pub(super) fn put(
        &mut self,
        id: RuleId,
        target: &Cgroup,
        spec: &CallSpec,
    ) -> Result<(), KernelError> {
        if self.ledger.owns(id) {
            // Of an adopted one they are not known yet.
            self.prefixes.write(id, spec.prefixes(id))?;
            return self.ledger.replace(id, spec.rule, listing(&spec.rule));
        }
        let globs = spec.globs()?;
        self.ledger.own(id, target, listing(&spec.rule))?;
        self.prefixes.write(id, spec.prefixes(id))?;
        for (of, glob) in globs {
            let key = GlobKey { rule: id.0, of: of as u32 };
            self.globs.insert(&key, &*glob, 0).map_err(at("write patterns of paths"))?;
        }
        self.prefilters.put(id, target.id, spec)?;
        self.ledger.put(id, target, spec.rule, listing(&spec.rule))
    }

    /// Takes over a rule that an earlier process put, with all that belongs to it.
    pub(super) fn adopt(&mut self, id: RuleId, target: &Cgroup, spec: &CallSpec) -> bool {
        let is_whole = self.ledger.adopt(id, target, listing(&spec.rule));
        if is_whole {
            self.prefilters.adopt(id, target.id, spec);
        }
        is_whole
    }

    /// Says what the rule saw in its life, if it was there.
    pub(super) fn remove(&mut self, id: RuleId) -> Result<Option<RuleStats>, KernelError> {
        let seen = self.ledger.hide(id)?;
        self.prefilters.remove(id)?;
        self.prefixes.remove(id)?;
        for of in [GlobOf::File, GlobOf::Program] {
            let key = GlobKey { rule: id.0, of: of as u32 };
            gone(self.globs.remove(&key)).map_err(at("remove patterns of paths"))?;
        }
        self.let_go(|call| call.rule != id.0)?;
        self.ledger.forget(id);
        Ok(seen)
    }

    /// Removes what was to wait and what nobody waits for any more.
    fn let_go(&mut self, stays: impl Fn(&HeldCall) -> bool) -> Result<(), KernelError> {
        for call in strangers(self.held.keys(), stays)? {
            gone(self.held.remove(&call)).map_err(at("sweep calls that wait"))?;
        }
        Ok(())
    }

    pub(super) fn has(&self, id: RuleId) -> bool {
        self.ledger.has(id)
    }

    pub(super) fn stats(&self, id: RuleId) -> Option<RuleStats> {
        self.ledger.stats(id)
    }

    pub(super) fn admit(&self, target: &Cgroup) -> Result<(), KernelError> {
        self.ledger.admit(target)
    }

    /// Makes the tables say what is put or adopted here, and nothing else.
    pub(super) fn sweep(&mut self) -> Result<(), KernelError> {
        self.prefilters.sweep()?;
        self.ledger.sweep()?;
        self.prefixes.sweep(|id| self.ledger.owns(id))?;
        let is_owned = |key: &GlobKey| self.ledger.owns(RuleId(key.rule));
        for key in strangers(self.globs.keys(), is_owned)? {
            gone(self.globs.remove(&key)).map_err(at("sweep patterns of paths"))?;
        }
        let owned: std::collections::BTreeSet<u32> = self
            .held
            .keys()
            .flatten()
            .map(|call| call.rule)
            .filter(|rule| self.ledger.owns(RuleId(*rule)))
            .collect();
        self.let_go(|call| owned.contains(&call.rule))
    }
}
