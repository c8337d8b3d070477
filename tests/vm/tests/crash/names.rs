//! Faults of names that are cut off by the death of their daemon are gone, with what they have connected elsewhere.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use chaos_common::proto::v1::{self, End, State};
use hickory_proto::rr::RecordType;
use libtest_mimic::Trial;

use super::kill_switch::{pull, without_socket};
use crate::harness::{
    Agent, Family, Network, Settings, Socket, Stage, net, poll,
    questions::{
        KNOWN, SILENCE, WITHIN, addresses, looked_up, name_server, name_server_at, question,
        questions, read,
    },
    reason_against, skip, trial,
};

/// What the fault lets a name have.
const CHOSEN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);
const ID: &str = "of-names";

/// A kind: it lets `a.example` have another address, which another name server has.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    spec: fn(elsewhere: SocketAddr) -> Network,
}

const RECORD: Kind = Kind {
    name: "record",
    spec: |_| {
        let (questions, addresses) = (Some(questions(&["a.example"])), vec![CHOSEN.to_string()]);
        v1::DnsRecord { questions, addresses, ..Default::default() }.into()
    },
};

const SERVER: Kind = Kind {
    name: "server",
    spec: |elsewhere| {
        v1::DnsServer { upstream: vec![elsewhere.to_string()], ..Default::default() }.into()
    },
};

pub(crate) fn trials() -> Vec<Trial> {
    let injecting = [(RECORD, "rule-written"), (SERVER, "rule-written"), (SERVER, "hook-attached")];
    let recovering = [
        (RECORD, "rule-removed"),
        (SERVER, "rule-removed"),
        (SERVER, "hook-detached"),
        (SERVER, "redirected-ended"),
    ];
    let of = |when: &str, kind: Kind, step: &str| {
        format!("{when}_{}_{}", kind.name, step.replace('-', "_"))
    };
    let injecting = injecting.map(|(kind, step)| {
        trial(module_path!(), &of("inject", kind, step), move || {
            cut_off(kind, step, End::Interrupted)
        })
    });
    let recovering = recovering.map(|(kind, step)| {
        trial(module_path!(), &of("recover", kind, step), move || {
            cut_off(kind, step, End::Recovered)
        })
    });
    let others = [
        trial(module_path!(), "the_kill_switch_ends_what_is_connected_elsewhere", || {
            orphaned(|stage| {
                pull(stage)?;
                without_socket(stage)
            })
        }),
        trial(module_path!(), "a_lost_journal_ends_what_is_connected_elsewhere", || {
            orphaned(|stage| Ok(fs::remove_dir_all(stage.scratch.state().join("injections"))?))
        }),
    ];
    injecting.into_iter().chain(recovering).chain(others).collect()
}

fn has(agent: &Agent, to: SocketAddr, wanted: Ipv4Addr) -> Result<()> {
    let response = looked_up(agent, to, "a.example", RecordType::A)?;
    let found = addresses(&response)?;
    ensure!(found == [IpAddr::V4(wanted)], "{found:?}, not {wanted}");
    Ok(())
}

/// Dies at a step of the injection, or of its recovery.
fn cut_off(kind: Kind, step: &'static str, wanted: End) -> Result<()> {
    let stage = Stage::new()?;
    let (_server, to) = name_server(&stage, Family::V4)?;
    let (_other, elsewhere) = name_server_at(&stage, net::address(Family::V4, 77, 3), CHOSEN)?;
    let dying = stage.daemon_with(Settings { failpoint: Some(step), ..Settings::default() })?;
    let client = dying.client()?;
    let ends_sockets = reason_against(&client, "network reject", |one| one == "reset open")?;
    let mut answer = client.inject_as(ID, (kind.spec)(elsewhere).on(&stage.target));
    let mut connected = None;
    if wanted == End::Recovered {
        answer?;
        has(&stage.victim, to, CHOSEN)?;
        has(&stage.bystander, to, KNOWN)?;
        connected = Some(stage.victim.resolver(to, true)??);
        answer = client.recover(ID);
    }
    ensure!(answer.is_err(), "the daemon answered at `{step}`: {answer:?}");
    dying.wait_killed()?;
    has(&stage.bystander, to, KNOWN)?;
    let daemon = stage.daemon()?;
    let found = daemon.client()?.get(ID)?;
    ensure!(found.state() == State::Ended && found.end() == wanted, "{found:?}");
    has(&stage.victim, to, KNOWN)?;
    if let Some(socket) = connected
        && ends_sockets.is_none()
    {
        is_at_home(&stage.victim, socket)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// The daemon is killed, and nobody will know of its injection after what is done then.
fn orphaned(then: fn(&Stage) -> Result<()>) -> Result<()> {
    let stage = Stage::new()?;
    let (_server, to) = name_server(&stage, Family::V4)?;
    let (_other, elsewhere) = name_server_at(&stage, net::address(Family::V4, 77, 3), CHOSEN)?;
    let lease = Some(Duration::from_secs(120));
    let daemon = stage.daemon_with(Settings { lease, ..Settings::default() })?;
    let client = daemon.client()?;
    if let Some(reason) = reason_against(&client, "network reject", |one| one == "reset open")? {
        skip(reason)?;
    }
    client.inject_as(ID, (SERVER.spec)(elsewhere).on(&stage.target))?;
    let socket = stage.victim.resolver(to, true)??;
    has(&stage.victim, to, CHOSEN)?;
    daemon.kill()?;
    has(&stage.victim, to, CHOSEN)?;
    // Whoever is thrown off connects again, also while that is done.
    let others = (0..20).map(|_| Ok(stage.victim.resolver(to, true)??));
    let others = others.collect::<Result<Vec<Socket>>>()?;
    then(&stage)?;
    let daemon = stage.daemon()?;
    has(&stage.victim, to, KNOWN)?;
    for socket in others.into_iter().chain([socket]) {
        is_at_home(&stage.victim, socket)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// A socket is told what everybody is, or that it is over.
fn is_at_home(agent: &Agent, socket: Socket) -> Result<()> {
    let ask = question("a.example", RecordType::A)?.to_vec()?;
    poll::until_ok("a connected socket to be thrown off", WITHIN, || {
        match agent.ask_server(socket, &ask, SILENCE)? {
            Err(_) => Ok(()),
            Ok(None) => bail!("no answer"),
            Ok(Some(response)) => {
                let found = addresses(&read(response)?)?;
                let found = found.first().context("no address")?;
                ensure!(*found == IpAddr::V4(KNOWN), "{found}");
                Ok(())
            }
        }
    })
}
