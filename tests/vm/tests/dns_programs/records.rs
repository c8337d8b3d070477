//! What programs make of records that are chosen for them.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1;

use super::{
    clients::{Program, Saw},
    names::{
        ADDRESSES, FIRST, FIRST_V6, NAME, Names, OPTIONS, PATIENCE, TIMEOUT, bystander,
        resolv_conf, victim,
    },
};
use crate::harness::{
    Network, PROGRAMS, Place, Server, balanced, poll, program, questions::questions, tests,
};

tests![
    chosen_records_are_believed,
    what_is_cut_short_is_asked_over_tcp,
    curl_goes_where_it_is_told,
];

const CHOSEN: [&str; 3] = ["198.51.100.7", "198.51.100.8", "2001:db8:1::7"];
/// Of odd length, and no server knows it.
const ALIAS: &str = "edge.cdn.test";

/// Other records of the name.
fn record(record: v1::DnsRecord) -> Network {
    v1::DnsRecord { questions: Some(questions(&[NAME])), ..record }.into()
}

fn addresses(addresses: &[&str]) -> v1::DnsRecord {
    let addresses = addresses.iter().map(ToString::to_string).collect();
    v1::DnsRecord { addresses, ..Default::default() }
}

fn chosen_records_are_believed() -> Result<()> {
    let names = Names::new()?;
    let _given = resolv_conf(&[FIRST], OPTIONS)?;
    let looks = names.all(NAME, &ADDRESSES)?;
    let alias = |record| v1::DnsRecord { cname: ALIAS.into(), ..record };
    let (chosen, nothing) = (|| addresses(&CHOSEN), v1::DnsRecord::default);
    let (found, none) = (Saw::addresses(&CHOSEN)?, Saw::NoAddresses);
    for (given, wanted) in [
        (chosen(), &found),
        (v1::DnsRecord { empty: true, ..nothing() }, &none),
        (alias(chosen()), &found),
        (alias(nothing()), &none),
    ] {
        let is_dead_end = given.addresses.is_empty() && !given.empty;
        let what = format!("{given:?}");
        let (all, counters) = names
            .under_all(&looks, record(given), |look| {
                // For glibc an alias of nothing is nothing.
                let is_none = is_dead_end && look.program == Program::Python;
                if is_none { Saw::NoSuchHost } else { wanted.clone() }
            })
            .with_context(|| what.clone())?;
        ensure!(counters.fired == Program::all_questions(), "{what}: {counters:?}");
        for (program, seen) in all {
            ensure!(seen.took < TIMEOUT, "{what}: {program:?}: {seen:?}");
        }
    }
    names.finish()
}

fn what_is_cut_short_is_asked_over_tcp() -> Result<()> {
    let names = Names::new()?;
    let _given = resolv_conf(&[FIRST_V6], OPTIONS)?;
    let looks = names.all(NAME, &ADDRESSES)?;
    let cut = || v1::DnsRecord { truncated: true, ..Default::default() };
    let (_, counters) = names.under_all(&looks, record(cut()), |look| look.usual.clone())?;
    ensure!(counters.fired == Program::all_questions(), "{counters:?}");

    let questions = v1::DnsQuestions { tcp: "refuse".into(), ..questions(&[NAME]) };
    let refused = v1::DnsRecord { questions: Some(questions), ..cut() };
    let (_, counters) = names.under_all(&looks, refused.into(), |_| Saw::Failure)?;
    ensure!(counters.fired >= 2 * Program::all_questions(), "{counters:?}");

    // More than fits into 512 bytes: those that have room for it go on over UDP.
    let many: Vec<String> = (1..=40).map(|last| format!("198.51.100.{last}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let (whole, one) = (Saw::addresses(&many)?, Saw::addresses(&ADDRESSES[..1])?);
    let (_, counters) =
        names.under_all(&looks, record(addresses(&many)), |look| match look.program {
            Program::Dig | Program::Aria2 => whole.clone(),
            // glibc asks over TCP for both families then, the others for that one.
            Program::Getent | Program::Python | Program::Curl => look.usual.clone(),
            Program::Musl | Program::Go => one.clone(),
        })?;
    ensure!(counters.fired == Program::all_questions(), "{counters:?}");
    names.finish()
}

fn curl_goes_where_it_is_told() -> Result<()> {
    let names = Names::new()?;
    let stage = &names.stage;
    let _given = resolv_conf(&[FIRST], OPTIONS)?;
    let folder = tempfile::tempdir_in(format!("{PROGRAMS}/tmp"))?;
    fs::write(folder.path().join("page"), "chosen")?;
    let path = folder.path().strip_prefix(PROGRAMS)?.to_str().context("no text")?;
    let path = format!("/{path}");
    let listens = "10.77.0.4:80";
    let argv = ["busybox", "httpd", "-f", "-p", listens, "-h", &path];
    let _server = Server::start(Place::default().netns(&stage.net.far)?, &argv)?;
    poll::until_ok("the page to be served", PATIENCE, || {
        let refusal = stage.bystander.refusal(listens.parse()?, PATIENCE)?;
        ensure!(refusal.is_none(), "{refusal:?}");
        Ok(())
    })?;
    let url = format!("http://{NAME}/page");
    let argv = ["curl", "-sS", "--max-time", "15", "-w", " of %{remote_ip}", &url];
    let gets = |place| program(place, &argv);
    let no_way = |place| {
        let output = gets(place)?;
        ensure!(output.code == 7, "{output:?}");
        Ok(())
    };
    no_way(victim(stage)?)?;
    let injection = names.client.inject(record(addresses(&["10.77.0.4"])).on(&stage.target))?;
    let output = gets(victim(stage)?)?;
    ensure!(output.out == "chosen of 10.77.0.4", "{output:?}");
    no_way(bystander(stage)?)?;
    let counters = balanced(&names.client.recover(&injection.id)?)?;
    ensure!(counters.fired == Program::Curl.questions(), "{counters:?}");
    no_way(victim(stage)?)?;
    names.finish()
}
