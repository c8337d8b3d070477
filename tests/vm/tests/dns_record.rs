//! `dns record`: names seem to have other addresses, or none.

use std::{collections::HashSet, net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{self, State};
use hickory_proto::{
    op::{Edns, Message, ResponseCode},
    rr::{RData, RecordType},
};

use crate::harness::{
    Family, Network, Stage, active, balanced, net, poll,
    questions::{
        KNOWN, addresses, answers, asked, looked_up, name_server, question, questions, stub,
    },
    tests, wire,
};

tests![
    addresses_are_those_that_were_given,
    addresses_come_in_any_order_by_the_seed,
    a_range_is_one_of_its_addresses,
    another_name_comes_before_its_addresses,
    an_empty_answer_is_no_error,
    what_is_too_long_is_cut_short,
    a_resolver_on_the_loopback_is_met,
    it_outlives_its_daemon_and_not_its_lease,
];

/// A fault for these names, with these addresses.
fn record(names: &[&str], addresses: &[&str]) -> v1::DnsRecord {
    v1::DnsRecord {
        questions: Some(questions(names)),
        addresses: addresses.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

fn on(stage: &Stage, record: v1::DnsRecord) -> v1::Spec {
    Network::from(record).on(&stage.target)
}

fn ip(text: &str) -> Result<IpAddr> {
    text.parse().with_context(|| text.to_owned())
}

fn told(response: &Message) -> Result<HashSet<IpAddr>> {
    Ok(addresses(response)?.into_iter().collect())
}

fn addresses_are_those_that_were_given() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let v4 = ["198.51.100.1", "198.51.100.2", "198.51.100.3"];
    let v6 = ["2001:db8::1", "2001:db8:1:2:3:4:5:6"];
    for family in net::families() {
        let (server, to) = name_server(&stage, family)?;
        let given = v1::DnsRecord {
            ttl: wire(Duration::from_secs(75)),
            ..record(&["*.example", "example"], &[&v4[..], &v6].concat())
        };
        let injection = client.inject(on(&stage, given))?;
        server.take_heard();
        // Of odd and of even length: the checksum is taken over pairs of bytes.
        for name in ["a.example", "b.a.example", "ba.example", "xyz.example", "example"] {
            for (kind, wanted) in [(RecordType::A, &v4[..]), (RecordType::AAAA, &v6)] {
                for size in [None, Some(1232)] {
                    let mut ask = question(name, kind)?;
                    ask.edns = size.map(|size| {
                        let mut edns = Edns::new();
                        edns.set_max_payload(size);
                        edns
                    });
                    let response = asked(&stage.victim, to, &ask)?.context("no answer")?;
                    let wanted: HashSet<IpAddr> =
                        wanted.iter().map(|text| ip(text)).collect::<Result<_>>()?;
                    ensure!(told(&response)? == wanted, "{name} {kind}: {response:?}");
                    ensure!(response.answers.iter().all(|one| one.ttl == 75), "{response:?}");
                    let names = response.answers.iter().map(|one| one.name.to_string());
                    ensure!(names.collect::<HashSet<_>>().len() == 1, "{response:?}");
                    ensure!(response.answers[0].name.to_string() == format!("{name}."));
                    ensure!(response.metadata.response_code == ResponseCode::NoError);
                    ensure!(!response.metadata.truncation && response.queries == ask.queries);
                    ensure!(response.edns.is_some() == size.is_some(), "{response:?}");
                }
            }
        }
        // Of another type it has none.
        let response = looked_up(&stage.victim, to, "a.example", RecordType::MX)?;
        ensure!(response.answers.is_empty(), "{response:?}");
        ensure!(response.metadata.response_code == ResponseCode::NoError, "{response:?}");
        ensure!(server.take_heard().is_empty(), "the name server was asked all the same");
        answers(&stage.victim, to, "other")?;
        let others = looked_up(&stage.bystander, to, "a.example", RecordType::A)?;
        ensure!(addresses(&others)? == [IpAddr::V4(KNOWN)], "{others:?}");
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.fired == 21 && counters.matched == 21, "{counters:?}");
        let after = looked_up(&stage.victim, to, "a.example", RecordType::A)?;
        ensure!(addresses(&after)? == [IpAddr::V4(KNOWN)], "{after:?}");
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn addresses_come_in_any_order_by_the_seed() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let (_server, to) = name_server(&stage, Family::V4)?;
    let given: Vec<String> = (1..=8).map(|last| format!("198.51.100.{last}")).collect();
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    let orders = |seed| {
        let fault = Network::from(record(&["a.example"], &given)).seed(seed);
        let injection = client.inject(fault.on(&stage.target))?;
        let ask = || addresses(&looked_up(&stage.victim, to, "a.example", RecordType::A)?);
        let orders = (0..60).map(|_| ask()).collect::<Result<Vec<_>>>()?;
        client.recover(&injection.id)?;
        Ok::<_, anyhow::Error>(orders)
    };
    let first = orders(7)?;
    ensure!(first == orders(7)?, "the same seed gave another order");
    ensure!(first != orders(8)?, "another seed gave the same order");
    // Each address is the first now and then: that it is not in 60 has a chance of 0.03 %.
    let firsts: HashSet<IpAddr> = first.iter().filter_map(|order| order.first().copied()).collect();
    ensure!(firsts.len() == 8, "{firsts:?}");
    for order in &first {
        ensure!(order.iter().collect::<HashSet<_>>().len() == 8, "{order:?}");
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_range_is_one_of_its_addresses() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let (_server, to) = name_server(&stage, Family::V4)?;
    let within = |address: IpAddr, range: &str| {
        Ok::<_, anyhow::Error>(range.parse::<chaos_common::value::Cidr>()?.contains(address))
    };
    for (given, range, kind) in [
        ("198.51.100.0/24", "198.51.100.0/24", RecordType::A),
        ("random", "198.18.0.0/15", RecordType::A),
        ("2001:db8:7::/48", "2001:db8:7::/48", RecordType::AAAA),
        ("random", "2001:db8::/32", RecordType::AAAA),
    ] {
        let injection = client.inject(on(&stage, record(&["a.example"], &[given])))?;
        let mut seen = HashSet::new();
        for _ in 0..20 {
            let found = addresses(&looked_up(&stage.victim, to, "a.example", kind)?)?;
            ensure!(found.len() == 1 && within(found[0], range)?, "{given}: {found:?}");
            seen.insert(found[0]);
        }
        // Of 256 and more, 20 draws are rarely fewer than ten.
        ensure!(seen.len() > 10, "{given}: {seen:?}");
        client.recover(&injection.id)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn another_name_comes_before_its_addresses() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let (_server, to) = name_server(&stage, Family::V4)?;
    let (edge, v4, v6) = ("Edge.cdn.Example.net", "198.51.100.1", "2001:db8::1");
    for alias in [edge, "even.x", &vec!["l".repeat(62); 3].join(".")] {
        let given = v1::DnsRecord {
            cname: alias.into(),
            ..record(&["a.example", "ba.example"], &[v4, "198.51.100.2", v6])
        };
        let injection = client.inject(on(&stage, given))?;
        for name in ["a.example", "ba.example"] {
            for (kind, count) in [
                (RecordType::A, 3),
                (RecordType::AAAA, 2),
                (RecordType::CNAME, 1),
                (RecordType::MX, 1),
            ] {
                let response = looked_up(&stage.victim, to, name, kind)?;
                ensure!(response.answers.len() == count, "{name} {kind}: {response:?}");
                let (first, others) = response.answers.split_first().context("no answers")?;
                let RData::CNAME(target) = &first.data else {
                    anyhow::bail!("{kind}: {response:?}")
                };
                let target = target.0.to_string();
                ensure!(target == format!("{}.", alias.to_lowercase()), "{target}");
                ensure!(first.name.to_string() == format!("{name}."), "{response:?}");
                ensure!(others.iter().all(|one| one.name.to_string() == target), "{response:?}");
                ensure!(others.iter().all(|one| one.record_type() == kind), "{response:?}");
            }
        }
        client.recover(&injection.id)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn an_empty_answer_is_no_error() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let (server, to) = name_server(&stage, Family::V4)?;
    let empty = v1::DnsRecord { empty: true, ..record(&["a.example"], &[]) };
    client.inject(on(&stage, empty))?;
    server.take_heard();
    for kind in [RecordType::A, RecordType::AAAA, RecordType::TXT] {
        let response = looked_up(&stage.victim, to, "a.example", kind)?;
        let told = &response.metadata;
        ensure!(told.response_code == ResponseCode::NoError && !told.truncation, "{response:?}");
        ensure!(response.answers.is_empty() && response.authorities.is_empty(), "{response:?}");
    }
    ensure!(server.take_heard().is_empty(), "the name server was asked all the same");
    answers(&stage.bystander, to, "a.example")?;
    client.recover_all()?;
    answers(&stage.victim, to, "a.example")?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn what_is_too_long_is_cut_short() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    for family in net::families() {
        let (_server, to) = name_server(&stage, family)?;
        let v4: Vec<String> = (1..=64).map(|last| format!("198.51.100.{last}")).collect();
        let v6: Vec<String> = (1..=64).map(|last| format!("2001:db8::{last}")).collect();
        let given: Vec<&str> = v4.iter().chain(&v6).map(String::as_str).collect();
        client.inject(on(&stage, record(&["a.example"], &given)))?;
        let count = |kind, size: Option<u16>| {
            let mut ask = question("a.example", kind)?;
            ask.edns = size.map(|size| {
                let mut edns = Edns::new();
                edns.set_max_payload(size);
                edns
            });
            let response = asked(&stage.victim, to, &ask)?.context("no answer")?;
            let is_cut = response.metadata.truncation;
            ensure!(response.edns.is_some() == size.is_some(), "{response:?}");
            ensure!(told(&response)?.len() == response.answers.len(), "{response:?}");
            Ok((response.answers.len(), is_cut))
        };
        let (cut, whole) = ((0, true), (64, false));
        // 1024 bytes, and 1792: no name server sends more than 1232 at once.
        for (kind, size, wanted) in [
            (RecordType::A, None, cut),
            (RecordType::A, Some(512), cut),
            (RecordType::A, Some(1232), whole),
            (RecordType::A, Some(4096), whole),
            (RecordType::AAAA, Some(1232), cut),
            (RecordType::AAAA, Some(4096), cut),
        ] {
            let seen = count(kind, size)?;
            ensure!(seen == wanted, "{family:?} {kind} {size:?}: {seen:?}, not {wanted:?}");
        }
        client.recover_all()?;
        let cut = v1::DnsRecord { truncated: true, ..record(&["a.example"], &[]) };
        client.inject(on(&stage, cut))?;
        for size in [None, Some(4096)] {
            let seen = count(RecordType::A, size)?;
            ensure!(seen == (0, true), "{family:?} {size:?}: {seen:?}");
        }
        client.recover_all()?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_resolver_on_the_loopback_is_met() -> Result<()> {
    let (stage, daemon) = Stage::served_with_loopback()?;
    let client = daemon.client()?;
    let (server, to) = stub(&stage, KNOWN)?;
    answers(&stage.victim, to, "a.example")?;
    let given = ["198.51.100.1", "2001:db8::1"];
    client.inject(on(&stage, record(&["a.example"], &given)))?;
    for (kind, wanted) in [(RecordType::A, given[0]), (RecordType::AAAA, given[1])] {
        let response = looked_up(&stage.victim, to, "a.example", kind)?;
        ensure!(addresses(&response)? == [ip(wanted)?], "{response:?}");
    }
    answers(&stage.bystander, to, "a.example")?;
    client.recover_all()?;
    answers(&stage.victim, to, "a.example")?;
    drop(server);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn it_outlives_its_daemon_and_not_its_lease() -> Result<()> {
    const ID: &str = "of-records";
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let (_server, to) = name_server(&stage, Family::V4)?;
    let given = ip("198.51.100.1")?;
    daemon.client()?.inject_as(ID, on(&stage, record(&["a.example"], &["198.51.100.1"])))?;
    let says = |wanted: IpAddr| {
        let response = looked_up(&stage.victim, to, "a.example", RecordType::A)?;
        ensure!(addresses(&response)? == [wanted], "{response:?}");
        answers(&stage.bystander, to, "a.example")
    };
    says(given)?;
    daemon.kill()?;
    says(given)?;
    let daemon = stage.daemon()?;
    active(&daemon.client()?.get(ID)?)?;
    says(given)?;
    daemon.kill()?;
    poll::until_ok("the lease to lapse", Duration::from_secs(30), || says(IpAddr::V4(KNOWN)))?;
    let daemon = stage.daemon()?;
    ensure!(daemon.client()?.get(ID)?.state() == State::Ended);
    says(IpAddr::V4(KNOWN))?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
