//! Programs that ask another name server than they think.

use anyhow::{Result, ensure};
use chaos_common::proto::v1;

use super::{
    clients::{Program, Saw},
    names::{
        ADDRESSES, FIRST, FIRST_V6, NAME, Names, OPTIONS, TIMEOUT, host, name_server, resolv_conf,
    },
};
use crate::harness::{Network, skip::needs_ipv6, tests};

tests![another_server_is_asked, nobody_is_asked];

const OTHER: &str = "10.77.0.4";
const OTHER_V6: &str = "fd77::4";
/// What the other name server says.
const ELSEWHERE: [&str; 2] = ["198.51.100.9", "2001:db8:2::9"];

/// That one is asked.
pub(super) fn server(to: &str) -> Network {
    v1::DnsServer { upstream: vec![to.into()], ..Default::default() }.into()
}

fn another_server_is_asked() -> Result<()> {
    let names = Names::new()?;
    needs_ipv6()?;
    let _other = name_server(&names.stage, &[OTHER, OTHER_V6], &[host(NAME, &ELSEWHERE)])?;
    let (v4, v6) = (format!("{OTHER}:53"), format!("[{OTHER_V6}]:53"));
    let elsewhere = Saw::addresses(&ELSEWHERE)?;
    for (servers, to) in [
        (&[FIRST][..], &v4),
        (&[FIRST_V6], &v6),
        // The first one has no other, and is as if it were not there.
        (&[FIRST_V6, FIRST], &v4),
        (&[FIRST, FIRST_V6], &v6),
    ] {
        let _given = resolv_conf(servers, OPTIONS)?;
        let looks = names.all(NAME, &ADDRESSES)?;
        let (all, counters) = names.under_all(&looks, server(to), |_| elsewhere.clone())?;
        ensure!(counters.fired >= Program::ALL.len() as u64, "{servers:?}: {counters:?}");
        for (program, seen) in all {
            ensure!(seen.took < TIMEOUT, "{servers:?}: {program:?}: {seen:?}");
        }
    }
    names.finish()
}

fn nobody_is_asked() -> Result<()> {
    let names = Names::new()?;
    let _given = resolv_conf(&[FIRST], OPTIONS)?;
    let looks = names.all(NAME, &ADDRESSES)?;
    let none = v1::DnsServer { none: true, ..Default::default() };
    let (all, counters) = names.under_all(&looks, none.into(), |_| Saw::Failure)?;
    ensure!(counters.fired >= Program::all_questions(), "{counters:?}");
    for (program, seen) in all {
        // Its socket is not connected, and is not told.
        let waits = program == Program::Musl;
        ensure!((seen.took >= TIMEOUT) == waits, "{program:?}: {seen:?}");
    }
    names.finish()
}
