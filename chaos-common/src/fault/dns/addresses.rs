//! Addresses that questions are answered with.

use std::{fmt, net::IpAddr, str::FromStr};

use crate::{abi::Address, invalid::Invalid, value::Cidr};

/// An address, or any of some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Addresses {
    /// Of a range.
    In(Cidr),
    /// One that nobody has: of RFC 2544 over IPv4, of RFC 3849 over IPv6.
    Random,
}

/// For what is measured in laboratories: RFC 2544.
const NOBODYS_V4: Address<1> = Address {
    fixed: [u32::from_be_bytes([198, 18, 0, 0]).to_be()],
    drawn: [u32::from_be_bytes([0, 1, 255, 255]).to_be()],
};
/// For what is written in books: RFC 3849.
const NOBODYS_V6: Address<4> =
    Address { fixed: [0x2001_0db8_u32.to_be(), 0, 0, 0], drawn: [0, u32::MAX, u32::MAX, u32::MAX] };

impl FromStr for Addresses {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.eq_ignore_ascii_case("random") {
            return Ok(Self::Random);
        }
        text.parse()
            .map(Self::In)
            .map_err(|invalid: Invalid| Invalid::new(format!("{}; or random", invalid.problem)))
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(range) => range.fmt(f),
            Self::Random => f.write_str("random"),
        }
    }
}

crate::value::serde_as_text!(Addresses, "an address, a CIDR, or random");

impl Addresses {
    /// As the kernel reads it, if it is of IPv4.
    pub(in crate::fault) fn v4(self) -> Option<Address<1>> {
        match self {
            Self::Random => Some(NOBODYS_V4),
            Self::In(range) => match range.first() {
                IpAddr::V4(address) => {
                    let drawn = u32::MAX.checked_shr(range.prefix_len().into()).unwrap_or(0);
                    let fixed = u32::from_ne_bytes(address.octets());
                    Some(Address { fixed: [fixed], drawn: [drawn.to_be()] })
                }
                IpAddr::V6(_) => None,
            },
        }
    }

    /// As the kernel reads it, if it is of IPv6.
    pub(in crate::fault) fn v6(self) -> Option<Address<4>> {
        match self {
            Self::Random => Some(NOBODYS_V6),
            Self::In(range) => match range.first() {
                IpAddr::V6(address) => {
                    let drawn = u128::MAX.checked_shr(range.prefix_len().into()).unwrap_or(0);
                    let fixed = words(address.octets());
                    Some(Address { fixed, drawn: words(drawn.to_be_bytes()) })
                }
                IpAddr::V4(_) => None,
            },
        }
    }
}

fn words(octets: [u8; 16]) -> [u32; 4] {
    std::array::from_fn(|at| {
        let at = 4 * at;
        u32::from_ne_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]])
    })
}
