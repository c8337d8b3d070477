//! Several daemons on one machine.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use chaos_common::{
    abi::{daemon_id, instance_number},
    proto::v1::{self, Direction},
};

use crate::{
    harness::{
        Daemon, Family, Loss, Mounted, Network, Pins, Probe as _, Settings, Stage, check_pins,
        delay, needs, net, tests,
    },
    network_delay::{LATENCY, all_soon},
};

tests![
    a_second_daemon_on_the_same_state_is_refused,
    a_second_daemon_on_the_same_socket_is_refused,
    a_stale_socket_is_replaced,
    two_daemons_share_a_node,
    two_daemons_hit_one_target,
];

fn a_second_daemon_on_the_same_state_is_refused() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    client.inject(Loss::all().on(&stage.target))?;
    let other = Mounted::new("bpf", &stage.scratch.join("bpf2"), "mode=0700")?;
    for bpffs in [None, Some(other.path().to_owned())] {
        let socket = Some(stage.scratch.join("second.sock"));
        let second =
            Daemon::launch(&stage.scratch, Settings { socket, bpffs, ..Settings::default() })?;
        let (status, said) = second.wait_refused()?;
        ensure!(!status.success(), "the second daemon ended with {status}");
        ensure!(
            said.contains(&*stage.scratch.state().to_string_lossy()),
            "it does not name the state: {said}"
        );
    }
    ensure!(!stage.scratch.join("second.sock").exists(), "the second daemon left its socket");
    flow.none_arrive()?;
    ensure!(client.list()?.len() == 1);
    stage.finish(daemon)
}

fn a_second_daemon_on_the_same_socket_is_refused() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    client.inject(Loss::all().on(&stage.target))?;
    let bpffs = Mounted::new("bpf", &stage.scratch.join("bpf2"), "mode=0700")?;
    let settings = Settings {
        state: Some(stage.scratch.join("state2")),
        bpffs: Some(bpffs.path().to_owned()),
        ..Settings::default()
    };
    let (status, said) = Daemon::launch(&stage.scratch, settings)?.wait_refused()?;
    ensure!(!status.success(), "the second daemon ended with {status}");
    ensure!(
        said.contains(&*daemon.socket().to_string_lossy()),
        "it does not name the socket: {said}"
    );
    flow.none_arrive()?;
    ensure!(client.list()?.len() == 1, "the first daemon lost its injection");
    check_pins(bpffs.path(), Pins::None)?;
    stage.finish(daemon)
}

fn a_stale_socket_is_replaced() -> Result<()> {
    let stage = Stage::new()?;
    drop(std::os::unix::net::UnixListener::bind(stage.scratch.socket())?);
    let daemon = stage.daemon()?;
    daemon.client()?.list()?;
    stage.finish(daemon)?;
    // What is no socket is somebody else's.
    fs::write(stage.scratch.socket(), "mine")?;
    let (status, _) = Daemon::launch(&stage.scratch, Settings::default())?.wait_refused()?;
    ensure!(!status.success());
    ensure!(fs::read_to_string(stage.scratch.socket())? == "mine", "a foreign file was replaced");
    fs::remove_file(stage.scratch.socket())?;
    stage.clean()
}

/// Two daemons with their own state and pins, and faults on the same interfaces: neither sweeps what
/// is the other's.
fn two_daemons_share_a_node() -> Result<()> {
    let stage = Stage::new()?;
    let bpffs = Mounted::new("bpf", &stage.scratch.join("bpf2"), "mode=0700")?;
    let daemon = stage.daemon()?;
    let settings = || Settings {
        state: Some(stage.scratch.join("state2")),
        socket: Some(stage.scratch.join("second.sock")),
        bpffs: Some(bpffs.path().to_owned()),
        ..Settings::default()
    };
    let client = daemon.client()?;
    let (victim, neighbour) = (stage.victim_udp()?, stage.bystander_udp()?);
    // The bystander sends the datagrams that tell when a round is over, so it must not lose those.
    let port = neighbour.receiver_port();
    client.inject(Loss::all().on(&stage.target))?;
    let second = stage.daemon_with(settings())?;
    victim.none_arrive()?;
    let on_neighbour = second.client()?.inject(Loss::all().remote_port(port).on(&stage.sibling))?;
    neighbour.none_arrive()?;
    victim.none_arrive()?;
    second.client()?.recover(&on_neighbour.id)?;
    neighbour.all_arrive()?;
    victim.none_arrive()?;
    second.client()?.inject(Loss::all().remote_port(port).on(&stage.sibling))?;
    client.recover_all()?;
    stage.finish_but(daemon, &second, || neighbour.none_arrive())?;
    victim.all_arrive()?;
    second.stop()?;
    neighbour.all_arrive()?;
    check_pins(bpffs.path(), Pins::None)?;
    stage.clean()
}

/// A second place for pins, of a daemon whose packets are told from those of the first one.
fn apart(stage: &Stage) -> Result<Mounted> {
    let number = |path: &Path| {
        Ok::<_, anyhow::Error>(instance_number(
            daemon_id(path.canonicalize()?.as_os_str().as_encoded_bytes()),
            true,
        ))
    };
    let first = number(stage.scratch.bpffs())?;
    for n in 2.. {
        let bpffs = Mounted::new("bpf", &stage.scratch.join(&format!("bpf{n}")), "mode=0700")?;
        if number(bpffs.path())? != first {
            return Ok(bpffs);
        }
    }
    unreachable!("some number is another one")
}

/// Each judges a packet once, and neither sends it back to the other: with a place to wait, that would have no end.
fn two_daemons_hit_one_target() -> Result<()> {
    let stage = Stage::new()?;
    let bpffs = apart(&stage)?;
    let daemon = stage.daemon()?;
    let settings = Settings {
        state: Some(stage.scratch.join("state2")),
        socket: Some(stage.scratch.join("second.sock")),
        bpffs: Some(bpffs.path().to_owned()),
        ..Settings::default()
    };
    let second = stage.daemon_with(settings)?;
    let clients = [daemon.client()?, second.client()?];
    needs(&clients[0], "network delay")?;
    let (near, far) = (net::near(Family::V4), net::far(Family::V4));
    let inward = stage.udp("in", (&stage.far, far), (&stage.victim, near))?;
    let bystander = stage.udp("bystander", (&stage.far, far), (&stage.bystander, near))?;
    let late = || Network::from(delay(LATENCY)).direction(Direction::In).on(&stage.target);
    let twice = || {
        let twice = v1::NetworkDuplicate { percent: 100.0, ..Default::default() };
        Network::from(twice).direction(Direction::In).on(&stage.target)
    };
    for [first, other] in [[&clients[0], &clients[1]], [&clients[1], &clients[0]]] {
        let (held, copied) = (first.inject(late())?, other.inject(twice())?);
        let round = inward.round(20, 40)?;
        let soon = round.late_us.iter().any(|late| *late < LATENCY.as_micros() as i64);
        ensure!(round.arrived.len() == 40 && !soon, "{round:?}");
        all_soon(&bystander)?;
        let [held, copied] = [first.recover(&held.id)?, other.recover(&copied.id)?];
        // The bystander's tell when a round is over; what comes for the victim is 20, or 20 copies of them too.
        let fired = |injection: &v1::Injection| injection.counters.map(|counters| counters.fired);
        let (held, copied) = (fired(&held), fired(&copied));
        ensure!(
            copied == Some(20) && (held == Some(20) || held == Some(40)),
            "held {held:?}, copied {copied:?}"
        );
        // Both let packets wait.
        let both = [first.inject(late())?, other.inject(late())?];
        let round = inward.round(20, 20)?;
        let soon = round.late_us.iter().any(|late| *late < 2 * LATENCY.as_micros() as i64);
        ensure!(round.arrived.len() == 20 && !soon, "{round:?}");
        first.recover(&both[0].id)?;
        other.recover(&both[1].id)?;
        all_soon(&inward)?;
    }
    stage.idle(&daemon)?;
    second.stop()?;
    check_pins(bpffs.path(), Pins::None)?;
    stage.finish(daemon)
}
