//! What is served beside the faults: health, reflection and metrics.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::harness::{Loss, Probe as _, Settings, Stage, tests};

tests![health_and_reflection_answer, metrics_are_served,];

fn health_and_reflection_answer() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    ensure!(client.is_serving("")? && client.is_serving("chaos.v1.ChaosDaemon")?);
    let services = client.services()?;
    for service in ["chaos.v1.ChaosDaemon", "grpc.health.v1.Health"] {
        ensure!(services.iter().any(|name| name == service), "{service} is not among {services:?}");
    }
    let capabilities = client.capabilities()?;
    ensure!(!capabilities.kernel_release.is_empty() && !capabilities.daemon_version.is_empty());
    ensure!(capabilities.faults.iter().all(|fault| fault.support.is_some()), "{capabilities:?}");
    stage.finish(daemon)
}

fn metrics_are_served() -> Result<()> {
    let stage = Stage::new()?;
    // Whoever takes the port in between makes the daemon fail, and the test with it.
    let address =
        TcpListener::bind(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0))?.local_addr()?;
    let daemon = stage.daemon_with(Settings { metrics: Some(address), ..Settings::default() })?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    client.inject(Loss::all().on(&stage.target))?;
    flow.none_arrive()?;
    let page = get(address, "/metrics")?;
    ensure!(page.starts_with("HTTP/1.1 200"), "{page}");
    let (_, body) = page.split_once("\r\n\r\n").context("no body")?;
    let metrics: Vec<(&str, f64)> = body
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
        .collect();
    ensure!(metrics.iter().all(|(name, _)| name.starts_with("chaos_")), "{body}");
    let of = |part: &str| -> Vec<f64> {
        metrics.iter().filter(|(name, _)| name.contains(part)).map(|(_, value)| *value).collect()
    };
    ensure!(of("injections_live") == [1.0], "{body}");
    ensure!(of("held_packets") == [0.0, 0.0], "{body}");
    ensure!(of("fired").iter().sum::<f64>() >= f64::from(flow.usual()), "{body}");
    ensure!(get(address, "/")?.starts_with("HTTP/1.1 404"));
    client.recover_all()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

pub(super) fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).context("nobody serves metrics")?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
