//! `network loss`: packets vanish as on a wire, and nobody is told.

use std::fmt;

use super::NetworkFilter;
use crate::{
    abi::{Chance, Dice},
    invalid::{At, Invalid},
    proto::v1,
    value::{Every, Percent, Share},
    wire::percent,
};

/// Packets of the target vanish.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct NetworkLoss {
    /// Which of the matching packets.
    pub model: LossModel,
    /// Which packets match.
    pub filter: NetworkFilter,
}

/// Which of the matching packets vanish.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LossModel {
    /// With this chance.
    Share(Share),
    /// In bursts.
    Burst(Burst),
    /// In the four states of netem.
    FourStates(FourStates),
    /// The last of each so many.
    Every(Every),
}

/// The Gilbert–Elliott model: packets meet either a good or a bad time.
///
/// The mean length of a bad time is 100 / `leave` packets; its share of all packets is
/// `enter` / (`enter` + `leave`).
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Burst {
    /// Chance at each packet that a bad time begins (netem calls it p).
    pub enter: Percent,
    /// Chance at each packet that it ends (r).
    pub leave: Percent,
    /// Loss in a bad time (1−h).
    #[serde(default = "all")]
    pub inside: Percent,
    /// Loss in a good time (1−k).
    #[serde(default = "none")]
    pub outside: Percent,
}

fn all() -> Percent {
    Percent::ALL
}

fn none() -> Percent {
    Percent::ZERO
}

impl Burst {
    /// Refuses a model that would never lose anything or never stop to.
    ///
    /// # Errors
    /// When `enter`, `leave` or `inside` is 0.
    pub fn checked(self) -> Result<Self, Invalid> {
        self.enter.above_zero().at("enter")?;
        self.leave.above_zero().at("leave")?;
        self.inside.above_zero().at("inside")?;
        Ok(self)
    }
}

/// The four-state Markov model of netem's `loss state`: packets arrive (state 1) or are lost one at a time (4)
/// in good times, and are lost (3) or arrive (2) in bad ones.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FourStates {
    /// From arriving in good times to losses of bad ones.
    pub p13: Percent,
    /// From those back to good times.
    pub p31: Percent,
    /// From losses in bad times to arriving in them.
    #[serde(default = "none")]
    pub p32: Percent,
    /// From arriving in bad times back to losses.
    #[serde(default = "all")]
    pub p23: Percent,
    /// From arriving in good times to the loss of one packet.
    #[serde(default = "none")]
    pub p14: Percent,
}

impl FourStates {
    /// Refuses chances that do not fit together.
    ///
    /// # Errors
    /// When nothing would ever be lost, a state would never be left again, or the ways out of one are more than
    /// all.
    pub fn checked(self) -> Result<Self, Invalid> {
        let Self { p13, p31, p32, p23, p14 } = self;
        let is_none = |percent: Percent| percent == Percent::ZERO;
        // What decimal fractions add up to may be off in the last digit.
        let are_too_many = |a: Percent, b: Percent| a.get() + b.get() > 100.0 + 1e-9;
        let (field, problem) = if is_none(p13) && is_none(p14) {
            ("p13", "with p14 also 0 nothing would be lost; give more than 0 for one of them")
        } else if are_too_many(p13, p14) {
            ("p14", "p13 and p14 are more than 100 % together; give less")
        } else if are_too_many(p31, p32) {
            ("p32", "p31 and p32 are more than 100 % together; give less")
        } else if !is_none(p13) && is_none(p31) {
            ("p31", "with 0 a bad time would never end; give more than 0")
        } else if !is_none(p13) && !is_none(p32) && is_none(p23) {
            ("p23", "with 0 and p32 above 0 losses would end for ever; give more than 0")
        } else {
            return Ok(self);
        };
        Err(Invalid::new(problem).at(field))
    }

    fn dice(self, seed: u64) -> Dice {
        /// As netem counts them, less one.
        const ARRIVES: usize = 0;
        const ARRIVES_IN_BAD: usize = 1;
        const LOST_IN_BAD: usize = 2;
        const LOST_ALONE: usize = 3;
        let always = Chance::ALWAYS;
        let rest = |a: Percent, b: Percent| {
            Chance::of_2_32(
                always.share() - (a.chance().share() + b.chance().share()).min(always.share()),
            )
        };
        let mut dice = Dice::still(seed);
        let after =
            |chance: Chance, more: Percent| Chance::of_2_32(chance.share() + more.chance().share());
        let stays = rest(self.p13, self.p14);
        // Each row: back to 1, then up to 2, then up to 3; the rest is 4.
        dice.states[ARRIVES].up_to = [stays, stays, after(stays, self.p13)];
        dice.states[ARRIVES_IN_BAD].up_to = [Chance::NEVER, self.p23.chance().not(), always];
        let leaves = self.p31.chance();
        dice.states[LOST_IN_BAD].up_to = [leaves, after(leaves, self.p32), always];
        dice.states[LOST_IN_BAD].fires = always;
        // The one after a single loss arrives; its row is the one of a fresh state.
        dice.states[LOST_ALONE].fires = always;
        dice
    }
}

impl LossModel {
    /// The dice that the kernel rolls for this model.
    #[must_use]
    pub fn dice(self, seed: u64) -> Dice {
        match self {
            Self::Share(share) => share.dice(seed),
            Self::Burst(burst) => Dice::two_states(
                seed,
                burst.enter.chance(),
                burst.leave.chance(),
                burst.outside.chance(),
                burst.inside.chance(),
            ),
            Self::FourStates(states) => states.dice(seed),
            Self::Every(every) => Dice::every(seed, every.get()),
        }
    }
}

impl fmt::Display for NetworkLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.model {
            LossModel::Share(share) => share.fmt(f)?,
            LossModel::Every(every) => every.fmt(f)?,
            LossModel::FourStates(FourStates { p13, p31, p32, p23, p14 }) => {
                write!(f, "in states (p13 {p13}, p31 {p31}, p32 {p32}, p23 {p23}, p14 {p14})")?;
            }
            LossModel::Burst(Burst { enter, leave, inside, outside }) => {
                write!(
                    f,
                    "in bursts (enter {enter}, leave {leave}, inside {inside}, outside {outside})"
                )?;
            }
        }
        write!(f, ", {}", self.filter)
    }
}

/// As it is written: exactly one of the models.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<Percent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation: Option<Percent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    burst: Option<Burst>,
    #[serde(skip_serializing_if = "Option::is_none")]
    four_states: Option<FourStates>,
    #[serde(skip_serializing_if = "Option::is_none")]
    every: Option<Every>,
    #[serde(default)]
    filter: NetworkFilter,
}

impl TryFrom<Raw> for NetworkLoss {
    type Error = Invalid;

    fn try_from(raw: Raw) -> Result<Self, Invalid> {
        let model = match (raw.percent, raw.burst, raw.four_states, raw.every) {
            (Some(percent), None, None, None) => {
                LossModel::Share(Share::new(percent, raw.correlation)?)
            }
            (None, Some(burst), None, None) => LossModel::Burst(burst.checked().at("burst")?),
            (None, None, Some(states), None) => {
                LossModel::FourStates(states.checked().at("fourStates")?)
            }
            (None, None, None, Some(every)) => LossModel::Every(every),
            _ => {
                return Err(Invalid::new(
                    "give one of `percent`, `burst`, `fourStates` and `every`",
                ));
            }
        };
        if raw.correlation.is_some() && raw.percent.is_none() {
            return Err(Invalid::new("belongs to `percent` only").at("correlation"));
        }
        Ok(Self { model, filter: raw.filter.checked().at("filter")? })
    }
}

impl From<NetworkLoss> for Raw {
    fn from(loss: NetworkLoss) -> Self {
        let filter = loss.filter;
        let none = Self {
            percent: None,
            correlation: None,
            burst: None,
            four_states: None,
            every: None,
            filter,
        };
        match loss.model {
            LossModel::Share(share) => {
                Self { percent: Some(share.percent()), correlation: share.correlation(), ..none }
            }
            LossModel::Burst(burst) => Self { burst: Some(burst), ..none },
            LossModel::FourStates(states) => Self { four_states: Some(states), ..none },
            LossModel::Every(every) => Self { every: Some(every), ..none },
        }
    }
}

impl TryFrom<v1::NetworkLoss> for NetworkLoss {
    type Error = Invalid;

    fn try_from(wire: v1::NetworkLoss) -> Result<Self, Invalid> {
        use v1::network_loss::Model;
        let filter = wire.filter.unwrap_or_default().try_into().at("filter")?;
        let correlation = percent(wire.correlation).at("correlation")?;
        let none =
            Raw { percent: None, correlation, burst: None, four_states: None, every: None, filter };
        match wire.model {
            Some(Model::Percent(percent)) => {
                Raw { percent: Some(percent.try_into().at("percent")?), ..none }
            }
            Some(Model::Burst(burst)) => Raw { burst: Some(burst.try_into().at("burst")?), ..none },
            Some(Model::FourStates(states)) => {
                Raw { four_states: Some(states.try_into().at("fourStates")?), ..none }
            }
            Some(Model::Every(every)) => Raw { every: Some(every.try_into().at("every")?), ..none },
            None => none,
        }
        .try_into()
    }
}

impl TryFrom<v1::Burst> for Burst {
    type Error = Invalid;

    fn try_from(wire: v1::Burst) -> Result<Self, Invalid> {
        Ok(Self {
            enter: wire.enter.try_into().at("enter")?,
            leave: wire.leave.try_into().at("leave")?,
            inside: percent(wire.inside).at("inside")?.unwrap_or(Percent::ALL),
            outside: percent(wire.outside).at("outside")?.unwrap_or(Percent::ZERO),
        })
    }
}

impl TryFrom<v1::FourStates> for FourStates {
    type Error = Invalid;

    fn try_from(wire: v1::FourStates) -> Result<Self, Invalid> {
        Ok(Self {
            p13: wire.p13.try_into().at("p13")?,
            p31: wire.p31.try_into().at("p31")?,
            p32: percent(wire.p32).at("p32")?.unwrap_or(Percent::ZERO),
            p23: percent(wire.p23).at("p23")?.unwrap_or(Percent::ALL),
            p14: percent(wire.p14).at("p14")?.unwrap_or(Percent::ZERO),
        })
    }
}

impl From<&NetworkLoss> for v1::NetworkLoss {
    fn from(loss: &NetworkLoss) -> Self {
        use v1::network_loss::Model;
        let (model, correlation) = match loss.model {
            LossModel::Share(share) => {
                (Model::Percent(share.percent().get()), share.correlation().map(Percent::get))
            }
            LossModel::Burst(burst) => (
                Model::Burst(v1::Burst {
                    enter: burst.enter.get(),
                    leave: burst.leave.get(),
                    inside: Some(burst.inside.get()),
                    outside: Some(burst.outside.get()),
                }),
                None,
            ),
            LossModel::FourStates(states) => (
                Model::FourStates(v1::FourStates {
                    p13: states.p13.get(),
                    p31: states.p31.get(),
                    p32: Some(states.p32.get()),
                    p23: Some(states.p23.get()),
                    p14: Some(states.p14.get()),
                }),
                None,
            ),
            LossModel::Every(every) => (Model::Every(every.get()), None),
        };
        Self { model: Some(model), correlation, filter: Some((&loss.filter).into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_states_are_those_of_netem() {
        let percent = |percent: f64| Percent::try_from(percent).unwrap();
        let states = FourStates {
            p13: percent(2.0),
            p31: percent(20.0),
            p32: percent(10.0),
            p23: percent(50.0),
            p14: percent(1.0),
        };
        let n = 400_000;
        let lost = LossModel::FourStates(states).dice(1).sequence().take(n).filter(|l| *l).count();
        // The chain's stationary distribution, solved by hand from its balance equations.
        let (p13, p31, p32, p23, p14) = (0.02, 0.2, 0.1, 0.5, 0.01);
        let bad_lost = p13 / p31;
        let bad_arrives = bad_lost * p32 / p23;
        let share = (bad_lost + p14) / (1.0 + bad_lost + bad_arrives + p14);
        let measured = lost as f64 / n as f64;
        assert!((measured - share).abs() < 0.004, "{measured} instead of {share}");
    }

    #[test]
    fn chances_that_lead_nowhere_are_refused_by_name() {
        let checked = |p13: f64, p31: f64, p32: f64, p23: f64, p14: f64| {
            let percent = |percent: f64| Percent::try_from(percent).unwrap();
            FourStates {
                p13: percent(p13),
                p31: percent(p31),
                p32: percent(p32),
                p23: percent(p23),
                p14: percent(p14),
            }
            .checked()
            .map_err(|invalid| invalid.field)
        };
        assert_eq!(checked(0.0, 10.0, 0.0, 100.0, 0.0), Err("p13".into()));
        assert_eq!(checked(60.0, 10.0, 0.0, 100.0, 41.0), Err("p14".into()));
        assert_eq!(checked(1.0, 60.0, 41.0, 100.0, 0.0), Err("p32".into()));
        assert_eq!(checked(1.0, 0.0, 50.0, 100.0, 0.0), Err("p31".into()));
        assert_eq!(checked(1.0, 10.0, 50.0, 0.0, 0.0), Err("p23".into()));
        assert!(checked(0.0, 0.0, 0.0, 0.0, 1.0).is_ok());
        assert!(checked(33.4, 70.1, 29.9, 50.0, 66.6).is_ok());
    }

    #[test]
    fn a_single_loss_is_single() {
        let none = Percent::ZERO;
        let half = Percent::try_from(50.0).unwrap();
        let states = FourStates { p13: none, p31: Percent::ALL, p32: none, p23: none, p14: half };
        let lost: Vec<bool> = LossModel::FourStates(states).dice(2).sequence().take(1000).collect();
        assert!(lost.iter().any(|lost| *lost) && lost.windows(2).all(|pair| !(pair[0] && pair[1])));
    }
}
