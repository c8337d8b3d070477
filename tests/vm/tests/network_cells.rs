//! Kinds that copy packets, let them overtake each other or queue for a slow line, in every family, transport and
//! direction: beside those of [`network_loss`](crate::network_loss), delay, corruption and partition, which have more to
//! tell and tell it themselves.

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{self, Direction, network_rate::Excess, network_reorder::Model};
use libtest_mimic::Trial;

use crate::harness::{Network, Round, Stage, Transport, balanced, needs, net, trial, wire};
use crate::network_delay::{LATENCY, all_soon};

#[derive(Clone, Copy, Debug)]
enum Kind {
    Duplicate,
    Reorder,
    Rate,
}

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for kind in [Kind::Duplicate, Kind::Reorder, Kind::Rate] {
        for (direction, word) in [(Direction::Out, "out"), (Direction::In, "in")] {
            let name = format!("{kind:?}_{word}").to_lowercase();
            trials.push(trial(module_path!(), &name, move || cells(kind, direction)));
        }
    }
    trials
}

impl Kind {
    const fn fault(self) -> &'static str {
        match self {
            Self::Duplicate => "network duplicate",
            Self::Reorder => "network reorder",
            Self::Rate => "network rate",
        }
    }

    fn spec(self) -> Network {
        match self {
            Self::Duplicate => v1::NetworkDuplicate { percent: 100.0, ..Default::default() }.into(),
            Self::Reorder => {
                let model = Some(Model::Every(2));
                v1::NetworkReorder { model, time: wire(LATENCY), ..Default::default() }.into()
            }
            // 500 bytes a second for small packets of some 70 bytes.
            Self::Rate => v1::NetworkRate {
                bits_per_second: 4_000,
                burst_bytes: Some(1_600),
                excess: Some(Excess::QueueBytes(1 << 20)),
                ..Default::default()
            }
            .into(),
        }
    }

    /// How many times what is usual it takes to see it.
    const fn rounds(self, transport: Transport) -> u32 {
        match (self, transport) {
            // The line lets 1,600 bytes go at once.
            (Self::Rate, Transport::Udp | Transport::Icmp | Transport::RawIcmp) => 3,
            (Self::Duplicate | Self::Reorder | Self::Rate, _) => 1,
        }
    }

    /// What tells it from no fault.
    fn shows(self, transport: Transport, round: &Round) -> bool {
        let late = || round.late_us.iter().any(|late| *late >= LATENCY.as_micros() as i64);
        match (self, transport) {
            (Self::Duplicate, Transport::Udp) => round.arrived.len() == 2 * round.sent as usize,
            // Of two answers to one echo request the second is not counted.
            (Self::Duplicate, Transport::Icmp | Transport::RawIcmp) => true,
            // It arrives whole and in order whatever the packets do, which their counter tells.
            (_, Transport::Tcp) => true,
            (Self::Reorder, Transport::Udp) => late() && !round.arrived.is_sorted(),
            (Self::Reorder | Self::Rate, Transport::Udp | Transport::Icmp | Transport::RawIcmp) => {
                late()
            }
        }
    }
}

fn cells(kind: Kind, direction: Direction) -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, kind.fault())?;
    let stranger = stage.in_other_namespace(&stage.sibling)?;
    // Echo replies have no socket: nothing but a verdict is for them.
    let transports = match direction {
        Direction::In => &[Transport::Udp, Transport::Tcp][..],
        Direction::Out | Direction::Both | Direction::Unspecified => {
            &[Transport::Udp, Transport::Tcp, Transport::Icmp]
        }
    };
    for family in net::families() {
        let ends = (net::address(family, 79, 1), net::address(family, 79, 2));
        let outsider = stage.udp("outsider", (&stranger, ends.0), (&stage.far, ends.1))?;
        for transport in transports.iter().copied() {
            let what = format!("{family:?} {transport:?}");
            let victim = stage.flow(&stage.victim, transport, family, direction)?;
            let bystander = stage.flow(&stage.bystander, transport, family, direction)?;
            let injection = client.inject(kind.spec().direction(direction).on(&stage.target))?;
            let count = victim.usual() * kind.rounds(transport);
            let copies = u32::from(matches!((kind, transport), (Kind::Duplicate, Transport::Udp)));
            let round = victim.round(count, count * (1 + copies)).context(what.clone())?;
            let mut arrived = round.arrived.clone();
            arrived.sort_unstable();
            arrived.dedup();
            ensure!(arrived.len() == count as usize, "{what}: not all arrived: {round:?}");
            ensure!(kind.shows(transport, &round), "{what}: nothing of it: {round:?}");
            all_soon(&*bystander).context(what.clone())?;
            all_soon(&outsider)?;
            let counters = balanced(&client.recover(&injection.id)?)?;
            ensure!(counters.fired > 0, "{what}: {counters:?}");
            all_soon(&*victim).context(what)?;
        }
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
