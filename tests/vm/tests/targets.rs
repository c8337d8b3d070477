//! From what a person names to a cgroup.

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{TargetKind, target::Target};
use tonic::Code;

use crate::harness::{
    Agent, Client, Family, Loss, Place, Stage, field, net, phases, refused, tests,
};

tests![
    a_process_stands_for_its_cgroup,
    a_unit_is_found_by_name,
    a_container_is_found_by_the_beginning_of_its_id,
    a_pod_is_found_by_its_uid,
    what_is_not_there_is_said_so,
    targets_are_listed,
    foreign_sockets_are_counted,
];

/// A number that no other test of this run or another uses.
fn digits() -> String {
    format!("{:08x}", std::process::id())
}

/// Aims at a cgroup by another name and checks that it is hit.
fn aims_at(
    stage: &Stage,
    client: &Client,
    cgroup: &crate::harness::Cgroup,
    target: Target,
) -> Result<()> {
    let inside = Agent::start(Place::default().cgroup(cgroup)?.netns(&stage.net.near)?)?;
    let flow = stage.udp(
        "inside",
        (&inside, net::near(Family::V4)),
        (&stage.far, net::far(Family::V4)),
    )?;
    let bystander = stage.bystander_udp()?;
    let ended = phases(client, Loss::all().at(target), &[&flow], &[&bystander])?;
    ensure!(ended.cgroup == cgroup.path() && ended.cgroup_id == cgroup.id()?, "{ended:?}");
    Ok(())
}

fn a_process_stands_for_its_cgroup() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    aims_at(&stage, &client, &stage.target, Target::Pid(stage.victim.pid()))?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_unit_is_found_by_name() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let name = format!("chaos-test-{}.service", digits());
    let unit = stage.base.child(&name)?;
    aims_at(&stage, &client, &unit, Target::Unit(name))?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_container_is_found_by_the_beginning_of_its_id() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let id = format!("{}{}", digits(), "ab".repeat(28));
    let container = stage.base.child(&format!("docker-{id}.scope"))?;
    for beginning in [12, 64] {
        aims_at(&stage, &client, &container, Target::Container(id[..beginning].into()))?;
    }
    // Another one that begins alike: which is meant?
    let twin = format!("{}{}", digits(), "cd".repeat(28));
    let other = stage.base.child(&format!("docker-{twin}.scope"))?;
    let status =
        refused(client.inject(Loss::all().at(Target::Container(digits()))), "TARGET_NOT_FOUND")?;
    let both =
        status.message().contains(container.path()) && status.message().contains(other.path());
    ensure!(status.code() == Code::InvalidArgument && both, "{status:?}");
    aims_at(&stage, &client, &other, Target::Container(twin))?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_pod_is_found_by_its_uid() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let uid = format!("{}-1234-4abc-8def-0123456789ab", digits());
    let slice = stage.base.child("kubepods.slice")?;
    let pod = slice.child(&format!("kubepods-pod{}.slice", uid.replace('-', "_")))?;
    let container = pod.child(&format!("cri-containerd-{}{}.scope", digits(), "ef".repeat(28)))?;
    aims_at(&stage, &client, &pod, Target::Pod(uid.clone()))?;
    // All containers of the pod are meant.
    let inside = Agent::start(Place::default().cgroup(&container)?.netns(&stage.net.near)?)?;
    let flow = stage.udp(
        "container",
        (&inside, net::near(Family::V4)),
        (&stage.far, net::far(Family::V4)),
    )?;
    phases(&client, Loss::all().at(Target::Pod(uid)), &[&flow], &[])?;
    drop(flow);
    drop(inside);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn what_is_not_there_is_said_so() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    // A process that has just been there.
    let gone = {
        let agent = Agent::start(Place::default().cgroup(&stage.target)?)?;
        let pid = agent.pid();
        agent.end()?;
        pid
    };
    for (target, named) in [
        (Target::Pid(gone), gone.to_string()),
        (Target::Pid(u32::MAX), u32::MAX.to_string()),
        (Target::Unit("chaos-no-such.service".into()), "chaos-no-such.service".into()),
        (Target::Container("0123456789abcdef0123".into()), "0123456789abcdef0123".into()),
        (Target::Pod("01234567-89ab-cdef-0123-456789abcdef".into()), "01234567".into()),
        (Target::Cgroup(format!("{}/missing", stage.base.path())), "/missing".into()),
    ] {
        for answer in [
            client.inject(Loss::all().at(target.clone())).map(|_| ()),
            client.plan(Loss::all().at(target.clone())).map(|_| ()),
        ] {
            let status = refused(answer, "TARGET_NOT_FOUND")?;
            ensure!(
                status.code() == Code::NotFound && status.message().contains(&named),
                "{status:?}"
            );
        }
    }
    // What cannot be a name is refused before anything is looked for.
    for (target, at) in [
        (Target::Pid(0), "pid"),
        (Target::Unit("nginx".into()), "unit"),
        (Target::Container("xyz".into()), "container"),
        (Target::Pod("web-0".into()), "pod"),
        (Target::Cgroup("/a/../../etc".into()), "cgroup"),
        (Target::Cgroup(String::new()), "cgroup"),
    ] {
        let status = refused(client.inject(Loss::all().at(target)), "INVALID_SPEC")?;
        let wanted = format!("spec.target.{at}");
        ensure!(field(&status).as_ref() == Some(&wanted), "{status:?} names {:?}", field(&status));
    }
    ensure!(client.list_ended_too()?.is_empty());
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn targets_are_listed() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let name = format!("chaos-listed-{}.service", digits());
    let unit = stage.base.child(&name)?;
    let inside = Agent::start(Place::default().cgroup(&unit)?)?;
    let all = client.targets()?;
    let find = |path: &str| {
        all.iter()
            .find(|target| target.cgroup == path)
            .with_context(|| format!("{path} is not listed"))
    };
    let listed = find(unit.path())?;
    ensure!(listed.kind() == TargetKind::Unit && listed.name == name, "{listed:?}");
    ensure!(listed.cgroup_id == unit.id()? && listed.pids == [inside.pid()], "{listed:?}");
    ensure!(listed.protected_reason.is_empty(), "{listed:?}");
    let target = find(stage.target.path())?;
    ensure!(
        target.kind() == TargetKind::Cgroup && target.pids == [stage.victim.pid()],
        "{target:?}"
    );
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Sockets that a fault will not hit, since they were made elsewhere, are shown before it is tried.
fn foreign_sockets_are_counted() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let cgroup = stage.base.child("mixed")?;
    let mover = Agent::start(Place::default().cgroup(&stage.sibling)?.netns(&stage.net.near)?)?;
    let far = stage.far.udp(net::far(Family::V4))?;
    let options = crate::victim::UdpOptions { connect: Some(far.local), ..Default::default() };
    let bind = std::net::SocketAddr::new(net::near(Family::V4), 0);
    for _ in 0..2 {
        mover.udp_with(bind, options)?;
    }
    cgroup.adopt(mover.pid())?;
    for _ in 0..3 {
        mover.udp_with(bind, options)?;
    }
    let all = client.targets()?;
    let listed = all.iter().find(|target| target.cgroup == cgroup.path()).context("not listed")?;
    let Some(sockets) = &listed.sockets else {
        return crate::harness::skip("this kernel does not tell which cgroup a socket is of");
    };
    ensure!(sockets.held == 5 && sockets.foreign == 2, "{sockets:?}");
    drop(mover);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
