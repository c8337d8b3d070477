//! Programs whose names take longer to be found.

use std::time::Duration;

use anyhow::{Result, ensure};
use chaos_common::proto::v1;

use super::{
    clients::{Program, Saw},
    names::{ADDRESSES, FIRST, FIRST_V6, Look, NAME, Names, resolv_conf},
};
use crate::harness::{Network, needs, questions::questions, tests, wire};

tests![names_take_longer, one_family_takes_longer];

/// More than all programs take that are begun at once, and less than they wait for an answer.
const LATENCY: Duration = Duration::from_millis(1500);
const OPTIONS: &str = "options timeout:10 attempts:2\n";

fn delay(names: &[&str], of: &str, types: &[&str]) -> Network {
    let types = types.iter().map(ToString::to_string).collect();
    let questions = Some(v1::DnsQuestions { types, ..questions(names) });
    let latency = wire(LATENCY);
    v1::DnsDelay { questions, of: of.into(), latency, ..Default::default() }.into()
}

fn names_take_longer() -> Result<()> {
    let names = Names::new()?;
    needs(&names.client, "dns delay")?;
    let _given = resolv_conf(&[FIRST], OPTIONS)?;
    let looks = names.all(NAME, &ADDRESSES)?;
    let usual = |look: &Look<'_>| look.usual.clone();
    for of in ["queries", "answers"] {
        let (all, counters) = names.under_all(&looks, delay(&[NAME], of, &[]), usual)?;
        ensure!(counters.fired == Program::all_questions(), "{of}: {counters:?}");
        for (program, seen) in all {
            ensure!(seen.took >= LATENCY, "{of}: {program:?}: {seen:?}");
        }
    }
    // What is asked of another type only is not: it does not take so long because they are many.
    let (all, counters) = names.under_all(&looks, delay(&["*.example"], "", &["TXT"]), usual)?;
    ensure!(counters.matched == 0, "{counters:?}");
    for (program, seen) in all {
        ensure!(seen.took < LATENCY, "{program:?}: {seen:?}");
    }
    names.finish()
}

fn one_family_takes_longer() -> Result<()> {
    let names = Names::new()?;
    needs(&names.client, "dns delay")?;
    let _given = resolv_conf(&[FIRST_V6], OPTIONS)?;
    let looks = names.all(NAME, &ADDRESSES)?;
    let one = Saw::addresses(&ADDRESSES[..1])?;
    for of in ["queries", "answers"] {
        let (all, counters) =
            names.under_all(&looks, delay(&[NAME], of, &["AAAA"]), |look| match look.program {
                // It goes on with what it has.
                Program::Aria2 => one.clone(),
                Program::Dig
                | Program::Getent
                | Program::Python
                | Program::Curl
                | Program::Musl
                | Program::Go => look.usual.clone(),
            })?;
        ensure!(counters.fired == Program::ALL.len() as u64 - 1, "{of}: {counters:?}");
        for (program, seen) in all {
            let waits = !matches!(program, Program::Dig | Program::Aria2);
            ensure!((seen.took >= LATENCY) == waits, "{of}: {program:?}: {seen:?}");
        }
    }
    names.finish()
}
