//! Several daemons on one machine.

use std::fs;

use anyhow::{Result, ensure};

use crate::harness::{Daemon, Loss, Mounted, Pins, Probe as _, Settings, Stage, check_pins, tests};

tests![
    a_second_daemon_on_the_same_state_is_refused,
    a_second_daemon_on_the_same_socket_is_refused,
    a_stale_socket_is_replaced,
    two_daemons_share_a_node,
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
