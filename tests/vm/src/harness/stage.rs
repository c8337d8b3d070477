//! What every test needs: a target with a victim in it, a bystander beside it, somebody to talk to,
//! and the state of the kernel before.
//!
//! ```text
//! cgroups  base ─┬─ target    victim (near)
//!                ├─ sibling   bystander (near)
//!                └─ far       far (far)
//! ```

use std::{
    cell::Cell,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use chaos_common::proto::v1::{self, Direction};
use tempfile::TempDir;

use super::{
    Agent, Cgroup, Client, Connections, Daemon, Datagrams, Family, Net, Observed, Pins, Place,
    Probe, Resident, Scratch, Settings, Socket, check_pins, net, poll, resident, skip,
};

/// How soon everything must be gone after an injection has ended.
const GONE: Duration = Duration::from_secs(5);

/// A transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
    /// Echo requests of a ping socket.
    Icmp,
    /// Echo requests of a raw socket, as the classic `ping` has one.
    RawIcmp,
}

/// The stage of one test.
pub(crate) struct Stage {
    pub(crate) victim: Agent,
    pub(crate) bystander: Agent,
    pub(crate) far: Agent,
    pub(crate) target: Cgroup,
    pub(crate) sibling: Cgroup,
    far_cgroup: Cgroup,
    pub(crate) base: Cgroup,
    pub(crate) net: Net,
    /// The daemon's, which serves other tests too where it is resident.
    pub(crate) scratch: Arc<Scratch>,
    /// This test's own.
    pub(crate) folder: TempDir,
    before: Observed,
    barrier: (Socket, Socket),
    crossings: Cell<u64>,
}

impl Stage {
    /// Sets it up. No daemon runs yet.
    pub(crate) fn new() -> Result<Self> {
        Self::around(Arc::new(Scratch::new()?))
    }

    /// Sets it up around a daemon that serves since an earlier test, as daemons do; around a new one if there is none.
    /// Tests that are about a daemon's start, its end or its settings begin with [`Self::new`].
    pub(crate) fn served() -> Result<(Self, Daemon)> {
        let Resident { scratch, daemon } = resident::take()?;
        needs_network_loss(&daemon.client()?)?;
        Ok((Self::around(scratch)?, daemon))
    }

    /// The same with a loopback that is up.
    pub(crate) fn served_with_loopback() -> Result<(Self, Daemon)> {
        let (mut stage, daemon) = Self::served()?;
        stage.net.near.netlink().set_up("lo")?;
        stage.begin_here()?;
        Ok((stage, daemon))
    }

    fn around(scratch: Arc<Scratch>) -> Result<Self> {
        let net = Net::new()?;
        let base = Cgroup::new()?;
        let (target, sibling, far_cgroup) =
            (base.child("target")?, base.child("sibling")?, base.child("far")?);
        let victim = Agent::start(Place::default().cgroup(&target)?.netns(&net.near)?)?;
        let bystander = Agent::start(Place::default().cgroup(&sibling)?.netns(&net.near)?)?;
        let far = Agent::start(Place::default().cgroup(&far_cgroup)?.netns(&net.far)?)?;
        let barrier = (bystander.udp(net::near(Family::V4))?, far.udp(net::far(Family::V4))?);
        let before = Observed::now(
            &[&net.near, &net.far, &net.other],
            &[&base, &target, &sibling, &far_cgroup],
        )?;
        let crossings = Cell::new(0);
        let folder = tempfile::Builder::new().prefix("chaos-test-").tempdir();
        let folder = folder.context("cannot make a folder")?;
        Ok(Self {
            victim,
            bystander,
            far,
            target,
            sibling,
            far_cgroup,
            base,
            net,
            scratch,
            folder,
            before,
            barrier,
            crossings,
        })
    }

    /// Takes the kernel's state now for the one to go back to.
    pub(crate) fn begin_here(&mut self) -> Result<()> {
        self.before = self.observe()?;
        Ok(())
    }

    /// Starts a daemon and waits until it serves.
    pub(crate) fn daemon(&self) -> Result<Daemon> {
        self.daemon_with(Settings::default())
    }

    /// Starts a daemon in a certain way.
    pub(crate) fn daemon_with(&self, settings: Settings) -> Result<Daemon> {
        let daemon = Daemon::start(&self.scratch, settings)?;
        needs_network_loss(&daemon.client()?)?;
        Ok(daemon)
    }

    /// A process in the target and in the namespace that no fault is about.
    pub(crate) fn in_other_namespace(&self, cgroup: &Cgroup) -> Result<Agent> {
        Agent::start(Place::default().cgroup(cgroup)?.netns(&self.net.other)?)
    }

    /// Waits until everything that was sent before has arrived or vanished: a datagram of the
    /// bystander to the far end and one back take the same way.
    pub(crate) fn settle(&self) -> Result<()> {
        let number = self.crossings.get();
        self.crossings.set(number + 1);
        let (near, far) = self.barrier;
        let patience = Duration::from_secs(10);
        for (from, from_socket, to, to_socket) in
            [(&self.bystander, near, &self.far, far), (&self.far, far, &self.bystander, near)]
        {
            let sent = from.send(from_socket, to_socket.local, number, 1)?;
            ensure!(sent.failed.is_empty(), "the bystander could not send: {sent:?}");
            let came = to.take_within(to_socket, 1, patience)?;
            ensure!(
                came == [number],
                "the bystander lost a datagram: {came:?} came, {number} was sent"
            );
        }
        Ok(())
    }

    /// Traffic between a process of the near namespace and the far end.
    pub(crate) fn flow<'a>(
        &'a self,
        agent: &'a Agent,
        transport: Transport,
        family: Family,
        direction: Direction,
    ) -> Result<Box<dyn Probe + 'a>> {
        let who = if std::ptr::eq(agent, &self.victim) { "victim" } else { "bystander" };
        let name = format!("{who}, {transport:?} {family:?} {}", direction.as_str_name());
        let (near, far) = (net::near(family), net::far(family));
        Ok(match (transport, direction) {
            (Transport::Udp, Direction::In) => {
                Box::new(self.udp(name, (&self.far, far), (agent, near))?)
            }
            (Transport::Udp, _) => Box::new(self.udp(name, (agent, near), (&self.far, far))?),
            // Requests go out, replies come in: a fault of either direction loses them.
            (Transport::Icmp | Transport::RawIcmp, _) => {
                let is_raw = transport == Transport::RawIcmp;
                let socket = if is_raw { agent.raw_ping(near)? } else { agent.ping(near)? };
                Box::new(Datagrams::new(
                    self,
                    name,
                    (agent, socket),
                    (agent, socket),
                    SocketAddr::new(far, 0),
                ))
            }
            (Transport::Tcp, Direction::In) => {
                let server = agent.listen(SocketAddr::new(near, 0))?;
                Box::new(Connections::new(name, &self.far, server.local))
            }
            (Transport::Tcp, _) => {
                let server = self.far.listen(SocketAddr::new(far, 0))?;
                Box::new(Connections::new(name, agent, server.local))
            }
        })
    }

    /// UDP from the victim to the far end.
    pub(crate) fn victim_udp(&self) -> Result<Datagrams<'_>> {
        self.udp("victim", (&self.victim, net::near(Family::V4)), (&self.far, net::far(Family::V4)))
    }

    /// UDP from the bystander to the far end.
    pub(crate) fn bystander_udp(&self) -> Result<Datagrams<'_>> {
        self.udp(
            "bystander",
            (&self.bystander, net::near(Family::V4)),
            (&self.far, net::far(Family::V4)),
        )
    }

    /// UDP between any two processes at these addresses.
    pub(crate) fn udp<'a>(
        &'a self,
        name: impl Into<String>,
        (from, from_ip): (&'a Agent, IpAddr),
        (to, to_ip): (&'a Agent, IpAddr),
    ) -> Result<Datagrams<'a>> {
        let (from_socket, to_socket) = (from.udp(from_ip)?, to.udp(to_ip)?);
        Ok(Datagrams::new(self, name, (from, from_socket), (to, to_socket), to_socket.local))
    }

    /// The state of the kernel now.
    pub(crate) fn observe(&self) -> Result<Observed> {
        Observed::now(
            &[&self.net.near, &self.net.far, &self.net.other],
            &[&self.base, &self.target, &self.sibling, &self.far_cgroup],
        )
    }

    /// Fails when a daemon that injects nothing holds on to anything but its maps.
    pub(crate) fn idle(&self, daemon: &Daemon) -> Result<()> {
        poll::until_ok("nothing to be left of an injection", GONE, || {
            self.observe()?.same_as(&self.before)?;
            check_pins(self.scratch.bpffs(), Pins::Engine)?;
            let journal = daemon.journal()?;
            ensure!(journal.is_empty(), "the journal still holds {journal:?}");
            Ok(())
        })
    }

    /// Ends what the daemon injects and fails when anything is left of that; then stops it and fails when anything
    /// is left of it, or leaves it to the tests to come.
    pub(crate) fn finish(&self, daemon: Daemon) -> Result<()> {
        if daemon.is_resident() {
            daemon.client()?.recover_all()?;
            self.idle(&daemon)?;
            resident::give_back(Resident { scratch: Arc::clone(&self.scratch), daemon });
            return Ok(());
        }
        daemon.stop()?;
        self.clean()
    }

    /// Stops one of two daemons; what the other does goes on, which `check` proves.
    pub(crate) fn finish_but(
        &self,
        daemon: Daemon,
        other: &Daemon,
        check: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        daemon.stop()?;
        check_pins(self.scratch.bpffs(), Pins::None)?;
        ensure!(other.journal()?.len() == 1, "the other daemon lost its journal");
        check()
    }

    /// Fails when anything is left although no daemon runs.
    pub(crate) fn clean(&self) -> Result<()> {
        poll::until_ok("nothing to be left of the daemon", GONE, || {
            self.observe()?.same_as(&self.before)?;
            self.scratch.clean()
        })
    }
}

/// Ends the test on an old kernel that cannot do it. From 5.15 on every kernel must.
fn needs_network_loss(client: &Client) -> Result<()> {
    match missing(client, "network loss")? {
        None => Ok(()),
        Some(reason) if skip::kernel() < (5, 15) => skip(format!("network loss: {reason}")),
        Some(reason) => bail!("network loss does not work here: {reason}"),
    }
}

/// What some kernels of the matrix cannot, and tests of it ask for by [`needs_aspect`].
const OPTIONAL: [&str; 2] = ["refuse", "reset open"];

/// Ends the test where the daemon says that one aspect of a fault cannot work.
pub(crate) fn needs_aspect(client: &Client, kind: &str, aspect: &str) -> Result<()> {
    match reason_against(client, kind, |one| one == aspect)? {
        None => Ok(()),
        Some(reason) => skip(format!("{kind}: {reason}")),
    }
}

/// Ends the test where the daemon says that a kind of fault cannot work. In a VM every kind does.
pub(crate) fn needs(client: &Client, kind: &str) -> Result<()> {
    match missing(client, kind)? {
        None => Ok(()),
        Some(reason) if skip::own_machine() => bail!("{kind} does not work here: {reason}"),
        Some(reason) => skip(format!("{kind}: {reason}")),
    }
}

/// Why a kind of fault cannot work here, if so.
fn missing(client: &Client, kind: &str) -> Result<Option<String>> {
    reason_against(client, kind, |aspect| !OPTIONAL.contains(&aspect))
}

/// Why some aspect of a kind of fault cannot work here, if so.
pub(crate) fn reason_against(
    client: &Client,
    kind: &str,
    is_meant: impl Fn(&str) -> bool,
) -> Result<Option<String>> {
    use v1::fault_capability::Support;
    let mut faults = client.capabilities()?.faults.into_iter();
    Ok(faults.find_map(|fault| match fault.support {
        Some(Support::UnsupportedReason(reason))
            if fault.fault == kind && is_meant(&fault.aspect) =>
        {
            Some(format!("{}: {reason}", fault.aspect))
        }
        Some(Support::UnsupportedReason(_) | Support::Mechanism(_)) | None => None,
    }))
}

/// What an aspect of a fault does less well here.
pub(crate) fn caveats(client: &Client, kind: &str, aspect: &str) -> Result<String> {
    Ok(capability(client, kind, aspect)?.caveats.join("; "))
}

/// By which mechanism an aspect of a fault works here, or why not.
pub(crate) fn mechanism(client: &Client, kind: &str, aspect: &str) -> Result<String> {
    use v1::fault_capability::Support::{Mechanism, UnsupportedReason};
    match capability(client, kind, aspect)?.support {
        Some(Mechanism(text) | UnsupportedReason(text)) => Ok(text),
        None => bail!("nothing is said of {kind} ({aspect})"),
    }
}

fn capability(client: &Client, kind: &str, aspect: &str) -> Result<v1::FaultCapability> {
    let mut faults = client.capabilities()?.faults.into_iter();
    let one = faults.find(|one| one.fault == kind && one.aspect == aspect);
    one.with_context(|| format!("nothing is said of {kind} ({aspect})"))
}

/// The pattern of a fault test: no loss before, all of the victims' packets during and none of the
/// others', no loss after.
///
/// # Errors
/// When anything differs, or the counters do not add up.
pub(crate) fn phases(
    client: &Client,
    spec: v1::Spec,
    victims: &[&dyn Probe],
    others: &[&dyn Probe],
) -> Result<v1::Injection> {
    let everybody = || victims.iter().chain(others).try_for_each(|probe| probe.all_arrive());
    everybody()?;
    let injection = client.inject(spec)?;
    active(&injection)?;
    victims.iter().try_for_each(|probe| probe.none_arrive())?;
    others.iter().try_for_each(|probe| probe.all_arrive())?;
    let counters = balanced(&client.get(&injection.id)?)?;
    ensure!(victims.is_empty() == (counters.fired == 0), "{counters:?}");
    let ended = client.recover(&injection.id)?;
    ensure!(ended.state() == v1::State::Ended && ended.end() == v1::End::Recovered, "{ended:?}");
    everybody()?;
    Ok(ended)
}

/// Fails when an injection is not active.
pub(crate) fn active(injection: &v1::Injection) -> Result<()> {
    ensure!(injection.state() == v1::State::Active, "not active: {injection:?}");
    Ok(())
}

/// An injection's counters, which must add up.
pub(crate) fn balanced(injection: &v1::Injection) -> Result<v1::Counters> {
    let counters = injection.counters.unwrap_or_default();
    let v1::Counters { matched, fired, past_deadline, past_lease, over_budget, spared } = counters;
    let sum = fired + past_deadline + past_lease + over_budget + spared;
    ensure!(matched == sum, "the counters do not add up: {counters:?}");
    Ok(counters)
}

/// Fails when two answers are not about the same injection in the same state. Its expiry is kept on the
/// boot clock and shown on the wall clock, which are read one after the other.
pub(crate) fn same(one: &v1::Injection, other: &v1::Injection) -> Result<()> {
    let shown = |injection: &v1::Injection| {
        injection.expires_at.map(|at| at.seconds as f64 + f64::from(at.nanos) / 1e9)
    };
    let apart = shown(one).zip(shown(other)).map(|(one, other)| (one - other).abs());
    ensure!(apart.is_some_and(|apart| apart < 0.1), "the deadline moved by {apart:?} s");
    let without =
        |injection: &v1::Injection| v1::Injection { expires_at: None, ..injection.clone() };
    ensure!(without(one) == without(other), "{one:?} is not {other:?}");
    Ok(())
}
