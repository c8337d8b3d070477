//! A stage with a name server at its far end, and what programs see of its names under a fault and without one.

use std::{net::SocketAddr, sync::OnceLock, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1;

use super::clients::{Asking, Program, Saw, Seen};
use crate::harness::{
    Client, Daemon, Given, Network, Place, Server, Stage, balanced, needs_programs, poll, program,
};

/// Programs come from a disk, and a VM's clock leaps while it is read.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How long resolvers wait for an answer, and how often they ask: much longer than all else takes.
pub(super) const TIMEOUT: Duration = Duration::from_secs(2);
pub(super) const OPTIONS: &str = "options timeout:2 attempts:2\n";

/// Addresses of the one name server, which knows all names.
pub(super) const FIRST: &str = "10.77.0.2";
pub(super) const FIRST_V6: &str = "fd77::2";
pub(super) const SECOND: &str = "10.77.0.3";

pub(super) const NAME: &str = "web.example";
/// There is no way to them: whoever finds them is done.
pub(super) const ADDRESSES: [&str; 2] = ["192.0.2.7", "2001:db8::7"];
/// What `my.shop` may be short for, in the order of the search list, and an address of each.
pub(super) const SHOPS: [(&str, &str); 3] = [
    ("my.shop.one.example", "192.0.2.11"),
    ("my.shop.two.example", "192.0.2.12"),
    ("my.shop", "192.0.2.13"),
];
/// The first for `NAME`, by way of the second.
pub(super) const ALIASES: [(&str, &str); 2] =
    [("alias.example", "canonical.example"), ("canonical.example", NAME)];

/// Long enough for many capital letters, and what the name server says of it.
pub(super) const LONG: (&str, &str) =
    ("a-name-of-many-letters.that-may-be-small-or-capital.example", "192.0.2.99");

/// As it is without a configuration, in the foreground, as root, and at no addresses but those that it is told.
pub(super) const DNSMASQ: [&str; 8] = [
    "dnsmasq",
    "--no-daemon",
    "--user=",
    "--conf-file=/dev/null",
    "--no-resolv",
    "--no-hosts",
    "--bind-interfaces",
    "--except-interface=lo",
];

pub(super) fn victim(stage: &Stage) -> Result<Place> {
    Place::default().cgroup(&stage.target)?.netns(&stage.net.near)
}

pub(super) fn bystander(stage: &Stage) -> Result<Place> {
    Place::default().cgroup(&stage.sibling)?.netns(&stage.net.near)
}

/// What programs are told of name servers.
pub(super) fn resolv_conf(servers: &[&str], more: &str) -> Result<Given> {
    let servers = servers.iter().map(|server| format!("nameserver {server}\n"));
    Given::new("/etc/resolv.conf", &(servers.collect::<String>() + more))
}

/// Questions for these names fail.
pub(super) fn error(names: &[&str], code: &str) -> Network {
    error_with(names, code, |_| {})
}

/// Some of them do.
pub(super) fn error_with(
    names: &[&str],
    code: &str,
    change: impl FnOnce(&mut v1::DnsQuestions),
) -> Network {
    let names = names.iter().map(ToString::to_string).collect();
    let mut questions = v1::DnsQuestions { names, ..Default::default() };
    change(&mut questions);
    let questions = Some(questions);
    v1::DnsError { questions, code: code.into(), ..Default::default() }.into()
}

/// Runs them once for nothing: then they are in memory, and how long a look-up takes is not how slow the disk is.
fn wake_programs() -> Result<()> {
    const ALL: [&[&str]; 6] = [
        &["dig", "-v"],
        &["getent", "--version"],
        &["python3", "-ISc", "import _socket"],
        &["curl", "--version"],
        &["hey"],
        &["aria2c", "--version"],
    ];
    static AWAKE: OnceLock<()> = OnceLock::new();
    if AWAKE.get().is_none() {
        for argv in ALL {
            drop(program(Place::default(), argv)?);
        }
        AWAKE.get_or_init(|| ());
    }
    Ok(())
}

/// A name server at addresses of the far end, with these records.
pub(super) fn name_server(stage: &Stage, addresses: &[&str], records: &[String]) -> Result<Server> {
    let mut argv = DNSMASQ.to_vec();
    let listens = format!("--listen-address={}", addresses.join(","));
    argv.extend([listens.as_str(), "--local=/example/shop/"]);
    argv.extend(records.iter().map(String::as_str));
    let server = Server::start(Place::default().netns(&stage.net.far)?, &argv)?;
    for address in addresses {
        let at = SocketAddr::new(address.parse()?, 53);
        poll::until_ok("the name server to serve", PATIENCE, || {
            let refusal = stage.bystander.refusal(at, PATIENCE)?;
            ensure!(refusal.is_none(), "{refusal:?}");
            Ok(())
        })?;
    }
    Ok(server)
}

/// One of its records.
pub(super) fn host(name: &str, addresses: &[&str]) -> String {
    format!("--host-record={name},{}", addresses.join(","))
}

/// A stage with a name server at its far end.
pub(super) struct Names {
    pub(super) stage: Stage,
    daemon: Daemon,
    pub(super) client: Client,
    _server: Server,
}

impl Names {
    pub(super) fn new() -> Result<Self> {
        needs_programs()?;
        wake_programs()?;
        let (stage, daemon) = Stage::served()?;
        let client = daemon.client()?;
        let (long, its) = LONG;
        let mut records = vec![host(NAME, &ADDRESSES), host(long, &[its])];
        records.extend(SHOPS.map(|(name, address)| host(name, &[address])));
        records.extend(ALIASES.map(|(alias, name)| format!("--cname={alias},{name}")));
        let server = name_server(&stage, &[FIRST, FIRST_V6, SECOND], &records)?;
        Ok(Self { stage, daemon, client, _server: server })
    }

    /// What all programs see of a name without a fault.
    pub(super) fn all<'a>(&'a self, name: &'a str, addresses: &[&str]) -> Result<Vec<Look<'a>>> {
        let usual = Saw::addresses(addresses)?;
        let looks = Program::ALL.map(|program| {
            let look = Look { names: self, program, name, usual: usual.clone() };
            look.is_as_usual().context("before a fault").map(|()| look)
        });
        looks.into_iter().collect()
    }

    /// What programs see under a fault, all at once. A bystander sees what is there all the while, and so do they after it.
    pub(super) fn under(
        &self,
        looks: &[&Look<'_>],
        fault: Network,
        wanted: impl Fn(&Look<'_>) -> Saw,
    ) -> Result<(Vec<Seen>, v1::Counters)> {
        let injection = self.client.inject(fault.on(&self.stage.target))?;
        let begun = looks.iter().map(|look| look.begin(victim(&self.stage)?));
        let begun = begun.collect::<Result<Vec<_>>>()?;
        for look in looks.iter().take(1) {
            let look = Look { program: Program::Getent, usual: look.usual.clone(), ..**look };
            let seen = look.begin(bystander(&self.stage)?)?.end()?;
            look.is(&seen.saw, &look.usual).context("the bystander")?;
        }
        let mut all = Vec::new();
        for (look, its) in looks.iter().zip(begun) {
            let seen = its.end()?;
            look.is(&seen.saw, &wanted(look)).context("under the fault")?;
            all.push(seen);
        }
        let counters = balanced(&self.client.recover(&injection.id)?)?;
        looks.iter().try_for_each(|look| look.is_as_usual()).context("after the fault")?;
        Ok((all, counters))
    }

    /// The same of all of a list, and which of them sees what.
    pub(super) fn under_all(
        &self,
        looks: &[Look<'_>],
        fault: Network,
        wanted: impl Fn(&Look<'_>) -> Saw,
    ) -> Result<(Vec<(Program, Seen)>, v1::Counters)> {
        let all: Vec<&Look<'_>> = looks.iter().collect();
        let (seen, counters) = self.under(&all, fault, wanted)?;
        Ok((looks.iter().map(|look| look.program).zip(seen).collect(), counters))
    }

    pub(super) fn finish(self) -> Result<()> {
        self.stage.idle(&self.daemon)?;
        self.stage.finish(self.daemon)
    }
}

/// A name for a program to look up.
pub(super) struct Look<'a> {
    names: &'a Names,
    pub(super) program: Program,
    name: &'a str,
    pub(super) usual: Saw,
}

impl Look<'_> {
    fn is(&self, saw: &Saw, wanted: &Saw) -> Result<()> {
        self.program.agrees(saw, wanted).with_context(|| self.name.to_owned())
    }

    fn begin(&self, place: Place) -> Result<Asking> {
        self.program.begin(place, self.name)
    }

    fn is_as_usual(&self) -> Result<()> {
        let seen = self.begin(victim(&self.names.stage)?)?.end()?;
        self.is(&seen.saw, &self.usual)
    }

    /// What it sees under a fault, which is this.
    pub(super) fn under(&self, fault: Network, wanted: &Saw) -> Result<(Duration, v1::Counters)> {
        let (seen, counters) = self.names.under(&[self], fault, |_| wanted.clone())?;
        Ok((seen.iter().map(|seen| seen.took).sum(), counters))
    }
}
