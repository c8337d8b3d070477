//! What becomes of a journal entry when a daemon starts: decided here, over plain facts.

use chaos_common::injection::End;

use super::journal::Entry;
use crate::boot_clock::BootTime;

/// What the node looks like to a daemon that starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// This boot.
    pub(super) boot_id: &'a str,
    /// Now.
    pub(super) now: BootTime,
    /// Until when the earlier daemon counted as alive; with no tables left of it, zero.
    pub(super) lease: BootTime,
    /// The target's cgroup is there and is still the same one.
    pub(super) target_is_there: bool,
    /// The rule is in the kernel's tables.
    pub(super) rule_is_there: bool,
}

/// What to do about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Go on with it.
    Adopt,
    /// Undo what may be left, and say why.
    End(End),
}

pub(super) fn decide(entry: &Entry, facts: &Facts<'_>) -> Decision {
    let record = &entry.record;
    if record.boot_id != facts.boot_id {
        return Decision::End(End::Interrupted);
    }
    if entry.is_recovering {
        return Decision::End(End::Recovered);
    }
    if facts.now >= record.deadline {
        return Decision::End(End::Expired);
    }
    if !facts.target_is_there {
        return Decision::End(End::TargetGone);
    }
    // Adoption attaches every hook anew, so the rule is all that has to be there. After the lease the fault
    // was over for its target, and must not come back unasked.
    if facts.rule_is_there && facts.now < facts.lease {
        Decision::Adopt
    } else {
        Decision::End(End::Interrupted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::record::Record, kernel::RuleId};

    #[test]
    fn every_case() {
        let entry = |is_recovering| Entry {
            record: Record {
                id: "a".parse().unwrap(),
                spec: chaos_common::spec::from_yaml(
                    "target: {pid: 1}\nfault: {networkLoss: {percent: 1}}",
                )
                .unwrap()
                .remove(0),
                cgroup: "/a".parse().unwrap(),
                cgroup_id: 1,
                cgroup_level: 1,
                seed: 0,
                rule: RuleId(1),
                boot_id: "this".into(),
                deadline: BootTime::from_nanos(100),
                created_at_ms: 0,
                requested_by: String::new(),
            },
            is_recovering,
        };
        let end = Decision::End;
        let leases = [(99, false), (100, true)].map(|(lease, held)| {
            let facts = Facts {
                boot_id: "this",
                now: BootTime::from_nanos(99),
                lease: BootTime::from_nanos(lease),
                target_is_there: true,
                rule_is_there: true,
            };
            (decide(&entry(false), &facts) == Decision::Adopt) == held
        });
        assert_eq!(leases, [true, true], "adopted only within the lease");
        // boot, now, recovering, target there, rule there
        for (boot_id, now, is_recovering, target_is_there, rule_is_there, wanted) in [
            ("this", 99, false, true, true, Decision::Adopt),
            ("this", 99, false, true, false, end(End::Interrupted)),
            ("this", 99, false, false, true, end(End::TargetGone)),
            ("this", 99, false, false, false, end(End::TargetGone)),
            ("this", 100, false, true, true, end(End::Expired)),
            ("this", 100, false, false, false, end(End::Expired)),
            ("this", 99, true, true, true, end(End::Recovered)),
            ("this", 100, true, false, false, end(End::Recovered)),
            ("other", 99, false, true, true, end(End::Interrupted)),
            ("other", 0, true, true, false, end(End::Interrupted)),
        ] {
            let now = BootTime::from_nanos(now);
            let lease = BootTime::NEVER;
            let facts = Facts { boot_id, now, lease, target_is_there, rule_is_there };
            assert_eq!(decide(&entry(is_recovering), &facts), wanted, "{facts:?} {is_recovering}");
        }
    }
}
