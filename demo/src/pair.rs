//! An HTTP server and its client, a process each, in one cgroup.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;

use crate::{cgroup::Cgroup, child::Process, stats::Request};

/// What the clients send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Requests a second.
    pub(crate) rate: u32,
    /// Requests on one connection.
    pub(crate) per_connection: u32,
}

/// A running pair. It is killed at the end.
pub(crate) struct Pair {
    name: &'static str,
    // Ended first.
    client: Process,
    server: Process,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Pair {
    /// Starts the server, then the client.
    pub(crate) fn start(name: &'static str, cgroup: &Cgroup, load: Load) -> Result<Self> {
        let start = |role: &str, more: &mut dyn FnMut(&mut Command)| {
            let mut command = Process::own(role)?;
            command.arg("--cgroup").arg(cgroup.dir()).stdout(Stdio::piped());
            more(&mut command);
            Process::start(&mut command, Signal::SIGKILL)
        };
        let mut server = start("serve", &mut |_| {})?;
        let mut port = String::new();
        BufReader::new(server.stdout()?).read_line(&mut port)?;
        let port = port.trim().to_owned();
        if port.is_empty() {
            bail!("the HTTP server of {name} does not start");
        }
        let mut client = start("load", &mut |command| {
            command.args(["--port", &port, "--rate", &load.rate.to_string()]);
            command.args(["--per-connection", &load.per_connection.to_string()]);
        })?;
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (lines, sink) = (BufReader::new(client.stdout()?), Arc::clone(&requests));
        thread::Builder::new().name("reader".into()).spawn(move || {
            for request in
                lines.lines().map_while(Result::ok).filter_map(|line| Request::parse(&line))
            {
                sink.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            }
        })?;
        Ok(Self { name, client, server, requests })
    }

    /// Everything its client has seen.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fails when one of the two has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        for (what, process) in [("client", &mut self.client), ("server", &mut self.server)] {
            if let Some(status) = process.ended().context("cannot look after a process")? {
                bail!("the HTTP {what} of {} ended with {status}", self.name);
            }
        }
        Ok(())
    }

    /// Ends both.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.client.end(Duration::from_secs(2))?;
        self.server.end(Duration::from_secs(2))?;
        Ok(())
    }
}
