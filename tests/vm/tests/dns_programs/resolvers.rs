//! Resolvers that ask for others, in a target.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1;
use hickory_proto::{
    op::{DnsResponse, Message, Query, ResponseCode},
    rr::{Name, RecordType},
};

use super::{
    names::{DNSMASQ, FIRST, LONG, Names, PATIENCE, TIMEOUT, error, victim},
    servers::server,
};
use crate::harness::{
    Agent, Family, Given, NameServer, Network, Server, balanced, net, poll, questions::questions,
    tests, wire,
};

tests![they_go_on_in_the_target];

const NAME: &str = LONG.0;
/// What the resolvers' own name server says of it.
const KNOWN: &str = "192.0.2.7";
const CHOSEN: &str = "198.51.100.7";
/// Of odd length.
const ALIAS: &str = "edge.cdn.test";
/// Much longer than an answer takes; unbound asks again before, and waits longer each time, up to some tries.
const LATENCY: Duration = Duration::from_millis(200);

/// It keeps nothing, asks in letters that it mixes, and takes no answer in others.
const UNBOUND: &str = "server:
  interface: 10.77.0.1
  access-control: 10.77.0.0/24 allow
  username: ''
  chroot: ''
  pidfile: ''
  use-syslog: no
  module-config: iterator
  use-caps-for-id: yes
  cache-max-ttl: 0
  cache-max-negative-ttl: 0
forward-zone:
  name: .
  forward-addr: 10.77.0.4
";

/// A code, and addresses; or silence.
type Told = Option<(ResponseCode, Vec<IpAddr>)>;

/// What a resolver tells whoever asks it.
enum Tells {
    /// At once.
    Soon(ResponseCode, Vec<IpAddr>),
    /// As without a fault, after the latency.
    Late,
    Nothing,
    /// Nothing, or that it cannot say: as it likes.
    Failure,
}

impl Tells {
    fn is(&self, told: &Told, took: Duration) -> Result<bool> {
        Ok(match (self, told) {
            (Self::Soon(code, addresses), Some((told, found))) => {
                told == code && found == addresses && took < LATENCY
            }
            (Self::Late, told) => *told == known()? && took >= LATENCY,
            (Self::Failure, Some((code, _))) => *code == ResponseCode::ServFail,
            (Self::Nothing | Self::Failure, None) => true,
            (Self::Soon(..), None) | (Self::Nothing, Some(_)) => false,
        })
    }
}

fn known() -> Result<Told> {
    Ok(Some((ResponseCode::NoError, vec![KNOWN.parse()?])))
}

/// What is told of `NAME`'s IPv4 addresses.
fn ask(agent: &Agent, to: IpAddr) -> Result<Told> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(Name::from_ascii(format!("{NAME}."))?, RecordType::A));
    let to = SocketAddr::new(to, 53);
    let Some(bytes) = agent.question(to, &question.to_vec()?, true, TIMEOUT)? else {
        return Ok(None);
    };
    let response = DnsResponse::from_buffer(bytes).context("that is no response")?;
    let addresses = response.answers.iter().filter_map(|record| record.data.ip_addr()).collect();
    Ok(Some((response.metadata.response_code, addresses)))
}

/// Faults of the target, and what its resolvers tell then.
fn faults() -> Result<Vec<(&'static str, Network, Tells)>> {
    let asked = || Some(questions(&[NAME]));
    let record = v1::DnsRecord { questions: asked(), ..Default::default() };
    let empty = v1::DnsRecord { empty: true, ..record.clone() };
    let chosen = v1::DnsRecord { addresses: vec![CHOSEN.into()], ..record };
    let alias = v1::DnsRecord { cname: ALIAS.into(), ..chosen.clone() };
    let late = v1::DnsDelay { questions: asked(), latency: wire(LATENCY), ..Default::default() };
    let late_answers = v1::DnsDelay { of: "answers".into(), ..late.clone() };
    let elsewhere = server(&format!("{FIRST}:53"));
    let nobody = v1::DnsServer { none: true, ..Default::default() };

    let none = |code| Tells::Soon(code, Vec::new());
    let address = |text: &str| {
        Ok::<_, anyhow::Error>(Tells::Soon(ResponseCode::NoError, vec![text.parse()?]))
    };
    Ok(vec![
        ("NXDOMAIN", error(&[NAME], "NXDOMAIN"), none(ResponseCode::NXDomain)),
        ("SERVFAIL", error(&[NAME], "SERVFAIL"), none(ResponseCode::ServFail)),
        ("an address", chosen.into(), address(CHOSEN)?),
        ("no address", empty.into(), none(ResponseCode::NoError)),
        ("an alias", alias.into(), address(CHOSEN)?),
        ("late questions", late.into(), Tells::Late),
        ("late answers", late_answers.into(), Tells::Late),
        ("another server", elsewhere, address(LONG.1)?),
        ("nobody", nobody.into(), Tells::Failure),
        ("timeout", error(&[NAME], "timeout"), Tells::Nothing),
    ])
}

/// They ask for others, whose questions come from outside of the target.
fn they_go_on_in_the_target() -> Result<()> {
    let names = Names::new()?;
    let stage = &names.stage;
    let (near, upstream) = (net::near(Family::V4), net::address(Family::V4, 77, 4));
    let knows = NameServer::start(&stage.net.far, upstream)?;
    knows.set(NAME, &[KNOWN.parse()?]);
    // Who follows an alias by itself finds what it is told of it.
    knows.set(ALIAS, &[CHOSEN.parse()?]);
    let _given = Given::new("/tmp/unbound.conf", UNBOUND)?;
    let words = [
        "--listen-address=10.77.0.1",
        "--server=10.77.0.4",
        // All its questions come from one socket.
        "--query-port=5353",
        "--cache-size=0",
        "--do-0x20-encode",
    ];
    let dnsmasq = [&DNSMASQ[..], &words].concat();
    for argv in [&dnsmasq[..], &["unbound", "-d", "-p", "-c", "/tmp/unbound.conf"]] {
        let mut resolver = Server::start(victim(stage)?, argv)?;
        let known = known()?;
        let resolves = || {
            let told = ask(&stage.far, near)?;
            ensure!(told == known, "{told:?}");
            Ok(())
        };
        knows.take_heard();
        poll::until_ok("the resolver to resolve", PATIENCE, resolves)?;
        let heard = knows.take_heard();
        let is_mixed = |packet: &Vec<u8>| {
            let name = packet.get(12..12 + NAME.len());
            name.is_some_and(|name| name.iter().any(u8::is_ascii_uppercase))
        };
        ensure!(heard.iter().any(is_mixed), "{argv:?} asks in small letters: {heard:?}");
        for (what, fault, tells) in faults()? {
            let injection = names.client.inject(fault.on(&stage.target))?;
            knows.take_heard();
            let begin = Instant::now();
            let told = ask(&stage.far, near)?;
            let took = begin.elapsed();
            ensure!(tells.is(&told, took)?, "{argv:?}: {what}: {told:?} after {took:?}");
            let heard = knows.take_heard();
            let has_asked = heard.iter().any(|packet| asks(packet, NAME));
            let is_asked = matches!(tells, Tells::Late);
            ensure!(has_asked == is_asked, "{argv:?}: {what}: {heard:?} arrived");
            let told = ask(&stage.bystander, upstream)?;
            ensure!(told == known, "the bystander: {what}: {told:?}");
            let counters = balanced(&names.client.recover(&injection.id)?)?;
            ensure!(counters.fired > 0, "{argv:?}: {what}: {counters:?}");
            poll::until_ok("the resolver to resolve again", PATIENCE, resolves)
                .with_context(|| format!("{argv:?}: after {what}"))?;
        }
        resolver.lives()?;
    }
    drop(knows);
    names.finish()
}

/// Whether a packet asks for a name, in whatever letters.
fn asks(packet: &[u8], name: &str) -> bool {
    let labels =
        name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    let labels: Vec<u8> = labels.collect();
    let asked = packet.get(12..12 + labels.len());
    asked.is_some_and(|asked| asked.eq_ignore_ascii_case(&labels))
}
