//! What `dig` shows of a response.

use std::time::Duration;

use anyhow::{Result, ensure};
use chaos_common::proto::v1;

use super::names::{ADDRESSES, FIRST, NAME, Names, OPTIONS, bystander, error, resolv_conf, victim};
use crate::harness::{Network, Place, balanced, program, questions::questions, tests, wire};

tests![it_asks_in_many_ways, it_reads_chosen_records, it_asks_over_tcp];

/// What `dig` says with these words.
fn dig(place: Place, words: &[&str]) -> Result<String> {
    let output = program(place, &[&["dig", "+noall", "+comments", "+question"], words].concat())?;
    ensure!(output.code == 0 && output.err.is_empty(), "{words:?}: {output:?}");
    let complains = output.out.to_lowercase().contains("warning");
    ensure!(!complains, "{words:?}: {output:?}");
    Ok(output.out)
}

/// The same, of a name that it finds.
fn finds(place: Place, words: &[&str]) -> Result<String> {
    let said = dig(place, words)?;
    ensure!(said.contains("status: NOERROR,"), "{words:?}: {said}");
    Ok(said)
}

fn it_asks_in_many_ways() -> Result<()> {
    let names = Names::new()?;
    let stage = &names.stage;
    let _given = resolv_conf(&[FIRST], OPTIONS)?;
    finds(victim(stage)?, &[NAME])?;
    let usual = Some((1232, ""));
    for (words, flags, options) in [
        (&["WEB.eXample"][..], "rd ra", usual),
        (&[NAME, "any", "+notcp"], "rd ra", usual),
        (&["-x", ADDRESSES[0]], "rd ra", usual),
        (&[NAME, "@fd77::2"], "rd ra", usual),
        (&[NAME, "+norecurse", "+cdflag", "+adflag"], "ra cd", usual),
        (&[NAME, "+noedns"], "rd ra", None),
        (&[NAME, "+bufsize=512"], "rd ra", Some((512, ""))),
        (&[NAME, "+bufsize=4096", "+dnssec"], "rd ra", Some((4096, " do"))),
        (&[NAME, "+nocookie"], "rd ra", usual),
        (&[NAME, "+padding=468", "+nsid", "+subnet=192.0.2.0/24"], "rd ra", usual),
    ] {
        let injection = names.client.inject(error(&["**"], "NXDOMAIN").on(&stage.target))?;
        let (said, other) = (dig(victim(stage)?, words)?, finds(bystander(stage)?, words)?);
        let counters = balanced(&names.client.recover(&injection.id)?)?;
        ensure!(counters.fired == 1, "{words:?}: {counters:?}");
        let head = format!("flags: qr {flags}; QUERY: 1, ANSWER: 0, AUTHORITY: 0,");
        let is_told = said.contains("status: NXDOMAIN,") && said.contains(&head);
        ensure!(is_told, "{words:?}: {said}");
        let question =
            |said: &str| said.lines().find(|line| line.contains("\tIN\t")).map(str::to_owned);
        ensure!(
            question(&said).is_some() && question(&said) == question(&other),
            "{words:?}: {said}"
        );
        let line = said.lines().find(|line| line.starts_with("; EDNS:"));
        let wanted =
            options.map(|(size, flags)| format!("; EDNS: version: 0, flags:{flags}; udp: {size}"));
        ensure!(line == wanted.as_deref(), "{words:?}: {said}");
    }
    finds(victim(stage)?, &[NAME])?;
    names.finish()
}

fn it_reads_chosen_records() -> Result<()> {
    let names = Names::new()?;
    let stage = &names.stage;
    let _given = resolv_conf(&[FIRST], OPTIONS)?;
    finds(victim(stage)?, &[NAME])?;
    let (v4, v6) = (["198.51.100.7", "198.51.100.8"], ["2001:db8:1::7"]);
    let record = v1::DnsRecord {
        questions: Some(questions(&[NAME])),
        addresses: v4.iter().chain(&v6).map(ToString::to_string).collect(),
        cname: "edge.cdn.test".into(),
        ttl: wire(Duration::from_secs(75)),
        ..Default::default()
    };
    let injection = names.client.inject(Network::from(record).on(&stage.target))?;
    let asked: [&[&str]; 8] = [
        &[NAME, "A"],
        &[NAME, "AAAA"],
        &[NAME, "MX"],
        &["WEB.eXample", "A"],
        &[NAME, "A", "+noedns"],
        &[NAME, "A", "+bufsize=4096", "+dnssec"],
        &[NAME, "A", "@fd77::2"],
        &[NAME, "AAAA", "@fd77::2"],
    ];
    for words in asked {
        let (name, kind) = (words[0], words[1]);
        let addresses = match kind {
            "A" => &v4[..],
            "AAAA" => &v6,
            _ => &[],
        };
        let mut wanted = vec![format!("{name}. 75 IN CNAME edge.cdn.test.")];
        wanted.extend(addresses.iter().map(|one| format!("edge.cdn.test. 75 IN {kind} {one}")));
        let said = finds(victim(stage)?, &[words, &["+answer"]].concat())?;
        let records = said.lines().filter(|line| line.contains("\tIN\t") && !line.starts_with(';'));
        let words_of = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut records: Vec<String> = records.map(words_of).collect();
        // They come in any order.
        records.sort_by_key(|line| (!line.contains(" CNAME "), line.clone()));
        ensure!(records == wanted, "{words:?}: {said}");
        let head = format!("QUERY: 1, ANSWER: {}, AUTHORITY: 0,", wanted.len());
        ensure!(said.contains("flags: qr rd ra;") && said.contains(&head), "{words:?}: {said}");
    }
    let counters = balanced(&names.client.recover(&injection.id)?)?;
    ensure!(counters.fired == asked.len() as u64, "{counters:?}");
    names.finish()
}

/// Which nobody can tell from its packets.
fn it_asks_over_tcp() -> Result<()> {
    let names = Names::new()?;
    let stage = &names.stage;
    let _given = resolv_conf(&[FIRST], OPTIONS)?;
    finds(victim(stage)?, &[NAME])?;
    let injection = names.client.inject(error(&["**"], "NXDOMAIN").on(&stage.target))?;
    finds(victim(stage)?, &[NAME, "+tcp"])?;
    finds(victim(stage)?, &[NAME, "+tcp", "@fd77::2"])?;
    finds(bystander(stage)?, &[NAME])?;
    let said = dig(victim(stage)?, &[NAME])?;
    ensure!(said.contains("status: NXDOMAIN,"), "{said}");
    let counters = balanced(&names.client.recover(&injection.id)?)?;
    ensure!(counters.matched == 1, "{counters:?}");
    finds(victim(stage)?, &[NAME])?;
    names.finish()
}
