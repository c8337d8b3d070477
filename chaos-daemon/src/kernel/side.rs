//! The sides of an interface, and what others call them.

use aya::programs::TcAttachType;
use netlink_packet_route::tc::TcHandle;

/// A side of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// Where packets leave it.
    Out,
    /// Where they come in.
    In,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::Out, Self::In];

    /// What the names of pins of ours there begin with.
    pub(super) const fn pin(self) -> &'static str {
        match self {
            Self::Out => "out-",
            Self::In => "arrive-",
        }
    }

    /// Where the clsact qdisc has the filters of a side.
    pub(super) const fn parent(self) -> TcHandle {
        let minor = match self {
            Self::Out => 0xfff3,
            Self::In => 0xfff2,
        };
        TcHandle { major: 0xffff, minor }
    }

    pub(super) const fn attach_type(self) -> TcAttachType {
        match self {
            Self::Out => TcAttachType::Egress,
            Self::In => TcAttachType::Ingress,
        }
    }

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Out => Self::In,
            Self::In => Self::Out,
        }
    }
}
