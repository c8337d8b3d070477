//! Errors of system calls, by their names.

use std::{fmt, str::FromStr};

use crate::invalid::{Invalid, shown};

/// How a call fails that would connect or send. Numbers are those of Linux on every machine this is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(usize);

/// What `connect` and `sendto` are known to fail with, and what programs are known to look for.
const ERRNOS: [(&str, u16); 16] = [
    ("ECONNREFUSED", 111),
    ("ETIMEDOUT", 110),
    ("EHOSTUNREACH", 113),
    ("ENETUNREACH", 101),
    ("ENETDOWN", 100),
    ("EHOSTDOWN", 112),
    ("ECONNRESET", 104),
    ("ECONNABORTED", 103),
    ("EADDRNOTAVAIL", 99),
    ("EADDRINUSE", 98),
    ("EACCES", 13),
    ("EPERM", 1),
    ("EAGAIN", 11),
    ("EINTR", 4),
    ("ENOBUFS", 105),
    ("ENOMEM", 12),
];

impl Errno {
    /// Permission denied: what the oldest kernels can say.
    pub const EPERM: Self = Self(11);

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..ERRNOS.len()).map(Self)
    }

    /// As the kernel has it.
    #[must_use]
    pub const fn number(self) -> u16 {
        ERRNOS[self.0].1
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        ERRNOS[self.0].0
    }
}

impl FromStr for Errno {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::all().find(|errno| errno.name().eq_ignore_ascii_case(text)).ok_or_else(|| {
            let names: Vec<_> = Self::all().map(Self::name).collect();
            let problem = format!("{} is no errno; give one of {}", shown(text), names.join(", "));
            Invalid::new(problem)
        })
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl serde::Serialize for Errno {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for Errno {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbers_of_this_machine() {
        for errno in Errno::all() {
            assert_eq!(errno.name().parse(), Ok(errno));
        }
        assert_eq!(Errno::EPERM.name(), "EPERM");
        assert_eq!("ECONNREFUSED".parse::<Errno>().map(Errno::number), Ok(111));
    }
}
