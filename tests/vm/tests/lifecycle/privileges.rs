//! The capabilities of the systemd unit: they suffice, and none of them is there for nothing.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use anyhow::{Context as _, Result, bail, ensure};
use chaos_common::proto::v1::{self, Direction, SocketCount, fault_capability::Support};
use tonic::Code;

use crate::harness::{
    Agent, Capability, Client, Daemon, Datagrams, Family, Loss, Network, Place, Probe, Settings,
    Stage, TestGroup, Unit, metrics::get, net, phases, refused, skip, tests,
};

tests![
    the_units_privileges_suffice,
    the_units_privileges_show_foreign_sockets,
    without_sys_admin_it_does_not_start,
    without_net_admin_only_newer_kernels_work,
    without_sys_ptrace_outgoing_loss_is_refused,
    without_net_bind_service_low_ports_are_refused,
    without_dac_read_search_sockets_of_others_are_not_seen,
    without_chown_no_group_gets_the_socket,
];

const NOBODY: u32 = 65534;

/// A daemon as the unit starts it, with or without one capability.
fn settings(stage: &Stage, without: Option<Capability>) -> Result<Settings> {
    let unit = Unit::shipped(&stage.scratch)?;
    let unit = match without {
        Some(capability) => unit.without(capability)?,
        None => unit,
    };
    Ok(Settings { place: Place::default().unit(unit), ..Settings::default() })
}

/// A process of another user in the target, in a namespace that is not the daemon's.
fn somebody(stage: &Stage) -> Result<Agent> {
    let place = Place::default().cgroup(&stage.target)?.netns(&stage.net.near)?;
    Agent::start(place.user(NOBODY, NOBODY))
}

/// UDP of a process with the far end.
fn udp<'a>(stage: &'a Stage, agent: &'a Agent, direction: Direction) -> Result<Datagrams<'a>> {
    let (near, far) = ((agent, net::near(Family::V4)), (&stage.far, net::far(Family::V4)));
    match direction {
        Direction::In => stage.udp("somebody, in", far, near),
        Direction::Out | Direction::Both | Direction::Unspecified => {
            stage.udp("somebody, out", near, far)
        }
    }
}

/// Loses everything of another user's process, one way, and nobody else's.
fn loses(stage: &Stage, client: &Client, agent: &Agent, direction: Direction) -> Result<()> {
    let (victim, bystander) = (udp(stage, agent, direction)?, stage.bystander_udp()?);
    let of_root = stage.victim_udp()?;
    let spec = Loss::all().direction(direction).on(&stage.target);
    let (hit, spared): (&[&dyn Probe], &[&dyn Probe]) = match direction {
        Direction::In => (&[&victim], &[&of_root, &bystander]),
        Direction::Out | Direction::Both | Direction::Unspecified => {
            (&[&victim, &of_root], &[&bystander])
        }
    };
    phases(client, spec, hit, spared).map(drop)
}

/// Why outgoing loss does not work, if it does not.
fn outgoing(client: &Client) -> Result<Support> {
    let faults = client.capabilities()?.faults;
    let found = faults.into_iter().find(|fault| fault.aspect.contains("out"));
    found.and_then(|fault| fault.support).context("outgoing loss is not among the capabilities")
}

/// What the kernel says about a process's privileges.
fn has_exactly(pid: u32, unit: &Unit) -> Result<()> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.map(str::trim).with_context(|| format!("no {key} in {status}"))
    };
    for key in ["CapPrm:", "CapEff:", "CapBnd:"] {
        let set = u64::from_str_radix(value(key)?, 16)?;
        ensure!(set == unit.set(), "{key} {set:x}, not {:x}", unit.set());
    }
    ensure!(value("CapAmb:")?.chars().all(|digit| digit == '0') && value("NoNewPrivs:")? == "1");
    Ok(())
}

fn the_units_privileges_suffice() -> Result<()> {
    let stage = Stage::new()?;
    // Whoever takes the port in between makes the daemon fail, and the test with it.
    let address =
        TcpListener::bind(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0))?.local_addr()?;
    let group = TestGroup::new(&stage.scratch)?;
    let daemon = stage.daemon_with(Settings {
        group: Some(TestGroup::NAME.into()),
        metrics: Some(address),
        ..settings(&stage, None)?
    })?;
    drop(group);
    has_exactly(daemon.pid(), &Unit::shipped(&stage.scratch)?)?;
    let client = daemon.client()?;
    let victim = somebody(&stage)?;
    for direction in [Direction::Out, Direction::In] {
        loses(&stage, &client, &victim, direction)?;
    }
    let taken = client.inject(low_port(&stage))?;
    client.recover(&taken.id)?;
    ensure!(get(address, "/metrics")?.starts_with("HTTP/1.1 200"));
    let member = Agent::start(Place::default().user(NOBODY, TestGroup::ID))?;
    let (code, message) = member.list(daemon.socket())?;
    ensure!(code == Code::Ok, "a member of the group was refused: {code:?}: {message}");
    client.inject(Loss::all().on(&stage.target))?;
    client.recover_all()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// The sockets that a daemon counts in the target: two of another user's process are there.
fn counted(stage: &Stage, client: &Client) -> Result<Option<SocketCount>> {
    let somebody = somebody(stage)?;
    let flow = udp(stage, &somebody, Direction::Out)?;
    somebody.udp(net::near(Family::V4))?;
    flow.all_arrive()?;
    let all = client.targets()?;
    let listed = all.into_iter().find(|target| target.cgroup == stage.target.path());
    Ok(listed.context("the target is not listed")?.sockets)
}

fn the_units_privileges_show_foreign_sockets() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon_with(settings(&stage, None)?)?;
    match counted(&stage, &daemon.client()?)? {
        Some(sockets) => ensure!(sockets.held == 2 && sockets.foreign == 0, "{sockets:?}"),
        None => return skip("this kernel does not tell which cgroup a socket is of"),
    }
    stage.finish(daemon)
}

/// Programs cannot be loaded, and there would be no namespace to enter.
fn without_sys_admin_it_does_not_start() -> Result<()> {
    let stage = Stage::new()?;
    let settings = settings(&stage, Some(Capability::SysAdmin))?;
    let (status, said) = Daemon::launch(&stage.scratch, settings)?.wait_refused()?;
    ensure!(!status.success() && said.contains("SYS_ADMIN"), "{status}: {said}");
    stage.clean()
}

/// It is what filters of tc need, and links on cgroups before Linux 6.9, when `CAP_SYS_ADMIN` came to include
/// it there. Where it is missing the kernel's own word is passed on.
fn without_net_admin_only_newer_kernels_work() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = Daemon::start(&stage.scratch, settings(&stage, Some(Capability::NetAdmin))?)?;
    let client = daemon.client()?;
    let victim = somebody(&stage)?;
    let inject = |direction| client.inject(Loss::all().direction(direction).on(&stage.target));
    if skip::kernel() >= (6, 9) {
        loses(&stage, &client, &victim, Direction::In)?;
    } else {
        let status = refused(inject(Direction::In), "KERNEL")?;
        ensure!(status.message().contains("not permitted"), "{status:?}");
    }
    match outgoing(&client)? {
        Support::Mechanism(mechanism) => {
            ensure!(mechanism.contains("tcx"), "{mechanism} works without CAP_NET_ADMIN");
            loses(&stage, &client, &victim, Direction::Out)?;
        }
        Support::UnsupportedReason(reason) => {
            ensure!(skip::kernel() < (6, 6), "tcx does not work: {reason}");
            let status = refused(inject(Direction::Out), "UNSUPPORTED")?;
            for said in [&reason, status.message()] {
                ensure!(said.contains("not permitted"), "{said}");
            }
        }
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn without_sys_ptrace_outgoing_loss_is_refused() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon_with(settings(&stage, Some(Capability::SysPtrace))?)?;
    let client = daemon.client()?;
    let victim = somebody(&stage)?;
    loses(&stage, &client, &victim, Direction::In)?;
    let flow = udp(&stage, &victim, Direction::Out)?;
    match client.inject(Loss::all().direction(Direction::Out).on(&stage.target)) {
        Ok(injection) => bail!("it cannot see where the target is, and says {injection:?}"),
        Err(status) => {
            let said = status.message();
            ensure!(said.contains("ns/net") || said.contains("network namespace"), "{status:?}");
        }
    }
    flow.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// A port that only the privileged may take.
fn low_port(stage: &Stage) -> v1::Spec {
    let ports = vec![v1::PortRange { first: 7, last: None }];
    Network::from(v1::NetworkOccupy { ports, ..Default::default() }).on(&stage.target)
}

fn without_net_bind_service_low_ports_are_refused() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon_with(settings(&stage, Some(Capability::NetBindService))?)?;
    let status = refused(daemon.client()?.inject(low_port(&stage)), "KERNEL")?;
    ensure!(status.message().contains("CAP_NET_BIND_SERVICE"), "{status:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn without_dac_read_search_sockets_of_others_are_not_seen() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon_with(settings(&stage, Some(Capability::DacReadSearch))?)?;
    match counted(&stage, &daemon.client()?)? {
        Some(sockets) => ensure!(sockets.held == 0, "{sockets:?}"),
        None => return skip("this kernel does not tell which cgroup a socket is of"),
    }
    stage.finish(daemon)
}

fn without_chown_no_group_gets_the_socket() -> Result<()> {
    let stage = Stage::new()?;
    let group = TestGroup::new(&stage.scratch)?;
    let settings = Settings {
        group: Some(TestGroup::NAME.into()),
        ..settings(&stage, Some(Capability::Chown))?
    };
    let (status, said) = Daemon::launch(&stage.scratch, settings)?.wait_refused()?;
    drop(group);
    ensure!(!status.success() && said.contains("give to the group"), "{status}: {said}");
    stage.clean()
}
