//! Injections, which the daemon sends and its clients read.

use super::{from_timestamp, to_timestamp};
use crate::{
    abi::RuleStats,
    injection::{End, Injection, State},
    invalid::{At, Invalid},
    proto::v1,
};

impl From<&Injection> for v1::Injection {
    fn from(injection: &Injection) -> Self {
        let (state, end) = match injection.state {
            State::Applying => (v1::State::Applying, None),
            State::Active => (v1::State::Active, None),
            State::Recovering => (v1::State::Recovering, None),
            State::Ended(end) => (v1::State::Ended, Some(end)),
            State::Stuck(end) => (v1::State::Stuck, Some(end)),
        };
        let end = match end {
            None => v1::End::Unspecified,
            Some(End::Recovered) => v1::End::Recovered,
            Some(End::Expired) => v1::End::Expired,
            Some(End::TargetGone) => v1::End::TargetGone,
            Some(End::Interrupted) => v1::End::Interrupted,
            Some(End::Failed) => v1::End::Failed,
        };
        Self {
            id: injection.id.to_string(),
            spec: Some((&injection.spec).into()),
            cgroup: injection.cgroup.to_string(),
            cgroup_id: injection.cgroup_id,
            state: state.into(),
            end: end.into(),
            message: injection.message.clone(),
            created_at: Some(to_timestamp(injection.created_at)),
            expires_at: Some(to_timestamp(injection.expires_at)),
            ended_at: injection.ended_at.map(to_timestamp),
            counters: Some(injection.counters.into()),
            requested_by: injection.requested_by.clone(),
            seed: injection.seed,
            connections_reset: injection.connections_reset,
        }
    }
}

impl TryFrom<v1::Injection> for Injection {
    type Error = Invalid;

    fn try_from(wire: v1::Injection) -> Result<Self, Invalid> {
        Ok(Self {
            state: state(wire.state, wire.end).at("state")?,
            id: wire.id.try_into().at("id")?,
            spec: wire.spec.unwrap_or_default().try_into().at("spec")?,
            cgroup: wire.cgroup.try_into().at("cgroup")?,
            cgroup_id: wire.cgroup_id,
            message: wire.message,
            seed: wire.seed,
            created_at: from_timestamp(wire.created_at.unwrap_or_default()),
            expires_at: from_timestamp(wire.expires_at.unwrap_or_default()),
            ended_at: wire.ended_at.map(from_timestamp),
            counters: wire.counters.unwrap_or_default().into(),
            connections_reset: wire.connections_reset,
            requested_by: wire.requested_by,
        })
    }
}

fn state(state: i32, end: i32) -> Result<State, Invalid> {
    let end = match v1::End::try_from(end) {
        Ok(v1::End::Recovered) => Some(End::Recovered),
        Ok(v1::End::Expired) => Some(End::Expired),
        Ok(v1::End::TargetGone) => Some(End::TargetGone),
        Ok(v1::End::Interrupted) => Some(End::Interrupted),
        Ok(v1::End::Failed) => Some(End::Failed),
        Ok(v1::End::Unspecified) | Err(_) => None,
    };
    match (v1::State::try_from(state), end) {
        (Ok(v1::State::Applying), _) => Ok(State::Applying),
        (Ok(v1::State::Active), _) => Ok(State::Active),
        (Ok(v1::State::Recovering), _) => Ok(State::Recovering),
        (Ok(v1::State::Ended), Some(end)) => Ok(State::Ended(end)),
        (Ok(v1::State::Stuck), Some(end)) => Ok(State::Stuck(end)),
        (Ok(v1::State::Unspecified | v1::State::Ended | v1::State::Stuck) | Err(_), _) => {
            Err(Invalid::new(format!(
                "{state} is a state that this version of the client does not know"
            )))
        }
    }
}

impl From<RuleStats> for v1::Counters {
    fn from(stats: RuleStats) -> Self {
        let RuleStats { matched, fired, past_deadline, past_lease, over_budget, spared } = stats;
        Self { matched, fired, past_deadline, past_lease, over_budget, spared }
    }
}

impl From<v1::Counters> for RuleStats {
    fn from(wire: v1::Counters) -> Self {
        let v1::Counters { matched, fired, past_deadline, past_lease, over_budget, spared } = wire;
        Self { matched, fired, past_deadline, past_lease, over_budget, spared }
    }
}
