//! Specs that make sense.

use std::time::Duration;

use chaos_common::{
    fault::{
        Answer, BindAddress, Burst, Checksum, Connections, DelayOf, DelayParts, Direction,
        Distribution, DnsCode, DnsDelay, DnsError, DnsRecord, DnsServer, DnsTcp, Excess, Fault,
        FourStates, LossModel, NetworkCorrupt, NetworkDelay, NetworkDuplicate, NetworkFilter,
        NetworkLoss, NetworkOccupy, NetworkPartition, NetworkRate, NetworkReject, NetworkReorder,
        Occupation, Protocol, Questions, RecordParts, Region, ReorderModel, Table, Transports,
        With,
    },
    spec::{Spec, Times},
    target::{Target, pid},
    value::{
        BitRate, Bytes, Cidr, Dscp, Dscps, Errno, Every, HostName, InterfaceName, Lifetime,
        NameServer, Percent, PortList, PortRange, PortRanges, Remotes, Share, Volume, Wait,
    },
};
use proptest::{collection::vec, option, prelude::*};

pub(crate) fn spec() -> impl Strategy<Value = Spec> {
    let times = (1..u64::MAX).prop_map(|times| Times::try_from(times).unwrap());
    (target(), fault(), lifetime(), option::of(times), option::of(any::<u64>())).prop_map(
        |(target, fault, duration, times, seed)| {
            let has_events = fault.has_events();
            let (times, seed) = (times.filter(|_| has_events), seed.filter(|_| has_events));
            Spec { target, fault, duration, times, seed }
        },
    )
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        "[A-Za-z0-9@:_.\\\\-]{1,40}\\.(service|scope|slice)"
            .prop_map(|name| Target::Unit(name.parse().unwrap())),
        // Many of them are numbers to YAML.
        "[0-9]{6,20}|[0-9]{3}e[0-9]{3}|[0-9a-f]{6,64}"
            .prop_map(|id| Target::Container(id.parse().unwrap())),
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
            .prop_map(|uid| Target::Pod(uid.parse().unwrap())),
        (1..=u32::MAX).prop_map(|number| Target::Pid(pid(number.into()).unwrap())),
        "/|(/[^/.\\pC][^/\\pC]{0,20}){1,5}".prop_map(|path| Target::Cgroup(path.parse().unwrap())),
    ]
}

fn lifetime() -> impl Strategy<Value = Lifetime> {
    let (least, most) = (Lifetime::MIN.get().as_nanos(), Lifetime::MAX.get().as_nanos());
    (least as u64..=most as u64).prop_map(|nanos| Duration::from_nanos(nanos).try_into().unwrap())
}

fn percent() -> impl Strategy<Value = Percent> {
    prop_oneof![Just(100.0), Just(f64::MIN_POSITIVE), 1e-9..100.0]
        .prop_map(|number: f64| number.try_into().unwrap())
}

fn share() -> impl Strategy<Value = Share> {
    let correlation = prop_oneof![Just(0.0), 1e-9..99.9];
    let correlation = correlation.prop_map(|number: f64| number.try_into().unwrap());
    (percent(), option::of(correlation))
        .prop_map(|(percent, correlation)| Share::new(percent, correlation).unwrap())
}

fn every() -> impl Strategy<Value = Every> {
    prop_oneof![2..100u64, 2..=u64::MAX].prop_map(|every| every.try_into().unwrap())
}

/// More than nothing.
fn wait() -> impl Strategy<Value = Wait> {
    (1..=Wait::MAX.nanos()).prop_map(|nanos| Duration::from_nanos(nanos).try_into().unwrap())
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        (loss_model(), filter())
            .prop_map(|(model, filter)| Fault::NetworkLoss(NetworkLoss { model, filter })),
        delay().prop_map(Fault::NetworkDelay).boxed(),
        (share(), 1..=8u64, filter()).prop_map(|(share, copies, filter)| {
            let copies = copies.try_into().unwrap();
            Fault::NetworkDuplicate(NetworkDuplicate { share, copies, filter })
        }),
        (reorder_model(), wait(), filter()).prop_map(|(model, time, filter)| {
            Fault::NetworkReorder(NetworkReorder { model, time, filter })
        }),
        corrupt().prop_map(Fault::NetworkCorrupt).boxed(),
        rate().prop_map(Fault::NetworkRate).boxed(),
        filter().prop_map(|filter| {
            Fault::NetworkPartition(NetworkPartition::try_from(filter).unwrap())
        }),
        reject().prop_map(Fault::NetworkReject).boxed(),
        dns_error().prop_map(Fault::DnsError).boxed(),
        dns_record().prop_map(Fault::DnsRecord).boxed(),
        dns_delay().prop_map(Fault::DnsDelay).boxed(),
        dns_server().prop_map(Fault::DnsServer).boxed(),
        occupy().prop_map(Fault::NetworkOccupy).boxed(),
    ]
}

fn occupy() -> impl Strategy<Value = NetworkOccupy> {
    let range = (1..=65_000u16, 0..100u16)
        .prop_map(|(first, more)| PortRange::new(first, first + more).unwrap());
    let ports = vec(range, 1..10).prop_map(|ranges| PortList::try_from(ranges).unwrap());
    let protocols =
        prop_oneof![Just(Transports::Tcp), Just(Transports::Udp), Just(Transports::Both)];
    let address = any::<std::net::IpAddr>()
        .prop_filter_map("refused", |address| BindAddress::try_from(address).ok());
    let refuse = option::of(percent()).prop_map(|percent| Occupation::refuse(percent).unwrap());
    let how = prop_oneof![Just(Occupation::Hold), refuse];
    (ports, protocols, option::of(address), how).prop_map(|(ports, protocols, address, how)| {
        NetworkOccupy { ports, protocols, address, how }
    })
}

fn asked(tcp: &'static [DnsTcp]) -> impl Strategy<Value = Questions> {
    let name = || "(\\*\\.)?[a-z]{1,9}(\\.[a-z]{1,3}){0,3}".prop_map(|text| text.parse().unwrap());
    let kind = (1..=u16::MAX).prop_map(|number| format!("TYPE{number}").parse().unwrap());
    let names = vec(prop_oneof![3 => name(), 1 => Just("**".parse().unwrap())], 1..4);
    let tcp = prop::sample::select(tcp);
    let except = "[a-z]{1,9}\\.except".prop_map(|text| text.parse().unwrap());
    (names, vec(except, 0..3), vec(kind, 0..8), tcp).prop_map(|(names, except, types, tcp)| {
        let (servers, ports) = Default::default();
        Questions { names, except, types, servers, ports, tcp }
    })
}

fn dns_error() -> impl Strategy<Value = DnsError> {
    let code = prop::sample::select(&DnsCode::ALL[..]);
    (asked(&DnsTcp::OF_ANSWERS), code, percent()).prop_map(|(questions, code, percent)| {
        DnsError::new(questions, Some(code), Some(percent)).unwrap()
    })
}

fn dns_record() -> impl Strategy<Value = DnsRecord> {
    let address = prop_oneof!["10\\.[1-9]\\.0\\.0/[1-9]", "fd00::[1-9a-f]{1,4}", "random"];
    let addresses = vec(address.prop_map(|text| text.parse().unwrap()), 0..20);
    let cname = option::of("[a-z]{1,9}(\\.[a-z]{1,3}){0,3}".prop_map(|text| text.parse().unwrap()));
    let ttl = option::of((0..3600_u32).prop_map(|seconds| format!("{seconds}s").parse().unwrap()));
    let records =
        (addresses, cname, ttl, percent()).prop_map(|(addresses, cname, ttl, percent)| {
            let empty = addresses.is_empty() && cname.is_none();
            let ttl = if empty { None } else { ttl };
            RecordParts {
                addresses,
                cname,
                empty,
                ttl,
                percent: Some(percent),
                ..Default::default()
            }
        });
    let cut = Just(RecordParts { truncated: true, ..Default::default() });
    (asked(&DnsTcp::OF_ANSWERS), prop_oneof![4 => records, 1 => cut])
        .prop_map(|(questions, parts)| DnsRecord::new(questions, parts).unwrap())
}

fn dns_delay() -> impl Strategy<Value = DnsDelay> {
    let of = prop::sample::select(&DelayOf::ALL[..]);
    (asked(&DnsTcp::OF_DELAYS), of, wait(), wait(), percent()).prop_map(
        |(questions, of, latency, jitter, percent)| {
            DnsDelay::new(questions, Some(of), latency, Some(jitter), Some(percent)).unwrap()
        },
    )
}

fn dns_server() -> impl Strategy<Value = DnsServer> {
    let v4 = "10\\.0\\.0\\.[1-9](:[1-9][0-9]{0,3})?".prop_map(|text| text.parse().unwrap());
    let v6 = "fd00::[1-9a-f]{1,4}".prop_map(|text| text.parse().unwrap());
    (option::of(v4), option::of(v6), percent()).prop_map(|(v4, v6, percent)| {
        let to: Vec<NameServer> = v4.into_iter().chain(v6).collect();
        let (none, (servers, ports)) = (to.is_empty(), Default::default());
        DnsServer::new(to, none, servers, ports, Some(percent)).unwrap()
    })
}

fn reject() -> impl Strategy<Value = NetworkReject> {
    let answer = prop::sample::select(&Answer::ALL[..]).prop_map(With::Answer);
    let answers = (answer, percent(), filter()).boxed();
    let errno = prop::sample::select(Errno::all().collect::<Vec<_>>()).prop_map(With::Connect);
    let plain = NetworkFilter::default().checked().unwrap();
    let calls = (errno, percent(), Just(plain.clone())).boxed();
    let open =
        (Just(With::ResetOpen), Just(Percent::try_from(100.0).unwrap()), Just(plain)).boxed();
    prop_oneof![answers, calls, open].prop_map(|(with, percent, filter)| {
        NetworkReject::new(with, Some(percent), filter).unwrap()
    })
}

fn loss_model() -> impl Strategy<Value = LossModel> {
    let burst = (percent(), percent(), percent(), option::of(percent())).prop_map(
        |(enter, leave, inside, outside)| {
            let outside = outside.unwrap_or(Percent::ZERO);
            LossModel::Burst(Burst { enter, leave, inside, outside })
        },
    );
    let states = (percent(), percent(), percent(), percent(), percent()).prop_filter_map(
        "more than all",
        |(p13, p31, p32, p23, p14)| {
            FourStates { p13, p31, p32, p23, p14 }.checked().ok().map(LossModel::FourStates)
        },
    );
    prop_oneof![
        share().prop_map(LossModel::Share),
        burst,
        states,
        every().prop_map(LossModel::Every)
    ]
}

fn reorder_model() -> impl Strategy<Value = ReorderModel> {
    prop_oneof![share().prop_map(ReorderModel::Share), every().prop_map(ReorderModel::Every)]
}

fn delay() -> impl Strategy<Value = NetworkDelay> {
    let table = vec(-16.0..=16.0, 2..200)
        .prop_map(|values| Distribution::Table(Table::try_from(values).unwrap()));
    let distribution = prop_oneof![
        Just(Distribution::Uniform),
        Just(Distribution::Normal),
        Just(Distribution::Pareto),
        Just(Distribution::ParetoNormal),
        table,
    ];
    let jitter = (wait(), option::of(distribution), option::of(percent()));
    (wait(), option::of(jitter), any::<bool>(), option::of(percent()), filter()).prop_map(
        |(latency, jitter, reorder, percent, filter)| {
            let (jitter, distribution, correlation) = jitter
                .map_or((None, None, None), |(jitter, distribution, correlation)| {
                    (Some(jitter), distribution, correlation)
                });
            DelayParts { latency, jitter, distribution, correlation, reorder, percent, filter }
                .try_into()
                .unwrap()
        },
    )
}

fn corrupt() -> impl Strategy<Value = NetworkCorrupt> {
    let regions = [Region::Payload, Region::Headers];
    let checksums = [Checksum::Broken, Checksum::Fixed];
    (
        share(),
        1..=16u64,
        prop::sample::select(regions.to_vec()),
        prop::sample::select(checksums.to_vec()),
        filter(),
    )
        .prop_map(|(share, bits, region, checksum, filter)| {
            let bits = bits.try_into().unwrap();
            NetworkCorrupt { share, bits, region, checksum, filter }
        })
}

fn rate() -> impl Strategy<Value = NetworkRate> {
    // What even the slowest line takes less than an hour for.
    let bytes = |least: u64| prop_oneof![(least..=400_000).prop_map(Bytes), Just(Bytes(100_000))];
    let excess = prop_oneof![Just(Excess::Drop), bytes(65_536).prop_map(Excess::Queue)];
    (
        1_000..=100_000_000_000u64,
        option::of(bytes(1_600)),
        option::of(excess),
        any::<bool>(),
        filter(),
    )
        .prop_map(|(bits, burst, excess, per_connection, filter)| {
            let rate = BitRate::try_from(bits).unwrap();
            NetworkRate::new(rate, burst, excess, per_connection, filter).unwrap()
        })
}

fn filter() -> BoxedStrategy<NetworkFilter> {
    let directions = [Direction::Out, Direction::In, Direction::Both];
    let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp];
    let ports = || {
        let range = (any::<u16>(), any::<u16>())
            .prop_map(|(a, b)| PortRange::new(a.min(b), a.max(b)).unwrap());
        vec(range, 0..=8).prop_map(|ranges| PortRanges::try_from(ranges).unwrap())
    };
    let remotes = || vec(cidr(), 0..20).prop_map(|ranges| Remotes::try_from(ranges).unwrap());
    let interface = "[^/:\\pC\\pZ.]{1,3}|eth[0-9]{1,3}|[0-9]{1,3}"
        .prop_map(|name| name.parse::<InterfaceName>().unwrap());
    let dscp = vec((0..64u64).prop_map(|number| Dscp::try_from(number).unwrap()), 0..5)
        .prop_map(|all| Dscps::try_from(all).unwrap());
    let connections = prop::sample::select(vec![Connections::New, Connections::Established]);
    let volume = || {
        let packets = (1..=u64::MAX).prop_map(Volume::Packets);
        let bytes = (1..=u64::MAX).prop_map(|bytes| Volume::Bytes(Bytes(bytes)));
        option::weighted(0.3, prop_oneof![packets, bytes])
    };
    let host = "[a-z][a-z0-9]{0,9}(\\.[a-z]{1,9}){0,3}\\.?"
        .prop_map(|name| name.parse::<HostName>().unwrap());
    let named = (vec(host, 0..3), vec(target(), 0..3));
    let flows =
        (option::weighted(0.3, connections), option::weighted(0.3, percent()), volume(), volume());
    (
        option::of(prop::sample::select(directions.to_vec())),
        (remotes(), remotes()),
        (ports(), ports()),
        vec(prop::sample::select(protocols.to_vec()), 0..4),
        (option::weighted(0.3, interface), dscp),
        named,
        flows,
    )
        .prop_filter_map(
            "contradicts itself",
            |(
                direction,
                (remote, except),
                (remote_ports, local_ports),
                protocols,
                (interface, dscp),
                (hosts, peers),
                (connections, connection_percent, first, after),
            )| {
                let filter = NetworkFilter {
                    direction,
                    remote,
                    hosts,
                    peers,
                    except,
                    remote_ports,
                    local_ports,
                    protocols,
                    interface,
                    dscp,
                    connections,
                    connection_percent,
                    first,
                    after,
                    neighbours: Vec::new(),
                };
                filter.checked().ok()
            },
        )
        .boxed()
}

fn cidr() -> impl Strategy<Value = Cidr> {
    let v4 = (any::<[u8; 4]>(), 0..=32u8)
        .prop_map(|(address, bits)| format!("{}/{bits}", std::net::Ipv4Addr::from(address)));
    let v6 = (any::<[u8; 16]>(), 0..=128u8)
        .prop_map(|(address, bits)| format!("{}/{bits}", std::net::Ipv6Addr::from(address)));
    prop_oneof![v4, v6].prop_map(|text| text.parse().unwrap())
}
