//! What calls of targets sent elsewhere, and the sockets that are connected there. Entries outlive their rule, until those
//! sockets are ended.

use std::{collections::HashSet, path::Path};

use aya::maps::{HashMap, Map, MapData};
use chaos_common::abi::{Redirected, RedirectedKey};

use super::{
    KernelError, RuleId, connections,
    object::{Object, pin_name},
    tables::{at, gone, typed},
};
use crate::target;

const SENT: &str = "REDIRECTED";
const CONNECTED: &str = "CONNECTED";

pub(super) struct Redirects {
    sent: HashMap<MapData, RedirectedKey, Redirected>,
    connected: Connected,
}

/// Sockets that are connected elsewhere, by their cookies.
pub(super) struct Connected(HashMap<MapData, u64, Redirected>);

impl Redirects {
    pub(super) fn take(object: &mut Object) -> Result<Self, KernelError> {
        let sent = typed(object.take_map(SENT)?)?;
        Ok(Self { sent, connected: Connected(typed(object.take_map(CONNECTED)?)?) })
    }

    /// Ends the sockets that a rule has connected elsewhere, wherever they are by now, and forgets what it sent there.
    pub(super) fn end(&mut self, rule: RuleId) -> Result<(), KernelError> {
        self.end_of(|id| id == rule)
    }

    /// The same of rules that nobody has.
    pub(super) fn sweep(&mut self, is_owned: impl Fn(RuleId) -> bool) -> Result<(), KernelError> {
        self.end_of(|id| !is_owned(id))
    }

    fn end_of(&mut self, is_meant: impl Fn(RuleId) -> bool) -> Result<(), KernelError> {
        end_sockets(&self.connected.of(&is_meant)?);
        self.forget(is_meant)
    }

    fn forget(&mut self, is_meant: impl Fn(RuleId) -> bool) -> Result<(), KernelError> {
        let sent = self.sent.iter().collect::<Result<Vec<_>, _>>();
        let sent = sent.map_err(at("list what went elsewhere"))?;
        for (key, _) in sent.into_iter().filter(|(_, origin)| is_meant(RuleId(origin.rule))) {
            gone(self.sent.remove(&key)).map_err(at("forget what went elsewhere"))?;
        }
        for cookie in self.connected.of(is_meant)? {
            gone(self.connected.0.remove(&cookie)).map_err(at("forget a connected socket"))?;
        }
        Ok(())
    }
}

impl Connected {
    fn of(&self, is_meant: impl Fn(RuleId) -> bool) -> Result<HashSet<u64>, KernelError> {
        let meant = |entry: Result<(u64, Redirected), _>| match entry {
            Ok((cookie, origin)) => is_meant(RuleId(origin.rule)).then_some(Ok(cookie)),
            Err(error) => Some(Err(error)),
        };
        let found = self.0.iter().filter_map(meant).collect::<Result<_, _>>();
        found.map_err(at("list what is connected elsewhere"))
    }

    /// The table that a daemon of any build has pinned in a directory, if there is one that can be read.
    pub(super) fn pinned_in(dir: &Path) -> Option<Self> {
        let map = MapData::from_pin(dir.join(pin_name(CONNECTED))).ok()?;
        typed(Map::HashMap(map)).map(Self).ok()
    }

    /// Ends all of them, wherever they are. Nobody may connect others there any more.
    pub(super) fn end(&self) {
        match self.of(|_| true) {
            Ok(connected) => end_sockets(&connected),
            Err(error) => {
                tracing::warn!(%error, "sockets may stay connected elsewhere until they are closed");
            }
        }
    }
}

fn end_sockets(cookies: &HashSet<u64>) {
    if !cookies.is_empty() {
        connections::end(cookies, target::all_network_namespaces());
    }
}
