//! What a watcher sees.

use std::time::{Duration, SystemTime};

use chaos_common::{
    injection::{Injection, State},
    proto::v1::{self, firing::What, watch_event::Event},
    wire::from_timestamp,
};
use serde::Serialize;

use super::{
    ahead, clean,
    injection::{Listed, ListedView},
    precise,
};

/// An event, its injection being read where there is one.
#[derive(Debug)]
pub(crate) enum Seen {
    Changed(Listed),
    Firing(v1::Firing),
    Missed(u64),
    /// A kind of event that this version does not know.
    Unknown,
}

impl From<v1::WatchEvent> for Seen {
    fn from(wire: v1::WatchEvent) -> Self {
        match wire.event {
            Some(Event::Changed(injection)) => Self::Changed(injection.into()),
            Some(Event::Firing(firing)) => Self::Firing(firing),
            Some(Event::Missed(count)) => Self::Missed(count),
            None => Self::Unknown,
        }
    }
}

impl Seen {
    /// As a program reads it.
    pub(crate) fn view(&self) -> Option<View<'_>> {
        match self {
            Self::Changed(listed) => Some(View::Changed(Box::new(listed.view()))),
            Self::Firing(firing) => Some(View::Firing(Box::new(firing.into()))),
            Self::Missed(count) => Some(View::Missed(*count)),
            Self::Unknown => None,
        }
    }

    /// As a line for people.
    pub(crate) fn line(&self, now: SystemTime) -> String {
        match self {
            Self::Changed(Listed::Known(injection)) => changed(injection, now),
            Self::Changed(Listed::Unknown { id, problem }) => {
                format!("{}  {}  ? {}", precise(now), clean(id), clean(&problem.to_string()))
            }
            Self::Firing(firing) => fired(firing),
            Self::Missed(count) => format!("{}  {count} events were left out here", precise(now)),
            Self::Unknown => format!("{}  an event that this version does not know", precise(now)),
        }
    }
}

/// Mirrors the interface's `WatchEvent`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum View<'a> {
    Changed(Box<ListedView<'a>>),
    Firing(Box<FiringView<'a>>),
    Missed(u64),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FiringView<'a> {
    id: &'a str,
    time: String,
    n: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    packet: Option<PacketView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<CallView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<ProcessView<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PacketView<'a> {
    direction: &'static str,
    protocol: String,
    local_address: &'a str,
    local_port: u32,
    remote_address: &'a str,
    remote_port: u32,
    length: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    question: Option<QuestionView<'a>>,
}

#[derive(Serialize)]
struct QuestionView<'a> {
    name: &'a str,
    kind: &'a str,
}

#[derive(Serialize)]
struct CallView<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    errno: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay: Option<String>,
    thread: u32,
}

#[derive(Serialize)]
struct ProcessView<'a> {
    pid: u32,
    comm: &'a str,
}

impl<'a> From<&'a v1::Firing> for FiringView<'a> {
    fn from(firing: &'a v1::Firing) -> Self {
        let (packet, call) = match &firing.what {
            Some(What::Packet(packet)) => (Some(packet.into()), None),
            Some(What::Call(call)) => (None, Some(call.into())),
            None => (None, None),
        };
        let process = firing.process.as_ref();
        Self {
            id: &firing.id,
            time: precise(from_timestamp(firing.time.unwrap_or_default())),
            n: firing.n,
            packet,
            call,
            process: process.map(|process| ProcessView { pid: process.pid, comm: &process.comm }),
        }
    }
}

impl<'a> From<&'a v1::Packet> for PacketView<'a> {
    fn from(packet: &'a v1::Packet) -> Self {
        Self {
            direction: direction(packet.direction),
            protocol: protocol(packet.protocol),
            local_address: &packet.local_address,
            local_port: packet.local_port,
            remote_address: &packet.remote_address,
            remote_port: packet.remote_port,
            length: packet.length,
            question: packet
                .question
                .as_ref()
                .map(|v1::Question { name, kind }| QuestionView { name, kind }),
        }
    }
}

impl<'a> From<&'a v1::Call> for CallView<'a> {
    fn from(call: &'a v1::Call) -> Self {
        let delay = call.delay.map(|delay| {
            let parts = (u64::try_from(delay.seconds), u32::try_from(delay.nanos));
            let delay = Duration::new(parts.0.unwrap_or(0), parts.1.unwrap_or(0));
            humantime::format_duration(delay).to_string()
        });
        Self { name: &call.name, errno: &call.errno, delay, thread: call.thread }
    }
}

fn changed(injection: &Injection, now: SystemTime) -> String {
    let Injection { id, spec, state, counters, expires_at, connections_reset, .. } = injection;
    let mut line = format!("{}  {id}  {}", precise(now), state.word());
    match state {
        State::Applying | State::Active | State::Recovering => {
            line +=
                &format!("  {} on {}, ends {}", spec.fault, spec.target, ahead(*expires_at, now));
            if let Some(count) = connections_reset {
                line += &format!(", {count} open connections reset");
            }
        }
        State::Ended(_) | State::Stuck(_) => {
            line += &format!("  matched {}, fired {}", counters.matched, counters.fired);
        }
    }
    if !injection.because().is_empty() {
        line += &format!(" ({})", injection.because());
    }
    clean(&line).into_owned()
}

fn fired(firing: &v1::Firing) -> String {
    let view = FiringView::from(firing);
    let mut line = format!("{}  {}  fired  #{}", view.time, view.id, view.n);
    if let Some(packet) = &view.packet {
        let end = |address: &str, port: u32| match (port, address.contains(':')) {
            (0, _) => address.to_owned(),
            (port, true) => format!("[{address}]:{port}"),
            (port, false) => format!("{address}:{port}"),
        };
        let arrow = if packet.direction == "in" { "<-" } else { "->" };
        let local = end(packet.local_address, packet.local_port);
        line += &format!("  {} {local}", packet.protocol);
        // A socket that would be bound has nobody at the other end, and a call no length.
        if !packet.remote_address.is_empty() {
            line += &format!(" {arrow} {}", end(packet.remote_address, packet.remote_port));
        }
        if packet.length > 0 {
            line += &format!(", {} bytes", packet.length);
        }
        if let Some(QuestionView { name, kind }) = &packet.question {
            line += &format!(", asks {name} {kind}");
        }
    }
    if let Some(call) = &view.call {
        let how = call.delay.as_deref().unwrap_or(call.errno);
        line += &format!("  {} {how}", call.name);
    }
    if let Some(process) = &view.process {
        line += &format!("  by {} ({})", process.comm, process.pid);
    }
    clean(&line).into_owned()
}

fn direction(number: i32) -> &'static str {
    match v1::Direction::try_from(number) {
        Ok(v1::Direction::In) => "in",
        Ok(v1::Direction::Both) => "both",
        Ok(v1::Direction::Out | v1::Direction::Unspecified) | Err(_) => "out",
    }
}

/// <https://www.iana.org/assignments/protocol-numbers>
fn protocol(number: u32) -> String {
    match number {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_binds_has_one_end() {
        let packet = v1::Packet {
            protocol: 6,
            local_address: "::".into(),
            local_port: 80,
            ..Default::default()
        };
        let firing = v1::Firing { what: Some(What::Packet(packet)), ..Default::default() };
        assert!(fired(&firing).ends_with("fired  #0  tcp [::]:80"), "{}", fired(&firing));
    }

    #[test]
    fn a_call_is_shown_with_what_it_failed_with() {
        let call = v1::Call { name: "openat".into(), errno: "EIO".into(), thread: 9, delay: None };
        let process = Some(v1::Process { pid: 8, comm: "cat".into() });
        let firing = v1::Firing { what: Some(What::Call(call)), process, ..Default::default() };
        assert!(
            fired(&firing).ends_with("fired  #0  openat EIO  by cat (8)"),
            "{}",
            fired(&firing)
        );
    }

    #[test]
    fn a_packet_is_shown_from_the_target_to_the_other_end() {
        let mut packet = v1::Packet {
            direction: v1::Direction::Out.into(),
            protocol: 6,
            local_address: "10.0.0.2".into(),
            local_port: 40000,
            remote_address: "fd00::1".into(),
            remote_port: 5432,
            length: 60,
            question: None,
        };
        let firing = |packet: &v1::Packet| v1::Firing {
            id: "a".into(),
            n: 7,
            what: Some(What::Packet(packet.clone())),
            process: Some(v1::Process { pid: 9, comm: "cu\u{1b}rl".into() }),
            ..Default::default()
        };
        assert_eq!(
            fired(&firing(&packet)),
            "1970-01-01T00:00:00.000000Z  a  fired  #7  tcp 10.0.0.2:40000 -> [fd00::1]:5432, 60 bytes  \
             by cu\\u{1b}rl (9)"
        );
        packet.direction = v1::Direction::In.into();
        packet.protocol = 1;
        (packet.local_port, packet.remote_port) = (0, 0);
        assert!(fired(&firing(&packet)).contains("icmp 10.0.0.2 <- fd00::1, 60 bytes"));
        packet.question = Some(v1::Question { name: "a.b".into(), kind: "AAAA".into() });
        assert!(fired(&firing(&packet)).contains(", 60 bytes, asks a.b AAAA  by"));
    }
}
