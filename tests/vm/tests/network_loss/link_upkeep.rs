//! What the kernel says for all who share a network namespace, through a socket of whoever made it: a
//! fault on the maker must leave it alone.

use anyhow::{Result, ensure};
use chaos_common::proto::v1::Direction;

use crate::harness::{
    Agent, Datagrams, Family, Loss, NetNs, Observed, Place, Probe as _, Stage, active, balanced,
    net, skip, tests,
};

tests![neighbours_are_found_beside_a_target_that_made_the_namespace];

const NET: u8 = 78;

/// A target in a network namespace of its own making, wired to the far end, and somebody else in there.
struct Home {
    maker: Agent,
    lodger: Agent,
    netns: NetNs,
}

impl Home {
    fn new(stage: &Stage) -> Result<Self> {
        let maker = Agent::start(Place::default().cgroup(&stage.target)?.own_netns())?;
        let netns = NetNs::of(maker.pid())?;
        net::wire(&netns, "near1", &stage.net.far, "far2", NET)?;
        let lodger = Agent::start(Place::default().cgroup(&stage.sibling)?.netns(&netns)?)?;
        Ok(Self { maker, lodger, netns })
    }

    /// UDP to the far end and from there, and echo requests.
    fn flows<'a>(&'a self, stage: &'a Stage, agent: &'a Agent) -> Result<[Datagrams<'a>; 3]> {
        let who = if std::ptr::eq(agent, &self.maker) { "maker" } else { "lodger" };
        let (near, far) = (net::address(Family::V6, NET, 1), net::address(Family::V6, NET, 2));
        let echo = (agent, agent.ping(near)?);
        Ok([
            stage.udp(format!("{who}, out"), (agent, near), (&stage.far, far))?,
            stage.udp(format!("{who}, in"), (&stage.far, far), (agent, near))?,
            Datagrams::new(stage, format!("{who}, echo"), echo, echo, (far, 0).into()),
        ])
    }

    /// Makes both ends of the wire ask for each other again. They must have known each other.
    fn forget(&self, stage: &Stage) -> Result<()> {
        let known = [
            self.netns.netlink().forget_neighbours("near1")?,
            stage.net.far.netlink().forget_neighbours("far2")?,
        ];
        ensure!(!known.contains(&0), "they had not met: {known:?}");
        Ok(())
    }
}

fn neighbours_are_found_beside_a_target_that_made_the_namespace() -> Result<()> {
    skip::needs_ipv6()?;
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let home = Home::new(&stage)?;
    let before = Observed::now(&[&home.netns], &[])?;
    let (makers, lodgers) = (home.flows(&stage, &home.maker)?, home.flows(&stage, &home.lodger)?);
    makers.iter().chain(&lodgers).try_for_each(|flow| flow.all_arrive())?;

    let loss = Loss::all().direction(Direction::Both).on(&stage.target);
    let injection = client.inject(loss)?;
    active(&injection)?;
    let during = Observed::now(&[&home.netns], &[])?;
    ensure!(during.hooks(0) > 0, "no hook is where the lodger's packets pass");
    for flow in &lodgers {
        home.forget(&stage)?;
        flow.all_arrive()?;
    }
    // The kernel's questions and answers were not even asked about.
    let counters = balanced(&client.get(&injection.id)?)?;
    ensure!(counters.matched == 0, "{counters:?}");
    makers.iter().try_for_each(|flow| flow.none_arrive())?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired > 0 && counters.fired == counters.matched, "{counters:?}");
    makers.iter().chain(&lodgers).try_for_each(|flow| flow.all_arrive())?;
    stage.idle(&daemon)?;
    Observed::now(&[&home.netns], &[])?.same_as(&before)?;
    drop((makers, lodgers));
    drop(home);
    stage.finish(daemon)
}
