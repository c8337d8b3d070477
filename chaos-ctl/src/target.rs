//! The flags that say where.

use std::num::NonZeroU32;

use chaos_common::target::{CgroupPath, ContainerId, PodUid, Target, UnitName};

/// Exactly one of them.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "target", required = true, multiple = false)]
#[command(next_help_heading = "Where (exactly one)")]
pub(crate) struct TargetArgs {
    /// A systemd unit: nginx.service, user.slice, session-1.scope
    #[arg(long, value_name = "UNIT", allow_hyphen_values = true)]
    unit: Option<UnitName>,

    /// A container, by its id or the beginning of it (6 or more digits)
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    container: Option<ContainerId>,

    /// A pod, by its uid
    #[arg(long, value_name = "UID", allow_hyphen_values = true)]
    pod: Option<PodUid>,

    /// The cgroup of this process: all that runs in it, not the process alone
    #[arg(long, value_name = "PID", allow_hyphen_values = true, value_parser = pid)]
    pid: Option<NonZeroU32>,

    /// A cgroup, by its path below the cgroup2 mount: /system.slice/nginx.service
    #[arg(long, value_name = "PATH", allow_hyphen_values = true)]
    cgroup: Option<CgroupPath>,
}

fn pid(text: &str) -> Result<NonZeroU32, String> {
    text.parse().map_err(|_| "give a process id, a whole number from 1 on".to_owned())
}

impl TargetArgs {
    /// The one that was given; clap has seen to it that there is one.
    pub(crate) fn target(self) -> Option<Target> {
        let Self { unit, container, pod, pid, cgroup } = self;
        unit.map(Target::Unit)
            .or(container.map(Target::Container))
            .or(pod.map(Target::Pod))
            .or(pid.map(Target::Pid))
            .or(cgroup.map(Target::Cgroup))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        target: TargetArgs,
    }

    fn read(args: &[&str]) -> Result<Target, clap::error::ErrorKind> {
        let line = Line::try_parse_from(std::iter::once(&"chaos").chain(args));
        line.map(|line| line.target.target().unwrap()).map_err(|error| error.kind())
    }

    #[test]
    fn each_flag_is_its_target() {
        let uid = "01234567-89ab-cdef-0123-456789abcdef";
        for (flag, value, shown) in [
            ("--unit", "nginx.service", "unit nginx.service"),
            ("--container", "0123abcd", "container 0123abcd"),
            ("--pod", uid, &format!("pod {uid}")),
            ("--pid", "4711", "process 4711"),
            ("--cgroup", "/a/b", "cgroup /a/b"),
        ] {
            assert_eq!(read(&[flag, value]).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn none_two_and_nonsense_are_refused() {
        use clap::error::ErrorKind;

        assert_eq!(read(&[]), Err(ErrorKind::MissingRequiredArgument));
        assert_eq!(read(&["--pid", "1", "--cgroup", "/"]), Err(ErrorKind::ArgumentConflict));
        for (flag, value) in [
            ("--unit", "nginx"),
            ("--unit", "../../etc.service"),
            ("--container", "XYZ"),
            ("--pod", "nginx-0"),
            ("--pid", "0"),
            ("--pid", "4294967296"),
            ("--cgroup", "/a/../b"),
        ] {
            assert_eq!(read(&[flag, value]), Err(ErrorKind::ValueValidation), "{flag} {value}");
        }
    }
}
