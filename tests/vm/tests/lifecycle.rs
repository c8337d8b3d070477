//! The life of an injection and of the daemon that keeps it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{End, State, watch_event::Event};
use tonic::Code;

use crate::harness::{
    Agent, Daemon, Handover, Loss, Mounted, Place, Probe as _, Settings, Stage, active, balanced, poll,
    reason, refused, same, tests,
};

tests![
    inject_is_idempotent,
    an_id_is_taken_once,
    parallel_requests_under_one_id_make_one_injection,
    renew_moves_the_deadline,
    recover_is_idempotent,
    recover_all_ends_everything,
    list_and_get_agree,
    a_plan_changes_nothing,
    a_target_that_is_removed_ends_its_faults,
    a_target_that_comes_back_is_another_one,
    sigterm_recovers_everything,
    a_handover_is_adopted,
    a_handover_without_injections_leaves_nothing,
    the_policy_is_obeyed,
    protected_cgroups_are_refused,
    a_second_daemon_on_the_same_state_is_refused,
    a_second_daemon_on_the_same_socket_is_refused,
    a_stale_socket_is_replaced,
    two_daemons_share_a_node,
    strangers_are_refused,
    members_of_the_group_are_admitted,
    a_large_message_is_refused,
    health_and_reflection_answer,
    metrics_are_served,
    every_change_is_audited,
    a_busy_daemon_stops,
];

fn inject_is_idempotent() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let spec = || Loss::percent(30.0).times(9).on(&stage.target);
    let first = client.inject_as("again", spec())?;
    let again = client.inject_as("again", spec())?;
    same(&first, &again)?;
    ensure!(client.list()?.len() == 1 && daemon.journal()?.len() == 1);
    client.recover("again")?;
    // The daemon still knows how it ended, and does not start it anew.
    let late = client.inject_as("again", spec())?;
    ensure!(late.state() == State::Ended && late.end() == End::Recovered, "{late:?}");
    // Without an id, a repeated request is a second injection.
    let (one, two) = (client.inject(spec())?, client.inject(spec())?);
    ensure!(one.id != two.id);
    client.recover_all()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn an_id_is_taken_once() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    client.inject_as("mine", Loss::all().on(&stage.target))?;
    for other in [
        Loss::percent(50.0).on(&stage.target),
        Loss::all().times(1).on(&stage.target),
        Loss::all().lasting(Duration::from_secs(59)).on(&stage.target),
        Loss::all().on(&stage.sibling),
        Loss::all().seed(1).on(&stage.target),
    ] {
        let status = refused(client.inject_as("mine", other), "ID_TAKEN")?;
        ensure!(status.code() == Code::AlreadyExists && status.message().contains("mine"), "{status:?}");
    }
    ensure!(client.list()?.len() == 1);
    flow.none_arrive()?;
    stage.finish(daemon)
}

fn parallel_requests_under_one_id_make_one_injection() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let spec = Loss::percent(30.0).on(&stage.target);
    let answers = std::thread::scope(|scope| {
        let one = || {
            let spec = spec.clone();
            let socket = daemon.socket();
            scope.spawn(move || Ok::<_, anyhow::Error>(crate::harness::Client::connect(socket)?.inject_as("race", spec)?))
        };
        let threads: Vec<_> = (0..8).map(|_| one()).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow::anyhow!("panic"))?).collect::<Result<Vec<_>>>()
    })?;
    let client = daemon.client()?;
    ensure!(answers.iter().all(|answer| answer.seed == answers[0].seed && answer.state() == State::Active));
    ensure!(client.list()?.len() == 1 && daemon.journal()?.len() == 1);
    client.recover("race")?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn renew_moves_the_deadline() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    let short = Duration::from_secs(3);
    let injection = client.inject_as("renewed", Loss::all().lasting(short).on(&stage.target))?;
    let renewed = client.renew("renewed", Some(Duration::from_secs(60)))?;
    let (before, after) = (injection.expires_at.context("no expiry")?, renewed.expires_at.context("no expiry")?);
    ensure!((55..=60).contains(&(after.seconds - before.seconds)), "{before:?} became {after:?}");
    let beyond = Instant::now() + short + Duration::from_millis(500);
    poll::until("the first deadline to pass", short * 2, || Ok((Instant::now() > beyond).then_some(())))?;
    flow.none_arrive()?;

    // Back to a short one, by the duration first asked for.
    client.renew("renewed", None)?;
    let ended = poll::until("the renewed fault to expire", Duration::from_secs(15), || {
        Ok(Some(client.get("renewed")?).filter(|injection| injection.state() == State::Ended))
    })?;
    ensure!(ended.end() == End::Expired, "{ended:?}");
    flow.all_arrive()?;
    let status = refused(client.renew("renewed", None), "UNKNOWN_INJECTION")?;
    ensure!(status.code() == Code::FailedPrecondition, "{status:?}");
    let status = refused(client.renew("nobody", None), "UNKNOWN_INJECTION")?;
    ensure!(status.code() == Code::NotFound, "{status:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn recover_is_idempotent() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let injection = client.inject(Loss::all().on(&stage.target))?;
    let first = client.recover(&injection.id)?;
    let second = client.recover(&injection.id)?;
    ensure!(first.end() == End::Recovered, "{first:?}");
    same(&first, &second)?;
    let status = refused(client.recover("nobody"), "UNKNOWN_INJECTION")?;
    ensure!(status.code() == Code::NotFound && status.message().contains("nobody"), "{status:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn recover_all_ends_everything() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let (victim, bystander) = (stage.victim_udp()?, stage.bystander_udp()?);
    for id in ["one", "two", "three"] {
        client.inject_as(id, Loss::all().on(&stage.target))?;
    }
    victim.none_arrive()?;
    bystander.all_arrive()?;
    let answer = client.recover_all()?;
    let mut recovered = answer.recovered.clone();
    recovered.sort();
    ensure!(recovered == ["one", "three", "two"] && answer.failed.is_empty(), "{answer:?}");
    victim.all_arrive()?;
    ensure!(client.list()?.is_empty() && client.recover_all()?.recovered.is_empty());
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn list_and_get_agree() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    ensure!(client.list_ended_too()?.is_empty());
    let spec = Loss::percent(12.5).seed(77).times(3).lasting(Duration::from_secs(90)).on(&stage.target);
    for id in ["b", "a", "c"] {
        client.inject_as(id, spec.clone())?;
    }
    let ids = |list: &[chaos_common::proto::v1::Injection]| -> Vec<String> {
        list.iter().map(|injection| injection.id.clone()).collect()
    };
    let live = client.list()?;
    ensure!(ids(&live) == ["b", "a", "c"], "not oldest first: {:?}", ids(&live));
    for injection in &live {
        same(&client.get(&injection.id)?, injection)?;
        ensure!(injection.cgroup == stage.target.path() && injection.cgroup_id == stage.target.id()?);
        ensure!(injection.seed == 77 && injection.requested_by.contains("uid 0"), "{injection:?}");
        let asked = injection.spec.clone().context("no spec")?;
        ensure!(asked.times == Some(3) && asked.duration.map(|duration| duration.seconds) == Some(90), "{asked:?}");
    }
    client.recover("a")?;
    ensure!(ids(&client.list()?) == ["b", "c"]);
    let mut all = ids(&client.list_ended_too()?);
    all.sort();
    ensure!(all == ["a", "b", "c"]);
    refused(client.get("nobody"), "UNKNOWN_INJECTION")?;
    client.recover_all()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_plan_changes_nothing() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    let plan = client.plan(Loss::all().on(&stage.target))?;
    ensure!(plan.cgroup == stage.target.path() && !plan.effects.is_empty(), "{plan:?}");
    ensure!(plan.effects.iter().all(|effect| !effect.is_empty() && !effect.contains('\n')), "{plan:?}");
    ensure!(client.list_ended_too()?.is_empty());
    flow.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_target_that_is_removed_ends_its_faults() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let (client, watcher) = (daemon.client()?, daemon.client()?);
    let doomed = stage.base.child("doomed")?;
    let victim = Agent::start(Place::default().cgroup(&doomed)?.netns(&stage.net.near)?)?;
    let spec = |direction| Loss::all().direction(direction).on(&doomed);
    for direction in [chaos_common::proto::v1::Direction::Out, chaos_common::proto::v1::Direction::In] {
        active(&client.inject(spec(direction))?)?;
    }
    let survivor = client.inject(Loss::all().on(&stage.target))?;
    let mut watch = watcher.watch("")?;
    drop(victim);
    doomed.remove()?;
    for _ in 0..2 {
        let ended = watch.find("the end of a fault without a target", Duration::from_secs(10), |event| match event {
            Event::Changed(injection) => (injection.state() == State::Ended).then_some(injection),
            Event::Firing(_) | Event::Missed(_) => None,
        })?;
        ensure!(ended.end() == End::TargetGone && ended.cgroup == doomed.path(), "{ended:?}");
    }
    ensure!(daemon.journal()?.len() == 1 && client.list()?.len() == 1);
    stage.victim_udp()?.none_arrive()?;
    client.recover(&survivor.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// A cgroup that is made again under the same path is not the one that somebody aimed at.
fn a_target_that_comes_back_is_another_one() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let doomed = stage.base.child("doomed")?;
    let injection = client.inject(Loss::all().on(&doomed))?;
    doomed.remove()?;
    let again = stage.base.child("doomed")?;
    let newcomer = Agent::start(Place::default().cgroup(&again)?.netns(&stage.net.near)?)?;
    let family = crate::harness::Family::V4;
    let ends = (crate::harness::net::near(family), crate::harness::net::far(family));
    let flow = stage.udp("newcomer", (&newcomer, ends.0), (&stage.far, ends.1))?;
    let ended = poll::until("the fault to end", Duration::from_secs(10), || {
        Ok(Some(client.get(&injection.id)?).filter(|injection| injection.state() == State::Ended))
    })?;
    ensure!(ended.end() == End::TargetGone, "{ended:?}");
    flow.all_arrive()?;
    drop(flow);
    drop(newcomer);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn sigterm_recovers_everything() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    for direction in [chaos_common::proto::v1::Direction::Out, chaos_common::proto::v1::Direction::Both] {
        client.inject(Loss::all().direction(direction).on(&stage.target))?;
    }
    flow.none_arrive()?;
    stage.finish(daemon)?;
    flow.all_arrive()
}

fn a_handover_is_adopted() -> Result<()> {
    let stage = Stage::new()?;
    let lease = Some(Duration::from_secs(20));
    let settings = || Settings { lease, handover: Handover::Yes, ..Settings::default() };
    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    let (victim, bystander) = (stage.victim_udp()?, stage.bystander_udp()?);
    let both = chaos_common::proto::v1::Direction::Both;
    let injection = client.inject_as("kept", Loss::all().direction(both).seed(5).on(&stage.target))?;
    victim.none_arrive()?;
    let before = balanced(&client.get("kept")?)?;
    daemon.stop()?;
    victim.none_arrive()?;
    bystander.all_arrive()?;

    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    let adopted = client.get("kept")?;
    active(&adopted)?;
    ensure!(adopted.seed == injection.seed && adopted.spec == injection.spec, "{adopted:?}");
    ensure!(adopted.created_at == injection.created_at && adopted.cgroup_id == injection.cgroup_id, "{adopted:?}");
    let moved = adopted.expires_at.context("no expiry")?.seconds - injection.expires_at.context("no expiry")?.seconds;
    ensure!(moved.abs() <= 1, "the deadline moved by {moved} s");
    victim.none_arrive()?;
    bystander.all_arrive()?;
    let after = balanced(&client.get("kept")?)?;
    ensure!(after.fired >= before.fired + 2 * u64::from(victim.usual()), "{before:?} became {after:?}");
    client.recover("kept")?;
    victim.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_handover_without_injections_leaves_nothing() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon_with(Settings { handover: Handover::Yes, ..Settings::default() })?;
    let client = daemon.client()?;
    let injection = client.inject(Loss::all().on(&stage.target))?;
    client.recover(&injection.id)?;
    stage.finish(daemon)
}

fn the_policy_is_obeyed() -> Result<()> {
    let stage = Stage::new()?;
    let policy = "maxDuration: 2m\nmaxInjections: 2\n".to_owned();
    let daemon = stage.daemon_with(Settings { policy: Some(policy), ..Settings::default() })?;
    let client = daemon.client()?;
    let spec = |seconds| Loss::percent(1.0).lasting(Duration::from_secs(seconds)).on(&stage.target);
    let status = refused(client.inject(spec(121)), "POLICY")?;
    ensure!(status.message().contains("2m"), "{status:?}");
    refused(client.plan(spec(121)), "POLICY")?;
    let first = client.inject(spec(120))?;
    refused(client.renew(&first.id, Some(Duration::from_secs(121))), "POLICY")?;
    client.renew(&first.id, Some(Duration::from_secs(100)))?;
    client.inject(spec(10))?;
    let status = refused(client.inject(spec(10)), "POLICY")?;
    ensure!(status.message().contains('2'), "{status:?}");
    client.recover(&first.id)?;
    client.inject(spec(10))?;
    ensure!(client.list()?.len() == 2);
    client.recover_all()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn protected_cgroups_are_refused() -> Result<()> {
    let stage = Stage::new()?;
    let policy = format!("protectedAlso: ['{}']\n", stage.sibling.path());
    let inner = stage.sibling.child("inner")?;
    let daemon = stage.daemon_with(Settings { policy: Some(policy), ..Settings::default() })?;
    let client = daemon.client()?;
    let target = |path: &str| chaos_common::proto::v1::target::Target::Cgroup(path.into());
    // The protected one, what is in it, what it is in, and the root.
    for path in [stage.sibling.path(), inner.path(), stage.base.path(), "/"] {
        let status = refused(client.inject(Loss::all().at(target(path))), "TARGET_PROTECTED")?;
        ensure!(status.code() == Code::PermissionDenied && status.message().contains(path), "{status:?}");
    }
    // The daemon itself, by whatever name.
    let own = chaos_common::proto::v1::target::Target::Pid(daemon.pid());
    refused(client.inject(Loss::all().at(own)), "TARGET_PROTECTED")?;
    let listed = client.targets()?;
    let listed = listed.iter().find(|target| target.cgroup == stage.sibling.path()).context("not listed")?;
    ensure!(!listed.protected_reason.is_empty(), "{listed:?}");
    ensure!(client.list_ended_too()?.is_empty());
    stage.bystander_udp()?.all_arrive()?;
    active(&client.inject(Loss::all().on(&stage.target))?)?;
    client.recover_all()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_second_daemon_on_the_same_state_is_refused() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    client.inject(Loss::all().on(&stage.target))?;
    let other = Mounted::new("bpf", &stage.scratch.join("bpf2"), "mode=0700")?;
    for bpffs in [None, Some(other.path().to_owned())] {
        let socket = Some(stage.scratch.join("second.sock"));
        let second = Daemon::launch(&stage.scratch, Settings { socket, bpffs, ..Settings::default() })?;
        let (status, said) = second.wait_refused()?;
        ensure!(!status.success(), "the second daemon ended with {status}");
        ensure!(said.contains(&*stage.scratch.state().to_string_lossy()), "it does not name the state: {said}");
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
    ensure!(said.contains(&*daemon.socket().to_string_lossy()), "it does not name the socket: {said}");
    flow.none_arrive()?;
    ensure!(client.list()?.len() == 1, "the first daemon lost its injection");
    crate::harness::check_pins(bpffs.path(), crate::harness::Pins::None)?;
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
    crate::harness::check_pins(bpffs.path(), crate::harness::Pins::None)?;
    stage.clean()
}

const NOBODY: u32 = 65534;

fn strangers_are_refused() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let stranger = Agent::start(Place::default().user(NOBODY, NOBODY))?;
    let (code, message) = stranger.list(daemon.socket())?;
    ensure!(code != Code::Ok, "uid {NOBODY} was let in");
    // The socket's mode is one lock; the peer's credentials are another.
    fs::set_permissions(daemon.socket(), fs::Permissions::from_mode(0o666))?;
    let (code, message) = match stranger.list(daemon.socket())? {
        (Code::Unavailable, _) => (code, message),
        answer => answer,
    };
    ensure!(code == Code::PermissionDenied && message.contains(&NOBODY.to_string()), "{code:?}: {message}");
    // Being refused does not spoil it for others.
    daemon.client()?.list()?;
    stage.finish(daemon)
}

fn members_of_the_group_are_admitted() -> Result<()> {
    let stage = Stage::new()?;
    // A file of groups that only this test's processes see: mounts are private.
    let groups = stage.scratch.join("group");
    fs::write(&groups, "root:x:0:\nchaos-testers:x:54321:\n")?;
    let etc = std::path::Path::new("/etc/group");
    if !etc.exists() {
        // A test VM has none.
        fs::write(etc, "")?;
    }
    let bind = nix::mount::MsFlags::MS_BIND;
    nix::mount::mount(Some(&groups), etc, None::<&str>, bind, None::<&str>).context("cannot replace /etc/group")?;
    let started = stage.daemon_with(Settings { group: Some("chaos-testers".into()), ..Settings::default() });
    let unknown = Daemon::launch(&stage.scratch, Settings {
        group: Some("no-such-group".into()),
        state: Some(stage.scratch.join("state2")),
        socket: Some(stage.scratch.join("second.sock")),
        ..Settings::default()
    })
    .and_then(Daemon::wait_refused);
    nix::mount::umount2(etc, nix::mount::MntFlags::MNT_DETACH)?;
    let (status, said) = unknown?;
    ensure!(!status.success() && said.contains("no-such-group"), "{status}: {said}");
    let daemon = started?;
    let member = Agent::start(Place::default().user(NOBODY, 54321))?;
    let (code, message) = member.list(daemon.socket())?;
    ensure!(code == Code::Ok, "a member of the group was refused: {code:?}: {message}");
    let stranger = Agent::start(Place::default().user(NOBODY, NOBODY))?;
    let (code, _) = stranger.list(daemon.socket())?;
    ensure!(code != Code::Ok, "a stranger was let in");
    stage.finish(daemon)
}

fn a_large_message_is_refused() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    client.inject(Loss::all().on(&stage.target))?;
    let address = "a".repeat(10 << 20);
    let status = client.inject(Loss::all().remote(&[&address]).on(&stage.target)).err();
    let code = status.context("10 MB of address were accepted")?.code();
    ensure!(matches!(code, Code::OutOfRange | Code::ResourceExhausted | Code::InvalidArgument), "{code:?}");
    ensure!(client.list()?.len() == 1);
    flow.none_arrive()?;
    stage.finish(daemon)
}

fn health_and_reflection_answer() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    ensure!(client.is_serving("")? && client.is_serving("chaos.v1.ChaosDaemon")?);
    let services = client.services()?;
    for service in ["chaos.v1.ChaosDaemon", "grpc.health.v1.Health"] {
        ensure!(services.iter().any(|name| name == service), "{service} is not among {services:?}");
    }
    let capabilities = client.capabilities()?;
    ensure!(!capabilities.kernel_release.is_empty() && !capabilities.daemon_version.is_empty());
    ensure!(capabilities.faults.iter().all(|fault| fault.support.is_some()), "{capabilities:?}");
    stage.finish(daemon)
}

fn metrics_are_served() -> Result<()> {
    let stage = Stage::new()?;
    // Whoever takes the port in between makes the daemon fail, and the test with it.
    let address = TcpListener::bind(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0))?.local_addr()?;
    let daemon = stage.daemon_with(Settings { metrics: Some(address), ..Settings::default() })?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    client.inject(Loss::all().on(&stage.target))?;
    flow.none_arrive()?;
    let page = get(address, "/metrics")?;
    ensure!(page.starts_with("HTTP/1.1 200"), "{page}");
    let (_, body) = page.split_once("\r\n\r\n").context("no body")?;
    let metrics: Vec<(&str, f64)> = body
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
        .collect();
    ensure!(metrics.iter().all(|(name, _)| name.starts_with("chaos_")), "{body}");
    let of = |part: &str| -> Vec<f64> {
        metrics.iter().filter(|(name, _)| name.contains(part)).map(|(_, value)| *value).collect()
    };
    ensure!(of("injections_live") == [1.0], "{body}");
    ensure!(of("fired").iter().sum::<f64>() >= f64::from(flow.usual()), "{body}");
    ensure!(get(address, "/")?.starts_with("HTTP/1.1 404"));
    client.recover_all()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).context("nobody serves metrics")?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn every_change_is_audited() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let spec = || Loss::percent(1.0).on(&stage.target);
    client.inject_as("audited", spec())?;
    client.renew("audited", None)?;
    client.recover("audited")?;
    refused(client.inject(Loss::all().at(chaos_common::proto::v1::target::Target::Cgroup("/".into()))), "TARGET_PROTECTED")?;
    let log = daemon.audit()?;
    let entries = log.lines().map(|line| Ok(serde_json::from_str(line)?)).collect::<Result<Vec<serde_json::Value>>>()?;
    ensure!(entries.len() >= 4, "{log}");
    for entry in &entries {
        let who = entry.get("who").and_then(|who| who.as_str()).unwrap_or_default();
        ensure!(entry.get("time").is_some() && who.contains("uid 0"), "{entry}");
    }
    let named = entries.iter().filter(|entry| entry.to_string().contains("audited")).count();
    ensure!(named == 3, "{named} entries are about the injection, not 3: {log}");
    // What only asks is no change.
    client.list()?;
    client.plan(spec())?;
    ensure!(daemon.audit()?.lines().count() == entries.len());
    stage.finish(daemon)?;
    let kept = fs::read_to_string(stage.scratch.state().join("audit.log"))?;
    ensure!(kept.starts_with(&log), "the audit log lost its beginning");
    Ok(())
}

/// Open streams and calls do not keep a daemon from stopping.
fn a_busy_daemon_stops() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let (client, watcher) = (daemon.client()?, daemon.client()?);
    client.inject(Loss::all().on(&stage.target))?;
    let mut watch = watcher.watch("")?;
    ensure!(watch.next(Duration::from_secs(10))?.is_some());
    // Connected, and silent for ever.
    let _silent = std::os::unix::net::UnixStream::connect(daemon.socket())?;
    stage.finish(daemon)?;
    ensure!(reason(&client.list().err().context("a stopped daemon answers")?).is_empty());
    Ok(())
}
