//! Others that have a name: hosts, looked up as the target would, and cgroups of the node.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::symlink,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Result, ensure};
use chaos_common::proto::v1::{self, target};
use nix::{sys::stat::Mode, unistd::mkfifo};

use crate::harness::{
    Agent, Cgroup, Datagrams, Family, NameServer, Network, Place, Probe as _, Settings, Stage, net,
    phases, poll, refused, tests,
};

tests![
    the_targets_own_hosts_file_counts,
    a_name_is_followed_to_its_next_address,
    an_adopted_fault_follows_its_names,
    a_name_that_nobody_knows_is_refused,
    files_that_are_traps_are_no_trouble,
    a_cgroup_elsewhere_is_cut_off,
    who_has_no_process_is_refused,
];

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 4);
const CUT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const WHOLE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);
/// Names are looked up again every five seconds; a lookup may take five.
pub(super) const SOON: Duration = Duration::from_secs(20);

fn from_hosts(hosts: &[&str]) -> Network {
    let hosts = hosts.iter().map(|&host| host.to_owned()).collect();
    Network::from(v1::NetworkPartition::default()).only(|filter| filter.hosts = hosts)
}

pub(super) fn peer(cgroup: &Cgroup) -> target::Target {
    target::Target::Cgroup(cgroup.path().to_owned())
}

pub(super) fn from_peer(target: target::Target) -> Network {
    let peer = v1::Target { target: Some(target) };
    Network::from(v1::NetworkPartition::default()).only(|filter| filter.peers = vec![peer])
}

/// From the victim to an address of the far end.
fn to(stage: &Stage, far: Ipv4Addr) -> Result<Datagrams<'_>> {
    let near = (&stage.victim, net::near(Family::V4));
    stage.udp(format!("to {far}"), near, (&stage.far, IpAddr::V4(far)))
}

/// Gives the victim files of its own.
fn files(stage: &Stage, hosts: &str, resolv_conf: &str) -> Result<PathBuf> {
    let root = stage.folder.path().join("root");
    fs::create_dir_all(root.join("etc"))?;
    fs::write(root.join("etc/hosts"), hosts)?;
    fs::write(root.join("etc/resolv.conf"), resolv_conf)?;
    stage.victim.chroot(&root)?;
    Ok(root)
}

fn the_targets_own_hosts_file_counts() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    files(&stage, &format!("{CUT} db.internal # the database\n{WHOLE} web\n"), "")?;
    let (cut, whole) = (to(&stage, CUT)?, to(&stage, WHOLE)?);
    let spec = from_hosts(&["db.internal"]).on(&stage.target);
    let plan = client.plan(spec.clone())?;
    ensure!(plan.effects.iter().any(|line| line.contains("10.77.0.2")), "{plan:?}");
    phases(&client, spec, &[&cut], &[&whole, &stage.bystander_udp()?])?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_name_is_followed_to_its_next_address() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let server = NameServer::start(&stage.net.far, IpAddr::V4(SERVER))?;
    server.set("db.internal", &[WHOLE]);
    let client = daemon.client()?;
    files(&stage, "", &format!("nameserver {SERVER}\nsearch internal\n"))?;
    let (first, next) = (to(&stage, WHOLE)?, to(&stage, CUT)?);
    let injection = client.inject(from_hosts(&["db"]).on(&stage.target))?;
    first.none_arrive()?;
    next.all_arrive()?;
    server.set("db.internal", &[CUT]);
    poll::until_ok("the next address to be cut off", SOON, || next.none_arrive())?;
    // Connections to the old one are still those of the host.
    first.none_arrive()?;
    client.recover(&injection.id)?;
    first.all_arrive()?;
    next.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn an_adopted_fault_follows_its_names() -> Result<()> {
    let stage = Stage::new()?;
    let server = NameServer::start(&stage.net.far, IpAddr::V4(SERVER))?;
    server.set("db", &[WHOLE]);
    let lease = || Settings { lease: Some(Duration::from_secs(120)), ..Settings::default() };
    let daemon = stage.daemon_with(lease())?;
    files(&stage, "", &format!("nameserver {SERVER}\n"))?;
    let (first, next) = (to(&stage, WHOLE)?, to(&stage, CUT)?);
    let injection = daemon.client()?.inject(from_hosts(&["db"]).on(&stage.target))?;
    daemon.kill()?;
    first.none_arrive()?;
    server.set("db", &[CUT]);
    let daemon = stage.daemon_with(lease())?;
    let client = daemon.client()?;
    first.none_arrive()?;
    poll::until_ok("the next address to be cut off", SOON, || next.none_arrive())?;
    client.recover(&injection.id)?;
    next.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_name_that_nobody_knows_is_refused() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let _server = NameServer::start(&stage.net.far, IpAddr::V4(SERVER))?;
    let client = daemon.client()?;
    files(&stage, "", &format!("nameserver {SERVER}\n"))?;
    let spec = from_hosts(&["no.such.host"]).on(&stage.target);
    let status = refused(client.inject(spec), "PEER_NOT_FOUND")?;
    ensure!(status.message().contains("no.such.host"), "{}", status.message());
    ensure!(status.message().contains("10.77.0.4"), "{}", status.message());
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn files_that_are_traps_are_no_trouble() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let root = files(&stage, "", "")?;
    let (cut, whole) = (to(&stage, CUT)?, to(&stage, WHOLE)?);
    // A link that leads out of the root leads to its top.
    fs::remove_file(root.join("etc/hosts"))?;
    fs::write(root.join("names"), format!("{CUT} db.internal\n"))?;
    symlink("../../../../../../../names", root.join("etc/hosts"))?;
    let spec = from_hosts(&["db.internal"]).on(&stage.target);
    phases(&client, spec.clone(), &[&cut], &[&whole])?;
    // Nobody waits for a writer.
    fs::remove_file(root.join("etc/hosts"))?;
    mkfifo(&root.join("etc/hosts"), Mode::S_IRWXU)?;
    let status = refused(client.inject(spec), "PEER_NOT_FOUND")?;
    ensure!(status.message().contains("/etc/hosts"), "{}", status.message());
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_cgroup_elsewhere_is_cut_off() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let elsewhere = stage.base.child("elsewhere")?;
    let _peer = Agent::start(Place::default().cgroup(&elsewhere)?.netns(&stage.net.far)?)?;
    let cut = [to(&stage, CUT)?, to(&stage, WHOLE)?];
    let spec = from_peer(peer(&elsewhere)).on(&stage.target);
    phases(&client, spec, &[&cut[0], &cut[1]], &[&stage.bystander_udp()?])?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn who_has_no_process_is_refused() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let empty = stage.base.child("empty")?;
    let status =
        refused(client.inject(from_peer(peer(&empty)).on(&stage.target)), "PEER_NOT_FOUND")?;
    ensure!(status.message().contains("has no process"), "{}", status.message());
    let status = refused(client.inject(from_hosts(&["db"]).on(&empty)), "PEER_NOT_FOUND")?;
    ensure!(status.message().contains("no process is in"), "{}", status.message());
    let meets = from_peer(peer(&stage.sibling)).on(&empty);
    let status = refused(client.inject(meets), "PEER_NOT_FOUND")?;
    ensure!(status.message().contains("no process is in"), "{}", status.message());
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
