//! Where a fault happens.

use std::{fmt, num::NonZeroU32};

use crate::invalid::{Invalid, shown};

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
    Pid(NonZeroU32),
    /// A cgroup by its path below the cgroup2 mount.
    Cgroup(CgroupPath),
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

/// A name that is checked once and then carried as text.
macro_rules! checked_name {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

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
    UnitName, |text| {
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
    ContainerId, |text| {
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
    PodUid, |text| {
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
    CgroupPath, |text| {
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
