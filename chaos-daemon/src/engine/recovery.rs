//! Whether an injection goes on or ends: decided here, over plain facts. Asked of every journal entry when
//! a daemon starts, and of every live injection each minute.

use chaos_common::injection::End;

use super::{injection::Ending, record::Record};
use crate::boot_clock::BootTime;

/// What the node looks like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// This boot.
    pub(super) boot_id: &'a str,
    /// Now.
    pub(super) now: BootTime,
    /// Until when the daemon that had it counted as alive: an earlier one, with no tables left of it zero;
    /// for this one, never.
    pub(super) lease: BootTime,
    /// Its undo had begun.
    pub(super) is_recovering: bool,
    /// The target's cgroup is there and is still the same one.
    pub(super) target_is_there: bool,
    /// Why one of its effects is not as it was applied, if so.
    pub(super) lost: Option<&'static str>,
}

/// What to do about an injection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It goes on.
    GoOn,
    /// Undo what may be left.
    End(Ending),
}

const REBOOTED: &str = "the machine was restarted";
const LAPSED: &str = "the daemon was away for longer than its lease";

pub(super) fn decide(record: &Record, facts: &Facts<'_>) -> Decision {
    let end = if record.boot_id != facts.boot_id {
        Ending::interrupted(REBOOTED)
    } else if facts.is_recovering {
        End::Recovered.into()
    } else if facts.now >= record.deadline {
        End::Expired.into()
    } else if !facts.target_is_there {
        End::TargetGone.into()
    } else if facts.now >= facts.lease {
        // The fault was over for its target, and must not come back unasked.
        Ending::interrupted(LAPSED)
    } else if let Some(reason) = facts.lost {
        Ending::interrupted(reason)
    } else {
        return Decision::GoOn;
    };
    Decision::End(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::record::Record, kernel::RuleId};

    fn record() -> Record {
        let text = "target: {pid: 1}\nfault: {networkLoss: {percent: 1}}";
        Record {
            id: "a".parse().unwrap(),
            spec: chaos_common::spec::from_yaml(text).unwrap().remove(0),
            cgroup: "/a".parse().unwrap(),
            cgroup_id: 1,
            cgroup_level: 1,
            seed: 0,
            rule: RuleId(1),
            boot_id: "this".into(),
            deadline: BootTime::from_nanos(100),
            others: Default::default(),
            created_at_ms: 0,
            requested_by: String::new(),
        }
    }

    #[test]
    fn every_case() {
        let goes_on = Decision::GoOn;
        let end = |why: End| Decision::End(why.into());
        let interrupted = |reason| Decision::End(Ending::interrupted(reason));
        const NEVER: u64 = u64::MAX;
        // boot, now, lease, recovering, target there, lost
        for (boot_id, now, lease, is_recovering, target_is_there, lost, wanted) in [
            ("this", 99, NEVER, false, true, None, goes_on),
            ("this", 99, 100, false, true, None, goes_on),
            ("this", 99, 99, false, true, None, interrupted(LAPSED)),
            ("this", 99, 0, false, true, Some("gone"), interrupted(LAPSED)),
            ("this", 99, NEVER, false, true, Some("gone"), interrupted("gone")),
            ("this", 99, NEVER, false, false, None, end(End::TargetGone)),
            ("this", 99, 0, false, false, Some("gone"), end(End::TargetGone)),
            ("this", 100, NEVER, false, true, None, end(End::Expired)),
            ("this", 100, 0, false, false, Some("gone"), end(End::Expired)),
            ("this", 99, NEVER, true, true, None, end(End::Recovered)),
            ("this", 100, 0, true, false, Some("gone"), end(End::Recovered)),
            ("other", 99, NEVER, false, true, None, interrupted(REBOOTED)),
            ("other", 0, 0, true, true, Some("gone"), interrupted(REBOOTED)),
        ] {
            let (now, lease) = (BootTime::from_nanos(now), BootTime::from_nanos(lease));
            let facts = Facts { boot_id, now, lease, is_recovering, target_is_there, lost };
            assert_eq!(decide(&record(), &facts), wanted, "{facts:?}");
        }
    }
}
