//! What a proxy in the way does: toxiproxy, with no fault in it.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    compare::{compare, nothing},
    place::{Cgroup, NetNs},
    process,
    row::Row,
    setting::Subjects,
    worker::Worker,
};

const MODULE: &str = "github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0";
const NAMES: [(&str, &str); 3] = [
    ("proxy: toxiproxy, round trip", "×"),
    ("proxy: toxiproxy, bulk", "×"),
    ("proxy: toxiproxy, memory", "MiB"),
];
const ECHO: &str = "127.0.0.1:20001";
const BULK: &str = "127.0.0.1:20002";
const TRIPS: u32 = 300;
const STREAM: Duration = Duration::from_millis(100);

pub(super) fn run(subjects: &Subjects) -> Result<Vec<Row>> {
    let program = match build(&subjects.cache) {
        Ok(program) => program,
        Err(error) => {
            let why = format!("{error:#}");
            return Ok(NAMES.map(|(name, unit)| Row::not_measured(name, unit, &why)).into());
        }
    };
    let (netns, cgroup) = (NetNs::new()?, Cgroup::new()?);
    // Both ends in one process, as for everything else.
    let mut worker = Worker::start(&cgroup, &netns)?;
    let (echo, sink) = worker.serve()?;
    let proxy = Proxy::start(&program, &subjects.cache, &netns, echo, sink)?;
    let (by_echo, by_bulk): (SocketAddr, SocketAddr) = (ECHO.parse()?, BULK.parse()?);
    let samples = compare(subjects.rounds, &mut [nothing()], || {
        let (direct, through) = (worker.trips(echo, TRIPS)?, worker.trips(by_echo, TRIPS)?);
        let (direct_bulk, through_bulk) =
            (worker.bulk(sink, STREAM)?, worker.bulk(by_bulk, STREAM)?);
        Ok(vec![through / direct, through_bulk / direct_bulk, direct, direct_bulk])
    })?;
    let direct = format!("direct: {:.0} ns", samples.figure(0, 2));
    let direct_bulk = format!("direct: {:.1} GB/s", samples.figure(0, 3) / 1e9);
    Ok(vec![
        Row::ratio(NAMES[0].0, samples.figure(0, 0), direct),
        Row::ratio(NAMES[1].0, samples.figure(0, 1), direct_bulk),
        Row::new(NAMES[2].0, process::memory(proxy.0.id())?, NAMES[2].1),
    ])
}

/// Builds it once, from the module proxy of Go.
fn build(cache: &Path) -> Result<PathBuf> {
    let program = cache.join("server");
    if program.is_file() {
        return Ok(program);
    }
    let output = Command::new("go").args(["install", MODULE]).env("GOBIN", cache).output();
    let output = match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!("no go"),
        output => output.context("cannot start go")?,
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("go did not build it: {}", said.lines().last().unwrap_or_default());
    }
    Ok(program)
}

/// A running proxy. It is killed at the end.
struct Proxy(Child);

impl Proxy {
    fn start(
        program: &Path,
        cache: &Path,
        netns: &NetNs,
        echo: SocketAddr,
        sink: SocketAddr,
    ) -> Result<Self> {
        let ways = [("echo", ECHO, echo), ("bulk", BULK, sink)].map(|(name, listen, upstream)| {
            serde_json::json!({"name": name, "listen": listen, "upstream": upstream, "enabled": true})
        });
        let config = cache.join("toxiproxy.json");
        fs::write(&config, serde_json::to_string(&ways)?)?;
        netns.within(|| {
            let mut command = Command::new(program);
            command
                .arg("-config")
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let proxy = Self(command.spawn().context("cannot start toxiproxy")?);
            let end = Instant::now() + Duration::from_secs(10);
            while TcpStream::connect(BULK).is_err() {
                if Instant::now() > end {
                    bail!("toxiproxy does not serve");
                }
                sleep(Duration::from_millis(10));
            }
            Ok(proxy)
        })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
