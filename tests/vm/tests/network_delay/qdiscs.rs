//! Traffic control that a user set up: a delay leaves it as it is, and packets pass it as ever.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::Direction;
use netlink_packet_route::tc::TcHandle;
use nix::libc;

use super::{LATENCY, all_late, all_soon};
use crate::{
    harness::{
        Datagrams, Family, Network, Probe as _, Settings, Stage, attribute, delay, holds_in_memory,
        needs, net, skip, tests,
    },
    victim::UdpOptions,
};

tests![an_fq_codel, a_prio, a_netem, an_htb_and_its_classes, filters_see_every_packet_once];

pub(super) const CLSACT: TcHandle = TcHandle { major: 0xffff, minor: 0xfff1 };
const INGRESS: TcHandle = TcHandle { major: 0xffff, minor: 0xfff2 };
const EGRESS: TcHandle = TcHandle { major: 0xffff, minor: 0xfff3 };

/// Of the qdiscs here.
const HANDLE: u16 = 0x10;
/// An htb class of theirs. Its packets have a priority that means something to an `fq` too.
const CLASS: TcHandle = TcHandle { major: HANDLE, minor: 0x27 };
/// For what asks for none.
const OTHER_CLASS: TcHandle = TcHandle { major: HANDLE, minor: 0x30 };

/// 32-bit numbers as the kernel reads them.
fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// A delay both ways before, during and after which a root qdisc is as it was, also over a crash.
fn beside(
    mut stage: Stage,
    has_own_clsact: bool,
    during: impl Fn(&Stage) -> Result<()>,
) -> Result<()> {
    stage.begin_here()?;
    // Older kernels need a clsact for our hooks.
    let is_clsact_ours = skip::kernel() < (6, 6) && !has_own_clsact;
    let of_others =
        || Ok::<_, anyhow::Error>(stage.observe()?.of_others(0, "near0", is_clsact_ours));
    let before = of_others()?;
    let unchanged = |when: &str| {
        let now = of_others()?;
        ensure!(now == before, "{when}: {now}, before it was {before}");
        Ok(())
    };
    // Where packets wait in the kernel, they are late while no daemon is there.
    let settings = || Settings { lease: Some(Duration::from_secs(120)), ..Settings::default() };
    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let is_lasting = !holds_in_memory(&client)?;
    let flows = [
        stage.udp(
            "out",
            (&stage.victim, net::near(Family::V4)),
            (&stage.far, net::far(Family::V4)),
        )?,
        stage.udp(
            "in",
            (&stage.far, net::far(Family::V4)),
            (&stage.victim, net::near(Family::V4)),
        )?,
    ];
    let bystander = stage.bystander_udp()?;
    let late = || {
        flows.iter().try_for_each(|flow| all_late(flow))?;
        all_soon(&bystander)
    };
    flows.iter().try_for_each(|flow| all_soon(flow))?;
    let spec = Network::from(delay(LATENCY)).direction(Direction::Both).on(&stage.target);
    let injection = client.inject(spec.clone())?;
    late()?;
    unchanged("during")?;
    during(&stage)?;
    client.recover(&injection.id)?;
    flows.iter().try_for_each(|flow| all_soon(flow))?;
    unchanged("after recovery")?;
    stage.idle(&daemon)?;

    client.inject(spec)?;
    daemon.kill()?;
    if is_lasting {
        late()?;
    } else {
        flows.iter().try_for_each(|flow| all_soon(flow))?;
    }
    unchanged("after the crash")?;
    let daemon = stage.daemon_with(settings())?;
    late()?;
    unchanged("after the restart")?;
    daemon.client()?.recover_all()?;
    flows.iter().try_for_each(|flow| all_soon(flow))?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// The same with a qdisc, where the kernel has it.
fn with_root(kind: &str, options: Vec<u8>) -> Result<()> {
    let stage = Stage::new()?;
    root(&stage, "near0", kind, options)?;
    beside(stage, false, |_| Ok(()))
}

/// Gives an interface of the near end a qdisc, where the kernel has it.
pub(super) fn root(stage: &Stage, interface: &str, kind: &str, options: Vec<u8>) -> Result<()> {
    let added = stage.net.near.netlink().add_root(interface, kind, HANDLE, options);
    match added {
        Err(error) if format!("{error:#}").contains("No such file") => {
            skip(format!("no qdisc to add as a user: {error:#}"))
        }
        added => added,
    }
}

fn an_fq_codel() -> Result<()> {
    with_root("fq_codel", Vec::new())
}

fn a_prio() -> Result<()> {
    // Three bands, and the usual map to them.
    let map = [1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1];
    with_root("prio", [words(&[3]), map.to_vec()].concat())
}

fn a_netem() -> Result<()> {
    // No latency, room for 1,000 packets, and nothing else.
    with_root("netem", words(&[0, 1000, 0, 0, 0, 0]))
}

/// What a class has sent.
fn packets(stage: &Stage, class: TcHandle) -> Result<u32> {
    let netlink = stage.net.near.netlink();
    let wanted = u32::from(class.major) << 16 | u32::from(class.minor);
    let classes = netlink.classes(netlink.index("near0")?)?;
    let class = classes.iter().find(|raw| raw.head_u32(8) == wanted).context("no such class")?;
    // `tc_stats` begins with 64 bits of bytes.
    let stats = class.attribute(libc::TCA_STATS).context("a class without counters")?;
    let packets = stats.get(8..12).context("counters that are cut short")?;
    Ok(u32::from_ne_bytes(packets.try_into()?))
}

/// Packets ask for their class by their priority, and still do when they have waited.
fn an_htb_and_its_classes() -> Result<()> {
    let stage = Stage::new()?;
    // Version, divisor of the quantum, and the class of what asks for none.
    root(&stage, "near0", "htb", attribute(2, &words(&[3, 10, OTHER_CLASS.minor.into(), 0, 0])))?;
    // Of Ethernet, 125 MB/s; room for 10 ms in ticks of 64 ns.
    let rate = words(&[0x0000_0100, 0, 125_000_000]);
    let class = [rate.clone(), rate, words(&[156_250, 156_250, 60_000, 0, 0])].concat();
    for handle in [CLASS, OTHER_CLASS] {
        let options = attribute(1, &class);
        stage.net.near.netlink().add_class("near0", "htb", handle, options)?;
    }
    beside(stage, false, |stage| {
        let priority = Some((u32::from(CLASS.major) << 16 | u32::from(CLASS.minor)) as i32);
        let options = UdpOptions { priority, ..UdpOptions::default() };
        let near = SocketAddr::new(net::near(Family::V4), 0);
        let sender = stage.victim.udp_with(near, options)?;
        let receiver = stage.far.udp(net::far(Family::V4))?;
        let (from, to) = ((&stage.victim, sender), (&stage.far, receiver));
        let flow = Datagrams::new(stage, "of a class", from, to, receiver.local);
        let before = packets(stage, CLASS)?;
        all_late(&flow)?;
        let sent = packets(stage, CLASS)? - before;
        ensure!(sent == flow.usual(), "{sent} packets went through the class");
        Ok(())
    })
}

/// How many packets of IPv4 the user's filters have seen: in and out.
fn seen(stage: &Stage) -> Result<[u64; 2]> {
    let netlink = stage.net.near.netlink();
    let index = netlink.index("near0")?;
    let mut seen = [0; 2];
    for (seen, parent) in seen.iter_mut().zip([INGRESS, EGRESS]) {
        let parent = u32::from(parent.major) << 16 | u32::from(parent.minor);
        for filter in netlink.filters(index, parent)? {
            let kind = filter.attribute(libc::TCA_KIND).unwrap_or_default();
            let options = filter.attribute(libc::TCA_OPTIONS).unwrap_or_default();
            // The flags, and the counter behind its header.
            if kind.starts_with(b"matchall") && filter.head_u32(8) != 0 {
                let counter = options.get(12..20).context("a filter without a counter")?;
                *seen = u64::from_ne_bytes(counter.try_into()?);
            }
        }
    }
    Ok(seen)
}

fn filters_see_every_packet_once() -> Result<()> {
    if !skip::own_machine() {
        return skip("others may send IPv4 here");
    }
    let stage = Stage::new()?;
    let netlink = stage.net.near.netlink();
    netlink.add_qdisc("near0", "clsact", CLSACT, 0xffff)?;
    for parent in [INGRESS, EGRESS] {
        // Nothing sends IPv4 here but the test.
        netlink.add_filter_of("near0", parent, 7, libc::ETH_P_IP)?;
    }
    beside(stage, true, |stage| {
        let (near, far) = (net::near(Family::V4), net::far(Family::V4));
        for is_out in [true, false] {
            let flow = |agent| {
                let (near, far) = ((agent, near), (&stage.far, far));
                if is_out { stage.udp("out", near, far) } else { stage.udp("in", far, near) }
            };
            let before = seen(stage)?;
            all_soon(&flow(&stage.bystander)?)?;
            let between = seen(stage)?;
            all_late(&flow(&stage.victim)?)?;
            let after = seen(stage)?;
            for way in 0..2 {
                let (usual, delayed) = (between[way] - before[way], after[way] - between[way]);
                ensure!(
                    usual > 0 && delayed == usual,
                    "{delayed} were seen with the delay and {usual} without; {is_out} {way}"
                );
            }
        }
        Ok(())
    })
}
