//! A process that the tests make traffic with: `vm-tests victim`, and typed questions to it.
#![expect(clippy::wildcard_enum_match_arm, reason = "any answer but the one asked for is an error")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{IpAddr, SocketAddr},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, mpsc},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use bpf_witness::Object;
use nix::errno::Errno;

use super::{NetNs, Place};
use crate::victim::{
    Answer, Arrival, Ask, Errors, Exchanged, Handle, PortOptions, Seen, Sent, Served, Tried,
    UdpOptions,
};

/// Longer than any single answer may take, on a slow machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// The process. It is killed at the end.
#[derive(Debug)]
pub(crate) struct Agent {
    child: Mutex<Child>,
    pid: u32,
    /// `None` once it has been told to end.
    pipes: Mutex<Option<Pipes>>,
}

#[derive(Debug)]
struct Pipes {
    to: ChildStdin,
    from: mpsc::Receiver<String>,
}

/// A socket of an agent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Socket {
    pub(crate) handle: Handle,
    pub(crate) local: SocketAddr,
}

impl Agent {
    /// Starts one in a place.
    pub(crate) fn start(place: Place) -> Result<Self> {
        let mut command = Command::new(super::own_binary()?);
        command.arg("victim");
        place.apply(&mut command);
        Self::over(command)
    }

    /// Starts one by a command that ends up running `vm-tests victim`, as `chaos exec` does.
    pub(crate) fn over(mut command: Command) -> Result<Self> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("cannot start {command:?}"))?;
        let to = child.stdin.take().context("the agent has no input")?;
        let out = child.stdout.take().context("the agent has no output")?;
        let (sender, from) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let pid = child.id();
        Ok(Self { child: Mutex::new(child), pid, pipes: Mutex::new(Some(Pipes { to, from })) })
    }

    /// Sends bytes to a UDP port, and says what comes from there in time.
    pub(crate) fn question(
        &self,
        to: SocketAddr,
        bytes: &[u8],
        connects: bool,
        within: Duration,
    ) -> Result<Option<Vec<u8>>> {
        let (bytes, within_ms) = (bytes.to_vec(), within.as_millis() as u64);
        match self.ask(&Ask::Question { to, bytes, connects, within_ms })? {
            Answer::Bytes(bytes) => Ok(bytes),
            other => bail!("not bytes: {other:?}"),
        }
    }

    /// Opens a socket that asks one server, connected to it or naming it each time; or says why there is none.
    pub(crate) fn resolver(&self, to: SocketAddr, connects: bool) -> Result<Result<Socket, Errno>> {
        match self.ask(&Ask::Resolver { to, connects })? {
            Answer::Socket { socket, local } => Ok(Ok(Socket { handle: socket, local })),
            Answer::Refused { errno } => Ok(Err(Errno::from_raw(errno))),
            other => unexpected(&other),
        }
    }

    /// Sends the server of such a socket bytes, and says what comes from there in time, or what the socket is told.
    pub(crate) fn ask_server(
        &self,
        socket: Socket,
        bytes: &[u8],
        within: Duration,
    ) -> Result<Result<Option<Vec<u8>>, Errno>> {
        let (bytes, within_ms) = (bytes.to_vec(), within.as_millis() as u64);
        match self.ask(&Ask::LookUp { socket: socket.handle, bytes, within_ms })? {
            Answer::Bytes(bytes) => Ok(Ok(bytes)),
            Answer::Refused { errno } => Ok(Err(Errno::from_raw(errno))),
            other => unexpected(&other),
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Ends it by closing its input, and returns its exit code (or 128 + signal).
    pub(crate) fn end(&self) -> Result<i32> {
        drop(self.pipes.lock().map_err(|_| poisoned())?.take());
        let mut child = self.child.lock().map_err(|_| poisoned())?;
        super::exit_code(&mut child, PATIENCE)
    }

    /// Kills what was started, which may be the parent of the agent itself.
    pub(crate) fn kill(&self) -> Result<()> {
        let mut child = self.child.lock().map_err(|_| poisoned())?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    pub(super) fn ask(&self, ask: &Ask) -> Result<Answer> {
        let mut pipes = self.pipes.lock().map_err(|_| poisoned())?;
        let pipes = pipes.as_mut().with_context(|| format!("agent {} has ended", self.pid))?;
        let mut line = serde_json::to_string(ask)?;
        line.push('\n');
        pipes
            .to
            .write_all(line.as_bytes())
            .with_context(|| format!("agent {} is gone", self.pid))?;
        let answer = pipes.from.recv_timeout(PATIENCE);
        let answer =
            answer.with_context(|| format!("agent {} does not answer {}", self.pid, shown(ask)))?;
        serde_json::from_str::<Result<Answer, String>>(&answer)
            .with_context(|| format!("agent {} says {answer:?}", self.pid))?
            .map_err(|error| anyhow!("agent {}: {}: {error}", self.pid, shown(ask)))
    }

    /// Opens a plain UDP socket at an address, on a port of the kernel's choice.
    pub(crate) fn udp(&self, bind: IpAddr) -> Result<Socket> {
        self.udp_with(SocketAddr::new(bind, 0), UdpOptions::default())
    }

    /// Opens a UDP socket.
    pub(crate) fn udp_with(&self, bind: SocketAddr, options: UdpOptions) -> Result<Socket> {
        self.socket(&Ask::Udp { bind, options })
    }

    /// Takes a UDP socket of another process, as if that had passed it on.
    pub(crate) fn take_over(&self, other: &Self, socket: Socket) -> Result<Socket> {
        self.socket(&Ask::TakeOver { pid: other.pid, local: socket.local })
    }

    /// Opens a ping socket.
    pub(crate) fn ping(&self, bind: IpAddr) -> Result<Socket> {
        self.socket(&Ask::Ping { bind })
    }

    /// Opens a raw socket for echo requests.
    pub(crate) fn raw_ping(&self, bind: IpAddr) -> Result<Socket> {
        self.socket(&Ask::RawPing { bind })
    }

    /// Serves echo.
    pub(crate) fn listen(&self, bind: SocketAddr) -> Result<Socket> {
        self.socket(&Ask::Listen { bind })
    }

    /// Takes a port, or gives the kernel's word why not.
    pub(crate) fn bind(
        &self,
        stream: bool,
        bind: SocketAddr,
        options: PortOptions,
    ) -> Result<Result<Socket, Errno>> {
        match self.ask(&Ask::Bind { stream, bind, options })? {
            Answer::Socket { socket, local } => Ok(Ok(Socket { handle: socket, local })),
            Answer::Refused { errno } => Ok(Err(Errno::from_raw(errno))),
            other => unexpected(&other),
        }
    }

    fn socket(&self, ask: &Ask) -> Result<Socket> {
        match self.ask(ask)? {
            Answer::Socket { socket, local } => Ok(Socket { handle: socket, local }),
            other => unexpected(&other),
        }
    }

    /// Connects; `None` when there is no connection in time.
    pub(crate) fn connect(&self, to: SocketAddr, within: Duration) -> Result<Option<Socket>> {
        self.connect_from(None, to, within)
    }

    /// Connects from an address and port.
    pub(crate) fn connect_from(
        &self,
        bind: Option<SocketAddr>,
        to: SocketAddr,
        within: Duration,
    ) -> Result<Option<Socket>> {
        match self.ask(&Ask::Connect { bind, to, within_ms: within.as_millis() as u64 })? {
            Answer::Socket { socket, local } => Ok(Some(Socket { handle: socket, local })),
            // On a wire that loses packets, a connection is never refused: it just takes too long.
            Answer::Refused { errno } if errno == nix::libc::ETIMEDOUT => Ok(None),
            Answer::Refused { errno } => {
                bail!("connecting to {to} failed with {}", Errno::from_raw(errno))
            }
            other => unexpected(&other),
        }
    }

    /// Why no connection comes about, or `None` if one does. It is closed at once. `ETIMEDOUT` also stands for what
    /// is not decided in time.
    pub(crate) fn refusal(&self, to: SocketAddr, within: Duration) -> Result<Option<Errno>> {
        let within_ms = within.as_millis() as u64;
        match self.ask(&Ask::Connect { bind: None, to, within_ms })? {
            Answer::Socket { socket, local } => {
                self.close(Socket { handle: socket, local })?;
                Ok(None)
            }
            Answer::Refused { errno } => Ok(Some(Errno::from_raw(errno))),
            other => unexpected(&other),
        }
    }

    /// Sends bytes over a connection and reads them back.
    pub(crate) fn exchange(
        &self,
        socket: Socket,
        bytes: usize,
        within: Duration,
    ) -> Result<Exchanged> {
        let within_ms = within.as_millis() as u64;
        match self.ask(&Ask::Exchange { socket: socket.handle, bytes, within_ms })? {
            Answer::Exchanged(exchanged) => Ok(exchanged),
            other => unexpected(&other),
        }
    }

    /// How a connection ended that nobody uses, if it did within a time; 0 is an end without an error.
    pub(crate) fn fate(&self, socket: Socket, within: Duration) -> Result<Option<Errno>> {
        let within_ms = within.as_millis() as u64;
        match self.ask(&Ask::Fate { socket: socket.handle, within_ms })? {
            Answer::Refused { errno } => Ok(Some(Errno::from_raw(errno))),
            Answer::Done => Ok(None),
            other => unexpected(&other),
        }
    }

    /// What a server has done.
    pub(crate) fn served(&self, socket: Socket) -> Result<Served> {
        match self.ask(&Ask::Served { socket: socket.handle })? {
            Answer::Served(served) => Ok(served),
            other => unexpected(&other),
        }
    }

    /// Sends datagrams with the numbers `first..first + count`, small ones.
    pub(crate) fn send(
        &self,
        socket: Socket,
        to: SocketAddr,
        first: u64,
        count: u32,
    ) -> Result<Sent> {
        self.send_sized(socket, Some(to), first, count, 0)
    }

    /// Sends datagrams of a size.
    pub(crate) fn send_sized(
        &self,
        socket: Socket,
        to: Option<SocketAddr>,
        first: u64,
        count: u32,
        size: usize,
    ) -> Result<Sent> {
        match self.ask(&Ask::Send { socket: socket.handle, to, first, count, size })? {
            Answer::Sent(sent) => Ok(sent),
            other => unexpected(&other),
        }
    }

    /// Sends datagrams, numbered from `first` on, until [`Agent::cease`].
    pub(crate) fn begin(&self, socket: Socket, to: Option<SocketAddr>, first: u64) -> Result<()> {
        self.done(&Ask::Begin { socket: socket.handle, to, first })
    }

    /// Ends what [`Agent::begin`] began.
    pub(crate) fn cease(&self, socket: Socket) -> Result<Sent> {
        match self.ask(&Ask::Cease { socket: socket.handle })? {
            Answer::Sent(sent) => Ok(sent),
            other => unexpected(&other),
        }
    }

    /// Numbers of what has arrived, without waiting.
    pub(crate) fn take(&self, socket: Socket) -> Result<Vec<u64>> {
        self.take_within(socket, 0, Duration::ZERO)
    }

    /// Waits for datagrams and returns the numbers of those that came.
    pub(crate) fn take_within(
        &self,
        socket: Socket,
        at_least: usize,
        within: Duration,
    ) -> Result<Vec<u64>> {
        let arrivals = self.arrivals(socket, at_least, within)?.into_iter();
        Ok(arrivals.map(|arrival| arrival.number).collect())
    }

    /// Waits for datagrams and returns those that came.
    pub(crate) fn arrivals(
        &self,
        socket: Socket,
        at_least: usize,
        within: Duration,
    ) -> Result<Vec<Arrival>> {
        let within_ms = within.as_millis() as u64;
        match self.ask(&Ask::Take { socket: socket.handle, at_least, within_ms })? {
            Answer::Arrivals(arrivals) => Ok(arrivals),
            other => unexpected(&other),
        }
    }

    /// What the owner of a socket is told.
    pub(crate) fn errors(&self, socket: Socket) -> Result<Errors> {
        match self.ask(&Ask::Errors { socket: socket.handle })? {
            Answer::Errors(errors) => Ok(errors),
            other => unexpected(&other),
        }
    }

    /// What a loaded program makes of frames, as if they left an interface by a socket of its.
    pub(crate) fn try_frames(
        &self,
        program: Object,
        interface: u32,
        frames: Vec<Vec<u8>>,
    ) -> Result<Vec<Tried>> {
        match self.ask(&Ask::Try { program: program.id, interface, frames })? {
            Answer::Tried(tried) => Ok(tried),
            other => unexpected(&other),
        }
    }

    /// What becomes of frames that it sends by an interface. After each it sends a last one, of another sender's, and
    /// waits for the answer to that.
    pub(crate) fn transmit(
        &self,
        interface: u32,
        frames: Vec<Vec<u8>>,
        last: Vec<u8>,
    ) -> Result<Vec<Seen>> {
        match self.ask(&Ask::Transmit { interface, frames, last })? {
            Answer::Seen(seen) => Ok(seen),
            other => unexpected(&other),
        }
    }

    /// Closes a socket.
    pub(crate) fn close(&self, socket: Socket) -> Result<()> {
        self.done(&Ask::Close { socket: socket.handle })
    }

    /// Goes to another network namespace.
    pub(crate) fn enter(&self, netns: &NetNs) -> Result<()> {
        self.done(&Ask::Enter { netns: netns.path() })
    }

    /// Locks its network namespace against everybody, as long as it lives.
    pub(crate) fn lock_netns(&self) -> Result<()> {
        self.done(&Ask::LockNetns)
    }

    fn done(&self, ask: &Ask) -> Result<()> {
        match self.ask(ask)? {
            Answer::Done => Ok(()),
            other => unexpected(&other),
        }
    }

    /// Makes a directory the root of its files.
    pub(crate) fn chroot(&self, root: &Path) -> Result<()> {
        match self.ask(&Ask::Chroot { root: root.into() })? {
            Answer::Done => Ok(()),
            other => unexpected(&other),
        }
    }

    /// A counter of its network namespace.
    pub(crate) fn snmp(&self, name: &str) -> Result<u64> {
        match self.ask(&Ask::Snmp { name: name.into() })? {
            Answer::Number(number) => Ok(number),
            other => unexpected(&other),
        }
    }

    /// Its cgroup below the cgroup2 mount.
    pub(crate) fn cgroup(&self) -> Result<String> {
        match self.ask(&Ask::Cgroup)? {
            Answer::Text(path) => Ok(path),
            other => unexpected(&other),
        }
    }

    /// What the daemon says to it when it asks for the injections.
    pub(crate) fn list(&self, daemon: &Path) -> Result<(tonic::Code, String)> {
        match self.ask(&Ask::List { daemon: daemon.to_owned() })? {
            Answer::Status { code, message } => Ok((tonic::Code::from_i32(code), message)),
            other => unexpected(&other),
        }
    }
}

/// What was asked, as far as one wants to read it.
fn shown(ask: &Ask) -> String {
    format!("{ask:?}").chars().take(400).collect()
}

fn poisoned() -> anyhow::Error {
    anyhow!("the agent's lock is poisoned")
}

fn unexpected<T>(answer: &Answer) -> Result<T> {
    bail!("the agent gave another answer than was asked for: {answer:?}")
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Ok(child) = self.child.get_mut() {
            // Both fail only when it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
