//! What the tests ask of a process inside (or outside) a target, and what it answers: one line of
//! JSON each.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use super::{
    deed::{Deed, Tally},
    frames::{Seen, Tried},
};

/// Names a socket of the process.
pub(crate) type Handle = u32;

/// A request.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Open a UDP socket. Answer: `Socket`.
    Udp { bind: SocketAddr, options: UdpOptions },
    /// Take a copy of another process's UDP socket with this address. Answer: `Socket`.
    TakeOver { pid: u32, local: SocketAddr },
    /// Open a socket for echo requests. Answer: `Socket`.
    Ping { bind: IpAddr },
    /// Open a raw socket for echo requests. Answer: `Socket`.
    RawPing { bind: IpAddr },
    /// Send numbered datagrams or echo requests. Answer: `Sent`.
    Send { socket: Handle, to: Option<SocketAddr>, first: u64, count: u32, size: usize },
    /// Send datagrams with these numbers and those that follow, until `Cease`. Answer: `Done`.
    Begin { socket: Handle, to: Option<SocketAddr>, first: u64 },
    /// End what `Begin` began. Answer: `Sent`.
    Cease { socket: Handle },
    /// What has arrived since the last time, in order; wait until there are `at_least` or the time is over.
    /// Answer: `Arrivals`.
    Take { socket: Handle, at_least: usize, within_ms: u64 },
    /// What the kernel reported on a socket. Answer: `Errors`.
    Errors { socket: Handle },
    /// Serve echo on a TCP port. Answer: `Socket`.
    Listen { bind: SocketAddr },
    /// Take a port. Answer: `Socket`, or `Refused`.
    Bind { stream: bool, bind: SocketAddr, options: PortOptions },
    /// Connect. Answer: `Socket`, or `Refused` when there is no connection in time.
    Connect { bind: Option<SocketAddr>, to: SocketAddr, within_ms: u64 },
    /// Send bytes to an echo server and read them back, with what it owes from before.
    /// Answer: `Exchanged`.
    Exchange { socket: Handle, bytes: usize, within_ms: u64 },
    /// Wait for a connection to end, without using it. Answer: `Refused`, with 0 for an end without an error, or `Done`
    /// if it is open still.
    Fate { socket: Handle, within_ms: u64 },
    /// What a listening socket has served. Answer: `Served`.
    Served { socket: Handle },
    /// Close a socket. Answer: `Done`.
    Close { socket: Handle },
    /// Go to another network namespace; open sockets stay. Answer: `Done`.
    Enter { netns: PathBuf },
    /// Send bytes to a UDP port, and wait for some from there. Answer: `Bytes`.
    Question { to: SocketAddr, bytes: Vec<u8>, connects: bool, within_ms: u64 },
    /// Open a socket that asks one server, connected to it or not. Answer: `Socket`, or `Refused`.
    Resolver { to: SocketAddr, connects: bool },
    /// Send it bytes, and wait for some from there. Answer: `Bytes`, or `Refused`.
    LookUp { socket: Handle, bytes: Vec<u8>, within_ms: u64 },
    /// Take another directory for the root of all files. Answer: `Done`.
    Chroot { root: PathBuf },
    /// Lock the own network namespace against everybody (`flock`), until the process ends. Answer: `Done`.
    LockNetns,
    /// A counter of this network namespace, by the names of `/proc/net/snmp` and `snmp6`.
    /// Answer: `Number`.
    Snmp { name: String },
    /// The cgroup of the process. Answer: `Text`.
    Cgroup,
    /// Do a system call. Answer: `Result`.
    Do(Deed),
    /// Do it many times in several threads at once, closing what it opens. Answer: `Tally`.
    Repeat { deed: Deed, threads: usize, times: u64, opens: bool },
    /// Run a loaded program on frames, as if they left an interface by a socket of the process. Answer: `Tried`.
    Try { program: u32, interface: u32, frames: Vec<Vec<u8>> },
    /// Send frames by an interface, each followed by one of another sender's, who is known to be answered. Answer: `Seen`.
    Transmit { interface: u32, frames: Vec<Vec<u8>>, last: Vec<u8> },
    /// Ask the daemon for its injections. Answer: `Status`.
    List { daemon: PathBuf },
}

/// How a UDP socket differs from the plain one.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct UdpOptions {
    /// Ask for reports of errors (`IP_RECVERR`, `IPV6_RECVERR`).
    pub(crate) receive_errors: bool,
    /// Connect first, so that later sends name no address.
    pub(crate) connect: Option<SocketAddr>,
    /// Take part in IPv4 too (`IPV6_V6ONLY` off).
    pub(crate) dual: bool,
    /// Send packets of this class (`IP_TOS`, `IPV6_TCLASS`).
    pub(crate) dscp: u8,
    /// Send packets of this priority (`SO_PRIORITY`).
    pub(crate) priority: Option<i32>,
    /// Receive what is sent to a group, at the interface of an address.
    pub(crate) group: Option<(Ipv4Addr, Ipv4Addr)>,
}

/// How a port is taken.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct PortOptions {
    /// `SO_REUSEADDR`.
    pub(crate) reuse_address: bool,
    /// `SO_REUSEPORT`.
    pub(crate) reuse_port: bool,
    /// That of IPv4 too (`IPV6_V6ONLY` off).
    pub(crate) dual: bool,
    /// What comes then.
    pub(crate) then: Then,
}

/// What is done with a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Then {
    #[default]
    Nothing,
    Listen,
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    Socket { socket: Handle, local: SocketAddr },
    Refused { errno: i32 },
    Sent(Sent),
    Arrivals(Vec<Arrival>),
    Number(u64),
    Text(String),
    Bytes(Option<Vec<u8>>),
    Errors(Errors),
    Exchanged(Exchanged),
    Served(Served),
    Result(i64),
    Tally(Tally),
    Tried(Vec<Tried>),
    Seen(Vec<Seen>),
    Status { code: i32, message: String },
}

/// A datagram that arrived, or the reply to an echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Arrival {
    /// Its number.
    pub(crate) number: u64,
    /// Microseconds after it, or its request, was sent; by the kernel's stamp.
    pub(crate) late_us: i64,
    /// It is as it was sent.
    pub(crate) is_whole: bool,
}

/// How the send calls went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// Calls that succeeded.
    pub(crate) ok: u32,
    /// `errno` of those that did not.
    pub(crate) failed: Vec<i32>,
}

/// What a socket's owner is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Errors {
    /// Messages in the error queue.
    pub(crate) queued: usize,
    /// `SO_ERROR`.
    pub(crate) pending: i32,
}

/// How a transfer went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exchanged {
    /// All came back, and as it was sent.
    pub(crate) complete: bool,
    /// Bytes that came back.
    pub(crate) received: usize,
    /// `ECONNRESET` when the connection was reset, or 0.
    pub(crate) errno: i32,
    /// Segments that this end has ever sent again on this connection.
    pub(crate) retransmits: u32,
}

/// What a server did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Served {
    /// Connections.
    pub(crate) accepted: usize,
    /// Of those, established still.
    pub(crate) open: usize,
    /// Segments that it has ever sent again.
    pub(crate) retransmits: u32,
}
