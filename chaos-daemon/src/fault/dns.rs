//! What the kinds of the family of names have in common: a rule about questions, which go out as packets.

use chaos_common::{
    abi::{Action, Dice, PARAMETERS},
    fault::{FaultKind, Questions},
};

use super::{
    Limits, Unsupported,
    network::{Means, Network},
};
use crate::{
    effect::{Effect, PutRule},
    kernel::{About, Support},
};

/// A fault of the family, as far as its kind decides.
pub(super) struct Dns<'a> {
    pub(super) kind: FaultKind,
    pub(super) questions: &'a Questions,
    pub(super) action: Action,
    pub(super) parameters: [u64; PARAMETERS],
    pub(super) dice: Dice,
    pub(super) means: Means,
}

impl Dns<'_> {
    /// The effects that make it happen.
    pub(super) fn plan(
        self,
        limits: &Limits,
        support: &Support,
    ) -> Result<Vec<Effect>, Unsupported> {
        let Self { kind, questions, action, parameters, dice, means } = self;
        let filter = questions.packets();
        let packets =
            Network { kind, filter: &filter, action, parameters, shape: None, dice, means };
        let mut effects = packets.plan(limits, support)?;
        for effect in &mut effects {
            if let Effect::PutRule(PutRule(spec)) = effect {
                spec.rule.filter.question = questions.to_abi();
                spec.about =
                    About::Questions(Box::new(filter.clone()), Box::new(questions.clone()));
            }
        }
        Ok(effects)
    }
}
