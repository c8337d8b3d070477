//! What a target pays for a fault of names that is not about its packets, and how soon an answer is there that no name
//! server gives.

use std::{
    net::UdpSocket,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use chaos_common::proto::v1::{self, Direction, fault::Fault};

use crate::{
    compare::{Condition, Samples, compare, nothing},
    daemon::{Daemon, loss, never, spec},
    place::{Cgroup, NetNs},
    program::Empty,
    row::{Goal, Row},
    setting::{OPERATIONS, Scene, Subjects, measure},
    worker::Worker,
};

const CLOSE_TO_EMPTY: Goal = Goal::AtMost(1.05);
const FLAT: Goal = Goal::NearOne(0.05);
/// How many names faults have.
const NAMES: [(&str, usize); 3] = [("one name", 1), ("100 names", 100), ("10,000 names", MANY)];
const MANY: usize = 10_000;
/// Ends as some of them do, and is none of them.
const ANOTHER: &str = "n12345.names.example";
const MEANT: &str = "n0.names.example";
/// Batches of questions, and questions with their answers, in one measurement of a round.
const BATCHES: u32 = 100;
const ANSWERS: u32 = 300;
const LOOPBACK: &str = "127.0.0.1";
const FAR: &str = "10.9.0.2";

pub(super) fn run(subjects: &Subjects) -> Result<Vec<Row>> {
    let daemon = Daemon::start(subjects)?;
    let mut rows = passing(subjects, &daemon)?;
    for server in [Server::Least, Server::Dnsmasq] {
        for (place, address) in [("lo", LOOPBACK), ("veth", FAR)] {
            rows.push(answered(subjects, &daemon, server, place, address)?);
        }
    }
    Ok(rows)
}

/// Says of so many names that they do not exist.
fn fault(cgroup: &Cgroup, count: usize) -> v1::Spec {
    let names = (0..count).map(|number| format!("n{number}.names.example")).collect();
    let questions = Some(v1::DnsQuestions { names, ..Default::default() });
    let code = "NXDOMAIN".into();
    spec(cgroup, Fault::DnsError(v1::DnsError { questions, code, ..Default::default() }))
}

/// What goes on: packets that are no questions, and questions for another name.
fn passing(subjects: &Subjects, daemon: &Daemon) -> Result<Vec<Row>> {
    let mut scene = Scene::new()?;
    let empty = Empty::load(subjects.empty()?)?;
    scene.worker.ask_nobody("lo", LOOPBACK, None, ANOTHER)?;
    scene.worker.ask_nobody("veth", FAR, Some(&scene.far), ANOTHER)?;
    let cgroup = &scene.cgroup;
    let mut conditions: Vec<Condition<'_>> = vec![
        Box::new(|| empty.attach_out(&scene.netns)),
        Box::new(|| daemon.during(loss(cgroup, never(Direction::Out)))),
    ];
    for (_, count) in NAMES {
        conditions.push(Box::new(move || daemon.during(fault(cgroup, count))));
    }
    let worker = &mut scene.worker;
    let samples = compare(subjects.rounds, &mut conditions, || {
        let mut figures = measure(worker)?;
        figures.extend([worker.question("lo", BATCHES)?, worker.question("veth", BATCHES)?]);
        Ok(figures)
    })?;
    let questions = ["a question for another name, lo", "a question for another name, veth"];
    let operations = OPERATIONS.into_iter().chain(questions);
    let (empty, loss, one) = (0, 1, 2);
    let many = one + NAMES.len() - 1;
    let mut rows = Vec::new();
    for (at, operation) in operations.enumerate() {
        for (number, (names, _)) in NAMES.iter().enumerate() {
            let name = format!("dns, {names}: {operation}");
            let row = against(name, &samples, (one + number, empty), "empty program", at);
            rows.push(row.goal(CLOSE_TO_EMPTY));
        }
        let name = format!("dns, one name, to network loss: {operation}");
        rows.push(against(name, &samples, (one, loss), "network loss, no match", at));
        let name = format!("dns, 10,000 names, to one: {operation}");
        rows.push(against(name, &samples, (many, one), "one name", at).goal(FLAT));
    }
    Ok(rows)
}

/// One condition held against another, with what half of the rounds lie between.
fn against(
    name: String,
    samples: &Samples,
    (of, to): (usize, usize),
    what: &str,
    at: usize,
) -> Row {
    let (low, high) = samples.spread(of, to, at);
    let figure = samples.figure(to, at);
    let baseline = format!("{what}: {figure:.0} ns; half of the rounds: {low:.3} to {high:.3}");
    Row::ratio(name, samples.ratio(of, to, at), baseline)
}

/// Who says that there is no such name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Server {
    /// A socket that turns questions round.
    Least,
    Dnsmasq,
}

impl Server {
    const fn name(self) -> &'static str {
        match self {
            Self::Least => "the least server",
            Self::Dnsmasq => "dnsmasq",
        }
    }
}

/// A question with its answer: by the fault, beside a name server on this machine.
fn answered(
    subjects: &Subjects,
    daemon: &Daemon,
    server: Server,
    place: &str,
    address: &str,
) -> Result<Row> {
    let name = format!("dns, an answer, {place}: beside {}", server.name());
    let scene = Scene::new()?;
    let at = if address == FAR { &scene.far } else { &scene.netns };
    let (elsewhere, mut least, mut other) = (Cgroup::new()?, None, None);
    match server {
        Server::Least => {
            let mut worker = Worker::start(&elsewhere, at)?;
            worker.serve_names(address)?;
            least = Some(worker);
        }
        Server::Dnsmasq => match Dnsmasq::start(at, address)? {
            Some(dnsmasq) => other = Some(dnsmasq),
            None => return Ok(Row::not_measured(name, "×", "there is no dnsmasq (dnsmasq-base)")),
        },
    }
    let mut asker = scene.worker;
    asker.ask_server(place, address, MEANT)?;
    let cgroup = &scene.cgroup;
    let mut conditions: [Condition<'_>; 2] =
        [nothing(), Box::new(|| daemon.during(fault(cgroup, MANY)))];
    let samples =
        compare(subjects.rounds, &mut conditions, || Ok(vec![asker.answered(place, ANSWERS)?]))?;
    drop((least, other));
    Ok(against(name, &samples, (1, 0), server.name(), 0).goal(Goal::AtMost(1.0)))
}

/// A running name server that knows no name. It is killed at the end.
struct Dnsmasq(Child);

impl Dnsmasq {
    /// `None` if this machine has none.
    fn start(netns: &NetNs, address: &str) -> Result<Option<Self>> {
        netns.within(|| {
            let child = Command::new("dnsmasq")
                .args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file"])
                .args(["--user=root", "--no-resolv", "--no-hosts", "--local=/example/"])
                .args(["--bind-interfaces", &format!("--listen-address={address}")])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            let child = match child {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                child => child.context("cannot start dnsmasq")?,
            };
            let dnsmasq = Self(child);
            let end = Instant::now() + Duration::from_secs(10);
            // Its port is taken once it serves.
            while UdpSocket::bind((address, 53)).is_ok() {
                if Instant::now() > end {
                    bail!("dnsmasq does not serve");
                }
                sleep(Duration::from_millis(10));
            }
            Ok(Some(dnsmasq))
        })
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
