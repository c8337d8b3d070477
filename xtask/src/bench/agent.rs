//! The process that sends and receives, in a cgroup and a network namespace: reads orders line by line,
//! answers each with one line.

mod call;
mod dns;
mod far;
mod flow;
mod link;
mod stream;
mod transfer;

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufRead as _, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sched::{CloneFlags, setns},
    sys::{prctl::set_pdeathsig, signal::Signal},
};

use dns::Asker;
use flow::Flow;
use link::Link;

use crate::flight::Plan;

/// Where to be.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The directory of a cgroup.
    #[arg(long)]
    cgroup: Option<PathBuf>,
    /// The file of a network namespace.
    #[arg(long)]
    netns: Option<PathBuf>,
}

/// Obeys until the input ends.
pub(crate) fn run(options: &Options) -> Result<()> {
    set_pdeathsig(Signal::SIGKILL).context("cannot tie the agent to the bench")?;
    // Sockets keep the cgroup and the namespace in which they are made.
    if let Some(cgroup) = &options.cgroup {
        fs::write(cgroup.join("cgroup.procs"), "0").context("cannot enter the cgroup")?;
    }
    if let Some(netns) = &options.netns {
        let netns = File::open(netns).context("cannot open the namespace")?;
        setns(netns, CloneFlags::CLONE_NEWNET).context("cannot enter the namespace")?;
    }
    let mut ways = Ways::default();
    for order in io::stdin().lock().lines() {
        let order = order?;
        let answer = obey(&order, &mut ways).with_context(|| format!("cannot do {order:?}"))?;
        say(&answer)?;
    }
    Ok(())
}

/// To where it can send, by name.
#[derive(Default)]
struct Ways {
    links: HashMap<String, Link>,
    flows: HashMap<String, Flow>,
    askers: HashMap<String, Asker>,
}

fn obey(order: &str, ways: &mut Ways) -> Result<String> {
    let words: Vec<&str> = order.split(' ').collect();
    let Ways { links, flows, askers } = ways;
    let known = |name: &str| format!("there is no link or flow {name}");
    Ok(match words[..] {
        ["link", name, address, netns] => {
            links.insert(name.to_owned(), Link::open(address.parse()?, netns)?);
            "ok".to_owned()
        }
        ["send", name, batches] => {
            links.get_mut(name).with_context(|| known(name))?.send(batches.parse()?)?.to_string()
        }
        ["write", name, times] => {
            links.get_mut(name).with_context(|| known(name))?.write(times.parse()?)?.to_string()
        }
        ["race", name] => {
            let link = links.get_mut(name).with_context(|| known(name))?;
            link.race(|| say("going"))?.to_string()
        }
        ["flow", name, address, netns] => {
            flows.insert(name.to_owned(), Flow::open(address.parse()?, netns)?);
            "ok".to_owned()
        }
        ["fly", name, count, bytes, apart, patience] => {
            let plan = Plan {
                count: count.parse()?,
                bytes: bytes.parse()?,
                apart: Duration::from_nanos(apart.parse()?),
                patience: Duration::from_nanos(patience.parse()?),
            };
            let flow = flows.get(name).with_context(|| known(name))?;
            say("going")?;
            flow.send(&plan)?.to_string()
        }
        ["round", name, trips] => {
            let flow = flows.get(name).with_context(|| known(name))?;
            let (half, most) = flow.trips(trips.parse()?)?;
            format!("{half} {most}")
        }
        ["transfer", address, netns, warm_up, duration] => {
            let [warm_up, duration] = [warm_up, duration]
                .map(|millis| Ok::<_, anyhow::Error>(Duration::from_millis(millis.parse()?)));
            transfer::run(address.parse()?, netns, warm_up?, duration?)?.to_string()
        }
        ["ask-nobody", name, address, netns, question] => {
            let asker = Asker::of_nobody(address.parse()?, netns, question)?;
            askers.insert(name.to_owned(), asker);
            "ok".to_owned()
        }
        ["ask-server", name, address, question] => {
            askers.insert(name.to_owned(), Asker::of_server(address.parse()?, question)?);
            "ok".to_owned()
        }
        ["ask", name, batches] => {
            askers.get(name).with_context(|| known(name))?.ask(batches.parse()?)?.to_string()
        }
        ["hear", name, times] => {
            askers.get(name).with_context(|| known(name))?.hear(times.parse()?)?.to_string()
        }
        ["serve-names", address] => {
            dns::serve(address.parse()?)?;
            "ok".to_owned()
        }
        ["open", path, times] => call::open_and_close(path, times.parse()?)?.to_string(),
        ["open-in-vain", path, times] => call::open_in_vain(path, times.parse()?)?.to_string(),
        ["umask", times] => call::cheapest(times.parse()?)?.to_string(),
        ["failures", path, times] => call::failures(path, times.parse()?)?.to_string(),
        ["serve"] => stream::serve()?,
        ["trips", address, times] => stream::trips(address.parse()?, times.parse()?)?.to_string(),
        ["bulk", address, millis] => {
            stream::bulk(address.parse()?, Duration::from_millis(millis.parse()?))?.to_string()
        }
        _ => bail!("no such order"),
    })
}

fn say(answer: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{answer}")?;
    out.flush()?;
    Ok(())
}
