//! The bench's end of an agent.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    flight::{Flight, Plan},
    place::{Cgroup, NetNs},
};

/// A running agent. It is killed at the end.
pub(crate) struct Worker {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts one.
    pub(crate) fn start(cgroup: &Cgroup, netns: &NetNs) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("agent").arg("--cgroup").arg(cgroup.dir()).arg("--netns").arg(netns.path());
        Self::over(command)
    }

    /// Starts one under `strace`.
    pub(crate) fn traced(arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null"]).args(arguments).arg("--");
        command.arg(std::env::current_exe()?).arg("agent");
        Self::over(command)
    }

    fn over(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start an agent")?;
        let orders = child.stdin.take().context("the agent has no input")?;
        let answers = BufReader::new(child.stdout.take().context("the agent has no output")?);
        let mut worker = Self { child, orders, answers };
        // Once it obeys, it is where it has to be.
        worker.ask("link start 127.0.0.1 -")?;
        Ok(worker)
    }

    /// Nanoseconds of opening and closing a file.
    pub(crate) fn open(&mut self, path: &str, times: u32) -> Result<f64> {
        self.number(&format!("open {path} {times}"))
    }

    /// Nanoseconds of opening one that fails with EIO.
    pub(crate) fn open_in_vain(&mut self, path: &str, times: u32) -> Result<f64> {
        self.number(&format!("open-in-vain {path} {times}"))
    }

    /// Nanoseconds of `umask`.
    pub(crate) fn umask(&mut self, times: u32) -> Result<f64> {
        self.number(&format!("umask {times}"))
    }

    /// How many of so many tries to open a file fail.
    pub(crate) fn failures(&mut self, path: &str, times: u32) -> Result<f64> {
        self.number(&format!("failures {path} {times}"))
    }

    /// Makes a link over `lo`.
    pub(crate) fn link_loopback(&mut self, name: &str) -> Result<()> {
        self.ask(&format!("link {name} 127.0.0.1 -")).map(drop)
    }

    /// Makes a link to an address of another namespace.
    pub(crate) fn link(&mut self, name: &str, address: &str, far: &NetNs) -> Result<()> {
        self.ask(&format!("link {name} {address} {}", far.path().display())).map(drop)
    }

    /// Nanoseconds of a send of one byte over UDP.
    pub(crate) fn send(&mut self, link: &str, batches: u32) -> Result<f64> {
        self.number(&format!("send {link} {batches}"))
    }

    /// Nanoseconds of a write of 64 KiB over TCP.
    pub(crate) fn write(&mut self, link: &str, times: u32) -> Result<f64> {
        self.number(&format!("write {link} {times}"))
    }

    /// Makes somebody who asks about a name where nobody answers: over `lo`, or at an address of another namespace.
    pub(crate) fn ask_nobody(
        &mut self,
        asker: &str,
        address: &str,
        far: Option<&NetNs>,
        question: &str,
    ) -> Result<()> {
        let netns = far.map_or("-".to_owned(), |far| far.path().display().to_string());
        self.ask(&format!("ask-nobody {asker} {address} {netns} {question}")).map(drop)
    }

    /// Makes somebody who asks a name server about a name.
    pub(crate) fn ask_server(&mut self, asker: &str, address: &str, question: &str) -> Result<()> {
        self.ask(&format!("ask-server {asker} {address} {question}")).map(drop)
    }

    /// Nanoseconds of a send of a question.
    pub(crate) fn question(&mut self, asker: &str, batches: u32) -> Result<f64> {
        self.number(&format!("ask {asker} {batches}"))
    }

    /// Nanoseconds of a question and the answer that there is no such name.
    pub(crate) fn answered(&mut self, asker: &str, times: u32) -> Result<f64> {
        self.number(&format!("hear {asker} {times}"))
    }

    /// Lets it say of every name that it does not exist.
    pub(crate) fn serve_names(&mut self, address: &str) -> Result<()> {
        self.ask(&format!("serve-names {address}")).map(drop)
    }

    /// Lets it send until something is lost; returns when it sends.
    pub(crate) fn begin_race(&mut self, link: &str) -> Result<()> {
        let answer = self.ask(&format!("race {link}"))?;
        ensure!(answer == "going", "the agent answered {answer:?}");
        Ok(())
    }

    /// When the first lost datagram was sent, in nanoseconds of the monotonic clock.
    pub(crate) fn end_race(&mut self) -> Result<i64> {
        Ok(self.answer("race")?.parse()?)
    }

    /// Starts a server; returns the addresses of what echoes and of what swallows.
    pub(crate) fn serve(&mut self) -> Result<(SocketAddr, SocketAddr)> {
        let answer = self.ask("serve")?;
        let (echo, sink) = answer.split_once(' ').context("the agent names one address")?;
        Ok((echo.parse()?, sink.parse()?))
    }

    /// Nanoseconds of one byte there and back.
    pub(crate) fn trips(&mut self, address: SocketAddr, times: u32) -> Result<f64> {
        self.number(&format!("trips {address} {times}"))
    }

    /// Bytes a second.
    pub(crate) fn bulk(&mut self, address: SocketAddr, duration: Duration) -> Result<f64> {
        self.number(&format!("bulk {address} {}", duration.as_millis()))
    }

    /// Makes a flow to an address of another namespace.
    pub(crate) fn flow(&mut self, name: &str, address: &str, far: &NetNs) -> Result<()> {
        self.ask(&format!("flow {name} {address} {}", far.path().display())).map(drop)
    }

    /// Lets it send what is planned; returns when it sends.
    pub(crate) fn begin_flight(&mut self, flow: &str, plan: &Plan) -> Result<()> {
        let Plan { count, bytes, apart, patience } = plan;
        let (apart, patience) = (apart.as_nanos(), patience.as_nanos());
        let answer = self.ask(&format!("fly {flow} {count} {bytes} {apart} {patience}"))?;
        ensure!(answer == "going", "the agent answered {answer:?}");
        Ok(())
    }

    /// What came of it.
    pub(crate) fn end_flight(&mut self) -> Result<Flight> {
        self.answer("fly")?.parse()
    }

    /// Both.
    pub(crate) fn fly(&mut self, flow: &str, plan: &Plan) -> Result<Flight> {
        self.begin_flight(flow, plan)?;
        self.end_flight()
    }

    /// Nanoseconds that half of so many round trips do not exceed, and that 99 of 100 do not.
    pub(crate) fn round_trips(&mut self, flow: &str, count: usize) -> Result<(f64, f64)> {
        let answer = self.ask(&format!("round {flow} {count}"))?;
        let (half, most) = answer.split_once(' ').context("the agent names one time")?;
        Ok((half.parse()?, most.parse()?))
    }

    /// Bytes a second of one TCP connection to an address of another namespace.
    pub(crate) fn transfer(
        &mut self,
        address: &str,
        far: &NetNs,
        warm_up: Duration,
        duration: Duration,
    ) -> Result<f64> {
        let (far, warm_up) = (far.path(), warm_up.as_millis());
        self.number(&format!(
            "transfer {address} {} {warm_up} {}",
            far.display(),
            duration.as_millis()
        ))
    }

    fn number(&mut self, order: &str) -> Result<f64> {
        Ok(self.ask(order)?.parse()?)
    }

    fn ask(&mut self, order: &str) -> Result<String> {
        writeln!(self.orders, "{order}")
            .and_then(|()| self.orders.flush())
            .context("the agent is gone")?;
        self.answer(order)
    }

    fn answer(&mut self, order: &str) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        ensure!(!line.is_empty(), "the agent ended at {order:?}");
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
