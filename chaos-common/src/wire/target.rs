//! Targets.

use crate::{
    invalid::{At, Invalid},
    proto::v1,
    target::{Target, pid},
};

impl TryFrom<v1::Target> for Target {
    type Error = Invalid;

    fn try_from(wire: v1::Target) -> Result<Self, Invalid> {
        match wire.target {
            Some(v1::target::Target::Unit(unit)) => unit.try_into().map(Self::Unit).at("unit"),
            Some(v1::target::Target::Container(id)) => {
                id.try_into().map(Self::Container).at("container")
            }
            Some(v1::target::Target::Pod(uid)) => uid.try_into().map(Self::Pod).at("pod"),
            Some(v1::target::Target::Pid(number)) => pid(number.into()).map(Self::Pid).at("pid"),
            Some(v1::target::Target::Cgroup(path)) => {
                path.try_into().map(Self::Cgroup).at("cgroup")
            }
            None => Err(Invalid::new("is missing; give one of unit, container, pod, pid, cgroup")),
        }
    }
}

impl From<&Target> for v1::Target {
    fn from(target: &Target) -> Self {
        let target = match target {
            Target::Unit(unit) => v1::target::Target::Unit(unit.to_string()),
            Target::Container(id) => v1::target::Target::Container(id.to_string()),
            Target::Pod(uid) => v1::target::Target::Pod(uid.to_string()),
            Target::Pid(pid) => v1::target::Target::Pid(pid.get()),
            Target::Cgroup(path) => v1::target::Target::Cgroup(path.to_string()),
        };
        Self { target: Some(target) }
    }
}
