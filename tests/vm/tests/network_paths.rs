//! What a packet passes on its way: bridges, VLANs, tunnels, queues. On each such way every action does what it does on
//! a plain wire, and once for each packet, however many interfaces see it.

#[path = "network_paths/nat.rs"]
mod nat;
#[path = "network_paths/path.rs"]
mod path;
#[path = "network_paths/strangers.rs"]
mod strangers;

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{
    self, Checksum, Direction, Protocol, RejectAnswer, network_reject::With,
};
use libtest_mimic::Trial;
use nix::errno::Errno;

use crate::{
    harness::{
        Agent, Client, Datagrams, Family, Loss, Network, Probe as _, Stage, balanced, delay, needs,
        net, phases, poll, skip, trial, under_tap,
    },
    network_delay::{LATENCY, all_late, all_soon},
};
use path::{NET, Path};

const PATIENCE: Duration = Duration::from_secs(60);
/// Several super-packets, and more than a window.
const MUCH: usize = 1_000_000;

pub(crate) fn trials() -> Vec<Trial> {
    let all = Path::ALL.into_iter().map(|path| of("actions", path, actions));
    let others = nat::trials().into_iter().chain(strangers::trials());
    all.chain(others).chain(held_trials()).chain(under_tap(held_trials)).collect()
}

/// What waits has more ways than one to do so.
fn held_trials() -> Vec<Trial> {
    Path::ALL.into_iter().map(|path| of("waiting", path, waiting)).collect()
}

fn of(what: &str, path: Path, test: fn(Path) -> Result<()>) -> Trial {
    let name = format!("{what}_{path:?}").to_lowercase();
    trial(module_path!(), &name, move || test(path))
}

/// The near end, or a neighbour there, and the far end.
struct Ends<'a> {
    stage: &'a Stage,
    family: Family,
    path: Path,
}

impl<'a> Ends<'a> {
    fn flow(&self, name: &str, agent: &'a Agent, direction: Direction) -> Result<Datagrams<'a>> {
        let near = (agent, net::address(self.family, NET, 1));
        let far = (&self.stage.far, net::address(self.family, NET, 2));
        let (from, to) = if direction == Direction::Out { (near, far) } else { (far, near) };
        Ok(self.stage.udp(name, from, to)?.sized(self.path.datagram()))
    }

    fn server(&self) -> Result<SocketAddr> {
        let far = SocketAddr::new(net::address(self.family, NET, 2), 0);
        Ok(self.stage.far.listen(far)?.local)
    }
}

/// Fails unless a connection moves a megabyte each way, whole, and no checksum is wrong.
fn moves_much(stage: &Stage, server: SocketAddr) -> Result<()> {
    let wrong = || {
        let of = |agent: &Agent| {
            Ok::<_, anyhow::Error>(
                agent.snmp("Tcp:InCsumErrors")? + agent.snmp("Udp:InCsumErrors")?,
            )
        };
        Ok::<_, anyhow::Error>(of(&stage.victim)? + of(&stage.far)?)
    };
    let before = wrong()?;
    let connection = stage.victim.connect(server, PATIENCE)?.context("no connection")?;
    let exchanged = stage.victim.exchange(connection, MUCH, PATIENCE)?;
    ensure!(exchanged.complete, "{exchanged:?}");
    stage.victim.close(connection)?;
    let wrong = wrong()? - before;
    ensure!(wrong == 0, "{wrong} packets had a wrong checksum");
    Ok(())
}

/// Packets are lost, copied, changed and answered.
fn actions(path: Path) -> Result<()> {
    let (mut stage, daemon) = Stage::served()?;
    path.build(&mut stage)?;
    let client = daemon.client()?;
    for kind in ["network duplicate", "network corrupt", "network reject"] {
        needs(&client, kind)?;
    }
    let ends = Ends { stage: &stage, family: Family::V4, path };
    let flows = [
        ends.flow("out", &stage.victim, Direction::Out)?,
        ends.flow("in", &stage.victim, Direction::In)?,
    ];
    let bystander = ends.flow("bystander", &stage.bystander, Direction::Out)?;
    moves_much(&stage, ends.server()?)?;

    let loss = Loss::all().direction(Direction::Both).on(&stage.target);
    phases(&client, loss, &[&flows[0], &flows[1]], &[&bystander])?;

    // Asked once for each packet: with every second one lost, more would be lost of those that pass twice.
    let every = v1::network_loss::Model::Every(2);
    let loss = Loss::model(every).direction(Direction::Both).protocol(Protocol::Udp);
    let loss = client.inject(loss.on(&stage.target))?;
    for flow in &flows {
        let round = flow.round(20, 10)?;
        ensure!(round.arrived.len() == 10, "{}: {round:?}", flow.name());
    }
    matched(&client, &loss, 40)?;

    let twice = v1::NetworkDuplicate { percent: 100.0, ..Default::default() };
    for (flow, direction) in flows.iter().zip([Direction::Out, Direction::In]) {
        let spec = Network::from(twice.clone()).direction(direction);
        let spec = spec.protocol(Protocol::Udp).on(&stage.target);
        let copies = client.inject(spec)?;
        let round = flow.round(20, 40)?;
        ensure!(round.arrived.len() == 40 && round.spoilt == 0, "{}: {round:?}", flow.name());
        matched(&client, &copies, 20)?;
    }

    let changed = v1::NetworkCorrupt {
        percent: 100.0,
        checksum: Checksum::Fixed.into(),
        ..Default::default()
    };
    for (flow, direction) in flows.iter().zip([Direction::Out, Direction::In]) {
        let spec = Network::from(changed.clone()).direction(direction).seed(1);
        let spec = spec.protocol(Protocol::Udp).on(&stage.target);
        let corrupt = client.inject(spec)?;
        let round = flow.round(20, 20)?;
        ensure!(round.spoilt == 20 && round.failed.is_empty(), "{}: {round:?}", flow.name());
        matched(&client, &corrupt, 20)?;
    }

    let server = ends.server()?;
    let own = stage.victim.listen(SocketAddr::new(net::address(Family::V4, NET, 1), 0))?.local;
    let calls = [(Direction::Out, &stage.victim, server), (Direction::In, &stage.far, own)];
    for answer in [RejectAnswer::Reset, RejectAnswer::PortUnreachable] {
        let reject =
            v1::NetworkReject { with: Some(With::Answer(answer.into())), ..Default::default() };
        for (direction, caller, to) in calls {
            if direction == Direction::In && path == Path::Ipip && skip::kernel() < (5, 14) {
                println!("what comes in by such a tunnel has no answer before Linux 5.14");
                continue;
            }
            let reject = Network::from(reject.clone()).direction(direction).on(&stage.target);
            let reject = client.inject(reject)?;
            let refusal = caller.refusal(to, PATIENCE)?;
            ensure!(refusal == Some(Errno::ECONNREFUSED), "{direction:?} {answer:?}: {refusal:?}");
            let other = stage.bystander.refusal(server, PATIENCE)?;
            ensure!(other.is_none(), "the bystander was refused: {other:?}");
            client.recover(&reject.id)?;
        }
    }
    moves_much(&stage, server)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Ends an injection that must have seen so many packets.
fn matched(client: &Client, injection: &v1::Injection, packets: u64) -> Result<()> {
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.matched == packets, "{packets} packets passed: {counters:?}");
    Ok(())
}

/// Packets wait, whole and in order, and a connection works over them.
fn waiting(path: Path) -> Result<()> {
    let (mut stage, daemon) = Stage::served()?;
    path.build(&mut stage)?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    for family in path.families() {
        let ends = Ends { stage: &stage, family, path };
        let flows = [
            ends.flow("out", &stage.victim, Direction::Out)?,
            ends.flow("in", &stage.victim, Direction::In)?,
        ];
        let bystander = ends.flow("bystander", &stage.bystander, Direction::Out)?;
        // The first packets wait for each other's addresses, and may overtake each other then.
        poll::until_ok("the ends to know each other", PATIENCE, || {
            flows.iter().try_for_each(|flow| all_soon(flow))
        })?;
        let spec = |latency| Network::from(delay(latency)).direction(Direction::Both);
        // A connection of before may still have something to say.
        let held = client.inject(spec(LATENCY).protocol(Protocol::Udp).on(&stage.target))?;
        flows.iter().try_for_each(|flow| all_late(flow))?;
        all_soon(&bystander)?;
        matched(&client, &held, 40)?;
        flows.iter().try_for_each(|flow| all_soon(flow))?;

        let some = client.inject(spec(Duration::from_millis(20)).on(&stage.target))?;
        moves_much(&stage, ends.server()?)?;
        client.recover(&some.id)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
