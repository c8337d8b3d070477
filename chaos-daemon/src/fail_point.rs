//! Steps at which a test build dies on request, and what it does without on request.

/// A step of an injection's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailPoint {
    /// It has a place in memory.
    Reserved,
    /// Its journal entry is on disk.
    Journalled,
    /// Packets have a place to wait.
    HopMade,
    /// A hook is attached.
    HookAttached,
    /// Ports are taken.
    PortsTaken,
    /// Files are watched.
    FilesWatched,
    /// Open connections are reset.
    ConnectionsReset,
    /// What is connected elsewhere will end with the fault.
    EndPlanned,
    /// The rule is in the kernel.
    RuleWritten,
    /// It is active, and nobody knows yet.
    Active,
    /// Its journal entry says that its undo begins.
    RecoverBegun,
    /// The rule is gone.
    RuleRemoved,
    /// Ports are free again.
    PortsFreed,
    /// Files are not watched any more.
    FilesFreed,
    /// What was connected elsewhere is ended.
    RedirectedEnded,
    /// The place to wait is not used any more.
    HopLeft,
    /// A hook is detached, if nothing else needs it.
    HookDetached,
    /// Its journal entry is gone.
    JournalRemoved,
}

impl FailPoint {
    /// What `CHAOS_FAILPOINT` calls it.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Reserved => "journal-reserved",
            Self::Journalled => "journal-written",
            Self::HopMade => "hop-made",
            Self::HookAttached => "hook-attached",
            Self::PortsTaken => "ports-taken",
            Self::FilesWatched => "files-watched",
            Self::ConnectionsReset => "connections-reset",
            Self::EndPlanned => "end-planned",
            Self::RuleWritten => "rule-written",
            Self::Active => "active",
            Self::RecoverBegun => "recover-begun",
            Self::RuleRemoved => "rule-removed",
            Self::PortsFreed => "ports-freed",
            Self::FilesFreed => "files-freed",
            Self::RedirectedEnded => "redirected-ended",
            Self::HopLeft => "hop-left",
            Self::HookDetached => "hook-detached",
            Self::JournalRemoved => "journal-removed",
        }
    }
}

/// Kills this process if the environment variable `CHAOS_FAILPOINT` names this step. Does nothing in
/// builds without the feature `failpoints`.
#[inline]
pub(crate) fn reached(step: FailPoint) {
    if cfg!(feature = "failpoints")
        && std::env::var("CHAOS_FAILPOINT").is_ok_and(|named| named == step.name())
    {
        // Nothing can be done about a failure here, and the test that asked will see it.
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}

/// Something of a kernel that a test may want to do without, to see what serves instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feature {
    /// The qdisc in which packets wait.
    Fq,
    /// Programs that replace what a system call returns (`fmod_ret`).
    Replace,
    /// Programs that return in its place (`bpf_override_return`).
    Override,
    /// Programs where security modules are asked.
    Operations,
}

impl Feature {
    /// What `CHAOS_WITHOUT` calls it.
    const fn name(self) -> &'static str {
        match self {
            Self::Fq => "fq",
            Self::Replace => "fmod_ret",
            Self::Override => "override_return",
            Self::Operations => "security",
        }
    }
}

/// Whether the environment variable `CHAOS_WITHOUT` names this feature, among others; never in builds without the feature
/// `failpoints`.
pub(crate) fn is_withheld(feature: Feature) -> bool {
    cfg!(feature = "failpoints")
        && std::env::var("CHAOS_WITHOUT")
            .is_ok_and(|named| named.split(',').any(|named| named == feature.name()))
}
