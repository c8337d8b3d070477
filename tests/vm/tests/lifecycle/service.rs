//! What is served beside the faults: health, reflection and metrics.

use anyhow::{Result, ensure};

use crate::harness::{
    Loss, Probe as _, Settings, Stage,
    metrics::{self, get, metrics},
    tests,
};

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
    let address = metrics::address()?;
    let daemon = stage.daemon_with(Settings { metrics: Some(address), ..Settings::default() })?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    client.inject(Loss::all().on(&stage.target))?;
    flow.none_arrive()?;
    let page = get(address, "/metrics")?;
    ensure!(page.starts_with("HTTP/1.1 200"), "{page}");
    let metrics = metrics(address)?;
    ensure!(metrics.iter().all(|(name, _)| name.starts_with("chaos_")), "{page}");
    let of = |part: &str| -> Vec<f64> {
        metrics.iter().filter(|(name, _)| name.contains(part)).map(|(_, value)| *value).collect()
    };
    ensure!(of("injections_live") == [1.0], "{page}");
    ensure!(of("held_packets") == [0.0, 0.0], "{page}");
    ensure!(of("fired").iter().sum::<f64>() >= f64::from(flow.usual()), "{page}");
    ensure!(get(address, "/")?.starts_with("HTTP/1.1 404"));
    client.recover_all()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
