//! Messages of which some make sense: each field is good, at an edge, or absurd.

use chaos_common::proto::v1;
use proptest::{collection::vec, option, prelude::*};
use prost_types::{Duration, Timestamp};

use super::texts;

pub(crate) fn spec() -> impl Strategy<Value = v1::Spec> {
    (
        option::weighted(0.9, target()),
        option::weighted(0.9, fault()),
        option::of(duration()),
        option::of(prop_oneof![Just(0), Just(1), Just(u64::MAX), any::<u64>()]),
        option::of(any::<u64>()),
    )
        .prop_map(|(target, fault, duration, times, seed)| v1::Spec {
            target,
            fault,
            duration,
            times,
            seed,
        })
}

pub(crate) fn injection() -> impl Strategy<Value = v1::Injection> {
    let time = || option::of((any::<i64>(), any::<i32>()));
    (
        prop_oneof![Just("loss-1".to_owned()), texts::text()],
        option::of(spec()),
        prop_oneof![Just("/a".to_owned()), texts::text()],
        (-1..8, -1..8),
        texts::text(),
        (time(), time(), time()),
    )
        .prop_map(|(id, spec, cgroup, (state, end), message, (created, expires, ended))| {
            let time = |(seconds, nanos)| Timestamp { seconds, nanos };
            v1::Injection {
                id,
                spec,
                cgroup,
                state,
                end,
                message,
                created_at: created.map(time),
                expires_at: expires.map(time),
                ended_at: ended.map(time),
                ..Default::default()
            }
        })
}

fn target() -> impl Strategy<Value = v1::Target> {
    use v1::target::Target;

    let target = prop_oneof![
        Just(Target::Unit("nginx.service".into())),
        Just(Target::Cgroup("/a/b".into())),
        texts::text().prop_map(Target::Unit),
        texts::text().prop_map(Target::Container),
        texts::text().prop_map(Target::Pod),
        texts::text().prop_map(Target::Cgroup),
        prop_oneof![Just(0), any::<u32>()].prop_map(Target::Pid),
    ];
    option::weighted(0.95, target).prop_map(|target| v1::Target { target })
}

fn fault() -> impl Strategy<Value = v1::Fault> {
    use v1::fault::Fault;

    let fault = prop_oneof![
        loss().prop_map(Fault::NetworkLoss).boxed(),
        delay().prop_map(Fault::NetworkDelay).boxed(),
        duplicate().prop_map(Fault::NetworkDuplicate).boxed(),
        reorder().prop_map(Fault::NetworkReorder).boxed(),
        corrupt().prop_map(Fault::NetworkCorrupt).boxed(),
        rate().prop_map(Fault::NetworkRate).boxed(),
        option::of(filter())
            .prop_map(|filter| Fault::NetworkPartition(v1::NetworkPartition { filter }))
            .boxed(),
        reject().prop_map(Fault::NetworkReject).boxed(),
        dns_error().prop_map(Fault::DnsError).boxed(),
        dns_record().prop_map(Fault::DnsRecord).boxed(),
        dns_delay().prop_map(Fault::DnsDelay).boxed(),
        dns_server().prop_map(Fault::DnsServer).boxed(),
        occupy().prop_map(Fault::NetworkOccupy).boxed(),
    ];
    option::weighted(0.95, fault).prop_map(|fault| v1::Fault { fault })
}

fn loss() -> impl Strategy<Value = v1::NetworkLoss> {
    use v1::network_loss::Model;

    let burst = (number(), number(), option::of(number()), option::of(number())).prop_map(
        |(enter, leave, inside, outside)| Model::Burst(v1::Burst { enter, leave, inside, outside }),
    );
    let maybe = || option::of(number());
    let states =
        (number(), number(), maybe(), maybe(), maybe()).prop_map(|(p13, p31, p32, p23, p14)| {
            Model::FourStates(v1::FourStates { p13, p31, p32, p23, p14 })
        });
    let model = prop_oneof![
        number().prop_map(Model::Percent),
        burst,
        states,
        count().prop_map(Model::Every)
    ];
    (option::weighted(0.95, model), option::weighted(0.3, number()), option::of(filter()))
        .prop_map(|(model, correlation, filter)| v1::NetworkLoss { model, correlation, filter })
}

fn delay() -> impl Strategy<Value = v1::NetworkDelay> {
    let table = prop_oneof![
        4 => Just(Vec::new()),
        2 => vec(-16.0..16.0, 2..40),
        1 => vec(any::<f64>(), 0..5),
    ];
    (
        option::weighted(0.9, wait()),
        option::weighted(0.8, wait()),
        prop_oneof![3 => Just(0), 1 => -1..7],
        table,
        option::weighted(0.3, number()),
        any::<bool>(),
        option::weighted(0.3, number()),
        option::of(filter()),
    )
        .prop_map(
            |(latency, jitter, distribution, table, correlation, reorder, percent, filter)| {
                v1::NetworkDelay {
                    latency,
                    jitter,
                    distribution,
                    table,
                    correlation,
                    reorder,
                    percent,
                    filter,
                }
            },
        )
}

fn duplicate() -> impl Strategy<Value = v1::NetworkDuplicate> {
    let copies = prop_oneof![3 => 0..10u32, 1 => any::<u32>()];
    (number(), option::weighted(0.3, number()), option::of(copies), option::of(filter())).prop_map(
        |(percent, correlation, copies, filter)| v1::NetworkDuplicate {
            percent,
            correlation,
            copies,
            filter,
        },
    )
}

fn reorder() -> impl Strategy<Value = v1::NetworkReorder> {
    use v1::network_reorder::Model;

    let model = prop_oneof![number().prop_map(Model::Percent), count().prop_map(Model::Every)];
    let model = option::weighted(0.95, model);
    let time = option::weighted(0.9, wait());
    (model, option::weighted(0.3, number()), time, option::of(filter())).prop_map(
        |(model, correlation, time, filter)| v1::NetworkReorder {
            model,
            correlation,
            time,
            filter,
        },
    )
}

fn corrupt() -> impl Strategy<Value = v1::NetworkCorrupt> {
    let bits = prop_oneof![3 => 0..18u32, 1 => any::<u32>()];
    let correlation = option::weighted(0.3, number());
    (number(), correlation, option::of(bits), (-1..4, -1..4), option::of(filter())).prop_map(
        |(percent, correlation, bits, (region, checksum), filter)| v1::NetworkCorrupt {
            percent,
            correlation,
            bits,
            region,
            checksum,
            filter,
        },
    )
}

fn asked() -> impl Strategy<Value = Option<v1::DnsQuestions>> {
    let name = || prop_oneof![3 => "(\\*\\.)?[a-z]{1,9}(\\.[A-Z]{1,3}){0,3}", 1 => texts::text()];
    let kind = prop_oneof![Just("AAAA".to_owned()), "TYPE[0-9]{1,6}", texts::text()];
    let server = prop_oneof![Just("10.0.0.0/8".to_owned()), texts::text()];
    let tcp = prop_oneof!["", "refuse|delay", texts::text()];
    let parts =
        (vec(name(), 0..4), vec(name(), 0..3), vec(kind, 0..10), vec(server, 0..3), ports(), tcp);
    option::of(parts.prop_map(|(names, except, types, servers, ports, tcp)| v1::DnsQuestions {
        names,
        except,
        types,
        servers,
        ports,
        tcp,
    }))
}

fn dns_error() -> impl Strategy<Value = v1::DnsError> {
    let code = prop_oneof![Just("timeout".to_owned()), Just(String::new()), texts::text()];
    (asked(), code, option::of(number())).prop_map(|(questions, code, percent)| v1::DnsError {
        questions,
        code,
        percent,
    })
}

fn dns_record() -> impl Strategy<Value = v1::DnsRecord> {
    let address = prop_oneof!["10\\.0\\.0\\.[0-9]{1,3}(/[0-9]{1,2})?", "random", texts::text()];
    let cname = prop_oneof!["", "[a-z]{1,9}(\\.[A-Z]{1,3}){0,3}", texts::text()];
    let rest = (any::<bool>(), any::<bool>(), option::of(duration()), option::of(number()));
    (asked(), vec(address, 0..70), cname, rest).prop_map(
        |(questions, addresses, cname, (empty, truncated, ttl, percent))| v1::DnsRecord {
            questions,
            addresses,
            cname,
            empty,
            truncated,
            ttl,
            percent,
        },
    )
}

fn dns_delay() -> impl Strategy<Value = v1::DnsDelay> {
    let of = prop_oneof!["", "queries|answers", texts::text()];
    (asked(), of, option::of(duration()), option::of(duration()), option::of(number())).prop_map(
        |(questions, of, latency, jitter, percent)| v1::DnsDelay {
            questions,
            of,
            latency,
            jitter,
            percent,
        },
    )
}

fn dns_server() -> impl Strategy<Value = v1::DnsServer> {
    let to =
        prop_oneof!["10\\.0\\.0\\.[0-9]{1,3}(:[0-9]{1,5})?", "fd00::[0-9a-f]{1,4}", texts::text()];
    let server = prop_oneof![Just("10.0.0.0/8".to_owned()), texts::text()];
    (vec(to, 0..3), any::<bool>(), vec(server, 0..3), ports(), option::of(number())).prop_map(
        |(upstream, none, servers, ports, percent)| v1::DnsServer {
            upstream,
            none,
            servers,
            ports,
            percent,
        },
    )
}

fn reject() -> impl Strategy<Value = v1::NetworkReject> {
    use v1::network_reject::With;

    let connect = prop_oneof![Just("EPERM".to_owned()), texts::text()];
    let with = prop_oneof![(-1..7).prop_map(With::Answer), connect.prop_map(With::Connect)];
    (option::of(with), option::of(number()), option::of(filter()), any::<bool>()).prop_map(
        |(with, percent, filter, reset_open)| v1::NetworkReject {
            with,
            percent,
            filter,
            reset_open,
        },
    )
}

fn rate() -> impl Strategy<Value = v1::NetworkRate> {
    use v1::network_rate::Excess;

    let bits = prop_oneof![3 => 1_000..=100_000_000_000u64, 1 => any::<u64>()];
    let bytes = || prop_oneof![3 => 1_600..1_u64 << 20, 1 => count()];
    let excess =
        prop_oneof![any::<bool>().prop_map(Excess::Drop), bytes().prop_map(Excess::QueueBytes)];
    (bits, option::of(bytes()), option::of(excess), any::<bool>(), option::of(filter())).prop_map(
        |(bits_per_second, burst_bytes, excess, per_connection, filter)| v1::NetworkRate {
            bits_per_second,
            burst_bytes,
            excess,
            per_connection,
            filter,
        },
    )
}

fn occupy() -> impl Strategy<Value = v1::NetworkOccupy> {
    let address = prop_oneof![
        Just("0.0.0.0".to_owned()),
        Just("::1".to_owned()),
        any::<std::net::IpAddr>().prop_map(|address| address.to_string()),
        texts::text()
    ];
    (ports(), vec(-1..5, 0..4), option::of(address), any::<bool>(), option::of(number())).prop_map(
        |(ports, protocols, address, refuse, percent)| v1::NetworkOccupy {
            ports,
            protocols,
            address,
            refuse,
            percent,
        },
    )
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 0..100u64, 1 => Just(u64::MAX), 1 => any::<u64>()]
}

/// How long a packet waits.
fn wait() -> impl Strategy<Value = Duration> {
    prop_oneof![
        3 => (0..=3600i64, 0..1_000_000_000i32)
            .prop_map(|(seconds, nanos)| Duration { seconds, nanos }),
        1 => duration(),
    ]
}

fn number() -> impl Strategy<Value = f64> {
    let edges = [
        0.0,
        -0.0,
        100.0,
        100.1,
        -1.0,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE,
        f64::MAX,
    ];
    prop_oneof![4 => 0.1..100.0, 2 => prop::sample::select(edges.to_vec()), 1 => any::<f64>()]
}

fn duration() -> impl Strategy<Value = Duration> {
    let thousand_years = 1000 * 365 * 24 * 3600;
    let edges = [0, 1, -1, 30 * 24 * 3600, thousand_years, i64::MIN, i64::MAX];
    let seconds = prop_oneof![1..3600i64, prop::sample::select(edges.to_vec()), any::<i64>()];
    let nanos = prop_oneof![4 => Just(0), 1 => Just(-1), 1 => any::<i32>()];
    (seconds, nanos).prop_map(|(seconds, nanos)| Duration { seconds, nanos })
}

fn ports() -> impl Strategy<Value = Vec<v1::PortRange>> {
    let port = || prop_oneof![0..=65536u32, any::<u32>()];
    let range =
        (port(), option::of(port())).prop_map(|(first, last)| v1::PortRange { first, last });
    prop_oneof![4 => vec(range.clone(), 0..2), 1 => vec(range, 0..12)]
}

fn filter() -> BoxedStrategy<v1::NetworkFilter> {
    let remotes = || {
        let few = vec(
            prop_oneof![Just("10.0.0.0/8".to_owned()), Just("::1".to_owned()), texts::text()],
            0..3,
        );
        let many = Just((0..1025).map(|n| format!("10.0.{}.{}", n / 256, n % 256)).collect());
        prop_oneof![20 => few, 1 => many]
    };
    let volume = || {
        use v1::volume::Volume;
        let volume =
            prop_oneof![count().prop_map(Volume::Packets), count().prop_map(Volume::Bytes)];
        let volume = option::weighted(0.9, volume).prop_map(|volume| v1::Volume { volume });
        option::weighted(0.3, volume)
    };
    let interface =
        prop_oneof![3 => Just(String::new()), 1 => Just("eth0".into()), 1 => texts::text()];
    let dscp = prop_oneof![3 => vec(0..64u32, 0..4), 1 => vec(any::<u32>(), 0..3)];
    let connections = prop_oneof![2 => Just(0), 1 => -1..4];
    let host = prop_oneof![Just("db.example.com".to_owned()), texts::text()];
    let hosts = prop_oneof![20 => vec(host, 0..3), 1 => Just(vec!["db".to_owned(); 65])];
    let named = (hosts, vec(target(), 0..3));
    let flows = (connections, option::weighted(0.3, number()), volume(), volume());
    (
        (-1..5, remotes(), remotes(), ports(), ports(), vec(-1..5, 0..4)),
        (interface, dscp),
        named,
        flows,
    )
        .prop_map(
            |(
                (direction, remote, except, remote_ports, local_ports, protocols),
                (interface, dscp),
                (hosts, peers),
                (connections, connection_percent, first, after),
            )| v1::NetworkFilter {
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
            },
        )
        .boxed()
}
