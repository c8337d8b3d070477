//! What the journal says of one injection: enough to end it, or to go on with it, without asking
//! anybody.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chaos_common::{
    fault::Others,
    spec::{InjectionId, Spec},
    target::CgroupPath,
};

use crate::{boot_clock::BootTime, kernel::RuleId, target::Cgroup};

/// One journal file.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Record {
    /// Its name, which is also the file's.
    pub(super) id: InjectionId,
    /// What was asked for.
    pub(super) spec: Spec,
    /// The cgroup behind the target: its path, the kernel's id and its depth.
    pub(super) cgroup: CgroupPath,
    pub(super) cgroup_id: u64,
    pub(super) cgroup_level: u32,
    /// The seed in use.
    pub(super) seed: u64,
    /// Its rule.
    pub(super) rule: RuleId,
    /// The boot in which its effects were applied; they end with it.
    pub(super) boot_id: String,
    /// When it ends, on that boot's clock.
    pub(super) deadline: BootTime,
    /// Who was found so far for those whom the fault's filter names.
    #[serde(default, skip_serializing_if = "Others::is_empty")]
    pub(super) others: Others,
    /// When it was accepted, in milliseconds of Unix time.
    pub(super) created_at_ms: u64,
    /// Who asked.
    pub(super) requested_by: String,
}

impl Record {
    pub(super) fn target(&self) -> Cgroup {
        Cgroup { path: self.cgroup.clone(), id: self.cgroup_id, level: self.cgroup_level }
    }

    pub(super) fn created_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.created_at_ms)
    }
}

/// Now, for [`Record::created_at_ms`].
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
