//! Questions to name servers, and their responses as a library reads them.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1;
use hickory_proto::{
    op::{DnsResponse, Message, MessageType, Query, ResponseCode},
    rr::{Name, RecordType},
};

use super::{Agent, Family, NameServer, Stage, net};

/// Longer than an answer takes on a slow machine.
pub(crate) const WITHIN: Duration = Duration::from_secs(10);
/// As long as it takes to believe that there is none.
pub(crate) const SILENCE: Duration = Duration::from_millis(500);
/// What the far end's name server says.
pub(crate) const KNOWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
/// The names it knows.
pub(crate) const NAMES: [&str; 6] =
    ["a.example", "b.a.example", "c.b.a.example", "example", "ba.example", "other"];
const ID: u16 = 0x5aa5;
const PORT: u16 = 53;

/// The far end's name server, and where it listens.
pub(crate) fn name_server(stage: &Stage, family: Family) -> Result<(NameServer, SocketAddr)> {
    name_server_at(stage, net::far(family), KNOWN)
}

/// Another of the far end, which says something else.
pub(crate) fn name_server_at(
    stage: &Stage,
    address: IpAddr,
    says: Ipv4Addr,
) -> Result<(NameServer, SocketAddr)> {
    let server = NameServer::start(&stage.net.far, address)?;
    for name in NAMES {
        server.set(name, &[says]);
    }
    Ok((server, SocketAddr::new(address, PORT)))
}

/// One on the loopback of the near end, as `systemd-resolved` has one.
pub(crate) fn stub(stage: &Stage, says: Ipv4Addr) -> Result<(NameServer, SocketAddr)> {
    let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53));
    let server = NameServer::start(&stage.net.near, address)?;
    server.set("a.example", &[says]);
    Ok((server, SocketAddr::new(address, PORT)))
}

/// Which questions: those for names.
pub(crate) fn questions(names: &[&str]) -> v1::DnsQuestions {
    let names = names.iter().map(ToString::to_string).collect();
    v1::DnsQuestions { names, ..Default::default() }
}

pub(crate) fn question(name: &str, kind: RecordType) -> Result<Message> {
    let mut message = Message::query();
    message.metadata.id = ID;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(format!("{name}."))?, kind));
    Ok(message)
}

/// A response as it came; it has to be read to its last byte.
pub(crate) fn read(bytes: Vec<u8>) -> Result<Message> {
    let message = DnsResponse::from_buffer(bytes).context("that is no response")?.into_message();
    ensure!(message.metadata.message_type == MessageType::Response, "{message:?}");
    Ok(message)
}

/// What comes back of a question.
pub(crate) fn asked(agent: &Agent, to: SocketAddr, message: &Message) -> Result<Option<Message>> {
    agent.question(to, &message.to_vec()?, true, WITHIN)?.map(read).transpose()
}

/// What comes back of a question for records of a name, which something has to.
pub(crate) fn looked_up(
    agent: &Agent,
    to: SocketAddr,
    name: &str,
    kind: RecordType,
) -> Result<Message> {
    let response = asked(agent, to, &question(name, kind)?)?;
    let response = response.with_context(|| format!("nobody answers for {name}"))?;
    ensure!(response.metadata.id == ID, "{response:?}");
    Ok(response)
}

/// The code of the response to a question for an address, with which one comes or not.
pub(crate) fn code(agent: &Agent, to: SocketAddr, name: &str) -> Result<ResponseCode> {
    let response = looked_up(agent, to, name, RecordType::A)?;
    ensure!(
        (response.metadata.response_code == ResponseCode::NoError) == (response.answers.len() == 1)
    );
    Ok(response.metadata.response_code)
}

pub(crate) fn answers(agent: &Agent, to: SocketAddr, name: &str) -> Result<()> {
    answers_with(agent, to, name, ResponseCode::NoError)
}

pub(crate) fn answers_with(
    agent: &Agent,
    to: SocketAddr,
    name: &str,
    wanted: ResponseCode,
) -> Result<()> {
    let code = code(agent, to, name)?;
    ensure!(code == wanted, "{name}: {code}, not {wanted}");
    Ok(())
}

/// The addresses in a response, in their order; nothing else but the names that they are of may be in it.
pub(crate) fn addresses(response: &Message) -> Result<Vec<IpAddr>> {
    let all = response.answers.iter().map(|record| record.data.ip_addr());
    all.collect::<Option<Vec<_>>>().with_context(|| format!("{response:?}"))
}
