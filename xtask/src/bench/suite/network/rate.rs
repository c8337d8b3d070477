//! How much goes through a slow line: datagrams, and what TCP's receiver reads, beside tbf.

use std::time::Duration;

use anyhow::{Context as _, Result};
use chaos_common::proto::v1::{self, fault::Fault};

use super::wire::{FAR, FLOW, Wire, root_qdisc};
use crate::{
    compare::Leave,
    daemon::{Daemon, everything, spec},
    flight::{Flight, Packet, Plan},
    place::NetNs,
    row::{Goal, Row},
    setting::Subjects,
    worker::Worker,
};

const LINES: [Line; 4] = [
    Line::of(1, 8_000, 5_000, 20_000),
    Line::of(10, 4_000, 3_000, 8_000),
    Line::of(100, 1_000, 1_000, 2_000),
    Line::of(1_000, 300, 500, 500),
];
/// Of Ethernet, IP and UDP.
const UDP_HEADERS: usize = 14 + 20 + 8;
/// A full packet of TCP with time stamps, and what of it the application gets.
const TCP_PACKET: f64 = 1514.0;
const TCP_PAYLOAD: f64 = 1448.0;
/// On the wire.
const DATAGRAM: usize = 1500;
/// So much more than the line takes is sent.
const LOAD: f64 = 1.25;
/// One in so many packets at each end arrives while the line finds its pace or runs dry.
const ENDS: usize = 5;
/// What has to go without a line, or it is not the line that is measured.
const ROOM: f64 = 1.1;
/// The most that can be asked for, in bits a second.
const UNLIMITED: u64 = 100_000_000_000;
const EXACT: Goal = Goal::NearOne(0.02);

struct Line {
    /// Megabits a second.
    mega: u64,
    /// How long datagrams are sent.
    datagrams: Duration,
    /// How long TCP has to find the rate.
    warm_up: Duration,
    /// How long it is measured then.
    measured: Duration,
}

impl Line {
    const fn of(mega: u64, datagrams: u64, warm_up: u64, measured: u64) -> Self {
        Self {
            mega,
            datagrams: Duration::from_millis(datagrams),
            warm_up: Duration::from_millis(warm_up),
            measured: Duration::from_millis(measured),
        }
    }
}

/// What goes over it.
#[derive(Clone, Copy)]
enum Traffic {
    Udp,
    Tcp,
}

impl Traffic {
    const ALL: [Self; 2] = [Self::Udp, Self::Tcp];

    fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP, what is read",
        }
    }

    /// Bits a second on the wire.
    fn rate(self, worker: &mut Worker, far: &NetNs, line: &Line) -> Result<f64> {
        match self {
            Self::Udp => datagrams(worker, line),
            Self::Tcp => stream(worker, far, line),
        }
    }
}

pub(in crate::suite) fn run(subjects: &Subjects) -> Result<Vec<Row>> {
    let daemon = Daemon::start(subjects)?;
    let mut wire = Wire::new()?;
    let Wire { worker, cgroup, near, far } = &mut wire;
    let mut rows = Vec::new();
    for traffic in Traffic::ALL {
        let room = traffic.rate(worker, far, &LINES[LINES.len() - 1])?;
        for line in &LINES {
            let bits = line.mega * 1_000_000;
            let asked = bits as f64;
            let name = format!("network rate {} Mbit/s: {}", line.mega, traffic.name());
            if room < asked * ROOM {
                let why = format!("without a fault this machine carries {:.0} Mbit/s", room / 1e6);
                rows.push(Row::not_measured(name, "×", &why));
                continue;
            }
            let mut during = |leave: Leave<'_>| -> Result<f64> {
                let rate = traffic.rate(worker, far, line)?;
                leave()?;
                Ok(rate / asked)
            };
            let ours = |bits| {
                let filter = Some(everything());
                let rate = v1::NetworkRate { bits_per_second: bits, filter, ..Default::default() };
                daemon.during(spec(cgroup, Fault::NetworkRate(rate)))
            };
            let value = during(ours(bits)?)?;
            let tbf = during(root_qdisc(near, &tbf(bits))?)?;
            let row = Row::ratio(name, value, format!("asked; tbf: {tbf:.3}")).goal(EXACT);
            rows.push(if row.met == Some(true) {
                row
            } else {
                let most = during(ours(UNLIMITED)?)? * line.mega as f64;
                let why = format!(
                    "asked; tbf: {tbf:.3}; at 100 Gbit/s this machine carries {most:.0} Mbit/s"
                );
                row.against(why)
            });
        }
    }
    Ok(rows)
}

/// With the burst and the queue that ours has unless told otherwise.
fn tbf(bits: u64) -> String {
    let second = bits / 8;
    format!("tbf rate {bits}bit burst {} limit {}", (second / 100).max(1600), second.max(65_536))
}

fn datagrams(worker: &mut Worker, line: &Line) -> Result<f64> {
    let a_second = LOAD * line.mega as f64 * 1e6 / (8 * DATAGRAM) as f64;
    let plan = Plan {
        count: (a_second * line.datagrams.as_secs_f64()) as usize,
        bytes: DATAGRAM - UDP_HEADERS,
        apart: Duration::from_secs_f64(1.0 / a_second),
        patience: Duration::from_secs(3),
    };
    pace(&worker.fly(FLOW, &plan)?).context("hardly anything arrived")
}

fn pace(flight: &Flight) -> Option<f64> {
    let mut arrivals: Vec<i64> = flight.0.iter().filter_map(Packet::arrived).collect();
    arrivals.sort_unstable();
    let end = arrivals.len() / ENDS;
    let middle = arrivals.get(end..arrivals.len() - end)?;
    let (first, last) = (middle.first()?, middle.last()?);
    let bits = (middle.len() - 1) * DATAGRAM * 8;
    (last > first).then(|| bits as f64 * 1e9 / (last - first) as f64)
}

/// From what TCP's receiver reads.
fn stream(worker: &mut Worker, far: &NetNs, line: &Line) -> Result<f64> {
    let bytes = worker.transfer(FAR, far, line.warm_up, line.measured)?;
    Ok(bytes * 8.0 * TCP_PACKET / TCP_PAYLOAD)
}
