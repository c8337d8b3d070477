//! The daemon's life on one page: read the configuration, take up what an earlier daemon left, serve,
//! and part on a signal.

use std::{io::IsTerminal as _, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::{
    args::Args,
    engine::{Config, Durable, Engine, Parting},
    fault::Capability,
    grpc::{self, Access, Socket},
    metrics, notify,
    policy::Policy,
    target::CgroupRoot,
};

/// How long calls under way may take when a signal has come.
const GRACE: Duration = Duration::from_secs(1);

/// Runs until SIGTERM, SIGINT or SIGHUP.
///
/// # Errors
/// With one sentence that names what is in the way and what to do.
pub async fn run(args: Args) -> anyhow::Result<()> {
    log();
    if !nix::unistd::geteuid().is_root() {
        anyhow::bail!(
            "loading eBPF programs takes root; run `sudo chaos-daemon`, or the systemd unit"
        );
    }
    // Before there is anything to leave behind: one that comes during the start ends it in good order.
    let signals = Signals::listen()?;
    let policy = Policy::load(args.policy.as_deref())?;
    let root = CgroupRoot::find()?;
    // First, so that a second daemon at the same place touches nothing; clients wait until we accept.
    let socket = Socket::bind(&args.socket, Access::group(args.group.as_deref())?)?;
    let durable = Durable { state_dir: args.state_dir.clone(), bpffs: args.bpffs.clone() };
    let config = Config { root, policy, lease: args.lease, durable: Some(durable) };
    let engine = tokio::task::spawn_blocking(move || Engine::start(config)).await??;

    let served = serve(&engine, socket, &args, signals).await;
    let parting = match &served {
        Ok(()) if !args.handover => Parting::Recover,
        // What was adopted is left to the next daemon: this one has never really been there.
        Ok(()) | Err(_) => Parting::HandOver,
    };
    let left = tokio::task::spawn_blocking(move || engine.stop(parting, "chaos-daemon")).await?;
    for injection in &left {
        tracing::error!(injection = %injection.id, reason = injection.message, "left behind; the next start tries again");
    }
    served?;
    anyhow::ensure!(
        left.is_empty(),
        "{} injections could not be undone; start the daemon again to retry",
        left.len()
    );
    Ok(())
}

/// Serves until a signal comes.
async fn serve(
    engine: &Arc<Engine>,
    socket: Socket,
    args: &Args,
    mut signals: Signals,
) -> anyhow::Result<()> {
    // `chaos doctor` asks too; some of it is found out only then.
    if tracing::enabled!(tracing::Level::DEBUG) {
        for Capability { fault, aspect, support, .. } in engine.capabilities() {
            match support {
                Ok(mechanism) => tracing::debug!(%fault, aspect, mechanism, "supported"),
                Err(reason) => tracing::debug!(%fault, aspect, reason, "unsupported"),
            }
        }
    }
    let (ending, ended) = watch::channel(false);
    let is_ended = |mut ended: watch::Receiver<bool>| async move {
        // An error means that the sender is gone, which is an end too.
        let _ = ended.wait_for(|is_ended| *is_ended).await;
    };
    if let Some(address) = args.metrics {
        metrics::serve(Arc::clone(engine), address, is_ended(ended.clone())).await?;
    }
    let serving = grpc::serve(Arc::clone(engine), socket, is_ended(ended));
    tracing::info!(socket = %args.socket.display(), state = %args.state_dir.display(), "serving");
    notify::ready();
    let on_signal = async {
        signals.first().await;
        notify::stopping();
        let _ = ending.send(true);
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = serving => served.context("serve the socket"),
        // Whoever is still connected keeps no fault alive.
        () = on_signal => Ok(()),
    }
}

/// What ends the daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// The terminal of a daemon started by hand was closed.
    hangup: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("listen for SIGINT")?,
            hangup: signal(SignalKind::hangup()).context("listen for SIGHUP")?,
        })
    }

    async fn first(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
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
