//! Errors of system calls, by their names.

use std::{fmt, str::FromStr};

use crate::invalid::{Invalid, shown};

/// How a call fails. Numbers are those of Linux on every machine this is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(usize);

/// All of them; those that connecting fails with come first.
const ERRNOS: [(&str, u16); 131] = [
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
    ("ENOENT", 2),
    ("ESRCH", 3),
    ("EIO", 5),
    ("ENXIO", 6),
    ("E2BIG", 7),
    ("ENOEXEC", 8),
    ("EBADF", 9),
    ("ECHILD", 10),
    ("EFAULT", 14),
    ("ENOTBLK", 15),
    ("EBUSY", 16),
    ("EEXIST", 17),
    ("EXDEV", 18),
    ("ENODEV", 19),
    ("ENOTDIR", 20),
    ("EISDIR", 21),
    ("EINVAL", 22),
    ("ENFILE", 23),
    ("EMFILE", 24),
    ("ENOTTY", 25),
    ("ETXTBSY", 26),
    ("EFBIG", 27),
    ("ENOSPC", 28),
    ("ESPIPE", 29),
    ("EROFS", 30),
    ("EMLINK", 31),
    ("EPIPE", 32),
    ("EDOM", 33),
    ("ERANGE", 34),
    ("EDEADLK", 35),
    ("ENAMETOOLONG", 36),
    ("ENOLCK", 37),
    ("ENOSYS", 38),
    ("ENOTEMPTY", 39),
    ("ELOOP", 40),
    ("ENOMSG", 42),
    ("EIDRM", 43),
    ("ECHRNG", 44),
    ("EL2NSYNC", 45),
    ("EL3HLT", 46),
    ("EL3RST", 47),
    ("ELNRNG", 48),
    ("EUNATCH", 49),
    ("ENOCSI", 50),
    ("EL2HLT", 51),
    ("EBADE", 52),
    ("EBADR", 53),
    ("EXFULL", 54),
    ("ENOANO", 55),
    ("EBADRQC", 56),
    ("EBADSLT", 57),
    ("EBFONT", 59),
    ("ENOSTR", 60),
    ("ENODATA", 61),
    ("ETIME", 62),
    ("ENOSR", 63),
    ("ENONET", 64),
    ("ENOPKG", 65),
    ("EREMOTE", 66),
    ("ENOLINK", 67),
    ("EADV", 68),
    ("ESRMNT", 69),
    ("ECOMM", 70),
    ("EPROTO", 71),
    ("EMULTIHOP", 72),
    ("EDOTDOT", 73),
    ("EBADMSG", 74),
    ("EOVERFLOW", 75),
    ("ENOTUNIQ", 76),
    ("EBADFD", 77),
    ("EREMCHG", 78),
    ("ELIBACC", 79),
    ("ELIBBAD", 80),
    ("ELIBSCN", 81),
    ("ELIBMAX", 82),
    ("ELIBEXEC", 83),
    ("EILSEQ", 84),
    ("ERESTART", 85),
    ("ESTRPIPE", 86),
    ("EUSERS", 87),
    ("ENOTSOCK", 88),
    ("EDESTADDRREQ", 89),
    ("EMSGSIZE", 90),
    ("EPROTOTYPE", 91),
    ("ENOPROTOOPT", 92),
    ("EPROTONOSUPPORT", 93),
    ("ESOCKTNOSUPPORT", 94),
    ("EOPNOTSUPP", 95),
    ("EPFNOSUPPORT", 96),
    ("EAFNOSUPPORT", 97),
    ("ENETRESET", 102),
    ("EISCONN", 106),
    ("ENOTCONN", 107),
    ("ESHUTDOWN", 108),
    ("ETOOMANYREFS", 109),
    ("EALREADY", 114),
    ("EINPROGRESS", 115),
    ("ESTALE", 116),
    ("EUCLEAN", 117),
    ("ENOTNAM", 118),
    ("ENAVAIL", 119),
    ("EISNAM", 120),
    ("EREMOTEIO", 121),
    ("EDQUOT", 122),
    ("ENOMEDIUM", 123),
    ("EMEDIUMTYPE", 124),
    ("ECANCELED", 125),
    ("ENOKEY", 126),
    ("EKEYEXPIRED", 127),
    ("EKEYREVOKED", 128),
    ("EKEYREJECTED", 129),
    ("EOWNERDEAD", 130),
    ("ENOTRECOVERABLE", 131),
    ("ERFKILL", 132),
    ("EHWPOISON", 133),
];

/// Those that a hint names.
const HINTS: usize = 16;

impl Errno {
    /// Permission denied: what the oldest kernels can say.
    pub const EPERM: Self = Self(11);

    /// Input or output failed.
    pub const EIO: Self = Self::of(5);
    /// No memory.
    pub const ENOMEM: Self = Self::of(12);
    /// Try again.
    pub const EAGAIN: Self = Self::of(11);
    /// The process has too many files open.
    pub const EMFILE: Self = Self::of(24);

    const fn of(number: u16) -> Self {
        let mut at = 0;
        while ERRNOS[at].1 != number {
            at += 1;
        }
        Self(at)
    }

    /// The one with a number.
    #[must_use]
    pub fn of_number(number: u32) -> Option<Self> {
        Self::all().find(|errno| u32::from(errno.number()) == number)
    }

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

/// What some are called besides.
const OTHER_NAMES: [(&str, &str); 3] =
    [("EWOULDBLOCK", "EAGAIN"), ("EDEADLOCK", "EDEADLK"), ("ENOTSUP", "EOPNOTSUPP")];

impl FromStr for Errno {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let other = OTHER_NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        let name = other.map_or(text, |(_, name)| name);
        Self::all().find(|errno| errno.name().eq_ignore_ascii_case(name)).ok_or_else(|| {
            let names: Vec<_> = Self::all().take(HINTS).map(Self::name).collect();
            let problem =
                format!("{} is no errno; give one of {}, …", shown(text), names.join(", "));
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
