//! Resolvers that ask for others, in a target.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use hickory_proto::{
    op::{DnsResponse, Message, Query, ResponseCode},
    rr::{Name, RecordType},
};

use super::names::{DNSMASQ, Names, PATIENCE, TIMEOUT, error, victim};
use crate::harness::{Agent, Family, Given, NameServer, Server, balanced, net, poll, tests};

tests![they_go_on_in_the_target];

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

/// The code of the response to a question for an address.
fn code(agent: &Agent, to: IpAddr, name: &str) -> Result<Option<ResponseCode>> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(Name::from_ascii(format!("{name}."))?, RecordType::A));
    let to = SocketAddr::new(to, 53);
    let Some(bytes) = agent.question(to, &question.to_vec()?, true, TIMEOUT)? else {
        return Ok(None);
    };
    let response = DnsResponse::from_buffer(bytes).context("that is no response")?;
    ensure!(
        (response.metadata.response_code == ResponseCode::NoError) == (response.answers.len() == 1),
        "{response:?}"
    );
    Ok(Some(response.metadata.response_code))
}

/// They ask for others, whose questions come from outside of the target.
fn they_go_on_in_the_target() -> Result<()> {
    const NAME: &str = "a-name-of-many-letters.that-may-be-small-or-capital.example";
    let names = Names::new()?;
    let stage = &names.stage;
    let (near, upstream) = (net::near(Family::V4), net::address(Family::V4, 77, 4));
    let server = NameServer::start(&stage.net.far, upstream)?;
    server.set(NAME, &[Ipv4Addr::new(192, 0, 2, 7)]);
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
        let resolves = || {
            let code = code(&stage.far, near, NAME)?;
            ensure!(code == Some(ResponseCode::NoError), "{code:?}");
            Ok(())
        };
        server.take_heard();
        poll::until_ok("the resolver to resolve", PATIENCE, resolves)?;
        let heard = server.take_heard();
        let is_mixed = |packet: &Vec<u8>| {
            let name = packet.get(12..12 + NAME.len());
            name.is_some_and(|name| name.iter().any(u8::is_ascii_uppercase))
        };
        ensure!(heard.iter().any(is_mixed), "{argv:?} asks in small letters: {heard:?}");
        for (word, wanted) in [
            ("NXDOMAIN", Some(ResponseCode::NXDomain)),
            ("SERVFAIL", Some(ResponseCode::ServFail)),
            ("timeout", None),
        ] {
            let fault = error(&[NAME], word).on(&stage.target);
            let injection = names.client.inject(fault)?;
            server.take_heard();
            let told = code(&stage.far, near, NAME)?;
            ensure!(told == wanted, "{argv:?}: {word}: {told:?}");
            let heard = server.take_heard();
            ensure!(heard.is_empty(), "{argv:?}: {word}: {heard:?} arrived");
            let told = code(&stage.bystander, upstream, NAME)?;
            ensure!(told == Some(ResponseCode::NoError), "the bystander: {word}: {told:?}");
            let counters = balanced(&names.client.recover(&injection.id)?)?;
            ensure!(counters.fired > 0, "{argv:?}: {word}: {counters:?}");
            poll::until_ok("the resolver to resolve again", PATIENCE, resolves)
                .with_context(|| format!("{argv:?}: after {word}"))?;
        }
        resolver.lives()?;
    }
    drop(server);
    names.finish()
}
