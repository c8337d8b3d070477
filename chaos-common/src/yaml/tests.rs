//! What is said of mistakes, and what is none.

use crate::spec::{Spec, Untargeted, from_yaml};

const LOSS: &str = "\
target:
  unit: nginx.service
duration: 90s
times: 3
seed: 7
fault:
  networkLoss:
    percent: 30
    filter:
      direction: both
      remote: [10.0.0.0/8]
      remotePorts: [5432, '6000-6010']
      protocols: [tcp]
";

fn said(text: &str) -> String {
    from_yaml::<Spec>(text).unwrap_err().to_string()
}

/// What is written in place of what, and the whole of what is said.
#[test]
fn every_mistake_is_one_sentence_with_its_place() {
    assert!(from_yaml::<Spec>(LOSS).is_ok());
    for (from, to, wanted) in [
        (
            "percent: 30",
            "percent: \"30%\"",
            "line 8: fault.networkLoss.percent: \"30%\" does not fit; write a number from 0 to 100, as 30 or 0.5",
        ),
        (
            "percent: 30",
            "percent: 30%",
            "line 8: fault.networkLoss.percent: \"30%\" does not fit; write a number from 0 to 100, as 30 or 0.5",
        ),
        (
            "percent: 30",
            "percent: '30'",
            "line 8: fault.networkLoss.percent: \"30\" does not fit; write a number from 0 to 100, as 30 or 0.5",
        ),
        (
            "percent: 30",
            "percent: [30]",
            "line 8: fault.networkLoss.percent: a list does not fit; write a number from 0 to 100, as 30 or 0.5",
        ),
        (
            "percent: 30",
            "percent: yes",
            "line 8: fault.networkLoss.percent: yes does not fit; write a number from 0 to 100, as 30 or 0.5",
        ),
        (
            "percent: 30",
            "percent:",
            "line 8: fault.networkLoss: give one of `percent`, `burst`, `fourStates` and `every`",
        ),
        (
            "percent: 30",
            "percent: 0",
            "line 8: fault.networkLoss.percent: 0 % would do nothing; give more than 0 and at most 100",
        ),
        (
            "percent: 30",
            "percent: -1",
            "line 8: fault.networkLoss.percent: -1 is no percentage; give a number from 0 to 100",
        ),
        (
            "percent: 30",
            "percent: .nan",
            "line 8: fault.networkLoss.percent: NaN is no percentage; give a number from 0 to 100",
        ),
        (
            "percent: 30",
            "percent: 100.1",
            "line 8: fault.networkLoss.percent: 100.1 is no percentage; give a number from 0 to 100",
        ),
        (
            "percent: 30",
            "procent: 30",
            "line 8: fault.networkLoss: there is no field \"procent\"; write one of percent, correlation, burst, fourStates, every, filter",
        ),
        (
            "percent: 30",
            "\"\\e[2J\": 30",
            "line 8: fault.networkLoss: there is no field \"\\u{1b}[2J\"; write one of percent, correlation, burst, fourStates, every, filter",
        ),
        (
            "percent: 30",
            "percent: 30\n    percent: 31",
            "line 9: fault.networkLoss.percent: is there twice; keep one",
        ),
        (
            "percent: 30",
            "percent: 30\n    burst: {enter: 1, leave: 2}",
            "line 8: fault.networkLoss: give one of `percent`, `burst`, `fourStates` and `every`",
        ),
        (
            "percent: 30",
            "burst: {enter: 1}",
            "line 8: fault.networkLoss.burst.leave: is missing; add it",
        ),
        (
            "percent: 30",
            "burst: {enter: 0, leave: 1}",
            "line 8: fault.networkLoss.burst.enter: 0 % would do nothing; give more than 0 and at most 100",
        ),
        (
            "percent: 30",
            "burst: 30",
            "line 8: fault.networkLoss.burst: 30 does not fit; write a map with enter, leave, inside, outside",
        ),
        (
            "unit: nginx.service",
            "unit: nginx",
            "line 2: target.unit: \"nginx\" is no unit that has a cgroup; give its full name as nginx.service, user.slice or session-1.scope",
        ),
        (
            "unit: nginx.service",
            "unit: [a.service]",
            "line 2: target.unit: a list does not fit; write the full name of a unit, as nginx.service",
        ),
        (
            "unit: nginx.service",
            "unit:",
            "line 2: target.unit: is empty; write the full name of a unit, as nginx.service",
        ),
        (
            "unit: nginx.service",
            "unit: a.service\n  pid: 1",
            "line 2: target: give exactly one of unit, container, pod, pid, cgroup",
        ),
        (
            "unit: nginx.service",
            "unit: a.service\n  unit: b.service",
            "line 3: target.unit: is there twice; keep one",
        ),
        (
            "unit: nginx.service",
            "units: a.service",
            "line 2: target: \"units\" does not fit; write one of unit, container, pod, pid, cgroup",
        ),
        (
            "unit: nginx.service",
            "pid: 0",
            "line 2: target.pid: 0 is no process id; give one from 1 on",
        ),
        (
            "unit: nginx.service",
            "pid: -1",
            "line 2: target.pid: -1 does not fit; write a process id, a whole number from 1 on",
        ),
        (
            "unit: nginx.service",
            "container: 12345",
            "line 2: target.container: \"12345\" is no container id; give 6 to 64 lower-case hexadecimal digits (`chaos targets` lists them)",
        ),
        (
            "target:\n  unit: nginx.service",
            "target: nginx.service",
            "line 1: target: \"nginx.service\" does not fit; write one of unit, container, pod, pid, cgroup",
        ),
        (
            "target:\n  unit: nginx.service",
            "target: unit",
            "line 1: target: unit does not fit; write its value too, as unit: VALUE",
        ),
        (
            "target:\n  unit: nginx.service",
            "target: [{unit: a.service}]",
            "line 1: target: a list does not fit; write one of unit, container, pod, pid, cgroup",
        ),
        ("target:\n  unit: nginx.service\n", "", "line 1: target: is missing; add it"),
        (
            "duration: 90s",
            "duration: 90",
            "line 3: duration: \"90\" is no duration; write it as 90s, 5m or 1h30m",
        ),
        (
            "duration: 90s",
            "duration: 0s",
            "line 3: duration: a fault of 0s would be over before it began; give at least 1ms",
        ),
        (
            "duration: 90s",
            "duration: [90s]",
            "line 3: duration: a list does not fit; write a duration, as 90s, 5m or 1h30m",
        ),
        (
            "duration: 90s",
            "duration: 90s\nduration: 91s",
            "line 4: duration: is there twice; keep one",
        ),
        (
            "duration: 90s",
            "lasts: 90s",
            "line 3: there is no field \"lasts\"; write one of target, fault, duration, times, seed",
        ),
        ("duration: 90s", "? [a]\n: b", "line 3: a list does not fit; write the name of a field"),
        (
            "times: 3",
            "times: 0",
            "line 4: times: 0 times is no limit; give 1 to 18446744073709551614, or leave it out",
        ),
        (
            "times: 3",
            "times: 1.5",
            "line 4: times: 1.5 does not fit; write a whole number from 1 on",
        ),
        (
            "times: 3",
            "times: three",
            "line 4: times: \"three\" does not fit; write a whole number from 1 on",
        ),
        (
            "seed: 7",
            "seed: x",
            "line 5: seed: \"x\" does not fit; write a whole number from 0 to 18446744073709551615",
        ),
        (
            "seed: 7",
            "seed: 18446744073709551616",
            "line 5: seed: 18446744073709551616 does not fit; write a whole number from 0 to 18446744073709551615",
        ),
        (
            "networkLoss:",
            "networkLoose:",
            "line 7: fault: \"networkLoose\" does not fit; write one of networkLoss, networkDelay, networkDuplicate, networkReorder, networkCorrupt, networkRate, networkPartition, networkReject, networkOccupy, syscallError, fileError, fileDelay, socketError, memoryError, dnsError, dnsRecord, dnsDelay, dnsServer",
        ),
        (
            "direction: both",
            "direction: up",
            "line 10: fault.networkLoss.filter.direction: \"up\" does not fit; write one of out, in, both",
        ),
        (
            "direction: both",
            "direction: {out: 1}",
            "line 10: fault.networkLoss.filter.direction: 1 does not fit; write out alone",
        ),
        (
            "remote: [10.0.0.0/8]",
            "remote: 10.0.0.0/8",
            "line 11: fault.networkLoss.filter.remote: \"10.0.0.0/8\" does not fit; write a list, as [10.0.0.0/8]",
        ),
        (
            "remote: [10.0.0.0/8]",
            "remote: [10.0.0.0/8, x]",
            "line 11: fault.networkLoss.filter.remote[1]: \"x\" is no address range; give an address or a CIDR as 10.0.0.0/8 or fd00::/8",
        ),
        (
            "remote: [10.0.0.0/8]",
            "remote: [[]]",
            "line 11: fault.networkLoss.filter.remote[0]: a list does not fit; write an address or a CIDR, as 10.0.0.0/8 or fd00::/8",
        ),
        (
            "remote: [10.0.0.0/8]",
            "remote: [10.0.0.0/8]\n      except: [10.0.0.0/8]",
            "line 8: fault.networkLoss.filter.except: 10.0.0.0/8 is both in `remote` and in `except`; keep it in one",
        ),
        (
            "remotePorts: [5432, '6000-6010']",
            "remotePorts: 5432",
            "line 12: fault.networkLoss.filter.remotePorts: 5432 does not fit; write a list, as [5432]",
        ),
        (
            "remotePorts: [5432, '6000-6010']",
            "remotePorts: [1, 99999]",
            "line 12: fault.networkLoss.filter.remotePorts[1]: \"99999\" is no port; give 0 to 65535, or a range as 8000-8080",
        ),
        (
            "remotePorts: [5432, '6000-6010']",
            "remotePorts: [1, 1.5]",
            "line 12: fault.networkLoss.filter.remotePorts[1]: 1.5 does not fit; write a port from 0 to 65535, or a range as \"8000-8080\"",
        ),
        (
            "protocols: [tcp]",
            "protocols: [icmp]",
            "line 8: fault.networkLoss.filter.protocols: icmp alone has no ports, and with `remotePorts` nothing would match; add tcp or udp, or leave `remotePorts` out",
        ),
        (
            "protocols: [tcp]",
            "protocols: [tcp, sctp]",
            "line 13: fault.networkLoss.filter.protocols[1]: \"sctp\" does not fit; write one of tcp, udp, icmp",
        ),
        (
            "protocols: [tcp]",
            "protocols: tcp",
            "line 13: fault.networkLoss.filter.protocols: \"tcp\" does not fit; write a list, as [tcp]",
        ),
        (
            "protocols: [tcp]",
            "protocols: [tcp",
            "line 13: this is no YAML; see that brackets and quotes are closed, and that all is indented evenly and with blanks",
        ),
        (
            "protocols: [tcp]",
            "\tprotocols: [tcp]",
            "line 13: this is no YAML; see that brackets and quotes are closed, and that all is indented evenly and with blanks",
        ),
        (
            "protocols: [tcp]",
            "protocols: *tcp",
            "line 13: this alias has no anchor before it in its document; write the value out",
        ),
        (
            "times: 3",
            " times: 3",
            "line 4: this is no YAML; see that brackets and quotes are closed, and that all is indented evenly and with blanks",
        ),
    ] {
        assert!(LOSS.contains(from), "{from}");
        assert_eq!(said(&LOSS.replace(from, to)), wanted, "{to}");
    }
}

#[test]
fn a_file_as_a_whole_is_refused_without_a_line() {
    for (text, wanted) in [
        (String::new(), "the file holds no fault"),
        ("---\n---\n# nothing\n".into(), "the file holds no fault"),
        ("a".repeat(2 << 20), "the file has 2097152 bytes; the most is 1048576"),
    ] {
        assert_eq!(said(&text), wanted);
    }
}

#[test]
fn the_line_is_that_of_the_file_and_not_of_the_document() {
    let text = format!("# é\n---\n{LOSS}---\n{}", LOSS.replace("times: 3", "times: 0"));
    assert!(said(&text).starts_with("line 20: times: "), "{}", said(&text));
}

#[test]
fn a_document_of_another_shape_is_told_what_belongs_there() {
    let belongs = "write a map with target, fault, duration, times, seed";
    for (text, stands) in [("[]", "a list"), ("\"x\"", "\"x\""), ("7", "7")] {
        assert_eq!(said(text), format!("line 1: {stands} does not fit; {belongs}"));
    }
    let error = from_yaml::<Untargeted>(LOSS).unwrap_err().to_string();
    assert_eq!(
        error,
        "line 1: there is no field \"target\"; write one of fault, duration, times, seed"
    );
}

#[test]
fn integers_are_told_their_ends() {
    #[derive(Debug, serde::Deserialize)]
    struct Numbers {
        #[serde(rename = "small")]
        _small: Option<u8>,
        #[serde(rename = "middle")]
        _middle: Option<u32>,
        #[serde(rename = "large")]
        _large: Option<u64>,
    }

    for (text, wanted) in [
        ("small: 256", "small: 256 does not fit; write a whole number from 0 to 255"),
        ("middle: -1", "middle: -1 does not fit; write a whole number from 0 to 4294967295"),
        ("middle: 1.5", "middle: 1.5 does not fit; write a whole number from 0 to 4294967295"),
        ("middle: x", "middle: \"x\" does not fit; write a whole number from 0 to 4294967295"),
        (
            "large: -1",
            "large: -1 does not fit; write a whole number from 0 to 18446744073709551615",
        ),
    ] {
        let error = from_yaml::<Numbers>(text).unwrap_err().to_string();
        assert_eq!(error, format!("line 1: {wanted}"));
    }
    assert!(from_yaml::<Numbers>("{small: 255, middle: 4294967295}").is_ok());
}

#[test]
fn what_nests_or_repeats_without_end_is_refused() {
    let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n".to_owned()
        + &format!("d: [{}]", "*c, ".repeat(100_000));
    let deep = "[".repeat(17) + &"]".repeat(17);
    for text in [deep, bomb] {
        assert!(said(&text).contains("nested too deep or repeated too often"), "{}", said(&text));
    }
    for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", "")] {
        for depth in [16, 64, 200, 100_000] {
            let _ = from_yaml::<Spec>(&(open.repeat(depth) + &close.repeat(depth)));
        }
    }
}

/// A name of digits alone is a number to YAML, and `on` is a truth.
#[test]
fn text_stays_as_it_was_written() {
    let target = |id: &str| {
        let text = LOSS.replace("unit: nginx.service", &format!("container: {id}"));
        from_yaml::<Spec>(&text).map(|specs| specs[0].target.to_string())
    };
    for id in ["0123456", "123456", "12e4567", "000000"] {
        assert_eq!(target(id).unwrap(), format!("container {id}"));
    }
    assert!(target("on").unwrap_err().to_string().contains("\"on\" is no container id"));
}

#[test]
fn anchors_and_merges_are_followed() {
    let text = "
target: &nginx {unit: nginx.service}
fault: {networkLoss: &loss {percent: 30}}
---
target: {unit: nginx.service}
fault:
  networkLoss: &loss
    percent: 30
    filter: &filter {protocols: [tcp]}
seed: &seed 7
times: *seed
";
    let specs = from_yaml::<Spec>(text).unwrap();
    assert_eq!(specs[1].times.unwrap().get(), 7);
    let merged = "
target: {unit: a.service}
fault: {networkLoss: {<<: {percent: 30}, filter: {direction: in}}}
";
    assert!(from_yaml::<Spec>(merged).unwrap()[0].fault.to_string().contains("30 %, in"));
}

#[test]
fn a_file_has_as_many_documents_as_fit() {
    let text = "---\n{target: {pid: 1}, fault: {networkLoss: {percent: 1}}}\n".repeat(5000);
    assert_eq!(from_yaml::<Spec>(&text).unwrap().len(), 5000);
}
