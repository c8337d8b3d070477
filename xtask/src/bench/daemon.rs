//! A daemon under measurement, and calls to it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use chaos_common::proto::v1::{
    self, chaos_daemon_client::ChaosDaemonClient, fault::Fault, network_loss::Model, target::Target,
};
use hyper_util::rt::TokioIo;
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{net::UnixStream, runtime::Runtime};
use tonic::transport::{Channel, Endpoint, Uri};

use crate::{compare::Leave, place::Cgroup, setting::Subjects};

/// No program waits longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running daemon with a state of its own. At the end it stops and recovers what is left.
pub(crate) struct Daemon {
    child: Child,
    runtime: Runtime,
    client: ChaosDaemonClient<Channel>,
    socket: PathBuf,
    scratch: Scratch,
}

impl Daemon {
    /// Starts one and waits until it serves.
    pub(crate) fn start(subjects: &Subjects) -> Result<Self> {
        let scratch = Scratch::new(&subjects.cache)?;
        let [state, socket, log] = ["state", "socket", "log"].map(|name| scratch.path(name));
        let log = fs::File::create(&log)?;
        let mut child = Command::new(&subjects.daemon)
            .arg("--state-dir")
            .arg(state)
            .arg("--socket")
            .arg(&socket)
            .arg("--bpffs")
            .arg(scratch.path(BPFFS))
            .env("CHAOS_LOG", "error")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start the daemon")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        match runtime.block_on(connect(&socket, &mut child)) {
            Ok(client) => Ok(Self { child, runtime, client, socket, scratch }),
            Err(error) => {
                let said = fs::read_to_string(scratch.path("log")).unwrap_or_default();
                let _ = child.kill();
                let _ = child.wait();
                Err(error.context(said))
            }
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// A folder on the disk of its journal.
    pub(crate) fn folder(&self) -> PathBuf {
        self.scratch.path(".")
    }

    /// Starts one fault; returns its id.
    pub(crate) fn inject(&self, spec: v1::Spec) -> Result<String> {
        let request = v1::InjectRequest { id: String::new(), spec: Some(spec) };
        let mut client = self.client.clone();
        Ok(self.runtime.block_on(client.inject(request))?.into_inner().id)
    }

    /// Ends one.
    pub(crate) fn recover(&self, id: String) -> Result<()> {
        let mut client = self.client.clone();
        self.runtime.block_on(client.recover(v1::RecoverRequest { id }))?;
        Ok(())
    }

    /// As a condition: the fault, until left.
    pub(crate) fn during<'a>(&'a self, spec: v1::Spec) -> Result<Leave<'a>> {
        let id = self.inject(spec)?;
        Ok(Box::new(move || self.recover(id)))
    }

    /// Starts many, several clients at a time.
    pub(crate) fn inject_all(&self, specs: Vec<v1::Spec>, clients: usize) -> Result<()> {
        let share = specs.len().div_ceil(clients);
        self.runtime.block_on(async {
            let mut calls = Vec::new();
            for share in specs.chunks(share) {
                let (share, mut client) = (share.to_vec(), self.client.clone());
                calls.push(tokio::spawn(async move {
                    for spec in share {
                        client
                            .inject(v1::InjectRequest { id: String::new(), spec: Some(spec) })
                            .await?;
                    }
                    Ok::<_, tonic::Status>(())
                }));
            }
            for call in calls {
                call.await??;
            }
            Ok(())
        })
    }

    /// Ends all.
    pub(crate) fn recover_all(&self) -> Result<()> {
        let mut client = self.client.clone();
        let all = self.runtime.block_on(client.recover_all(v1::RecoverAllRequest {}))?.into_inner();
        match all.failed.first() {
            None => Ok(()),
            Some(failure) => bail!("{} was not recovered: {}", failure.id, failure.reason),
        }
    }
}

/// A folder with a bpffs in it, both gone at the end.
struct Scratch(TempDir);

const BPFFS: &str = "bpf";

impl Scratch {
    /// On a disk, as `/var/lib` is: what a flush costs is part of the measurement.
    fn new(parent: &Path) -> Result<Self> {
        let scratch = Self(tempfile::tempdir_in(parent).context("cannot make a folder")?);
        let bpffs = scratch.path(BPFFS);
        fs::create_dir(&bpffs)?;
        mount(Some("bpf"), &bpffs, Some("bpf"), MsFlags::empty(), None::<&str>)
            .context("cannot mount a bpffs")?;
        Ok(scratch)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A mount point cannot be removed. Without a mount there is nothing to do.
        let _ = umount2(&self.path(BPFFS), MntFlags::MNT_DETACH);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        // The connection has to be polled meanwhile, or it would not hear that the daemon goes.
        let ended = self.runtime.block_on(async {
            let end = Instant::now() + PATIENCE;
            while Instant::now() < end {
                if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                    return true;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            false
        });
        if !ended {
            eprintln!("bench: the daemon did not stop; killing it");
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

async fn connect(socket: &Path, child: &mut Child) -> Result<ChaosDaemonClient<Channel>> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait()? {
            bail!("the daemon ended with {status}");
        }
        let path = socket.to_owned();
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        if let Ok(channel) = endpoint.connect_with_connector(connector).await {
            let mut client = ChaosDaemonClient::new(channel);
            // It takes connections before it can answer.
            client
                .capabilities(v1::CapabilitiesRequest {})
                .await
                .context("the daemon does not answer")?;
            return Ok(client);
        }
        ensure!(Instant::now() < end, "the daemon does not serve");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One fault on a cgroup.
pub(crate) fn spec(cgroup: &Cgroup, fault: Fault) -> v1::Spec {
    v1::Spec {
        target: Some(v1::Target { target: Some(Target::Cgroup(cgroup.path().to_owned())) }),
        fault: Some(v1::Fault { fault: Some(fault) }),
        ..v1::Spec::default()
    }
}

/// Loses every packet of a cgroup that the filter matches.
pub(crate) fn loss(cgroup: &Cgroup, filter: v1::NetworkFilter) -> v1::Spec {
    let model = Some(Model::Percent(100.0));
    let fault = v1::NetworkLoss { filter: Some(filter), model, ..Default::default() };
    spec(cgroup, Fault::NetworkLoss(fault))
}

/// Matches every packet that leaves.
pub(crate) fn everything() -> v1::NetworkFilter {
    v1::NetworkFilter::default()
}

/// Matches nothing that the bench sends: nobody uses the port.
pub(crate) fn never(direction: v1::Direction) -> v1::NetworkFilter {
    v1::NetworkFilter {
        direction: direction.into(),
        remote_ports: vec![v1::PortRange { first: 9, last: None }],
        ..v1::NetworkFilter::default()
    }
}
