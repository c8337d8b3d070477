//! Where a fault happens.

use std::{fmt, num::NonZeroU32};

use crate::{
    invalid::{Invalid, shown},
    value::Whole,
};

/// What a person names; the daemon finds the cgroup behind it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Target {
    /// A systemd unit: `nginx.service`.
    Unit(UnitName),
    /// A container, by its id or an unambiguous beginning of it.
    Container(ContainerId),
    /// A pod, by its uid.
    Pod(PodUid),
    /// The cgroup of a process.
    #[serde(deserialize_with = "deserialize_pid")]
    Pid(NonZeroU32),
    /// A cgroup by its path below the cgroup2 mount.
    Cgroup(CgroupPath),
}

/// The id of a process.
///
/// # Errors
/// When no process can have it.
pub fn pid(number: u64) -> Result<NonZeroU32, Invalid> {
    u32::try_from(number)
        .ok()
        .and_then(NonZeroU32::new)
        .ok_or_else(|| Invalid::new(format!("{number} is no process id; give one from 1 on")))
}

fn deserialize_pid<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<NonZeroU32, D::Error> {
    let belongs = "a process id, a whole number from 1 on";
    deserializer.deserialize_u64(Whole { belongs, check: pid })
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit(unit) => write!(f, "unit {unit}"),
            Self::Container(id) => write!(f, "container {id}"),
            Self::Pod(uid) => write!(f, "pod {uid}"),
            Self::Pid(pid) => write!(f, "process {pid}"),
            Self::Cgroup(path) => write!(f, "cgroup {path}"),
        }
    }
}

impl std::str::FromStr for Target {
    type Err = Invalid;

    /// `KIND:NAME`, as in `unit:nginx.service`.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let number = |text: &str| {
            text.parse::<u64>().map_err(|_| {
                Invalid::new(format!("{} is no process id; give one from 1 on", shown(text)))
            })
        };
        match text.split_once(':') {
            Some(("unit", name)) => name.parse().map(Self::Unit),
            Some(("container", id)) => id.parse().map(Self::Container),
            Some(("pod", uid)) => uid.parse().map(Self::Pod),
            Some(("pid", id)) => number(id).and_then(pid).map(Self::Pid),
            Some(("cgroup", path)) => path.parse().map(Self::Cgroup),
            Some(_) | None => Err(Invalid::new(format!(
                "{} names nobody; give unit:NAME, container:ID, pod:UID, pid:PID or cgroup:PATH",
                shown(text)
            ))),
        }
    }
}

/// A name that is checked once and then carried as text. The second argument says what to write in a
/// file, as in "write the full name of a unit".
macro_rules! checked_name {
    ($(#[$doc:meta])* $name:ident, $belongs:expr, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name(String);

        $crate::value::serde_as_text!($name, $belongs);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;

            fn try_from(text: String) -> Result<Self, Invalid> {
                let check: fn(&str) -> Result<(), String> = $check;
                check(&text).map(|()| Self(text)).map_err(Invalid::new)
            }
        }

        impl std::str::FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
pub(crate) use checked_name;

checked_name! {
    /// Name of a systemd unit with its suffix.
    UnitName, "the full name of a unit, as nginx.service", |text| {
        let known = [".service", ".scope", ".slice"].iter().any(|suffix| {
            text.strip_suffix(suffix).is_some_and(|stem| !stem.is_empty())
        });
        let plain = text.len() <= 255
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "@:-_.\\".contains(c));
        if known && plain {
            Ok(())
        } else {
            Err(format!(
                "{} is no unit that has a cgroup; give its full name as nginx.service, user.slice or session-1.scope",
                shown(text)
            ))
        }
    }
}

checked_name! {
    /// Container id, whole or its beginning.
    ContainerId, "a container id, or 6 or more of its first digits", |text| {
        if (6..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()) {
            Ok(())
        } else {
            Err(format!(
                "{} is no container id; give 6 to 64 lower-case hexadecimal digits (`chaos targets` lists them)",
                shown(text)
            ))
        }
    }
}

checked_name! {
    /// Uid of a pod.
    PodUid, "a pod's uid, as in its metadata.uid", |text| {
        let plain = text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        if (32..=36).contains(&text.len()) && plain {
            Ok(())
        } else {
            Err(format!(
                "{} is no pod uid; give it as in the pod's metadata.uid",
                shown(text)
            ))
        }
    }
}

checked_name! {
    /// Path of a cgroup below the cgroup2 mount: `/system.slice/nginx.service`.
    CgroupPath, "a path below the cgroup2 mount, as /system.slice/nginx.service", |text| {
        let absolute = text.starts_with('/') && text.len() <= 4096 && !text.contains('\0');
        let steps = text.split('/').all(|step| step != "." && step != ".." && step.len() <= 255);
        if absolute && steps {
            Ok(())
        } else {
            Err(format!(
                "{} is no cgroup path; give it from the cgroup2 mount on, as /system.slice/nginx.service",
                shown(text)
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_from_text() {
        for (text, said) in [
            ("unit:nginx.service", "unit nginx.service"),
            ("container:0123abcd", "container 0123abcd"),
            ("pid:12", "process 12"),
            ("cgroup:/a:b", "cgroup /a:b"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), said);
        }
        for text in ["", "nginx.service", "unit:", "unit:nginx", "pid:0", "pid:x", "host:a"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_that_could_mean_something_else_are_refused() {
        let long = "a".repeat(1 << 20);
        for text in ["", "nginx", "a/b.service", "nginx.service\0", "é.service", ".service", &long]
        {
            assert!(text.parse::<UnitName>().is_err(), "{text:.20}");
        }
        for text in ["", "/a/../b", "relative", "/a\0", "/./a", &long] {
            assert!(text.parse::<CgroupPath>().is_err(), "{text:.20}");
        }
        for text in ["", "abc", "ABCDEF", "xyzxyz", &long] {
            assert!(text.parse::<ContainerId>().is_err(), "{text:.20}");
        }
        assert!("getty@tty1.service".parse::<UnitName>().is_ok());
        assert!("/".parse::<CgroupPath>().is_ok());
    }
}
