//! `dns error` and `dns record` against whatever may be in a packet: no question goes wrong, and nothing else is touched.

#[path = "dns_fuzz/corpus.rs"]
mod corpus;
#[path = "dns_fuzz/frame.rs"]
mod frame;
#[path = "dns_fuzz/oracle.rs"]
mod oracle;
#[path = "dns_fuzz/payload.rs"]
mod payload;
#[path = "dns_fuzz/records.rs"]
mod records;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail, ensure};
use bpf_witness::Object;
use chaos_common::proto::v1::{self, Direction, Protocol};

use self::{
    corpus::{LONGEST, Random},
    oracle::{Became, Expected, Rule, Says, Verdict},
    records::Records,
};
use crate::{
    harness::{Client, Daemon, Network, Stage, active, balanced, net, tests},
    victim::{Seen, Tried, UdpOptions},
};

tests![
    programs_are_tried_with_anything,
    anything_is_sent_over_a_wire,
    anything_is_sent_over_the_loopback,
    what_arrives_is_left_as_it_is,
];

/// In the order in which they are asked: those that lose packets are first.
fn rules() -> Vec<Rule> {
    let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    let both = ["198.51.100.1", "198.51.100.2", "203.0.113.0/24", "2001:db8::1", "2001:db8:7::/48"];
    let v4 = (1..=28).map(|last| format!("198.51.100.{last}"));
    let v6 = (1..=40).map(|last| format!("2001:db8::{last}"));
    vec![
        Rule { names: &["silent.test"], except: &[], types: &[], says: Says::Nothing },
        Rule {
            names: &["a.example", "example", "*.x", LONGEST],
            except: &["no.x", "*.deep.x"],
            types: &[],
            says: Says::Code(3),
        },
        Rule {
            names: &["rec.test", "*.rec.test"],
            except: &["no.rec.test"],
            types: &[],
            says: Says::Records(Records { addresses: texts(&both), cname: None, ttl: 75 }),
        },
        Rule {
            names: &["*.c"],
            except: &[],
            types: &[],
            says: Says::Records(Records {
                addresses: texts(&["192.0.2.1", "2001:db8:9::/64"]),
                // Of odd length, also as labels.
                cname: Some("edge.of"),
                ttl: 0,
            }),
        },
        // With a name of about 50 bytes those of IPv4 fill 512, and with one of about 90 those of IPv6 fill 1232.
        Rule {
            names: &["many", "*.many"],
            except: &[],
            types: &[],
            says: Says::Records(Records {
                addresses: v4.chain(v6).collect(),
                cname: None,
                ttl: 3600,
            }),
        },
        Rule { names: &["**"], except: &["*.example", "b"], types: &[16, 65], says: Says::Code(5) },
    ]
}

/// Frames that an agent is given at once.
const BATCH: usize = 500;
/// The kernel is told to redirect (`TC_ACT_REDIRECT`), and to ask the next.
const REDIRECT: i32 = 7;
const NEXT: i32 = -1;
/// The loopback's, in every namespace.
const LOOPBACK: u32 = 1;

/// Makes the faults of these rules.
fn inject(client: &Client, stage: &Stage, rules: &[Rule]) -> Result<Vec<String>> {
    let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    let one = |rule: &Rule| {
        let questions = v1::DnsQuestions {
            names: texts(rule.names),
            except: texts(rule.except),
            types: rule.types.iter().map(|kind| format!("TYPE{kind}")).collect(),
            ..Default::default()
        };
        let error = |questions, code: &str| v1::DnsError {
            questions: Some(questions),
            code: code.into(),
            ..Default::default()
        };
        let fault = match &rule.says {
            Says::Nothing => Network::from(error(questions, "timeout")),
            Says::Code(3) => error(questions, "NXDOMAIN").into(),
            Says::Code(5) => error(questions, "REFUSED").into(),
            Says::Code(other) => bail!("{other} has no name here"),
            Says::Records(records) => records.fault(questions).into(),
        };
        let fault = fault.lasting(Duration::from_secs(600));
        let injection = client.inject(fault.on(&stage.target))?;
        active(&injection)?;
        Ok(injection.id)
    };
    rules.iter().map(one).collect()
}

/// A program of the daemon's, by either of the two names that it may have.
fn program(daemon: &Daemon, name: &str) -> Result<Object> {
    let exact = bpf_witness::program_of(daemon.pid(), name);
    exact.or_else(|_| bpf_witness::program_of(daemon.pid(), &format!("{name}_close")))
}

/// All frames, and the seed of the random ones among them: another one each time, unless `CHAOS_FUZZ_SEED` gives one.
struct Frames {
    all: Vec<Vec<u8>>,
    seed: u64,
}

impl Frames {
    fn new(count: usize) -> Result<Self> {
        let seed = match std::env::var("CHAOS_FUZZ_SEED") {
            Ok(text) => text.parse().context("CHAOS_FUZZ_SEED is no number")?,
            Err(_) => SystemTime::UNIX_EPOCH.elapsed()?.as_nanos() as u64,
        };
        let families = net::families();
        let mut all = Vec::new();
        for family in &families {
            let made = [corpus::plain(*family), corpus::large(*family), corpus::changed(*family)];
            all.extend(made.iter().flatten().map(frame::Frame::bytes));
            all.extend(corpus::headers_changed(*family));
        }
        all.extend(corpus::random(&mut Random(seed), &families, count));
        Ok(Self { all, seed })
    }

    /// Fails where something became of a frame that should not have. `run` says what becomes of several.
    fn check(
        &self,
        rules: &[Rule],
        run: impl Fn(Vec<Vec<u8>>) -> Result<Vec<Became>>,
    ) -> Result<()> {
        let (mut tally, mut wrong) = (BTreeMap::<_, usize>::new(), Vec::new());
        for batch in self.all.chunks(BATCH) {
            let became = run(batch.to_vec())?;
            ensure!(became.len() == batch.len(), "{} of {} are told", became.len(), batch.len());
            for (frame, became) in batch.iter().zip(became) {
                let expected = Expected::of(frame, rules)?;
                *tally.entry(expected.verdict()?).or_default() += 1;
                if let Err(error) = expected.check(frame, &became) {
                    wrong.push(format!("{}: {error:#}; {expected:x?}", hex(frame)));
                }
            }
        }
        let first = wrong.iter().take(5).fold(String::new(), |list, one| list + "\n" + one);
        let count = wrong.len();
        ensure!(count == 0, "CHAOS_FUZZ_SEED={}: {count} frames go wrong:{first}", self.seed);
        let enough = [
            (Verdict::Passes, 2000),
            (Verdict::Answered, 500),
            (Verdict::WithRecords, 400),
            (Verdict::CutShort, 100),
            (Verdict::Lost, 20),
        ];
        for (verdict, least) in enough {
            let count = tally.get(&verdict).copied().unwrap_or_default();
            ensure!(count >= least, "too few frames are {verdict:?}: {tally:?}");
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a trial run says of a frame.
fn tried(interface: u32, tried: Tried) -> Result<Became> {
    let Some(verdict) = tried.verdict else { return Ok(Became::Refused) };
    Ok(match (verdict, tried.changed) {
        (NEXT, None) => Became::Untouched,
        // There the other side of the interface is this one.
        (NEXT, Some(answer)) if interface == LOOPBACK => Became::Answer(answer),
        (REDIRECT, None) => Became::Lost,
        (REDIRECT, Some(_)) if interface == LOOPBACK => Became::Lost,
        (REDIRECT, Some(answer)) => Became::AnswerOrLost(answer),
        (verdict, changed) => bail!("{verdict} is said of what is now {changed:02x?}"),
    })
}

fn programs_are_tried_with_anything() -> Result<()> {
    let (stage, daemon) = Stage::served_with_loopback()?;
    let client = daemon.client()?;
    let rules = rules();
    let faults = inject(&client, &stage, &rules)?;
    let program = program(&daemon, "net_out")?;
    let wire = stage.net.near.netlink().index("near0")?;
    for interface in [wire, LOOPBACK] {
        let run = |frames| {
            let told = stage.victim.try_frames(program, interface, frames)?;
            told.into_iter().map(|one| tried(interface, one)).collect::<Result<Vec<_>>>()
        };
        let first = run(vec![corpus::last()])?;
        ensure!(!matches!(first[..], [Became::Untouched]), "a plain question is not met");
        Frames::new(5000)?.check(&rules, run)?;
    }
    for id in &faults {
        balanced(&client.recover(id)?)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn anything_is_sent_over_a_wire() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let wire = stage.net.near.netlink().index("near0")?;
    sent(stage, daemon, wire, |frame, seen| match (&seen.left[..], &seen.came[..]) {
        ([left], []) if left == frame => Ok(Became::Untouched),
        ([], []) => Ok(Became::Lost),
        ([], [answer]) => Ok(Became::Answer(answer.clone())),
        _ => bail!("{} became {seen:02x?}", hex(frame)),
    })
}

fn anything_is_sent_over_the_loopback() -> Result<()> {
    let (stage, daemon) = Stage::served_with_loopback()?;
    sent(stage, daemon, LOOPBACK, |frame, seen| match (&seen.left[..], &seen.came[..]) {
        // A tag is taken off what comes.
        ([left], [_]) if left == frame => Ok(Became::Untouched),
        ([left], [came]) if left == came => Ok(Became::Answer(left.clone())),
        ([], []) => Ok(Became::Lost),
        _ => bail!("{} became {seen:02x?}", hex(frame)),
    })
}

fn sent(
    stage: Stage,
    daemon: Daemon,
    interface: u32,
    became: impl Fn(&[u8], &Seen) -> Result<Became>,
) -> Result<()> {
    let client = daemon.client()?;
    let rules = rules();
    let faults = inject(&client, &stage, &rules)?;
    Frames::new(2000)?.check(&rules, |frames| {
        let seen = stage.victim.transmit(interface, frames.clone(), corpus::last())?;
        frames.iter().zip(&seen).map(|(frame, seen)| became(frame, seen)).collect()
    })?;
    for id in &faults {
        balanced(&client.recover(id)?)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// The program that sees what comes in by an interface, which a fault of what comes in brings there.
fn what_arrives_is_left_as_it_is() -> Result<()> {
    let (stage, daemon) = Stage::served_with_loopback()?;
    let client = daemon.client()?;
    let reject = Network::from(v1::NetworkReject::default());
    let reject = reject.direction(Direction::In).protocol(Protocol::Udp).remote(&["192.0.2.99"]);
    client.inject(reject.on(&stage.target))?;
    inject(&client, &stage, &rules())?;
    // They are looked up by their receiver.
    for family in net::families() {
        stage.victim.udp_with(SocketAddr::new(net::any(family), 53), UdpOptions::default())?;
    }
    let program = program(&daemon, "net_arrive")?;
    let wire = stage.net.near.netlink().index("near0")?;
    for interface in [wire, LOOPBACK] {
        let run = |frames| stage.victim.try_frames(program, interface, frames);
        let is_left = |told: &Tried| {
            told.changed.is_none() && told.verdict.is_none_or(|verdict| verdict == NEXT)
        };
        let mut from_there = corpus::last();
        from_there[26..30].copy_from_slice(&[192, 0, 2, 99]);
        let told = run(vec![from_there])?;
        ensure!(!told.iter().all(is_left), "what is to be rejected is not: {told:02x?}");
        let Frames { all, seed } = Frames::new(2000)?;
        for batch in all.chunks(BATCH) {
            for (frame, told) in batch.iter().zip(run(batch.to_vec())?) {
                ensure!(is_left(&told), "CHAOS_FUZZ_SEED={seed}: {}: {told:02x?}", hex(frame));
            }
        }
    }
    client.recover_all()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
