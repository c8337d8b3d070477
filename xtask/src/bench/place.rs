//! Network namespaces and cgroups of the bench's own, gone at its end.

use std::{
    fs::{self, File},
    os::fd::{AsFd as _, AsRawFd as _},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use chaos_daemon::target::CgroupRoot;
use nix::{
    sched::{CloneFlags, setns, unshare},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A network namespace with `lo` up. It lives as long as this value, or a process in it.
#[derive(Debug)]
pub(crate) struct NetNs(File);

impl NetNs {
    /// A new one.
    pub(crate) fn new() -> Result<Self> {
        let file = on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
            File::open("/proc/thread-self/ns/net").context("cannot open the namespace")
        })?;
        let netns = Self(file);
        netns.command("ip", "link set lo up")?;
        Ok(netns)
    }

    /// Runs something inside.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_a_thread(|| {
            setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET)
                .context("cannot enter the namespace")?;
            work()
        })
    }

    /// Runs a program of iproute2 inside.
    pub(crate) fn command(&self, program: &str, arguments: &str) -> Result<()> {
        let run = || {
            let output = Command::new(program).args(arguments.split(' ')).output();
            let output = output
                .with_context(|| format!("cannot start {program}, of the package iproute2"))?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                bail!("`{program} {arguments}` failed: {said}");
            }
            Ok(())
        };
        self.within(run)
    }

    /// Joins two namespaces by a veth pair: `name` here with the address `10.9.<net>.1`, its peer there
    /// with `10.9.<net>.2`.
    pub(crate) fn join(&self, other: &Self, name: &str, net: u8) -> Result<()> {
        let far = other.path();
        self.command(
            "ip",
            &format!("link add {name} type veth peer name {name} netns {}", far.display()),
        )?;
        for (netns, host) in [(self, 1), (other, 2)] {
            netns.command("ip", &format!("addr add 10.9.{net}.{host}/24 dev {name}"))?;
            netns.command("ip", &format!("link set {name} up"))?;
        }
        Ok(())
    }

    /// The numbers of its interfaces.
    pub(crate) fn interfaces(&self) -> Result<Vec<u32>> {
        self.within(|| {
            let interfaces = nix::net::if_::if_nameindex().context("cannot list the interfaces")?;
            Ok(interfaces.iter().map(nix::net::if_::Interface::index).collect())
        })
    }

    /// Where another process finds it.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|_| Err(anyhow!("a thread inside a namespace panicked")))
}

/// A cgroup, removed at the end with what runs in it.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: String,
    dir: PathBuf,
}

impl Cgroup {
    /// A new one below the root.
    pub(crate) fn new() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self::make(format!("/chaos-bench-{}-{number}", std::process::id()))
    }

    /// Some below this one.
    pub(crate) fn children(&self, count: usize) -> Result<Vec<Self>> {
        (0..count).map(|number| Self::make(format!("{}/{number}", self.path))).collect()
    }

    fn make(path: String) -> Result<Self> {
        let root = CgroupRoot::find()?;
        let dir = root.path().join(path.trim_start_matches('/'));
        fs::create_dir(&dir)
            .with_context(|| format!("cannot make the cgroup {}", dir.display()))?;
        Ok(Self { path, dir })
    }

    /// As the daemon wants it.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn remove(&self) -> std::io::Result<()> {
        let pids = fs::read_to_string(self.dir.join("cgroup.procs"))?;
        for pid in pids.lines().filter_map(|line| line.parse().ok()) {
            // It may just have ended.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        fs::remove_dir(&self.dir)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let end = Instant::now() + Duration::from_secs(5);
        while let Err(error) = self.remove() {
            if error.kind() == std::io::ErrorKind::NotFound {
                return;
            }
            if Instant::now() > end {
                eprintln!("bench: left behind the cgroup {}: {error}", self.dir.display());
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}
