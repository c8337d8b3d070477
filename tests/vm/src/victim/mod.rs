//! The other side of the tests: `vm-tests victim` does what it is told on its standard input, in
//! whatever cgroup and namespace it was started; `vm-tests child` is a command for `chaos exec`.

mod bound;
mod child;
mod datagram;
mod deed;
mod frames;
mod grpc;
mod passed;
mod protocol;
mod question;
mod resolve;
mod steady;
mod stream;
mod swept;
mod uring;

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufRead as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    fcntl::{Flock, FlockArg},
    sched::{CloneFlags, setns},
    sys::socket::SockType,
};

pub(crate) use child::run as child;
pub(crate) use deed::{Arg, Deed, Entry, Tally};
pub(crate) use frames::{Seen, Tried};
pub(crate) use protocol::{
    Answer, Arrival, Ask, Errors, Exchanged, Handle, PortOptions, Sent, Served, Then, UdpOptions,
};

use self::{
    bound::Bound,
    datagram::Datagrams,
    question::Resolver,
    steady::Steady,
    stream::{Connection, Server},
};

enum Socket {
    Datagrams(Datagrams),
    Server(Server),
    Connection(Connection),
    Resolver(Resolver),
    Bound(#[expect(dead_code, reason = "it is there to be held")] Bound),
}

#[derive(Default)]
struct Victim {
    sockets: HashMap<Handle, Socket>,
    /// By the socket that they send from.
    steady: HashMap<Handle, Steady>,
    opened: Handle,
    netns_lock: Option<Flock<File>>,
}

/// Answers until standard input ends.
///
/// # Errors
/// When the tests cannot be understood or are gone.
pub(crate) fn run() -> Result<()> {
    let mut victim = Victim::default();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let ask: Ask = serde_json::from_str(&line?).context("cannot read what the tests ask")?;
        let answer = victim.answer(ask).map_err(|error| format!("{error:#}"));
        serde_json::to_writer(&mut out, &answer)?;
        out.write_all(b"\n")?;
        out.flush()?;
    }
    Ok(())
}

impl Victim {
    fn answer(&mut self, ask: Ask) -> Result<Answer> {
        match ask {
            Ask::Udp { bind, options } => {
                let socket = Datagrams::udp(bind, options)?;
                let local = socket.local()?;
                Ok(self.open(Socket::Datagrams(socket), local))
            }
            Ask::TakeOver { pid, local } => {
                let socket = Datagrams::over(passed::udp(pid, local)?);
                Ok(self.open(Socket::Datagrams(socket), local))
            }
            Ask::Ping { bind } => {
                let socket = Datagrams::ping(bind)?;
                let local = socket.local()?;
                Ok(self.open(Socket::Datagrams(socket), local))
            }
            Ask::RawPing { bind } => {
                let socket = Datagrams::raw_ping(bind)?;
                let local = socket.local()?;
                Ok(self.open(Socket::Datagrams(socket), local))
            }
            Ask::Send { socket, to, first, count, size } => {
                Ok(Answer::Sent(self.datagrams(socket)?.send(to, first, count, size)))
            }
            Ask::Begin { socket, to, first } => {
                let copy = self.datagrams(socket)?.copy()?;
                self.steady.insert(socket, Steady::begin(copy, to, first));
                Ok(Answer::Done)
            }
            Ask::Cease { socket } => {
                let steady = self.steady.remove(&socket);
                Ok(Answer::Sent(steady.with_context(|| format!("{socket} sends nothing"))?.end()?))
            }
            Ask::Take { socket, at_least, within_ms } => {
                Ok(Answer::Arrivals(self.datagrams(socket)?.take(at_least, within_ms)?))
            }
            Ask::Question { to, bytes, connects, within_ms } => {
                Ok(Answer::Bytes(question::ask(to, &bytes, connects, within_ms)?))
            }
            Ask::Resolver { to, connects } => match Resolver::open(to, connects) {
                Ok(resolver) => {
                    let local = resolver.local()?;
                    Ok(self.open(Socket::Resolver(resolver), local))
                }
                Err(errno) => Ok(Answer::Refused { errno: errno as i32 }),
            },
            Ask::LookUp { socket, bytes, within_ms } => match self.socket(socket)? {
                Socket::Resolver(resolver) => Ok(match resolver.ask(&bytes, within_ms)? {
                    Ok(bytes) => Answer::Bytes(bytes),
                    Err(errno) => Answer::Refused { errno: errno as i32 },
                }),
                Socket::Datagrams(_)
                | Socket::Server(_)
                | Socket::Connection(_)
                | Socket::Bound(_) => bail!("socket {socket} asks nobody"),
            },
            Ask::Errors { socket } => Ok(Answer::Errors(self.datagrams(socket)?.errors()?)),
            Ask::Listen { bind } => {
                let server = Server::new(bind)?;
                let local = server.local()?;
                Ok(self.open(Socket::Server(server), local))
            }
            Ask::Bind { stream, bind, options } => {
                let kind = if stream { SockType::Stream } else { SockType::Datagram };
                Ok(match Bound::open(kind, bind, options)? {
                    Ok(bound) => self.open(Socket::Bound(bound), bind),
                    Err(errno) => Answer::Refused { errno: errno as i32 },
                })
            }
            Ask::Connect { bind, to, within_ms } => match Connection::open(bind, to, within_ms)? {
                Ok(connection) => {
                    let local = connection.local()?;
                    Ok(self.open(Socket::Connection(connection), local))
                }
                Err(errno) => Ok(Answer::Refused { errno: errno as i32 }),
            },
            Ask::Exchange { socket, bytes, within_ms } => match self.socket(socket)? {
                Socket::Connection(connection) => {
                    Ok(Answer::Exchanged(connection.exchange(bytes, within_ms)?))
                }
                Socket::Datagrams(_)
                | Socket::Server(_)
                | Socket::Bound(_)
                | Socket::Resolver(_) => {
                    bail!("socket {socket} is no connection")
                }
            },
            Ask::Fate { socket, within_ms } => match self.socket(socket)? {
                Socket::Connection(connection) => Ok(match connection.fate(within_ms)? {
                    Some(errno) => Answer::Refused { errno: errno as i32 },
                    None => Answer::Done,
                }),
                Socket::Datagrams(_)
                | Socket::Server(_)
                | Socket::Bound(_)
                | Socket::Resolver(_) => {
                    bail!("socket {socket} is no connection")
                }
            },
            Ask::Served { socket } => match self.socket(socket)? {
                Socket::Server(server) => Ok(Answer::Served(server.served()?)),
                Socket::Datagrams(_)
                | Socket::Connection(_)
                | Socket::Bound(_)
                | Socket::Resolver(_) => {
                    bail!("socket {socket} is no server")
                }
            },
            Ask::Close { socket } => {
                self.sockets.remove(&socket);
                Ok(Answer::Done)
            }
            Ask::Enter { netns } => {
                let file = File::open(&netns)
                    .with_context(|| format!("cannot open {}", netns.display()))?;
                setns(file, CloneFlags::CLONE_NEWNET).context("cannot enter the namespace")?;
                Ok(Answer::Done)
            }
            Ask::Chroot { root } => {
                nix::unistd::chroot(&root)
                    .with_context(|| format!("cannot live in {}", root.display()))?;
                Ok(Answer::Done)
            }
            Ask::LockNetns => {
                let netns = File::open("/proc/self/ns/net").context("cannot open the namespace")?;
                let lock = Flock::lock(netns, FlockArg::LockExclusiveNonblock);
                let lock = lock.map_err(|(_, errno)| errno).context("cannot lock the namespace")?;
                self.netns_lock = Some(lock);
                Ok(Answer::Done)
            }
            Ask::Snmp { name } => Ok(Answer::Number(snmp(&name)?)),
            Ask::Cgroup => Ok(Answer::Text(cgroup()?)),
            Ask::Do(deed) => Ok(Answer::Result(deed.run()?)),
            Ask::Repeat { deed, threads, times, opens } => {
                Ok(Answer::Tally(deed.repeat(threads, times, opens)?))
            }
            Ask::Try { program, interface, frames } => {
                Ok(Answer::Tried(frames::try_all(program, interface, &frames)?))
            }
            Ask::Transmit { interface, frames, last } => {
                Ok(Answer::Seen(frames::transmit(interface, &frames, &last)?))
            }
            Ask::List { daemon } => list(&daemon),
        }
    }

    fn open(&mut self, socket: Socket, local: SocketAddr) -> Answer {
        self.opened += 1;
        self.sockets.insert(self.opened, socket);
        Answer::Socket { socket: self.opened, local }
    }

    fn socket(&mut self, socket: Handle) -> Result<&mut Socket> {
        self.sockets.get_mut(&socket).with_context(|| format!("there is no socket {socket}"))
    }

    fn datagrams(&mut self, socket: Handle) -> Result<&mut Datagrams> {
        match self.socket(socket)? {
            Socket::Datagrams(datagrams) => Ok(datagrams),
            Socket::Server(_) | Socket::Connection(_) | Socket::Bound(_) | Socket::Resolver(_) => {
                bail!("socket {socket} is for no datagrams")
            }
        }
    }
}

/// Where nobody listens; for sockets that have no address.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

fn snmp(name: &str) -> Result<u64> {
    // snmp6 has one counter a line; snmp has a line of names and a line of numbers for each protocol.
    if let Ok(text) = fs::read_to_string("/proc/thread-self/net/snmp6") {
        let mut pairs = text.lines().filter_map(|line| line.split_once(char::is_whitespace));
        if let Some((_, number)) = pairs.find(|(key, _)| *key == name) {
            return number.trim().parse().context("snmp6 holds no number");
        }
    }
    let text =
        fs::read_to_string("/proc/thread-self/net/snmp").context("cannot read the counters")?;
    let (protocol, field) =
        name.split_once(':').with_context(|| format!("no counter is called {name}"))?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(protocol)?.strip_prefix(": "));
    let (names, numbers) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut pairs = names.split(' ').zip(numbers.split(' '));
    let (_, number) = pairs
        .find(|(key, _)| *key == field)
        .with_context(|| format!("no counter is called {name}"))?;
    number.parse().context("snmp holds no number")
}

fn cgroup() -> Result<String> {
    let text = fs::read_to_string("/proc/self/cgroup").context("cannot read the own cgroup")?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"));
    Ok(path.context("this process is in no cgroup of version 2")?.to_owned())
}

fn list(daemon: &Path) -> Result<Answer> {
    let status = crate::harness::Client::connect(daemon).and_then(|client| Ok(client.list()?));
    match status {
        Ok(_) => Ok(Answer::Status { code: 0, message: String::new() }),
        Err(error) => match error.downcast_ref::<tonic::Status>() {
            Some(status) => {
                Ok(Answer::Status { code: status.code() as i32, message: status.message().into() })
            }
            None => Ok(Answer::Status {
                code: tonic::Code::Unavailable as i32,
                message: format!("{error:#}"),
            }),
        },
    }
}
