//! Programs as they are, with the resolvers that they have: each takes what a fault says for a name server's word, and
//! resolves again after it.

#[path = "dns_programs/clients.rs"]
mod clients;
#[path = "dns_programs/delays.rs"]
mod delays;
#[path = "dns_programs/dig.rs"]
mod dig;
#[path = "dns_programs/names.rs"]
mod names;
#[path = "dns_programs/records.rs"]
mod records;
#[path = "dns_programs/resolvers.rs"]
mod resolvers;
#[path = "dns_programs/servers.rs"]
mod servers;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use self::{
    clients::{Program, Saw},
    names::{
        ADDRESSES, ALIASES, FIRST, FIRST_V6, Look, NAME, Names, OPTIONS, SECOND, SHOPS, TIMEOUT,
        error, error_with, resolv_conf,
    },
};
use crate::harness::tests;

pub(crate) fn all_trials() -> Vec<Trial> {
    let parts = [
        trials(),
        dig::trials(),
        records::trials(),
        delays::trials(),
        servers::trials(),
        resolvers::trials(),
    ];
    parts.into_iter().flatten().collect()
}

tests![
    a_name_is_not_found,
    the_next_server_is_asked_after_an_error,
    the_next_server_is_asked_after_a_silence,
    addresses_of_one_family_are_enough,
    the_next_name_of_a_search_list_is_asked_for,
    an_alias_is_one_question,
    what_is_asked_over_tcp_is_out_of_sight,
];

fn a_name_is_not_found() -> Result<()> {
    let names = Names::new()?;
    let _given = resolv_conf(&[FIRST], OPTIONS)?;
    for look in names.all(NAME, &ADDRESSES)? {
        let (took, counters) = look.under(error(&[NAME], "NXDOMAIN"), &Saw::NoSuchHost)?;
        let program = look.program;
        ensure!(counters.fired == program.questions(), "{program:?}: {counters:?}");
        ensure!(took < TIMEOUT, "{program:?}: {took:?}");
    }
    names.finish()
}

fn the_next_server_is_asked_after_an_error() -> Result<()> {
    let names = Names::new()?;
    let _given = resolv_conf(&[FIRST, SECOND], OPTIONS)?;
    for look in names.all(NAME, &ADDRESSES)? {
        let program = look.program;
        // Of the others `dig` shows what it gets.
        let codes = if program == Program::Dig { 1 } else { 3 };
        for code in &["SERVFAIL", "REFUSED", "NOTIMP"][..codes] {
            let of_first =
                error_with(&[NAME], code, |questions| questions.servers.push(FIRST.into()));
            let (took, counters) = look.under(of_first, &look.usual)?;
            // What musl hears from one server it may ask once more, while it waits for the other.
            let is_asked_once = counters.fired == program.questions() || program == Program::Musl;
            ensure!(is_asked_once, "{program:?}: {code}: {counters:?}");
            ensure!(took < TIMEOUT, "{program:?}: {code}: {took:?}");
        }
        let (_, counters) = look.under(error(&[NAME], "SERVFAIL"), &Saw::Failure)?;
        ensure!(counters.fired >= 2 * program.questions(), "{program:?}: {counters:?}");
    }
    names.finish()
}

fn the_next_server_is_asked_after_a_silence() -> Result<()> {
    let names = Names::new()?;
    let _given = resolv_conf(&[FIRST, SECOND], OPTIONS)?;
    let looks = names.all(NAME, &ADDRESSES)?;
    let looks: Vec<&Look<'_>> = looks.iter().collect();
    let questions = Program::all_questions();
    let of_first = error_with(&[NAME], "timeout", |questions| questions.servers.push(FIRST.into()));
    let (all, counters) = names.under(&looks, of_first, |look| look.usual.clone())?;
    ensure!(counters.fired >= questions, "{counters:?}");
    for (look, seen) in looks.iter().zip(all) {
        // It asks both at once.
        let waits = look.program != Program::Musl;
        ensure!((seen.took >= TIMEOUT) == waits, "{:?}: {seen:?}", look.program);
    }
    let (all, counters) = names.under(&looks, error(&[NAME], "timeout"), |_| Saw::Failure)?;
    ensure!(counters.fired >= 2 * questions, "{counters:?}");
    for (look, seen) in looks.iter().zip(all) {
        ensure!(seen.took >= TIMEOUT, "{:?}: {seen:?}", look.program);
    }
    names.finish()
}

fn addresses_of_one_family_are_enough() -> Result<()> {
    let names = Names::new()?;
    let _given = resolv_conf(&[FIRST], OPTIONS)?;
    let [one, _] = ADDRESSES;
    let fault = |code| error_with(&[NAME], code, |questions| questions.types.push("AAAA".into()));
    let looks = names.all(NAME, &ADDRESSES)?;
    let looks: Vec<&Look<'_>> = looks.iter().filter(|look| look.program != Program::Dig).collect();
    let (found, failure) = (Saw::addresses(&[one])?, Saw::Failure);
    for code in ["NXDOMAIN", "SERVFAIL", "timeout"] {
        let (all, counters) = names.under(&looks, fault(code), |look| {
            // Where one of its questions fails the other one's answer is of no use to it.
            match (look.program, code) {
                (Program::Musl, "NXDOMAIN") => Saw::NoSuchHost,
                (Program::Musl, _) => failure.clone(),
                _ => found.clone(),
            }
        })?;
        ensure!(counters.fired >= looks.len() as u64, "{code}: {counters:?}");
        for (look, seen) in looks.iter().zip(all) {
            let waits = match look.program {
                Program::Musl => code != "NXDOMAIN",
                // Whose questions of two types are on their own.
                Program::Aria2 => false,
                Program::Dig | Program::Getent | Program::Python | Program::Curl | Program::Go => {
                    code == "timeout"
                }
            };
            ensure!((seen.took >= TIMEOUT) == waits, "{code}: {:?}: {seen:?}", look.program);
        }
    }
    names.finish()
}

fn the_next_name_of_a_search_list_is_asked_for() -> Result<()> {
    let names = Names::new()?;
    let search = format!("search one.example two.example\noptions ndots:2\n{OPTIONS}");
    let _given = resolv_conf(&[FIRST], &search)?;
    let [(first, address), (second, next), (bare, last)] = SHOPS;
    for look in names.all(bare, &[address])? {
        for (hit, wanted) in [
            (&[first][..], Saw::addresses(&[next])?),
            (&["*.one.example", second], Saw::addresses(&[last])?),
            (&[first, second, bare], Saw::NoSuchHost),
        ] {
            look.under(error(hit, "NXDOMAIN"), &wanted)?;
        }
    }
    names.finish()
}

/// Which the server, here over IPv6, answers with all that it leads to.
fn an_alias_is_one_question() -> Result<()> {
    let names = Names::new()?;
    let _given = resolv_conf(&[FIRST_V6], OPTIONS)?;
    let [(alias, canonical), _] = ALIASES;
    for look in names.all(alias, &ADDRESSES)? {
        let program = look.program;
        let (_, counters) = look.under(error(&[canonical, NAME], "NXDOMAIN"), &look.usual)?;
        ensure!(counters.matched == 0, "{program:?}: {counters:?}");
        let (_, counters) = look.under(error(&[alias], "NXDOMAIN"), &Saw::NoSuchHost)?;
        ensure!(counters.fired == program.questions(), "{program:?}: {counters:?}");
    }
    names.finish()
}

fn what_is_asked_over_tcp_is_out_of_sight() -> Result<()> {
    let names = Names::new()?;
    let _given = resolv_conf(&[FIRST], &format!("{OPTIONS}options use-vc\n"))?;
    for look in names.all(NAME, &ADDRESSES)? {
        // The others do not know that option.
        if matches!(look.program, Program::Getent | Program::Go) {
            let (_, counters) = look.under(error(&["**"], "NXDOMAIN"), &look.usual)?;
            ensure!(counters.matched == 0, "{:?}: {counters:?}", look.program);
        }
    }
    names.finish()
}
