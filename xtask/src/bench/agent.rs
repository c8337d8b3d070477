//! The process that sends and receives, in a cgroup and a network namespace: reads orders line by line,
//! answers each with one line.

mod link;
mod stream;

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

use link::Link;

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
    let mut links = HashMap::new();
    for order in io::stdin().lock().lines() {
        let order = order?;
        let answer = obey(&order, &mut links).with_context(|| format!("cannot do {order:?}"))?;
        say(&answer)?;
    }
    Ok(())
}

fn obey(order: &str, links: &mut HashMap<String, Link>) -> Result<String> {
    let words: Vec<&str> = order.split(' ').collect();
    let known = |name: &str| format!("there is no link {name}");
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
