//! Texts, from words that make sense to a megabyte of them.

use proptest::{collection::vec, prelude::*};

/// What people and programs write, and what they should not.
const WORDS: [&str; 45] = [
    "",
    "\0",
    "nginx.service\0",
    "\u{1b}[2J",
    "é\u{202e}",
    "..",
    "/a/../b",
    "nginx.service",
    "0123abcd",
    "/a/b",
    "loss-1",
    "30",
    "30%",
    "0",
    "-1",
    "100.1",
    "1e400",
    ".nan",
    "NaN",
    ".inf",
    "0x1F",
    "0o17",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "yes",
    "true",
    "null",
    "~",
    "0s",
    "90s",
    "1000years",
    "99999999999999999999s",
    "10.0.0.0/8",
    "10.0.0.0/33",
    "8000-8080",
    "out",
    "icmp",
    "100ms",
    "10Mbit",
    "64KiB",
    "eth0",
    "ef",
    "new",
    "normal",
    "headers",
];

/// Names that a document has, so that trees reach into every corner.
const FIELDS: [&str; 60] = [
    "target",
    "fault",
    "duration",
    "times",
    "seed",
    "unit",
    "container",
    "pod",
    "pid",
    "cgroup",
    "networkLoss",
    "networkDelay",
    "networkDuplicate",
    "networkReorder",
    "networkCorrupt",
    "networkRate",
    "networkPartition",
    "networkReject",
    "answer",
    "connect",
    "networkOccupy",
    "percent",
    "correlation",
    "every",
    "latency",
    "jitter",
    "distribution",
    "table",
    "reorder",
    "copies",
    "time",
    "bits",
    "region",
    "checksum",
    "rate",
    "burst",
    "queue",
    "drop",
    "perConnection",
    "fourStates",
    "ports",
    "address",
    "enter",
    "leave",
    "inside",
    "outside",
    "filter",
    "direction",
    "remote",
    "hosts",
    "peers",
    "except",
    "remotePorts",
    "protocols",
    "interface",
    "dscp",
    "connections",
    "connectionPercent",
    "first",
    "after",
];

/// Kinds, each with what it cannot do without.
const KINDS: [(&str, &str); 9] = [
    ("networkLoss", "every: 2"),
    ("networkDelay", "latency: 1s, jitter: 1ms"),
    ("networkDuplicate", "percent: 1"),
    ("networkReorder", "every: 2, time: 1s"),
    ("networkCorrupt", "percent: 1"),
    ("networkRate", "rate: 1Mbit"),
    ("networkPartition", "filter: {}"),
    ("networkReject", "answer: reset"),
    ("networkOccupy", "ports: [80]"),
];

/// A word, anything, or far too much.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        30 => prop::sample::select(&WORDS[..]).prop_map(str::to_owned),
        20 => any::<String>(),
        1 => any::<char>().prop_map(|char| char.to_string().repeat(1 << 20)),
    ]
}

/// Anything, with what means something to YAML more often than chance would have it.
pub(crate) fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(&WORDS[..]).prop_map(str::to_owned),
        prop::sample::select(&FIELDS[..]).prop_map(str::to_owned),
        "[-?:,\\[\\]{}#&*!|>'\"%@` \n\t<]{1,3}",
        any::<String>(),
    ];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// A document: one that would do, with some of its branches replaced, or a tree of its own.
pub(crate) fn document() -> impl Strategy<Value = String> {
    let whole = (tree(), tree(), tree(), tree()).prop_map(|(target, fault, duration, filter)| {
        format!("{{target: {target}, fault: {fault}, duration: {duration}, times: {filter}}}")
    });
    let target = tree().prop_map(|target| {
        format!("{{target: {{unit: {target}}}, fault: {{networkLoss: {{percent: 30}}}}}}")
    });
    let loss = (tree(), tree()).prop_map(|(percent, filter)| {
        format!("{{target: {{pid: 1}}, fault: {{networkLoss: {{percent: {percent}, filter: {filter}}}}}}}")
    });
    let filter = (prop::sample::select(&FIELDS[47..]), tree()).prop_map(|(field, tree)| {
        format!("{{target: {{pid: 1}}, fault: {{networkLoss: {{percent: 1, filter: {{{field}: {tree}}}}}}}}}")
    });
    let kind = (prop::sample::select(&KINDS[..]), prop::sample::select(&FIELDS[..]), tree())
        .prop_map(|((kind, rest), field, tree)| {
            format!("{{target: {{pid: 1}}, fault: {{{kind}: {{{rest}, {field}: {tree}}}}}}}")
        });
    prop_oneof![tree(), whole, target, loss, filter, kind]
}

/// A value in flow style.
fn tree() -> impl Strategy<Value = String> {
    let plain = prop::sample::select(&WORDS[11..]).prop_map(str::to_owned);
    // A string of JSON is one of YAML.
    let quoted = text().prop_map(|text| serde_json::to_string(&text).unwrap());
    prop_oneof![3 => plain, 1 => quoted].prop_recursive(4, 24, 4, |inner| {
        let field = prop::sample::select(&FIELDS[..]);
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            vec((field, inner), 0..4).prop_map(|fields| {
                let fields: Vec<_> =
                    fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
                format!("{{{}}}", fields.join(", "))
            }),
        ]
    })
}
