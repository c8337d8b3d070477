//! What the kinds of the family of names have in common: a rule about questions, which go out as packets.

use chaos_common::{
    abi::{Action, Asks, Dice, PARAMETERS},
    fault::{Direction, FaultKind, Questions},
    value::Percent,
};

use super::{
    Capability, Limits, Unsupported,
    network::{self, Means, Network},
};
use crate::{
    effect::{Effect, PutRule},
    kernel::{About, Beside, Support},
};

/// A fault of the family, as far as its kind decides.
pub(super) struct Dns<'a> {
    pub(super) kind: FaultKind,
    pub(super) questions: &'a Questions,
    pub(super) asks: Asks,
    pub(super) direction: Direction,
    pub(super) percent: Percent,
    pub(super) action: Action,
    pub(super) parameters: [u64; PARAMETERS],
    pub(super) beside: Beside,
    pub(super) means: Means,
}

impl Dns<'_> {
    /// The effects that make it happen.
    pub(super) fn plan(
        self,
        limits: &Limits,
        support: &Support,
    ) -> Result<Vec<Effect>, Unsupported> {
        let Self { kind, questions, action, parameters, beside, means, .. } = self;
        let filter = questions.packets(self.direction);
        let dice = Dice::percent(limits.seed, self.percent.chance());
        let packets = Network { kind, filter: &filter, action, parameters, beside, dice, means };
        let mut effects = packets.plan(limits, support)?;
        for effect in &mut effects {
            if let Effect::PutRule(PutRule(spec)) = effect {
                spec.rule.filter.question = questions.to_abi(self.asks, self.percent);
                spec.about =
                    About::Questions(Box::new(filter.clone()), Box::new(questions.clone()));
            }
        }
        Ok(effects)
    }
}

/// What of the protocol is not told apart.
const NO_NAMES_OVER_TCP: &str = "by names over UDP only: connections are met as a whole or not at all (`tcp`), and what is asked over TLS or HTTPS is not seen";

/// Whether and how one aspect of a kind works here, of packets that go one way.
pub(super) fn capability(
    kind: FaultKind,
    aspect: &'static str,
    means: Means,
    direction: Direction,
    support: &Support,
) -> Capability {
    let [out, incoming] = network::each_way(kind, means, support);
    let mut one = if direction.includes_out() { out } else { incoming };
    one.aspect = aspect;
    one.caveats.push(NO_NAMES_OVER_TCP.into());
    one
}
