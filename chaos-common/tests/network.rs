//! The network family: every kind with every option, as it is written, as it is said, and what is wrong with it.
#![cfg(feature = "user")]

use chaos_common::{
    proto::v1,
    spec::{Spec, from_yaml},
};
use prost::Message as _;

fn document(fault: &str) -> String {
    format!("{{target: {{pid: 1}}, fault: {fault}}}")
}

fn read(fault: &str) -> Spec {
    from_yaml(&document(fault)).unwrap_or_else(|error| panic!("{fault}: {error}")).remove(0)
}

fn refusal(fault: &str) -> String {
    let error = from_yaml::<Spec>(&document(fault)).expect_err(fault).to_string();
    error.strip_prefix("line 1: fault.").unwrap_or(&error).to_owned()
}

/// What is written, and how it is said.
const FAULTS: [(&str, &str); 39] = [
    ("{networkLoss: {percent: 30}}", "loss 30 %, out"),
    ("{networkLoss: {percent: 30, correlation: 0}}", "loss 30 %, out"),
    ("{networkLoss: {percent: 30, correlation: 25}}", "loss 30 % (correlation 25 %), out"),
    ("{networkLoss: {every: 10}}", "loss one in 10, out"),
    (
        "{networkLoss: {fourStates: {p13: 1, p31: 20}}}",
        "loss in states (p13 1 %, p31 20 %, p32 0 %, p23 100 %, p14 0 %), out",
    ),
    (
        "{networkLoss: {fourStates: {p13: 1, p31: 20, p32: 10, p23: 50, p14: 0.5}}}",
        "loss in states (p13 1 %, p31 20 %, p32 10 %, p23 50 %, p14 0.5 %), out",
    ),
    ("{networkDelay: {latency: 100ms}}", "delay 100ms, out"),
    ("{networkDelay: {latency: 1s, jitter: 0s}}", "delay 1s, out"),
    ("{networkDelay: {latency: 0s, jitter: 5ms}}", "delay 0s ± 5ms uniform, out"),
    (
        "{networkDelay: {latency: 100ms, jitter: 10ms, distribution: normal, correlation: 25}}",
        "delay 100ms ± 10ms normal (correlation 25 %), out",
    ),
    (
        "{networkDelay: {latency: 1ms, jitter: 1ms, distribution: paretoNormal}}",
        "delay 1ms ± 1ms paretoNormal, out",
    ),
    (
        "{networkDelay: {latency: 1ms, jitter: 1ms, table: [-1, 0.5, 0.5]}}",
        "delay 1ms ± 1ms table of 3 values, out",
    ),
    (
        "{networkDelay: {latency: 1ms, jitter: 1ms, reorder: true, percent: 50}}",
        "delay 1ms ± 1ms uniform for 50 %, in any order, out",
    ),
    ("{networkDuplicate: {percent: 5}}", "duplicate 5 %, out"),
    (
        "{networkDuplicate: {percent: 5, correlation: 50, copies: 3}}",
        "duplicate 5 % (correlation 50 %), 3 copies, out",
    ),
    ("{networkReorder: {percent: 25, time: 10ms}}", "reorder 25 % by 10ms, out"),
    (
        "{networkReorder: {percent: 25, correlation: 50, time: 10ms}}",
        "reorder 25 % (correlation 50 %) by 10ms, out",
    ),
    ("{networkReorder: {every: 5, time: 250us}}", "reorder one in 5 by 250us, out"),
    ("{networkCorrupt: {percent: 0.1}}", "corrupt 0.1 %, payload, checksum broken, out"),
    (
        "{networkCorrupt: {percent: 1, correlation: 9, bits: 16, region: headers, checksum: fixed}}",
        "corrupt 1 % (correlation 9 %), 16 bits, headers, checksum fixed, out",
    ),
    ("{networkRate: {rate: 10Mbit}}", "rate 10Mbit/s, burst 12500B, queue 1250kB, out"),
    (
        "{networkRate: {rate: 1Gbit, burst: 64KiB, queue: 1MiB, perConnection: true}}",
        "rate 1Gbit/s for each connection, burst 64KiB, queue 1MiB, out",
    ),
    ("{networkRate: {rate: 500kbit, drop: true}}", "rate 500kbit/s, burst 1600B, drop, out"),
    ("{networkPartition: {}}", "partition both"),
    ("{networkPartition: {filter: {direction: in}}}", "partition in"),
    ("{networkPartition: {filter: {remote: [10.0.0.5]}}}", "partition both, remote 10.0.0.5"),
    ("{networkReject: {}}", "reject reset, out"),
    (
        "{networkReject: {answer: hostUnreachable, percent: 5, filter: {direction: both}}}",
        "reject 5 % hostUnreachable, both",
    ),
    (
        "{networkReject: {connect: ETIMEDOUT, percent: 50, filter: {protocols: [udp]}}}",
        "reject 50 % connect ETIMEDOUT, out, udp",
    ),
    ("{networkOccupy: {ports: [8080]}}", "occupy tcp 8080"),
    (
        "{networkOccupy: {ports: ['9000-9010', 53], protocols: [udp, tcp], address: '::1'}}",
        "occupy tcp+udp 9000-9010,53 at ::1",
    ),
    (
        "{networkOccupy: {ports: [53], protocols: [udp], address: 0.0.0.0}}",
        "occupy udp 53 at 0.0.0.0",
    ),
    ("{networkLoss: {every: 2, filter: {interface: eth0}}}", "loss one in 2, out, interface eth0"),
    (
        "{networkLoss: {every: 2, filter: {dscp: [ef, 10, 63, 46]}}}",
        "loss one in 2, out, dscp ef,af11,63",
    ),
    (
        "{networkLoss: {every: 2, filter: {connections: new, protocols: [tcp, udp]}}}",
        "loss one in 2, out, tcp, udp, new connections",
    ),
    (
        "{networkLoss: {every: 2, filter: {connections: established, direction: both}}}",
        "loss one in 2, both, established connections",
    ),
    (
        "{networkLoss: {every: 2, filter: {connectionPercent: 10}}}",
        "loss one in 2, out, 10 % of connections",
    ),
    (
        "{networkLoss: {every: 2, filter: {first: {packets: 10}, after: {packets: 1}}}}",
        "loss one in 2, out, after 1 packet, first 10 packets",
    ),
    (
        "{networkLoss: {every: 2, filter: {first: {bytes: 64KiB}, after: {bytes: 1500}}}}",
        "loss one in 2, out, after 1500B, first 64KiB",
    ),
];

#[test]
fn what_is_written_is_said_in_short() {
    for (fault, said) in FAULTS {
        assert_eq!(read(fault).fault.to_string(), format!("network {said}"), "{fault}");
    }
}

#[test]
fn every_option_survives_a_file_and_the_wire() {
    for (fault, _) in FAULTS {
        let spec = read(fault);
        let yaml = serde_saphyr::to_string(&spec).unwrap();
        assert_eq!(from_yaml::<Spec>(&yaml).unwrap(), std::slice::from_ref(&spec), "{yaml}");
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<Spec>(&json).unwrap(), spec, "{json}");
        let bytes = v1::Spec::from(&spec).encode_to_vec();
        let wire = v1::Spec::decode(bytes.as_slice()).unwrap();
        assert_eq!(Spec::try_from(wire).unwrap(), spec, "{fault}");
    }
}

/// What is written, where it is wrong, and words of what is said.
#[test]
fn every_mistake_is_named_with_its_field() {
    for (fault, field, words) in [
        ("{networkLoss: {percent: 1, every: 2}}", "networkLoss", "give one of `percent`, `burst`"),
        ("{networkLoss: {every: 2, correlation: 1}}", "networkLoss.correlation", "`percent` only"),
        ("{networkLoss: {percent: 1, correlation: 100}}", "networkLoss.correlation", "give less"),
        ("{networkLoss: {every: 1}}", "networkLoss.every", "at least 2"),
        ("{networkLoss: {every: 2.5}}", "networkLoss.every", "a whole number from 2 on"),
        ("{networkLoss: {fourStates: {p31: 1}}}", "networkLoss.fourStates.p13", "is missing"),
        (
            "{networkLoss: {fourStates: {p13: 0, p31: 1}}}",
            "networkLoss.fourStates.p13",
            "nothing would be lost",
        ),
        (
            "{networkLoss: {fourStates: {p13: 1, p31: 0}}}",
            "networkLoss.fourStates.p31",
            "would never end",
        ),
        (
            "{networkLoss: {fourStates: {p13: 1, p31: 60, p32: 60}}}",
            "networkLoss.fourStates.p32",
            "more than 100 %",
        ),
        ("{networkDelay: {}}", "networkDelay.latency", "is missing"),
        ("{networkDelay: {latency: 0s}}", "networkDelay.latency", "give more than 0s"),
        ("{networkDelay: {latency: 61min}}", "networkDelay.latency", "the most is 1h"),
        ("{networkDelay: {latency: 100}}", "networkDelay.latency", "write it as 100ms"),
        ("{networkDelay: {latency: 1s, jitter: 2h}}", "networkDelay.jitter", "the most is 1h"),
        (
            "{networkDelay: {latency: 1s, distribution: normal}}",
            "networkDelay.distribution",
            "is about the jitter, and there is none",
        ),
        (
            "{networkDelay: {latency: 1s, jitter: 0s, correlation: 5}}",
            "networkDelay.correlation",
            "is about the jitter, and there is none",
        ),
        (
            "{networkDelay: {latency: 1s, table: [0, 1]}}",
            "networkDelay.distribution",
            "is about the jitter, and there is none",
        ),
        (
            "{networkDelay: {latency: 1s, jitter: 1s, distribution: gauss}}",
            "networkDelay.distribution",
            "give uniform, normal, pareto or paretoNormal",
        ),
        (
            "{networkDelay: {latency: 1s, jitter: 1s, distribution: normal, table: [0, 1]}}",
            "networkDelay",
            "give either `distribution` or `table`",
        ),
        (
            "{networkDelay: {latency: 1s, jitter: 1s, table: [0]}}",
            "networkDelay.table",
            "give 2 to 65536",
        ),
        (
            "{networkDelay: {latency: 1s, jitter: 1s, table: [0, 17]}}",
            "networkDelay.table",
            "17 is too far out",
        ),
        (
            "{networkDelay: {latency: 1s, jitter: 1s, table: [0, x]}}",
            "networkDelay.table[1]",
            "write a number",
        ),
        ("{networkDelay: {latency: 1s, reorder: 1}}", "networkDelay.reorder", "true or false"),
        ("{networkDelay: {latency: 1s, percent: 0}}", "networkDelay.percent", "would do nothing"),
        ("{networkDuplicate: {}}", "networkDuplicate.percent", "is missing"),
        ("{networkDuplicate: {percent: 0}}", "networkDuplicate.percent", "would do nothing"),
        ("{networkDuplicate: {percent: 1, copies: 9}}", "networkDuplicate.copies", "give 1 to 8"),
        ("{networkReorder: {time: 1s}}", "networkReorder", "either `percent` or `every`"),
        ("{networkReorder: {every: 2}}", "networkReorder.time", "is missing"),
        ("{networkReorder: {every: 2, time: 0s}}", "networkReorder.time", "give more than 0s"),
        (
            "{networkReorder: {every: 2, correlation: 1, time: 1s}}",
            "networkReorder.correlation",
            "`percent` only",
        ),
        ("{networkCorrupt: {percent: 1, bits: 17}}", "networkCorrupt.bits", "give 1 to 16"),
        (
            "{networkCorrupt: {percent: 1, region: all}}",
            "networkCorrupt.region",
            "one of payload, headers",
        ),
        (
            "{networkCorrupt: {percent: 1, checksum: no}}",
            "networkCorrupt.checksum",
            "one of broken, fixed",
        ),
        ("{networkRate: {}}", "networkRate.rate", "is missing"),
        ("{networkRate: {rate: 999bit}}", "networkRate.rate", "give 1kbit to 100Gbit"),
        ("{networkRate: {rate: 10}}", "networkRate.rate", "10Mbit"),
        ("{networkRate: {rate: 1Mbit, burst: 10B}}", "networkRate.burst", "at least 1600B"),
        ("{networkRate: {rate: 1kbit, burst: 1MB}}", "networkRate.burst", "more than an hour"),
        ("{networkRate: {rate: 1Mbit, queue: 1kB}}", "networkRate.queue", "at least 64KiB"),
        ("{networkRate: {rate: 1kbit, queue: 1GB}}", "networkRate.queue", "more than an hour"),
        (
            "{networkRate: {rate: 1Mbit, queue: 1MB, drop: true}}",
            "networkRate",
            "either `drop` or `queue`",
        ),
        ("{networkPartition: {percent: 1}}", "networkPartition", "write filter"),
        ("{networkReject: {percent: 0}}", "networkReject.percent", "would do nothing"),
        ("{networkReject: {answer: no}}", "networkReject.answer", "portUnreachable"),
        ("{networkReject: {connect: EDOOFUS}}", "networkReject.connect", "ECONNREFUSED"),
        (
            "{networkReject: {answer: reset, connect: EPERM}}",
            "networkReject",
            "either `answer` or `connect`",
        ),
        (
            "{networkReject: {connect: EPERM, filter: {direction: both}}}",
            "networkReject.filter.direction",
            "leave it out",
        ),
        (
            "{networkReject: {connect: EPERM, filter: {protocols: [icmp]}}}",
            "networkReject.filter.protocols",
            "tcp or udp",
        ),
        (
            "{networkReject: {connect: EPERM, filter: {interface: eth0}}}",
            "networkReject.filter.interface",
            "not known yet",
        ),
        (
            "{networkReject: {connect: EPERM, filter: {connectionPercent: 5}}}",
            "networkReject.filter.connectionPercent",
            "`percent` is of connections",
        ),
        ("{networkOccupy: {}}", "networkOccupy.ports", "is missing"),
        ("{networkOccupy: {ports: []}}", "networkOccupy.ports", "without a port"),
        ("{networkOccupy: {ports: [0]}}", "networkOccupy.ports", "stands for any"),
        ("{networkOccupy: {ports: ['1-2000']}}", "networkOccupy.ports", "2000 ports are too many"),
        (
            "{networkOccupy: {ports: [80], protocols: [icmp]}}",
            "networkOccupy.protocols",
            "icmp has no ports",
        ),
        ("{networkOccupy: {ports: [80], address: eth0}}", "networkOccupy.address", "no address"),
        (
            "{networkOccupy: {ports: [80], address: '::ffff:10.0.0.1'}}",
            "networkOccupy.address",
            "write it as one",
        ),
        (
            "{networkOccupy: {ports: [80], address: 'fe80::1'}}",
            "networkOccupy.address",
            "each interface",
        ),
        ("{networkOccupy: {ports: [80], filter: {}}}", "networkOccupy", "filter"),
        (
            "{networkPartition: {filter: {remote: ['::1'], except: ['::1']}}}",
            "networkPartition.filter.except",
            "keep it in one",
        ),
    ] {
        let said = refusal(fault);
        let problem = said.strip_prefix(&format!("{field}: "));
        assert!(problem.is_some_and(|problem| problem.contains(words)), "{fault}: {said}");
    }
}

/// A filter is the same under every kind.
#[test]
fn every_mistake_of_a_filter_is_named_under_every_kind() {
    for (filter, field, words) in [
        ("{interface: a/b}", "interface", "give 1 to 15 bytes"),
        ("{interface: ''}", "interface", "give 1 to 15 bytes"),
        ("{dscp: [64]}", "dscp[0]", "give 0 to 63"),
        ("{dscp: [0, best]}", "dscp[1]", "a name as ef"),
        ("{dscp: ef}", "dscp", "a list, as [ef]"),
        ("{connections: old}", "connections", "one of new, established"),
        ("{connections: new, protocols: [udp]}", "protocols", "are of TCP alone"),
        ("{connectionPercent: 0}", "connectionPercent", "would do nothing"),
        ("{connectionPercent: 101}", "connectionPercent", "no percentage"),
        ("{first: {packets: 0}}", "first", "give at least 1"),
        ("{after: {bytes: 0B}}", "after", "give at least 1"),
        ("{first: {bottles: 1}}", "first", "one of packets, bytes"),
        ("{first: {packets: 1, bytes: 1B}}", "first", "exactly one of packets, bytes"),
        ("{first: {packets: 9}, after: {bytes: 1B}}", "first", "both in packets, or both in bytes"),
    ] {
        for (kind, rest) in [
            ("networkLoss", "percent: 1"),
            ("networkDelay", "latency: 1s"),
            ("networkDuplicate", "percent: 1"),
            ("networkReorder", "percent: 1, time: 1s"),
            ("networkCorrupt", "percent: 1"),
            ("networkRate", "rate: 1Mbit"),
        ] {
            let said = refusal(&format!("{{{kind}: {{{rest}, filter: {filter}}}}}"));
            let problem = said.strip_prefix(&format!("{kind}.filter.{field}: "));
            assert!(problem.is_some_and(|problem| problem.contains(words)), "{kind}: {said}");
        }
        let said = refusal(&format!("{{networkPartition: {{filter: {filter}}}}}"));
        assert!(said.starts_with(&format!("networkPartition.filter.{field}: ")), "{said}");
    }
}

/// What only a message can say.
#[test]
fn a_message_without_sense_is_refused_by_field() {
    use v1::fault::Fault;

    let filter = |filter: v1::NetworkFilter| {
        Fault::NetworkPartition(v1::NetworkPartition { filter: Some(filter) })
    };
    for (fault, field) in [
        (Fault::NetworkDelay(v1::NetworkDelay::default()), "networkDelay.latency"),
        (
            Fault::NetworkDelay(v1::NetworkDelay {
                jitter: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
                ..Default::default()
            }),
            "networkDelay.jitter",
        ),
        (
            Fault::NetworkDelay(v1::NetworkDelay { distribution: 7, ..Default::default() }),
            "networkDelay.distribution",
        ),
        (
            Fault::NetworkDelay(v1::NetworkDelay {
                table: vec![f64::NAN; 2],
                ..Default::default()
            }),
            "networkDelay.table",
        ),
        (
            Fault::NetworkDuplicate(v1::NetworkDuplicate {
                percent: 1.0,
                copies: Some(0),
                ..Default::default()
            }),
            "networkDuplicate.copies",
        ),
        (
            Fault::NetworkReorder(v1::NetworkReorder {
                model: Some(v1::network_reorder::Model::Every(0)),
                ..Default::default()
            }),
            "networkReorder.every",
        ),
        (
            Fault::NetworkReorder(v1::NetworkReorder {
                model: Some(v1::network_reorder::Model::Every(2)),
                ..Default::default()
            }),
            "networkReorder.time",
        ),
        (
            Fault::NetworkCorrupt(v1::NetworkCorrupt {
                percent: 1.0,
                region: -1,
                ..Default::default()
            }),
            "networkCorrupt.region",
        ),
        (
            Fault::NetworkCorrupt(v1::NetworkCorrupt {
                percent: 1.0,
                checksum: 3,
                ..Default::default()
            }),
            "networkCorrupt.checksum",
        ),
        (Fault::NetworkRate(v1::NetworkRate::default()), "networkRate.rate"),
        (
            filter(v1::NetworkFilter { dscp: vec![1, 64], ..Default::default() }),
            "networkPartition.filter.dscp[1]",
        ),
        (
            filter(v1::NetworkFilter { interface: "a b".into(), ..Default::default() }),
            "networkPartition.filter.interface",
        ),
        (
            filter(v1::NetworkFilter { connections: 3, ..Default::default() }),
            "networkPartition.filter.connections",
        ),
        (
            filter(v1::NetworkFilter { first: Some(v1::Volume::default()), ..Default::default() }),
            "networkPartition.filter.first",
        ),
    ] {
        let wire = v1::Fault { fault: Some(fault.clone()) };
        let refused = chaos_common::fault::Fault::try_from(wire).unwrap_err();
        assert_eq!(refused.field, field, "{fault:?}");
    }
}

/// A size counts to the byte, also where a floating point number would not.
#[test]
fn large_sizes_are_exact() {
    for bytes in [(1 << 53) + 1, u64::MAX] {
        let fault = format!("{{networkLoss: {{every: 2, filter: {{after: {{bytes: {bytes}}}}}}}}}");
        let spec = read(&fault);
        let yaml = serde_saphyr::to_string(&spec).unwrap();
        assert_eq!(from_yaml::<Spec>(&yaml).unwrap(), [spec]);
        assert!(yaml.contains(&bytes.to_string()), "{yaml}");
    }
}

#[test]
fn a_filter_is_the_same_for_the_kernel() {
    use chaos_common::{abi, fault::Fault};

    let filter = |filter: &str| {
        let Fault::NetworkPartition(partition) =
            read(&format!("{{networkPartition: {{filter: {filter}}}}}")).fault
        else {
            panic!("{filter}");
        };
        partition.filter.to_abi()
    };
    let tcp = abi::Protocol::Tcp as u32;
    let new = filter("{connections: new, protocols: [tcp, udp]}");
    assert_eq!((new.connections, new.protocols), (abi::Connections::New as u32, tcp));
    assert_eq!(filter("{connections: established}").protocols, tcp);
    assert_eq!(filter("{dscp: [0, 63]}").dscp, 1 | 1 << 63);
    assert_eq!(filter("{interface: eth0}").interface, *b"eth0\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(filter("{connectionPercent: 50}").flows, abi::Chance::of_2_32(1 << 31));
    assert_eq!(filter("{}"), abi::NetFilter { directions: 3, ..Default::default() });
    let window = filter("{after: {packets: 1}, first: {packets: 2}}").window;
    assert_eq!((window.from_packet, window.until_packet), (1, 3));
    let window = filter("{after: {bytes: 18446744073709551615}, first: {bytes: 1}}").window;
    assert_eq!((window.from_byte, window.until_byte), (u64::MAX, u64::MAX));
}
