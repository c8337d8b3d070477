//! The daemon's command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;

/// Owns the faults of this node and serves gRPC.
#[derive(Clone, Debug, Parser)]
#[command(name = "chaos-daemon", version)]
pub struct Args {
    /// Keeps the journal and the audit log.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/chaos")]
    pub state_dir: PathBuf,

    /// The Unix socket to serve on.
    #[arg(
        long,
        value_name = "PATH",
        env = "CHAOS_SOCKET",
        default_value = "/run/chaos/chaos.sock"
    )]
    pub socket: PathBuf,

    /// What is allowed; without it /etc/chaos/policy.yaml, and without that the defaults.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,

    /// Serves Prometheus metrics over HTTP at /metrics; a loopback address.
    #[arg(long, value_name = "ADDR", value_parser = loopback)]
    pub metrics: Option<SocketAddr>,

    /// A mounted bpffs; maps and hooks are pinned in its directory `chaos`.
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf")]
    pub bpffs: PathBuf,

    /// Members of this group may use the socket, besides root.
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,

    /// How long faults go on without a sign of life from this daemon; from 1s to 5m.
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = lease)]
    pub lease: Duration,

    /// On SIGTERM, leave the faults to the daemon that comes next within the lease.
    #[arg(long)]
    pub handover: bool,
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| "give an address and a port, as 127.0.0.1:9100".to_owned())?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("metrics are served without authentication, so only on a loopback address".to_owned())
    }
}

fn lease(text: &str) -> Result<Duration, String> {
    let lease = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (Duration::from_secs(1)..=Duration::from_secs(300)).contains(&lease) {
        Ok(lease)
    } else {
        Err("give a duration from 1s to 5m".to_owned())
    }
}
