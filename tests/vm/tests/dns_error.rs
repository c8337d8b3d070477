//! `dns error`: name servers seem to answer with errors, or not at all, for the names that are meant.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{self, End, State, firing::What, watch_event::Event};
use hickory_proto::{
    op::{Edns, ResponseCode},
    rr::RecordType,
};
use nix::errno::Errno;

use crate::harness::{
    Family, Network, Settings, Stage, active, balanced, net, poll,
    questions::{
        self, KNOWN, SILENCE, answers, answers_with, asked, code, looked_up, name_server,
        name_server_at, question, stub,
    },
    tests,
};

/// Longer than a connection takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(10);

tests![
    questions_fail_as_asked,
    the_names_that_are_meant_fail,
    the_question_comes_back_as_it_was_asked,
    types_are_told_apart,
    name_servers_are_told_apart,
    a_share_and_a_budget_count_questions,
    what_is_no_plain_question_goes_on,
    a_resolver_on_the_loopback_is_met,
    ten_thousand_names_are_known,
    connections_to_name_servers_end_as_asked,
    what_was_asked_is_told_unless_the_policy_forbids_it,
    it_outlives_its_daemon_and_not_its_lease,
];

/// A fault for these names.
fn error(names: &[&str], code: &str) -> v1::DnsError {
    let questions = Some(questions::questions(names));
    v1::DnsError { questions, code: code.into(), ..Default::default() }
}

fn with(names: &[&str], change: impl FnOnce(&mut v1::DnsQuestions)) -> v1::DnsError {
    let mut error = error(names, "REFUSED");
    change(error.questions.get_or_insert_default());
    error
}

fn on(stage: &Stage, error: v1::DnsError) -> v1::Spec {
    Network::from(error).on(&stage.target)
}

fn questions_fail_as_asked() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    for family in net::families() {
        let (server, to) = name_server(&stage, family)?;
        for (word, wanted) in [
            ("FORMERR", ResponseCode::FormErr),
            ("", ResponseCode::ServFail),
            ("NXDOMAIN", ResponseCode::NXDomain),
            ("NOTIMP", ResponseCode::NotImp),
            ("REFUSED", ResponseCode::Refused),
        ] {
            answers(&stage.victim, to, "a.example")?;
            let injection = client.inject(on(&stage, error(&["a.example"], word)))?;
            server.take_heard();
            answers_with(&stage.victim, to, "a.example", wanted)?;
            ensure!(server.take_heard().is_empty(), "the name server was asked all the same");
            answers(&stage.victim, to, "other")?;
            answers(&stage.bystander, to, "a.example")?;
            let counters = balanced(&client.recover(&injection.id)?)?;
            ensure!(counters.fired == 1 && counters.matched == 1, "{counters:?}");
        }
        let injection = client.inject(on(&stage, error(&["a.example"], "timeout")))?;
        let ask = question("a.example", RecordType::A)?.to_vec()?;
        for connects in [true, false] {
            let answer = stage.victim.question(to, &ask, connects, SILENCE)?;
            ensure!(answer.is_none(), "{family:?}: {answer:?}");
        }
        answers(&stage.victim, to, "other")?;
        answers(&stage.bystander, to, "a.example")?;
        client.recover(&injection.id)?;
        answers(&stage.victim, to, "a.example")?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn the_names_that_are_meant_fail() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let (_server, to) = name_server(&stage, Family::V4)?;
    let all = ["a.example", "b.a.example", "c.b.a.example", "example", "ba.example", "other"];
    for (names, except, hit) in [
        (&["a.example"][..], &[][..], &["a.example"][..]),
        (&["*.A.Example."], &[], &["b.a.example", "c.b.a.example"]),
        (&["*.example"], &[], &["a.example", "b.a.example", "c.b.a.example", "ba.example"]),
        (&["*.example", "example"], &["*.a.example"], &["a.example", "example", "ba.example"]),
        (
            &["**"],
            &["example", "other"],
            &["a.example", "b.a.example", "c.b.a.example", "ba.example"],
        ),
        (&["**"], &[], &all),
    ] {
        let error = with(names, |questions| {
            questions.except = except.iter().map(ToString::to_string).collect();
        });
        let injection = client.inject(on(&stage, error))?;
        for name in all {
            let is_hit = hit.contains(&name);
            if is_hit {
                answers_with(&stage.victim, to, name, ResponseCode::Refused)
            } else {
                answers(&stage.victim, to, name)
            }
            .with_context(|| format!("{names:?} but {except:?}"))?;
        }
        client.recover(&injection.id)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn the_question_comes_back_as_it_was_asked() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    for family in net::families() {
        let (_server, to) = name_server(&stage, family)?;
        client.inject(on(&stage, error(&["*.example"], "NXDOMAIN")))?;
        // Letters as resolvers mix them, to see whether they come back.
        let mut ask = question("A.eXaMpLe", RecordType::AAAA)?;
        for (is_checked, wants_dnssec, size) in
            [(true, None, 0), (false, Some(true), 1232), (true, Some(false), 4096)]
        {
            ask.metadata.checking_disabled = is_checked;
            ask.metadata.recursion_desired = is_checked;
            ask.edns = wants_dnssec.map(|wanted| {
                let mut edns = Edns::new();
                edns.set_max_payload(size).set_dnssec_ok(wanted);
                edns
            });
            let response = asked(&stage.victim, to, &ask)?.context("no answer")?;
            let told = &response.metadata;
            ensure!(told.response_code == ResponseCode::NXDomain && told.id == ask.metadata.id);
            ensure!(told.recursion_available && !told.authoritative && !told.truncation);
            ensure!(!told.authentic_data && told.checking_disabled == is_checked);
            ensure!(told.recursion_desired == is_checked, "{response:?}");
            ensure!(
                response.queries == ask.queries && response.answers.is_empty(),
                "{response:?}, not {ask:?}"
            );
            let name = response.queries[0].name().to_string();
            ensure!(name == "A.eXaMpLe.", "it was asked in other letters: {name}");
            let flags = response.edns.as_ref().map(|edns| edns.flags().dnssec_ok);
            ensure!(flags == wants_dnssec, "{response:?}");
            let room = response.edns.as_ref().map_or(0, Edns::max_payload);
            ensure!(room == size, "{response:?}");
        }
        client.recover_all()?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn types_are_told_apart() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let (_server, to) = name_server(&stage, Family::V4)?;
    let fault = with(&["**"], |questions| {
        questions.types = ["AAAA", "TXT", "TYPE65"].map(str::to_owned).to_vec();
    });
    client.inject(on(&stage, fault))?;
    for (kind, is_hit) in [
        (RecordType::A, false),
        (RecordType::AAAA, true),
        (RecordType::TXT, true),
        (RecordType::HTTPS, true),
        (RecordType::MX, false),
        (RecordType::SRV, false),
    ] {
        let response = asked(&stage.victim, to, &question("other", kind)?)?.context("no answer")?;
        let is_refused = response.metadata.response_code == ResponseCode::Refused;
        ensure!(is_refused == is_hit, "{kind}: {response:?}");
    }
    client.recover_all()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn name_servers_are_told_apart() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let (_one, to_one) = name_server(&stage, Family::V4)?;
    let other = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 3));
    let (_second, to_other) = name_server_at(&stage, other, KNOWN)?;
    let fault = with(&["a.example"], |questions| questions.servers.push(other.to_string()));
    client.inject(on(&stage, fault))?;
    answers_with(&stage.victim, to_other, "a.example", ResponseCode::Refused)?;
    answers(&stage.victim, to_one, "a.example")?;
    client.recover_all()?;
    let elsewhere = v1::PortRange { first: 5353, last: None };
    client.inject(on(&stage, with(&["**"], |questions| questions.ports.push(elsewhere))))?;
    answers(&stage.victim, to_one, "a.example")?;
    client.recover_all()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_share_and_a_budget_count_questions() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let (_server, to) = name_server(&stage, Family::V4)?;
    let times = |error| Network::from(error).times(3).on(&stage.target);
    let injection = client.inject(times(error(&["a.example"], "REFUSED")))?;
    answers(&stage.victim, to, "other")?;
    for _ in 0..3 {
        answers_with(&stage.victim, to, "a.example", ResponseCode::Refused)?;
    }
    answers(&stage.victim, to, "a.example")?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired == 3 && counters.matched == 4, "{counters:?}");
    let half = v1::DnsError { percent: Some(50.0), ..error(&["a.example"], "REFUSED") };
    let injection = client.inject(Network::from(half).seed(7).on(&stage.target))?;
    let mut failed = 0;
    for _ in 0..40 {
        failed += u64::from(code(&stage.victim, to, "a.example")? == ResponseCode::Refused);
    }
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired == failed && counters.matched == 40, "{counters:?}, {failed} failed");
    ensure!((5..36).contains(&failed), "{failed} of 40 failed");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Whatever is not as RFC 1035 has it arrives as it was sent.
fn what_is_no_plain_question_goes_on() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let (server, to) = name_server(&stage, Family::V4)?;
    let injection = client.inject(on(&stage, error(&["**"], "REFUSED")))?;
    let plain = question("a.example", RecordType::A)?.to_vec()?;
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = plain.clone();
        change(&mut bytes);
        bytes
    };
    let odd: [(&str, Vec<u8>); 13] = [
        ("a response", changed(&|bytes| bytes[2] |= 0x80)),
        ("a notice", changed(&|bytes| bytes[2] |= 4 << 3)),
        ("no question", changed(&|bytes| bytes[5] = 0)),
        ("two questions", changed(&|bytes| bytes[5] = 2)),
        ("an answer", changed(&|bytes| bytes[7] = 1)),
        ("two additional records", changed(&|bytes| bytes[11] = 2)),
        ("a label that points", changed(&|bytes| bytes[12] = 0xc0)),
        ("a label that is too long", changed(&|bytes| bytes[12] = 64)),
        ("a zero in a label", changed(&|bytes| bytes[13] = 0)),
        ("another class", changed(&|bytes| *bytes.last_mut().unwrap_or(&mut 0) = 3)),
        ("cut in its header", plain[..11].to_vec()),
        ("cut in its name", plain[..18].to_vec()),
        ("cut in its class", plain[..plain.len() - 1].to_vec()),
    ];
    for (what, bytes) in &odd {
        server.take_heard();
        // Some are answered by the server, and some are not.
        let _ = stage.victim.question(to, bytes, true, SILENCE)?;
        let heard = server.take_heard();
        ensure!(heard == [bytes.clone()], "{what}: {heard:?} arrived of {bytes:?}");
    }
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.matched == 0, "{counters:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// As `systemd-resolved` has one.
fn a_resolver_on_the_loopback_is_met() -> Result<()> {
    let (stage, daemon) = Stage::served_with_loopback()?;
    let client = daemon.client()?;
    let (server, to) = stub(&stage, KNOWN)?;
    answers(&stage.victim, to, "a.example")?;
    client.inject(on(&stage, error(&["a.example"], "NXDOMAIN")))?;
    server.take_heard();
    answers_with(&stage.victim, to, "a.example", ResponseCode::NXDomain)?;
    ensure!(server.take_heard().is_empty(), "the resolver was asked all the same");
    answers(&stage.bystander, to, "a.example")?;
    client.recover_all()?;
    answers(&stage.victim, to, "a.example")?;
    drop(server);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn ten_thousand_names_are_known() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let (_server, to) = name_server(&stage, Family::V4)?;
    // Half of them for all that is below.
    let name = |n| format!("{}{n}.names.example", if n % 2 == 0 { "" } else { "*." });
    let names: Vec<String> = (0..10_000).map(name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    client.inject(on(&stage, error(&names, "REFUSED")))?;
    for name in ["0.names.example", "x.9999.names.example", "x.y.1.names.example"] {
        answers_with(&stage.victim, to, name, ResponseCode::Refused)?;
    }
    answers(&stage.victim, to, "a.example")?;
    // The name server knows neither.
    for name in ["9999.names.example", "x.0.names.example"] {
        answers_with(&stage.victim, to, name, ResponseCode::NXDomain)?;
    }
    client.recover_all()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// What is asked there is not seen, so they are met whatever that is.
fn connections_to_name_servers_end_as_asked() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    for family in net::families() {
        let to = SocketAddr::new(net::far(family), 53);
        let beside = SocketAddr::new(net::far(family), 54);
        let servers = [stage.far.listen(to)?, stage.far.listen(beside)?];
        for (tcp, refusal, ends) in [
            ("", None, None),
            ("refuse", Some(Errno::ECONNREFUSED), None),
            ("reset", None, Some(Errno::ECONNRESET)),
            ("drop", Some(Errno::ETIMEDOUT), None),
        ] {
            let before = stage.victim.connect(to, PATIENCE)?.context("no connection")?;
            let error = with(&["a.example"], |questions| questions.tcp = tcp.into());
            let injection = client.inject(on(&stage, error))?;
            let within = if tcp == "drop" { SILENCE } else { PATIENCE };
            let refused = stage.victim.refusal(to, within)?;
            ensure!(refused == refusal, "{tcp:?} {family:?}: {refused:?}");
            ensure!(stage.victim.refusal(beside, PATIENCE)?.is_none(), "{tcp:?}: another port");
            ensure!(stage.bystander.refusal(to, PATIENCE)?.is_none(), "{tcp:?}: the bystander");
            // One that was there goes on, but for what ends with its first question.
            if tcp != "drop" {
                let exchanged = stage.victim.exchange(before, 100, PATIENCE)?;
                ensure!(
                    exchanged.errno == ends.map_or(0, |errno| errno as i32),
                    "{tcp:?}: {exchanged:?}"
                );
            }
            let counters = balanced(&client.recover(&injection.id)?)?;
            ensure!((counters.fired > 0) != tcp.is_empty(), "{tcp:?}: {counters:?}");
            ensure!(stage.victim.refusal(to, PATIENCE)?.is_none(), "{tcp:?}: after it");
            stage.victim.close(before)?;
        }
        // A share is one of connections, whatever each of them sends.
        let error = with(&["a.example"], |questions| questions.tcp = "refuse".into());
        let half = v1::DnsError { percent: Some(50.0), ..error };
        let injection = client.inject(Network::from(half).seed(7).on(&stage.target))?;
        let mut refused = 0;
        for _ in 0..40 {
            refused += u64::from(stage.victim.refusal(to, PATIENCE)?.is_some());
        }
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.fired == refused && (5..36).contains(&refused), "{refused}, {counters:?}");
        for server in servers {
            stage.far.close(server)?;
        }
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn what_was_asked_is_told_unless_the_policy_forbids_it() -> Result<()> {
    let stage = Stage::new()?;
    for (policy, is_told) in [(None, true), (Some("reportNames: false\n".to_owned()), false)] {
        let daemon = stage.daemon_with(Settings { policy, ..Settings::default() })?;
        let client = daemon.client()?;
        let (_server, to) = name_server(&stage, Family::V4)?;
        client.inject(on(&stage, error(&["*.example"], "REFUSED")))?;
        let watcher = daemon.client()?;
        let mut watch = watcher.watch("")?;
        for (name, kind) in [("b.A.example", RecordType::AAAA), ("x-1_y.example", RecordType::TXT)]
        {
            let wanted = v1::Question { name: name.into(), kind: kind.to_string() };
            // A sample: of what comes shortly after another nothing is told.
            poll::until("the question to be told", PATIENCE, || {
                let response = looked_up(&stage.victim, to, name, kind)?;
                ensure!(response.metadata.response_code == ResponseCode::Refused, "{response:?}");
                while let Some(event) = watch.next(Duration::from_millis(50))? {
                    let Event::Firing(v1::Firing { what: Some(What::Packet(packet)), .. }) = event
                    else {
                        continue;
                    };
                    let remote = (packet.remote_address.as_str(), packet.remote_port);
                    ensure!(remote == (to.ip().to_string().as_str(), 53), "{packet:?}");
                    ensure!(packet.question.is_some() == is_told, "{packet:?}");
                    if packet.question.is_none_or(|question| question == wanted) {
                        return Ok(Some(()));
                    }
                }
                Ok(None)
            })?;
        }
        client.recover_all()?;
        drop(watch);
        stage.idle(&daemon)?;
        stage.finish(daemon)?;
    }
    Ok(())
}

fn it_outlives_its_daemon_and_not_its_lease() -> Result<()> {
    const ID: &str = "of-names";
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let (_server, to) = name_server(&stage, Family::V4)?;
    let fault = with(&["*.example"], |questions| questions.except.push("b.a.example".into()));
    daemon.client()?.inject_as(ID, on(&stage, fault))?;
    let bites = || {
        answers_with(&stage.victim, to, "a.example", ResponseCode::Refused)?;
        answers(&stage.victim, to, "b.a.example")?;
        answers(&stage.bystander, to, "a.example")
    };
    bites()?;
    daemon.kill()?;
    bites()?;
    let daemon = stage.daemon()?;
    active(&daemon.client()?.get(ID)?)?;
    bites()?;
    daemon.kill()?;
    poll::until_ok("the lease to lapse", Duration::from_secs(30), || {
        answers(&stage.victim, to, "a.example")
    })?;
    let daemon = stage.daemon()?;
    let found = daemon.client()?.get(ID)?;
    ensure!(found.state() == State::Ended && found.end() == End::Interrupted, "{found:?}");
    answers(&stage.victim, to, "a.example")?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
