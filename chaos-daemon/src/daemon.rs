//! The daemon's life on one page: read the configuration, take up what an earlier daemon left, serve,
//! and part on a signal.

use std::{io::IsTerminal as _, sync::Arc};

use anyhow::Context as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{
    args::Args,
    engine::{Config, Durable, Engine, Parting},
    grpc::{self, Access, Socket},
    metrics, notify,
    policy::Policy,
    target::CgroupRoot,
};

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// With one sentence that names what is in the way and what to do.
pub async fn run(args: Args) -> anyhow::Result<()> {
    log();
    if !nix::unistd::geteuid().is_root() {
        anyhow::bail!("loading eBPF programs takes root; run `sudo chaos-daemon`, or the systemd unit");
    }
    let policy = Policy::load(args.policy.as_deref())?;
    let access = Access::group(args.group.as_deref())?;
    let config = Config {
        root: CgroupRoot::find()?,
        policy,
        lease: args.lease,
        durable: Some(Durable { state_dir: args.state_dir.clone(), bpffs: args.bpffs.clone() }),
    };
    // Before the socket: whoever can connect finds an engine that has settled.
    let engine = tokio::task::spawn_blocking(move || Engine::start(config)).await??;
    let socket = Socket::bind(&args.socket, access)?;
    for capability in engine.capabilities() {
        match &capability.support {
            Ok(mechanism) => tracing::info!(fault = %capability.fault, aspect = capability.aspect, mechanism, "supported"),
            Err(reason) => tracing::warn!(fault = %capability.fault, aspect = capability.aspect, reason, "unsupported"),
        }
    }

    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let (ending, mut ended) = watch::channel(false);
    let on_signal = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        notify::stopping();
        let _ = ending.send(true);
    };
    if let Some(address) = args.metrics {
        metrics::serve(Arc::clone(&engine), address, ended.clone()).await?;
    }
    tracing::info!(socket = %args.socket.display(), state = %args.state_dir.display(), "serving");
    notify::ready();
    tokio::spawn(on_signal);
    let until = async move {
        let _ = ended.wait_for(|is_ending| *is_ending).await;
    };
    let served = grpc::serve(Arc::clone(&engine), socket, until).await;
    if let Err(error) = &served {
        tracing::error!(%error, "the socket failed; recovering everything");
    }

    let parting = if args.handover { Parting::HandOver } else { Parting::Recover };
    let left = tokio::task::spawn_blocking(move || engine.stop(parting, "chaos-daemon")).await?;
    for injection in &left {
        tracing::error!(injection = %injection.id, reason = injection.message, "left behind; the next start tries again");
    }
    served.context("serve the socket")?;
    anyhow::ensure!(left.is_empty(), "{} injections could not be undone; start the daemon again to retry", left.len());
    Ok(())
}

fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("CHAOS_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.with_target(false).init();
    } else {
        builder.json().flatten_event(true).with_target(false).init();
    }
}
