//! Peers in the target's own network namespace: told by their sockets, since they have no addresses of their own.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{self, Direction};

use super::others::{SOON, from_peer, peer};
use crate::{
    harness::{
        Agent, Cgroup, Connections, Daemon, Datagrams, Family, Network, Place, Probe, Settings,
        Stage, delay, needs, net, phases, poll, refused, tests,
    },
    network_delay::{LATENCY, all_late, all_soon},
    victim::UdpOptions,
};

tests![
    a_cgroup_beside_the_target_is_cut_off,
    open_connections_are_cut_too,
    one_way_only,
    an_exception_wins,
    what_is_below_the_peer_is_meant,
    hosts_with_the_port_of_a_peer_are_not_meant,
    a_peer_here_and_elsewhere_is_cut_off_in_both,
    the_target_itself_is_a_peer,
    an_ancestor_is_a_peer,
    a_delay_to_a_peer,
    an_adopted_fault_knows_its_peers,
    a_peer_that_comes_again_is_followed,
    more_peers_than_are_told_apart_are_refused,
    calls_and_open_connections_do_not_tell_peers,
];

/// Longer than any exchange takes that comes about.
const PATIENCE: Duration = Duration::from_secs(10);
/// One that does not is given up after the first repetition.
const NO_ANSWER: Duration = Duration::from_millis(1300);

/// A third party in the near namespace, which has its loopback.
struct Scene {
    stage: Stage,
    stranger: Agent,
    _cgroup: Cgroup,
}

impl Scene {
    fn served() -> Result<(Self, Daemon)> {
        let (stage, daemon) = Stage::served()?;
        Ok((Self::on(stage)?, daemon))
    }

    fn on(mut stage: Stage) -> Result<Self> {
        stage.net.near.netlink().set_up("lo")?;
        let cgroup = stage.base.child("stranger")?;
        let stranger = Agent::start(Place::default().cgroup(&cgroup)?.netns(&stage.net.near)?)?;
        stage.begin_here()?;
        Ok(Self { stage, stranger, _cgroup: cgroup })
    }

    /// An agent in the near namespace.
    fn neighbour(&self, cgroup: &Cgroup) -> Result<Agent> {
        Agent::start(Place::default().cgroup(cgroup)?.netns(&self.stage.net.near)?)
    }

    fn udp<'a>(&'a self, from: &'a Agent, to: &'a Agent, at: IpAddr) -> Result<Datagrams<'a>> {
        let name = format!("{} to {} at {at}", self.who(from), self.who(to));
        self.stage.udp(name, (from, at), (to, at))
    }

    fn tcp<'a>(&'a self, from: &'a Agent, to: &'a Agent, at: IpAddr) -> Result<Connections<'a>> {
        let name = format!("{} connects to {} at {at}", self.who(from), self.who(to));
        Ok(Connections::new(name, from, to.listen(SocketAddr::new(at, 0))?.local))
    }

    fn who(&self, agent: &Agent) -> &'static str {
        let all = [
            (&self.stage.victim, "victim"),
            (&self.stage.bystander, "peer"),
            (&self.stranger, "stranger"),
        ];
        let known = all.into_iter().find(|(one, _)| std::ptr::eq(*one, agent));
        known.map_or("another", |(_, name)| name)
    }
}

/// Where the near namespace reaches itself.
fn places() -> Vec<IpAddr> {
    net::families()
        .into_iter()
        .flat_map(|family| [net::loopback(family), net::near(family)])
        .collect()
}

fn here() -> IpAddr {
    net::loopback(Family::V4)
}

fn named(cgroup: &Cgroup) -> v1::Target {
    v1::Target { target: Some(peer(cgroup)) }
}

fn from(cgroup: &Cgroup) -> Network {
    from_peer(peer(cgroup))
}

fn a_cgroup_beside_the_target_is_cut_off() -> Result<()> {
    let (scene, daemon) = Scene::served()?;
    let client = daemon.client()?;
    let (victim, peer, stranger) = (&scene.stage.victim, &scene.stage.bystander, &scene.stranger);
    let mut cut: Vec<Box<dyn Probe + '_>> = Vec::new();
    let mut whole: Vec<Box<dyn Probe + '_>> = Vec::new();
    for at in places() {
        for (one, other) in [(victim, peer), (peer, victim)] {
            cut.push(Box::new(scene.udp(one, other, at)?));
            cut.push(Box::new(scene.tcp(one, other, at)?));
        }
        for (one, other) in
            [(victim, stranger), (stranger, victim), (peer, stranger), (victim, victim)]
        {
            whole.push(Box::new(scene.udp(one, other, at)?));
            whole.push(Box::new(scene.tcp(one, other, at)?));
        }
    }
    let far = scene.stage.victim_udp()?;
    let cut: Vec<&dyn Probe> = cut.iter().map(|probe| &**probe).collect();
    let mut whole: Vec<&dyn Probe> = whole.iter().map(|probe| &**probe).collect();
    whole.push(&far);
    let spec = from(&scene.stage.sibling).on(&scene.stage.target);
    let plan = client.plan(spec.clone())?;
    let says = |line: &String| line.contains("sibling by its sockets");
    ensure!(plan.effects.iter().any(says), "{plan:?}");
    phases(&client, spec, &cut, &whole)?;
    scene.stage.idle(&daemon)?;
    scene.stage.finish(daemon)
}

fn open_connections_are_cut_too() -> Result<()> {
    let (scene, daemon) = Scene::served()?;
    let client = daemon.client()?;
    let (victim, peer, stranger) = (&scene.stage.victim, &scene.stage.bystander, &scene.stranger);
    for at in places() {
        let open = |from: &Agent, to: &Agent| {
            let server = to.listen(SocketAddr::new(at, 0))?.local;
            let connection = from.connect(server, PATIENCE)?.context("no connection")?;
            let exchanged = from.exchange(connection, 100, PATIENCE)?;
            ensure!(exchanged.complete, "{at}: {exchanged:?}");
            Ok(connection)
        };
        let (out, inward) = (open(victim, peer)?, open(peer, victim)?);
        let other = open(victim, stranger)?;
        let spec = from(&scene.stage.sibling).on(&scene.stage.target);
        let injection = client.inject(spec)?;
        for (who, connection) in [(victim, out), (peer, inward)] {
            let exchanged = who.exchange(connection, 100, NO_ANSWER)?;
            ensure!(!exchanged.complete, "{at}: {exchanged:?}");
        }
        let exchanged = victim.exchange(other, 100, PATIENCE)?;
        ensure!(exchanged.complete, "{at}: {exchanged:?}");
        client.recover(&injection.id)?;
    }
    scene.stage.idle(&daemon)?;
    scene.stage.finish(daemon)
}

fn one_way_only() -> Result<()> {
    let (scene, daemon) = Scene::served()?;
    let client = daemon.client()?;
    let (victim, peer) = (&scene.stage.victim, &scene.stage.bystander);
    let (out, inward) = (scene.udp(victim, peer, here())?, scene.udp(peer, victim, here())?);
    for (direction, cut, whole) in [(Direction::Out, &out, &inward), (Direction::In, &inward, &out)]
    {
        let spec = from(&scene.stage.sibling).direction(direction);
        phases(&client, spec.on(&scene.stage.target), &[cut], &[whole])?;
    }
    scene.stage.idle(&daemon)?;
    scene.stage.finish(daemon)
}

fn an_exception_wins() -> Result<()> {
    let (scene, daemon) = Scene::served()?;
    let client = daemon.client()?;
    let (victim, peer) = (&scene.stage.victim, &scene.stage.bystander);
    let excepted = scene.udp(victim, peer, here())?;
    let cut = scene.udp(victim, peer, net::near(Family::V4))?;
    let spec = from(&scene.stage.sibling).except(&["127.0.0.0/8"]).on(&scene.stage.target);
    phases(&client, spec, &[&cut], &[&excepted])?;
    scene.stage.idle(&daemon)?;
    scene.stage.finish(daemon)
}

fn what_is_below_the_peer_is_meant() -> Result<()> {
    let (scene, daemon) = Scene::served()?;
    let client = daemon.client()?;
    let outer = scene.stage.base.child("outer")?;
    let inner = outer.child("inner")?;
    let below = scene.neighbour(&inner)?;
    let (victim, beside) = (&scene.stage.victim, &scene.stage.bystander);
    let cut = [scene.udp(victim, &below, here())?, scene.udp(&below, victim, here())?];
    let tcp = scene.tcp(victim, &below, here())?;
    let whole = scene.udp(victim, beside, here())?;
    let spec = from(&outer).on(&scene.stage.target);
    phases(&client, spec, &[&cut[0], &cut[1], &tcp], &[&whole])?;
    scene.stage.idle(&daemon)?;
    scene.stage.finish(daemon)
}

/// A socket at every address of its own namespace is not at those of others.
fn hosts_with_the_port_of_a_peer_are_not_meant() -> Result<()> {
    let (scene, daemon) = Scene::served()?;
    let client = daemon.client()?;
    let (victim, peer, far) = (&scene.stage.victim, &scene.stage.bystander, &scene.stage.far);
    for family in net::families() {
        let distant = far.listen(SocketAddr::new(net::far(family), 0))?.local;
        let same = SocketAddr::new(net::any(family), distant.port());
        peer.listen(same)?;
        let to_far = Connections::new("victim to far", victim, distant);
        let at = SocketAddr::new(net::loopback(family), distant.port());
        let to_peer = Connections::new("victim to peer", victim, at);
        let udp = scene.stage.udp("far", (victim, net::near(family)), (far, net::far(family)))?;
        let port = udp.receiver_port();
        peer.udp_with(SocketAddr::new(net::any(family), port), UdpOptions::default())?;
        let back = Datagrams::new(
            &scene.stage,
            "from far",
            (far, udp.receiver()),
            (victim, udp.sender()),
            udp.sender().local,
        );
        let spec = from(&scene.stage.sibling).on(&scene.stage.target);
        phases(&client, spec, &[&to_peer], &[&to_far, &udp, &back])?;
    }
    scene.stage.idle(&daemon)?;
    scene.stage.finish(daemon)
}

fn a_peer_here_and_elsewhere_is_cut_off_in_both() -> Result<()> {
    let (scene, daemon) = Scene::served()?;
    let client = daemon.client()?;
    let both = scene.stage.base.child("both")?;
    let near = scene.neighbour(&both)?;
    let _far = Agent::start(Place::default().cgroup(&both)?.netns(&scene.stage.net.far)?)?;
    let (victim, beside) = (&scene.stage.victim, &scene.stage.bystander);
    let cut = [scene.udp(victim, &near, here())?, scene.stage.victim_udp()?];
    let whole = [scene.udp(victim, beside, here())?, scene.stage.bystander_udp()?];
    let spec = from(&both).on(&scene.stage.target);
    phases(&client, spec, &[&cut[0], &cut[1]], &[&whole[0], &whole[1]])?;
    scene.stage.idle(&daemon)?;
    scene.stage.finish(daemon)
}

fn the_target_itself_is_a_peer() -> Result<()> {
    let (scene, daemon) = Scene::served()?;
    let client = daemon.client()?;
    let (victim, beside) = (&scene.stage.victim, &scene.stage.bystander);
    let within = scene.udp(victim, victim, here())?;
    let whole = [scene.udp(victim, beside, here())?, scene.udp(beside, victim, here())?];
    let spec = from(&scene.stage.target).on(&scene.stage.target);
    phases(&client, spec, &[&within], &[&whole[0], &whole[1]])?;
    scene.stage.idle(&daemon)?;
    scene.stage.finish(daemon)
}

fn an_ancestor_is_a_peer() -> Result<()> {
    let (scene, daemon) = Scene::served()?;
    let client = daemon.client()?;
    let around = scene.stage.base.child("around")?;
    let (own, beside) = (around.child("own")?, around.child("beside")?);
    let (victim, beside) = (scene.neighbour(&own)?, scene.neighbour(&beside)?);
    let cut = [scene.udp(&victim, &victim, here())?, scene.udp(&beside, &victim, here())?];
    let whole =
        [scene.udp(&victim, &scene.stranger, here())?, scene.udp(&beside, &beside, here())?];
    let spec = from(&around).on(&own);
    phases(&client, spec, &[&cut[0], &cut[1]], &[&whole[0], &whole[1]])?;
    scene.stage.idle(&daemon)?;
    scene.stage.finish(daemon)
}

fn a_delay_to_a_peer() -> Result<()> {
    let (scene, daemon) = Scene::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let (victim, peer, stranger) = (&scene.stage.victim, &scene.stage.bystander, &scene.stranger);
    let (out, inward) = (scene.udp(victim, peer, here())?, scene.udp(peer, victim, here())?);
    let others = [scene.udp(victim, stranger, here())?, scene.udp(stranger, victim, here())?];
    for (direction, hit, spared) in
        [(Direction::Out, &out, &inward), (Direction::In, &inward, &out)]
    {
        let peers = vec![named(&scene.stage.sibling)];
        let spec = Network::from(delay(LATENCY)).direction(direction);
        let spec = spec.only(|filter| filter.peers = peers);
        let injection = client.inject(spec.on(&scene.stage.target))?;
        all_late(hit)?;
        all_soon(spared)?;
        others.iter().try_for_each(|other| all_soon(other))?;
        client.recover(&injection.id)?;
        all_soon(hit)?;
    }
    scene.stage.idle(&daemon)?;
    scene.stage.finish(daemon)
}

fn an_adopted_fault_knows_its_peers() -> Result<()> {
    let scene = Scene::on(Stage::new()?)?;
    let lease = || Settings { lease: Some(Duration::from_secs(120)), ..Settings::default() };
    let daemon = scene.stage.daemon_with(lease())?;
    let (victim, peer, stranger) = (&scene.stage.victim, &scene.stage.bystander, &scene.stranger);
    let cut = [scene.udp(victim, peer, here())?, scene.udp(peer, victim, here())?];
    let whole = scene.udp(victim, stranger, here())?;
    let gone = || cut.iter().try_for_each(Probe::none_arrive);
    let spec = from(&scene.stage.sibling).on(&scene.stage.target);
    let injection = daemon.client()?.inject(spec)?;
    gone()?;
    daemon.kill()?;
    gone()?;
    let daemon = scene.stage.daemon_with(lease())?;
    let client = daemon.client()?;
    gone()?;
    whole.all_arrive()?;
    client.recover(&injection.id)?;
    cut.iter().try_for_each(Probe::all_arrive)?;
    scene.stage.idle(&daemon)?;
    scene.stage.finish(daemon)
}

fn a_peer_that_comes_again_is_followed() -> Result<()> {
    let (scene, daemon) = Scene::served()?;
    let client = daemon.client()?;
    let victim = &scene.stage.victim;
    let whole = scene.udp(victim, &scene.stranger, here())?;
    let cgroup = scene.stage.base.child("restarts")?;
    let before = scene.neighbour(&cgroup)?;
    let flow = scene.udp(victim, &before, here())?;
    let injection = client.inject(from(&cgroup).on(&scene.stage.target))?;
    flow.none_arrive()?;
    let old = cgroup.id()?;
    cgroup.remove()?;
    let cgroup = scene.stage.base.child("restarts")?;
    ensure!(cgroup.id()? != old, "the kernel gave an id of a cgroup again");
    let after = scene.neighbour(&cgroup)?;
    let flow = scene.udp(victim, &after, here())?;
    flow.all_arrive()?;
    poll::until_ok("the peer to be cut off again", SOON, || flow.none_arrive())?;
    whole.all_arrive()?;
    client.recover(&injection.id)?;
    flow.all_arrive()?;
    scene.stage.idle(&daemon)?;
    scene.stage.finish(daemon)
}

fn more_peers_than_are_told_apart_are_refused() -> Result<()> {
    let (scene, daemon) = Scene::served()?;
    let client = daemon.client()?;
    let cgroups: Vec<Cgroup> = (0..9)
        .map(|number| scene.stage.base.child(&format!("peer{number}")))
        .collect::<Result<_>>()?;
    let agents: Vec<Agent> =
        cgroups.iter().map(|cgroup| scene.neighbour(cgroup)).collect::<Result<_>>()?;
    let spec = |count: usize| {
        let peers = cgroups.iter().take(count).map(named);
        let peers = peers.collect();
        Network::from(v1::NetworkPartition::default())
            .only(|filter| filter.peers = peers)
            .on(&scene.stage.target)
    };
    let status = refused(client.inject(spec(9)), "INVALID_SPEC")?;
    ensure!(status.message().contains("at most 8"), "{}", status.message());
    let victim = &scene.stage.victim;
    let (eighth, ninth) =
        (scene.udp(victim, &agents[7], here())?, scene.udp(victim, &agents[8], here())?);
    phases(&client, spec(8), &[&eighth], &[&ninth])?;
    scene.stage.idle(&daemon)?;
    scene.stage.finish(daemon)
}

fn calls_and_open_connections_do_not_tell_peers() -> Result<()> {
    let (scene, daemon) = Scene::served()?;
    let client = daemon.client()?;
    needs(&client, "network reject")?;
    let with = v1::network_reject::With::Connect("EPERM".into());
    for reject in [
        v1::NetworkReject { with: Some(with), ..Default::default() },
        v1::NetworkReject { reset_open: true, ..Default::default() },
    ] {
        let peers = vec![named(&scene.stage.sibling)];
        let spec = Network::from(reject).only(|filter| filter.peers = peers);
        let status = refused(client.inject(spec.on(&scene.stage.target)), "UNSUPPORTED")?;
        ensure!(status.message().contains("remotePorts"), "{}", status.message());
    }
    scene.stage.idle(&daemon)?;
    scene.stage.finish(daemon)
}
