//! What should go wrong: one file per kind of fault.

mod call;
mod dns;
mod dns_delay;
mod dns_error;
mod dns_record;
mod dns_server;
mod file_delay;
mod file_error;
mod memory_error;
mod network_corrupt;
mod network_delay;
mod network_duplicate;
mod network_filter;
mod network_loss;
mod network_occupy;
mod network_partition;
mod network_rate;
mod network_reject;
mod network_reorder;
mod socket_error;
mod syscall_error;

pub use call::{Caller, Comm, Occasion, OperationName, Operations, Paths};
pub use dns::{Addresses, DnsCode, DnsTcp, Questions};
pub use dns_delay::{DelayOf, DnsDelay};
pub use dns_error::DnsError;
pub use dns_record::{DnsAnswer, DnsRecord, RecordParts};
pub use dns_server::{DnsServer, Upstream};
pub use file_delay::{DELAY_OPERATIONS, FileDelay, KERNEL_DIRECTORIES, SHARED_MEMORY};
pub use file_error::{FILE_OPERATIONS, FileError};
pub use memory_error::{MEMORY_OPERATIONS, MemoryError};
pub use network_corrupt::{Bits, Checksum, NetworkCorrupt, Region};
pub use network_delay::{DelayParts, Distribution, Jitter, NetworkDelay, Table};
pub use network_duplicate::{Copies, NetworkDuplicate};
pub use network_filter::{
    Connections, Contradiction, Direction, Neighbour, NetworkFilter, Others, Protocol,
};
pub use network_loss::{Burst, FourStates, LossModel, NetworkLoss};
pub use network_occupy::{BindAddress, NetworkOccupy, Occupation, Transports};
pub use network_partition::NetworkPartition;
pub use network_rate::{Excess, NetworkRate};
pub use network_reject::{Answer, NetworkReject, With};
pub use network_reorder::{NetworkReorder, ReorderModel};
pub use socket_error::{SOCKET_OPERATIONS, SocketError, Sockets};
pub use syscall_error::{SizeRange, SyscallError};

use std::fmt;

use crate::{
    invalid::{At, Invalid},
    proto::v1,
};

/// A fault, as data.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Fault {
    /// Packets vanish.
    NetworkLoss(NetworkLoss),
    /// Packets arrive later.
    NetworkDelay(NetworkDelay),
    /// Packets arrive several times.
    NetworkDuplicate(NetworkDuplicate),
    /// Packets overtake each other.
    NetworkReorder(NetworkReorder),
    /// Bits of packets change.
    NetworkCorrupt(NetworkCorrupt),
    /// Packets go through a slow line.
    NetworkRate(NetworkRate),
    /// Nothing passes.
    NetworkPartition(NetworkPartition),
    /// Packets are answered with an error.
    NetworkReject(NetworkReject),
    /// Ports cannot be bound to.
    NetworkOccupy(NetworkOccupy),
    /// System calls fail.
    SyscallError(SyscallError),
    /// What is done to files fails.
    FileError(FileError),
    /// What is done to files takes longer.
    FileDelay(FileDelay),
    /// What is done to sockets fails.
    SocketError(SocketError),
    /// There is no more memory, process or descriptor.
    MemoryError(MemoryError),
    /// Names are not found.
    DnsError(DnsError),
    /// Names have other addresses.
    DnsRecord(DnsRecord),
    /// Names take longer.
    DnsDelay(DnsDelay),
    /// Another name server is asked.
    DnsServer(DnsServer),
}

/// The kinds of fault, for everything that goes through all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// `network loss`
    NetworkLoss,
    /// `network delay`
    NetworkDelay,
    /// `network duplicate`
    NetworkDuplicate,
    /// `network reorder`
    NetworkReorder,
    /// `network corrupt`
    NetworkCorrupt,
    /// `network rate`
    NetworkRate,
    /// `network partition`
    NetworkPartition,
    /// `network reject`
    NetworkReject,
    /// `network occupy`
    NetworkOccupy,
    /// `syscall error`
    SyscallError,
    /// `file error`
    FileError,
    /// `file delay`
    FileDelay,
    /// `socket error`
    SocketError,
    /// `memory error`
    MemoryError,
    /// `dns error`
    DnsError,
    /// `dns record`
    DnsRecord,
    /// `dns delay`
    DnsDelay,
    /// `dns server`
    DnsServer,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [Self; 18] = [
        Self::NetworkLoss,
        Self::NetworkDelay,
        Self::NetworkDuplicate,
        Self::NetworkReorder,
        Self::NetworkCorrupt,
        Self::NetworkRate,
        Self::NetworkPartition,
        Self::NetworkReject,
        Self::NetworkOccupy,
        Self::SyscallError,
        Self::FileError,
        Self::FileDelay,
        Self::SocketError,
        Self::MemoryError,
        Self::DnsError,
        Self::DnsRecord,
        Self::DnsDelay,
        Self::DnsServer,
    ];

    /// Family and kind, the words of the command line.
    #[must_use]
    pub const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::NetworkLoss => ("network", "loss"),
            Self::NetworkDelay => ("network", "delay"),
            Self::NetworkDuplicate => ("network", "duplicate"),
            Self::NetworkReorder => ("network", "reorder"),
            Self::NetworkCorrupt => ("network", "corrupt"),
            Self::NetworkRate => ("network", "rate"),
            Self::NetworkPartition => ("network", "partition"),
            Self::NetworkReject => ("network", "reject"),
            Self::NetworkOccupy => ("network", "occupy"),
            Self::SyscallError => ("syscall", "error"),
            Self::FileError => ("file", "error"),
            Self::FileDelay => ("file", "delay"),
            Self::SocketError => ("socket", "error"),
            Self::MemoryError => ("memory", "error"),
            Self::DnsError => ("dns", "error"),
            Self::DnsRecord => ("dns", "record"),
            Self::DnsDelay => ("dns", "delay"),
            Self::DnsServer => ("dns", "server"),
        }
    }

    /// The name of this kind's files: `network_loss`.
    #[must_use]
    pub fn file_stem(self) -> String {
        let (family, kind) = self.words();
        format!("{family}_{kind}")
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (family, kind) = self.words();
        write!(f, "{family} {kind}")
    }
}

impl Fault {
    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> FaultKind {
        match self {
            Self::NetworkLoss(_) => FaultKind::NetworkLoss,
            Self::NetworkDelay(_) => FaultKind::NetworkDelay,
            Self::NetworkDuplicate(_) => FaultKind::NetworkDuplicate,
            Self::NetworkReorder(_) => FaultKind::NetworkReorder,
            Self::NetworkCorrupt(_) => FaultKind::NetworkCorrupt,
            Self::NetworkRate(_) => FaultKind::NetworkRate,
            Self::NetworkPartition(_) => FaultKind::NetworkPartition,
            Self::NetworkReject(_) => FaultKind::NetworkReject,
            Self::NetworkOccupy(_) => FaultKind::NetworkOccupy,
            Self::SyscallError(_) => FaultKind::SyscallError,
            Self::FileError(_) => FaultKind::FileError,
            Self::FileDelay(_) => FaultKind::FileDelay,
            Self::SocketError(_) => FaultKind::SocketError,
            Self::MemoryError(_) => FaultKind::MemoryError,
            Self::DnsError(_) => FaultKind::DnsError,
            Self::DnsRecord(_) => FaultKind::DnsRecord,
            Self::DnsDelay(_) => FaultKind::DnsDelay,
            Self::DnsServer(_) => FaultKind::DnsServer,
        }
    }
}

impl Fault {
    /// Whether it happens now and again, so that it can be counted and drawn. What is just there has no use
    /// for `times` and `seed`.
    #[must_use]
    pub const fn has_events(&self) -> bool {
        match self {
            Self::NetworkLoss(_)
            | Self::NetworkDelay(_)
            | Self::NetworkDuplicate(_)
            | Self::NetworkReorder(_)
            | Self::NetworkCorrupt(_)
            | Self::NetworkRate(_)
            | Self::NetworkPartition(_)
            | Self::NetworkReject(_)
            | Self::SyscallError(_)
            | Self::FileError(_)
            | Self::FileDelay(_)
            | Self::SocketError(_)
            | Self::MemoryError(_)
            | Self::DnsError(_)
            | Self::DnsRecord(_)
            | Self::DnsDelay(_)
            | Self::DnsServer(_) => true,
            Self::NetworkOccupy(occupy) => match occupy.how {
                Occupation::Hold => false,
                Occupation::Refuse(_) => true,
            },
        }
    }

    /// Which packets it is about, if it is about packets.
    #[must_use]
    pub const fn filter(&self) -> Option<&NetworkFilter> {
        match self {
            Self::NetworkLoss(loss) => Some(&loss.filter),
            Self::NetworkDelay(delay) => Some(&delay.filter),
            Self::NetworkDuplicate(duplicate) => Some(&duplicate.filter),
            Self::NetworkReorder(reorder) => Some(&reorder.filter),
            Self::NetworkCorrupt(corrupt) => Some(&corrupt.filter),
            Self::NetworkRate(rate) => Some(&rate.filter),
            Self::NetworkPartition(partition) => Some(&partition.filter),
            Self::NetworkReject(reject) => Some(&reject.filter),
            Self::NetworkOccupy(_)
            | Self::SyscallError(_)
            | Self::FileError(_)
            | Self::FileDelay(_)
            | Self::SocketError(_)
            | Self::MemoryError(_)
            | Self::DnsError(_)
            | Self::DnsRecord(_)
            | Self::DnsDelay(_)
            | Self::DnsServer(_) => None,
        }
    }

    /// The filter, if it names others who have to be found.
    #[must_use]
    pub fn naming_filter(&self) -> Option<&NetworkFilter> {
        self.filter().filter(|filter| filter.names_others())
    }

    /// The same, about those who were found for whom its filter names.
    ///
    /// # Errors
    /// When those are more than a filter can hold.
    pub fn aimed_at(mut self, others: &Others) -> Result<Self, Invalid> {
        let filter = match &mut self {
            Self::NetworkLoss(loss) => &mut loss.filter,
            Self::NetworkDelay(delay) => &mut delay.filter,
            Self::NetworkDuplicate(duplicate) => &mut duplicate.filter,
            Self::NetworkReorder(reorder) => &mut reorder.filter,
            Self::NetworkCorrupt(corrupt) => &mut corrupt.filter,
            Self::NetworkRate(rate) => &mut rate.filter,
            Self::NetworkPartition(partition) => &mut partition.filter,
            Self::NetworkReject(reject) => &mut reject.filter,
            Self::NetworkOccupy(_)
            | Self::SyscallError(_)
            | Self::FileError(_)
            | Self::FileDelay(_)
            | Self::SocketError(_)
            | Self::MemoryError(_)
            | Self::DnsError(_)
            | Self::DnsRecord(_)
            | Self::DnsDelay(_)
            | Self::DnsServer(_) => return Ok(self),
        };
        *filter = std::mem::take(filter).aimed_at(others).at("filter")?;
        Ok(self)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind())?;
        match self {
            Self::NetworkLoss(loss) => write!(f, " {loss}"),
            Self::NetworkDelay(delay) => write!(f, " {delay}"),
            Self::NetworkDuplicate(duplicate) => write!(f, " {duplicate}"),
            Self::NetworkReorder(reorder) => write!(f, " {reorder}"),
            Self::NetworkCorrupt(corrupt) => write!(f, " {corrupt}"),
            Self::NetworkRate(rate) => write!(f, " {rate}"),
            Self::NetworkPartition(partition) => write!(f, " {partition}"),
            Self::NetworkReject(reject) => write!(f, " {reject}"),
            Self::NetworkOccupy(occupy) => write!(f, " {occupy}"),
            Self::SyscallError(error) => write!(f, " {error}"),
            Self::FileError(error) => write!(f, " {error}"),
            Self::FileDelay(delay) => write!(f, " {delay}"),
            Self::SocketError(error) => write!(f, " {error}"),
            Self::MemoryError(error) => write!(f, " {error}"),
            Self::DnsError(error) => write!(f, " {error}"),
            Self::DnsRecord(record) => write!(f, " {record}"),
            Self::DnsDelay(delay) => write!(f, " {delay}"),
            Self::DnsServer(server) => write!(f, " {server}"),
        }
    }
}

impl TryFrom<v1::Fault> for Fault {
    type Error = Invalid;

    fn try_from(wire: v1::Fault) -> Result<Self, Invalid> {
        match wire.fault {
            Some(v1::fault::Fault::NetworkLoss(loss)) => {
                loss.try_into().map(Self::NetworkLoss).at("networkLoss")
            }
            Some(v1::fault::Fault::NetworkDelay(delay)) => {
                delay.try_into().map(Self::NetworkDelay).at("networkDelay")
            }
            Some(v1::fault::Fault::NetworkDuplicate(duplicate)) => {
                duplicate.try_into().map(Self::NetworkDuplicate).at("networkDuplicate")
            }
            Some(v1::fault::Fault::NetworkReorder(reorder)) => {
                reorder.try_into().map(Self::NetworkReorder).at("networkReorder")
            }
            Some(v1::fault::Fault::NetworkCorrupt(corrupt)) => {
                corrupt.try_into().map(Self::NetworkCorrupt).at("networkCorrupt")
            }
            Some(v1::fault::Fault::NetworkRate(rate)) => {
                rate.try_into().map(Self::NetworkRate).at("networkRate")
            }
            Some(v1::fault::Fault::NetworkPartition(partition)) => {
                partition.try_into().map(Self::NetworkPartition).at("networkPartition")
            }
            Some(v1::fault::Fault::NetworkReject(reject)) => {
                reject.try_into().map(Self::NetworkReject).at("networkReject")
            }
            Some(v1::fault::Fault::NetworkOccupy(occupy)) => {
                occupy.try_into().map(Self::NetworkOccupy).at("networkOccupy")
            }
            Some(v1::fault::Fault::SyscallError(fault)) => {
                fault.try_into().map(Self::SyscallError).at("syscallError")
            }
            Some(v1::fault::Fault::FileError(fault)) => {
                fault.try_into().map(Self::FileError).at("fileError")
            }
            Some(v1::fault::Fault::FileDelay(fault)) => {
                fault.try_into().map(Self::FileDelay).at("fileDelay")
            }
            Some(v1::fault::Fault::SocketError(fault)) => {
                fault.try_into().map(Self::SocketError).at("socketError")
            }
            Some(v1::fault::Fault::MemoryError(fault)) => {
                fault.try_into().map(Self::MemoryError).at("memoryError")
            }
            Some(v1::fault::Fault::DnsError(fault)) => {
                fault.try_into().map(Self::DnsError).at("dnsError")
            }
            Some(v1::fault::Fault::DnsRecord(fault)) => {
                fault.try_into().map(Self::DnsRecord).at("dnsRecord")
            }
            Some(v1::fault::Fault::DnsDelay(fault)) => {
                fault.try_into().map(Self::DnsDelay).at("dnsDelay")
            }
            Some(v1::fault::Fault::DnsServer(fault)) => {
                fault.try_into().map(Self::DnsServer).at("dnsServer")
            }
            None => Err(Invalid::new("is missing, or of a kind that this version does not know")),
        }
    }
}

impl From<&Fault> for v1::Fault {
    fn from(fault: &Fault) -> Self {
        let fault = match fault {
            Fault::NetworkLoss(loss) => v1::fault::Fault::NetworkLoss(loss.into()),
            Fault::NetworkDelay(delay) => v1::fault::Fault::NetworkDelay(delay.into()),
            Fault::NetworkDuplicate(duplicate) => {
                v1::fault::Fault::NetworkDuplicate(duplicate.into())
            }
            Fault::NetworkReorder(reorder) => v1::fault::Fault::NetworkReorder(reorder.into()),
            Fault::NetworkCorrupt(corrupt) => v1::fault::Fault::NetworkCorrupt(corrupt.into()),
            Fault::NetworkRate(rate) => v1::fault::Fault::NetworkRate(rate.into()),
            Fault::NetworkPartition(partition) => {
                v1::fault::Fault::NetworkPartition(partition.into())
            }
            Fault::NetworkReject(reject) => v1::fault::Fault::NetworkReject(reject.into()),
            Fault::NetworkOccupy(occupy) => v1::fault::Fault::NetworkOccupy(occupy.into()),
            Fault::SyscallError(fault) => v1::fault::Fault::SyscallError(fault.into()),
            Fault::FileError(fault) => v1::fault::Fault::FileError(fault.into()),
            Fault::FileDelay(fault) => v1::fault::Fault::FileDelay(fault.into()),
            Fault::SocketError(fault) => v1::fault::Fault::SocketError(fault.into()),
            Fault::MemoryError(fault) => v1::fault::Fault::MemoryError(fault.into()),
            Fault::DnsError(fault) => v1::fault::Fault::DnsError(fault.into()),
            Fault::DnsRecord(fault) => v1::fault::Fault::DnsRecord(fault.into()),
            Fault::DnsDelay(fault) => v1::fault::Fault::DnsDelay(fault.into()),
            Fault::DnsServer(fault) => v1::fault::Fault::DnsServer(fault.into()),
        };
        Self { fault: Some(fault) }
    }
}
